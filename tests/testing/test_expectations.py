"""What tests say in one word, and what these words refuse and let through."""

import asyncio
import socket
from contextlib import suppress
from pathlib import Path

import pytest
import trio

import tractor
from tests._helpers import QUICK, open_tree, raises
from tractor import ContextCancelled, testing
from tractor._types import ErrorInfo
from tractor.testing import (
    HangWatch,
    break_ipc,
    examples_dir,
    expect_ctxc,
    missing_debugger,
    private_address,
    tractor_test,
)


def cancelled() -> ContextCancelled:
    """One."""
    info = ErrorInfo("tractor:ContextCancelled", "ended", "", "", ("root", "0"), [])
    return ContextCancelled(info, boxed_type=None, src_type=None)


async def test_what_is_expected_ends_there() -> None:
    """The block after it goes on."""
    async with expect_ctxc():
        raise cancelled()


async def test_what_is_expected_can_go_on() -> None:
    """For a test that looks at it."""
    with pytest.raises(ContextCancelled):
        async with expect_ctxc(reraise=True):
            raise cancelled()


async def test_what_does_not_come_is_an_error() -> None:
    """The block ended in another way."""
    with pytest.raises(AssertionError, match="without a ContextCancelled"):
        async with expect_ctxc():
            pass


async def test_nothing_needs_to_be_expected() -> None:
    """For a test of which only some cases end so."""
    async with expect_ctxc(yay=False):
        pass
    with pytest.raises(ContextCancelled):
        async with expect_ctxc(yay=False):
            raise cancelled()


def test_only_async_functions_are_tests_of_actors() -> None:
    """Another one is refused when it is decorated."""
    with pytest.raises(TypeError, match="for async functions"):
        tractor_test(cancelled)  # type: ignore[arg-type]


@pytest.mark.parametrize("seconds", [0, -1, float("nan")])
def test_a_bound_is_positive(seconds: float) -> None:
    """Else the block would have hung before it began."""
    with pytest.raises(ValueError, match="seconds must be > 0"):
        HangWatch("a block", seconds)


async def test_what_begins_after_the_time_is_over_ends_at_once() -> None:
    """As the body of a test whose fixtures have used it up."""
    with HangWatch("a test", 0.01) as watch:
        with trio.CancelScope() as fixture:
            watch.cancel_then(fixture)
            await trio.sleep_forever()
        with pytest.raises(trio.TooSlowError):
            await watch.bound(trio.sleep_forever)()


def test_a_bound_leaves_other_event_loops_alone() -> None:
    """What they run cannot be cancelled by ours; it is only watched."""

    async def works() -> str:
        return "done"

    async def run() -> None:
        assert await HangWatch("a test", 30).bound(works)() == "done"

    asyncio.run(run())


def test_no_bound_is_one_too() -> None:
    """A thread takes no wait without end, nor one of a thousand years."""
    with HangWatch("a test", float("inf")) as watch:
        assert watch._thread.is_alive()
    assert not watch._thread.is_alive()


# -- Broken connections ----------------------------------------------------------------


@tractor.context
async def says_more(ctx: tractor.Context) -> None:
    """Send until nobody hears it, and then wait for the end of the connection."""
    await ctx.started()
    async with ctx.open_stream() as stream:
        with suppress(trio.BrokenResourceError):  # it was closed in good order before
            while True:
                await stream.send("more")
        await trio.sleep_forever()


@pytest.mark.parametrize("pre_close", [False, True])
@pytest.mark.parametrize("method", [None, "socket_close", "socket_eof"])
async def test_a_connection_is_broken(
    start_method: str, method: str | None, pre_close: bool
) -> None:
    """Both sides notice: the actor ends, and its nursery fails."""
    with raises(tractor.TransportClosed):
        async with open_tree(start_method, graces=QUICK) as an:
            portal = await an.start_actor("x", enable_modules=[__name__])
            async with (
                portal.open_context(says_more) as (ctx, _),
                ctx.open_stream() as stream,
            ):
                assert await stream.receive() == "more"
                await break_ipc(stream, method, pre_close)
                assert stream.closed == pre_close
                await trio.sleep_forever()


async def test_a_connection_is_not_broken_otherwise(start_method: str) -> None:
    """A method that is none is refused, and nothing is broken."""
    async with open_tree(start_method) as an:
        portal = await an.start_actor("x", enable_modules=[__name__])
        async with (
            portal.open_context(says_more) as (ctx, _),
            ctx.open_stream() as stream,
        ):
            with pytest.raises(ValueError, match="unknown method 'scissors'"):
                await break_ipc(stream, def_method="scissors")
            assert await stream.receive() == "more"
            await ctx.cancel()
        await an.cancel()


# -- What a session has ----------------------------------------------------------------


def test_addresses_are_free(tmp_path: Path) -> None:
    """Each is another one, and can be bound."""
    one, other = (private_address("uds", tmp_path) for _ in range(2))
    assert isinstance(one, Path)
    assert one != other
    assert not one.exists()
    assert one.parent == tmp_path
    at = private_address("tcp", tmp_path)
    assert isinstance(at, tuple)
    socket.create_server(at).close()


def test_an_address_that_cannot_be_is_refused(tmp_path: Path) -> None:
    """With the reason: no such transport, or too long a path for the kernel."""
    with pytest.raises(ValueError, match="unknown transport 'pigeon'"):
        private_address("pigeon", tmp_path)
    with pytest.raises(ValueError, match="too long for a socket: at most 100"):
        private_address("uds", tmp_path / ("x" * 100))


def test_the_examples_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a checkout; elsewhere the error says where they are."""
    assert (examples_dir() / "hello.py").is_file()
    monkeypatch.setattr(testing._session, "__file__", "/nonesuch/a/b.py")
    with pytest.raises(FileNotFoundError, match="in a checkout only"):
        examples_dir()


def test_a_debugger_needs_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without one there is a reason why there is none."""
    monkeypatch.setattr(testing._session, "find_terminal", lambda: "/dev/tty")
    assert missing_debugger() == ""
    monkeypatch.setattr(testing._session, "find_terminal", lambda: None)
    assert "no terminal" in missing_debugger()


@pytest.mark.parametrize("hide", [True, False])
def test_our_frames_are_hidden_on_request(hide: bool) -> None:
    """Of a test that fails one sees its own code first."""

    @tractor_test(hide_tb=hide)
    async def fails() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as caught:
        fails()
    ours = [
        entry
        for entry in caught.traceback
        if str(entry.path).endswith("_bounds.py") and entry.ishidden(caught)
    ]
    assert bool(ours) == hide

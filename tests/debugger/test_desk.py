"""The desk and its guests, with a terminal that nobody sits at."""

import threading
import time
from contextlib import closing, suppress
from pathlib import Path

import pytest
import trio
import trio.testing

from tests._helpers import SAFETY
from tractor.devx.debug import DebugRequestError, _desk, _lease
from tractor.devx.debug._desk import Desk
from tractor.devx.debug._lease import Lease, connected, stood_still, stood_still_now


async def acquired(desk: Desk, name: str) -> Lease:
    """The terminal for somebody, who has begun."""
    lease = Lease(desk.address, name)
    with trio.fail_after(SAFETY):
        await lease.acquire_soon()
    lease.open()
    return lease


async def wait_free(desk: Desk) -> None:
    """Wait until nobody has it."""
    with trio.fail_after(SAFETY):
        await stood_still(desk.address, time.monotonic())


async def test_the_terminal_is_handed_on(desk: Desk, path: str) -> None:
    """Whoever waits gets it when it is given back."""
    first = await acquired(desk, "first")
    assert (first.path, desk.holder) == (path, "first")
    second = Lease(desk.address, "second")
    got = trio.Event()

    async def wait() -> None:
        await second.acquire_soon()
        got.set()

    with trio.fail_after(SAFETY):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked()
            assert not got.is_set()
            first.release()
            await got.wait()
    second.open()
    assert desk.holder == "second"
    second.release()
    await wait_free(desk)
    assert desk.holder == ""


async def test_a_thread_can_wait_for_it(desk: Desk) -> None:
    """No loop is needed."""
    first = await acquired(desk, "first")
    second = Lease(desk.address, "second")
    thread = threading.Thread(target=second.acquire)
    thread.start()
    first.release()
    with trio.fail_after(SAFETY):
        await trio.to_thread.run_sync(thread.join)
    assert second.path is not None
    second.release()


async def test_who_is_cancelled_is_in_line_no_more(desk: Desk) -> None:
    """The one behind gets it."""
    first = await acquired(desk, "first")
    with trio.move_on_after(0.01):
        await Lease(desk.address, "second").acquire_soon()
    first.release()
    await wait_free(desk)
    third = await acquired(desk, "third")
    assert desk.holder == "third"
    third.release()


async def test_clocks_stand_still_while_it_is_held(desk: Desk) -> None:
    """And whoever asks later learns that they did."""
    began = time.monotonic()
    assert not await stood_still(desk.address, began)
    assert not stood_still_now(desk.address, began)
    lease = await acquired(desk, "somebody")
    assert stood_still_now(desk.address, began)
    answers = []

    async def ask() -> None:
        answers.append(await stood_still(desk.address, time.monotonic()))

    with trio.fail_after(SAFETY):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await trio.testing.wait_all_tasks_blocked()
            assert answers == []
            lease.release()
    assert answers == [True]
    assert await stood_still(desk.address, began)
    assert stood_still_now(desk.address, began)
    assert not await stood_still(desk.address, time.monotonic())


async def test_a_step_lets_clocks_run(desk: Desk) -> None:
    """Who steps has it again at once, and gives it up by doing nothing."""
    lease = await acquired(desk, "stepper")
    lease.step()
    await wait_free(desk)
    lease.open()
    assert desk.holder == "stepper"
    lease.step()
    other = await acquired(desk, "other")
    assert desk.holder == "other"
    other.release()
    lease.release()


async def test_who_goes_on_is_known_to_have_left(desk: Desk) -> None:
    """So Ctrl-C means the tree again at once, and not when the desk has time for it."""
    lease = await acquired(desk, "stepper")
    for _ in range(10):
        lease.step()
        assert desk.holder == ""
        lease.open()
        assert desk.holder == "stepper"
    lease.release()
    assert desk.holder == ""


async def test_a_late_answer_is_no_turn(
    desk: Desk, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who did not wait for it any more reads it with the next one."""
    monkeypatch.setattr(_lease, "ANSWER", 0.0)
    lease = await acquired(desk, "stepper")
    lease.step()
    with trio.fail_after(SAFETY):
        assert await lease.acquire_soon() == path
    assert lease.open() == path
    lease.release()


async def test_without_a_terminal() -> None:
    """Whoever asks is told so."""
    with closing(Desk(None)) as desk:
        with pytest.raises(DebugRequestError, match="there is no terminal"):
            await Lease(desk.address, "x").acquire_soon()
        with pytest.raises(DebugRequestError, match="there is no terminal"):
            Lease(desk.address, "x").acquire()


async def test_a_terminal_that_cannot_be_opened(tmp_path: Path) -> None:
    """Is none, and the tree runs without one."""
    with (
        closing(Desk(str(tmp_path / "another user's"))) as desk,
        pytest.raises(DebugRequestError, match="there is no terminal"),
    ):
        Lease(desk.address, "x").acquire()


async def test_after_the_end_of_the_desk(path: str) -> None:
    """Nobody waits for it, and clocks run."""
    desk = Desk(path)
    lease = await acquired(desk, "somebody")
    desk.close()
    assert not await stood_still(desk.address, 0.0)
    assert not stood_still_now(desk.address, 0.0)
    with pytest.raises(DebugRequestError, match="the root has ended"):
        Lease(desk.address, "x").acquire()
    lease.release()


def test_another_user_is_shown_out(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the desk, and a desk of another user is asked for nothing."""
    with connected(desk.address) as first:
        first.sendall(b"look\n")
        assert first.recv(1)  # it was let in, as are all of this user
    monkeypatch.setattr(_desk, "is_own", lambda _: False)
    with connected(desk.address) as guest:
        guest.settimeout(SAFETY)
        assert guest.recv(1) == b""
    monkeypatch.setattr(_lease, "is_own", lambda _: False)
    with pytest.raises(ConnectionError, match="another user's"):
        connected(desk.address)


async def test_nonsense_is_no_harm(desk: Desk) -> None:
    """A guest that says what nobody understands is ignored, or shown out."""
    with connected(desk.address) as guest:
        guest.sendall(b"hello\nwant \xff\n")
        with trio.fail_after(SAFETY):
            await trio.lowlevel.wait_readable(guest)
        assert guest.recv(100).startswith(b"go ")
    # It is shown out before it has finished.
    with connected(desk.address) as guest, suppress(ConnectionError):
        guest.sendall(b"x" * (1 << 18))
        with trio.fail_after(SAFETY):
            await trio.lowlevel.wait_readable(guest)
        assert guest.recv(1) == b""
    (await acquired(desk, "somebody")).release()

"""The root: booting a tree around a block, and leaving it in order."""

import logging
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

import tractor
from tests import _actors as do
from tests import _misbehaviours as mis
from tests._helpers import MODULES, SAFETY, Bell, is_gone, open_tree, raises
from tractor import NoRuntime


@pytest.fixture
def bell() -> Iterator[Bell]:
    with Bell() as bell:
        yield bell


# -- open_nursery ----------------------------------------------------------------------


async def test_a_nursery_boots_what_it_needs(start_method: str) -> None:
    """Without a runtime it boots one, within one it does not (semantics §1.3)."""
    async with tractor.open_nursery(name="top", start_method=start_method):
        root = tractor.current_actor()
        assert root.name == "top"
        async with tractor.open_nursery() as an:
            await an.start_actor("x")
            await an.cancel()
        assert tractor.current_actor() is root
    with pytest.raises(NoRuntime):
        tractor.current_actor()


async def test_options_come_too_late_for_a_running_root(start_method: str) -> None:
    """A nursery within a runtime takes no options of the runtime (semantics §1.3)."""
    async with tractor.open_root_actor(start_method=start_method) as root:
        with pytest.raises(TypeError, match="give loglevel, name to open_root_actor"):
            async with tractor.open_nursery(loglevel="info", name="x"):
                pass
        assert tractor.current_actor() is root


async def test_one_tree_may_have_many_nurseries(start_method: str) -> None:
    """An error ends the nursery that it came through, and no other (semantics §3.2)."""
    async with open_tree(start_method) as outer:
        portal = await outer.start_actor("outer", enable_modules=MODULES)
        with raises(tractor.RemoteActorError, match="on purpose"):
            async with tractor.open_nursery() as inner:
                await inner.run_in_actor(mis.fails)
        assert (inner.cancel_called, outer.cancel_called) == (True, False)
        await portal.run(do.log_level)
        await outer.cancel()


# -- open_root_actor -------------------------------------------------------------------


async def test_the_root_imports_its_modules(
    start_method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An import that fails leaves no runtime (semantics §1.1)."""
    (tmp_path / "broken_for_root.py").write_text("1 / 0")
    monkeypatch.syspath_prepend(tmp_path)
    for _ in range(2):
        with raises(ZeroDivisionError):
            async with tractor.open_root_actor(
                start_method=start_method, enable_modules=["broken_for_root"]
            ):
                pass


async def test_the_log_level_goes_down_the_tree(start_method: str) -> None:
    """Children log at the root's level, or at their own (semantics §1.4, §11)."""
    logger = logging.getLogger("tractor")
    level, handlers = logger.level, [*logger.handlers]
    try:
        async with open_tree(start_method, loglevel="critical") as an:
            given = await an.start_actor("a", enable_modules=MODULES)
            own = await an.start_actor("b", enable_modules=MODULES, loglevel="error")
            assert (
                await do.log_level()
                == await given.run(do.log_level)
                == logging.CRITICAL
            )
            assert await own.run(do.log_level) == logging.ERROR
            await an.cancel()
    finally:
        logger.setLevel(level)
        logger.handlers[:] = handlers


async def test_a_root_may_run_in_a_thread(start_method: str) -> None:
    """Nothing of a tree needs the main thread (semantics §1.1)."""

    async def main() -> int:
        async with open_tree(start_method) as an:
            portal = await an.start_actor("x", enable_modules=MODULES)
            level = await portal.run(do.log_level)
            await an.cancel()
        return level

    assert isinstance(await trio.to_thread.run_sync(trio.run, main), int)


async def test_a_root_can_be_stopped(start_method: str, bell: Bell) -> None:
    """`cancel_soon` cancels its block, and the block is left normally (§3.3)."""
    async with open_tree(start_method) as an:
        root = tractor.current_actor()
        portal = await an.run_in_actor(mis.waits, bell=bell.path)
        await bell.heard()
        root.cancel_soon()
        root.cancel_soon()
        await trio.sleep_forever()
    assert root.cancel_called
    assert root.cancel_caller == root.aid.uid
    assert (an.cancelled_caught, an.errors) == (True, {})
    assert is_gone(portal)


async def test_a_child_can_stop_the_root(start_method: str) -> None:
    """Who asked is on record (semantics §4.5)."""
    async with open_tree(start_method) as an:
        root = tractor.current_actor()
        portal = await an.start_actor("x", enable_modules=MODULES)
        await portal.run(do.stop_the_parent)
        await trio.sleep_forever()
    assert root.cancel_caller == portal.aid.uid


# -- SIGTERM ---------------------------------------------------------------------------


async def test_sigterm_stops_the_root(start_method: str, bell: Bell) -> None:
    """It cancels the block, then leaves it with `SystemExit(143)` (reliability B2)."""
    with raises(SystemExit) as caught:
        async with open_tree(start_method) as an:
            await an.run_in_actor(mis.waits, bell=bell.path)
            await bell.heard()
            signal.raise_signal(signal.SIGTERM)
            await trio.sleep_forever()
    assert caught.value.code == 143
    assert (an.cancelled_caught, an.errors) == (True, {})
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


async def test_a_handler_of_the_program_is_left_alone(start_method: str) -> None:
    """SIGTERM is the root's only where nobody else wants it (reliability B2)."""
    seen: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: seen.append(number))
    try:
        with trio.fail_after(SAFETY):
            async with tractor.open_root_actor(start_method=start_method):
                signal.raise_signal(signal.SIGTERM)
                await trio.lowlevel.checkpoint()
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    assert seen == [signal.SIGTERM]

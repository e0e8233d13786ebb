"""Starts that block, and what interrupting them leaves."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tractor.spawn import _threaded
from tractor.spawn._threaded import start_in_thread

SAFETY = 20  # seconds; a net, never what is tested


class Slow:
    """Something that is made when the test says so."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.go_on = threading.Event()
        self.undone = threading.Event()
        self.held = ExitStack()
        self.held_closed = threading.Event()
        self.held.callback(self.held_closed.set)

    def make(self) -> str:
        self.begun.set()
        assert self.go_on.wait(SAFETY)
        assert not self.held_closed.is_set()
        return "made"

    def undo(self, made: str) -> None:
        assert made == "made"
        self.undone.set()

    async def start(self) -> str:
        return await start_in_thread(self.make, self.undo, self.held)


@pytest.fixture
def slow() -> Iterator[Slow]:
    slow = Slow()
    yield slow
    slow.go_on.set()


async def test_what_is_made_is_handed_over(slow: Slow) -> None:
    """It comes back, it is not undone, and the loop ran on."""
    results = []

    async def start() -> None:
        results.append(await slow.start())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(start)
        await wait_all_tasks_blocked()
        slow.go_on.set()
    assert results == ["made"]
    assert slow.held_closed.is_set()
    assert not slow.undone.is_set()


async def test_an_error_is_raised() -> None:
    """What the start raises is raised, and nothing is undone."""
    with pytest.raises(ZeroDivisionError):
        await start_in_thread(lambda: 1 // 0, lambda _: pytest.fail("?"), ExitStack())


async def test_no_more_threads(slow: Slow, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no thread can be started, nothing is kept."""

    def refuse(*_args: object) -> None:
        msg = "can't start new thread"
        raise RuntimeError(msg)

    monkeypatch.setattr(trio.lowlevel, "start_thread_soon", refuse)
    with pytest.raises(RuntimeError, match="new thread"):
        await slow.start()
    assert slow.held_closed.is_set()


async def test_an_interrupted_start_is_undone(slow: Slow) -> None:
    """A caller that is cancelled waits until nothing is left."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(slow.start)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
        await trio.lowlevel.cancel_shielded_checkpoint()
        slow.go_on.set()
    assert slow.undone.is_set()
    assert slow.held_closed.is_set()


async def test_a_failed_start_needs_no_undoing() -> None:
    """An error of a start that nobody waits for is nobody's."""
    go_on = threading.Event()

    def fail() -> None:
        assert go_on.wait(SAFETY)
        raise ZeroDivisionError

    async with trio.open_nursery() as nursery:
        held = ExitStack()
        nursery.start_soon(start_in_thread, fail, lambda _: pytest.fail("?"), held)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
        await trio.lowlevel.cancel_shielded_checkpoint()
        go_on.set()


async def test_a_stuck_start_is_left_alone(
    slow: Slow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It holds up nobody for ever; what it makes in the end is undone."""
    monkeypatch.setattr(_threaded, "PATIENCE", 0.01)
    with trio.fail_after(SAFETY):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(slow.start)
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        assert not slow.undone.is_set()
        slow.go_on.set()
        await trio.to_thread.run_sync(slow.undone.wait, SAFETY)


def test_a_start_that_outlives_its_loop(
    slow: Slow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is made when nothing runs any more is undone all the same."""
    monkeypatch.setattr(_threaded, "PATIENCE", 0.01)

    async def main() -> None:
        with trio.move_on_after(0.01):
            await slow.start()

    trio.run(main)
    assert not slow.undone.is_set()
    slow.go_on.set()
    assert slow.undone.wait(SAFETY)


def test_a_start_that_ends_with_its_loop(
    slow: Slow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is made while the run ends is undone, too."""
    monkeypatch.setattr(_threaded, "PATIENCE", 0.01)

    async def go_on_at_the_end() -> None:
        try:
            await trio.sleep_forever()
        finally:
            slow.go_on.set()
            with trio.CancelScope(shield=True):
                assert await trio.to_thread.run_sync(slow.undone.wait, SAFETY)

    async def main() -> None:
        trio.lowlevel.spawn_system_task(go_on_at_the_end)
        with trio.move_on_after(0.01):
            await slow.start()

    trio.run(main)

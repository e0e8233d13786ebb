"""What must not be lost, run twice, or end others: found by trying to break it."""

import gc
import os
import threading
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from tests.cowns import _bodies as do
from tests.cowns._scopes import scoped
from tractor import pinned
from tractor.cowns import (
    Cown,
    CownPoisoned,
    PinnedCown,
    Unreadable,
    current_scope,
)
from tractor.cowns._log import ROOM, Log, make
from tractor.cowns._outbox import Outbox
from tractor.futures import BrokenPool

QUEUED = 5
TURNS = 60


async def look_later(cown: Cown[Any]) -> Any:
    """Hold it across a checkpoint, and change nothing."""
    await trio.lowlevel.checkpoint()
    return cown.value


def write_unreadable(_: Cown[Any], key: str) -> None:
    """A notice that can be packed and not unpacked."""
    current_scope().notices.write(key, do.Unreadable())


def leave(_: Any) -> None:
    """An update that ends programs."""
    raise SystemExit


def update_and_leave(_: Cown[Any], key: str) -> None:
    """A notice whose update ends programs."""
    current_scope().notices.update(key, leave, 0)


def wait_and_schedule(cown: Cown[int], begun: str, go_on: str) -> None:
    """Say that it runs, and schedule when it is told to."""
    do.touch(begun)
    do.wait_for(go_on)
    current_scope().schedule(do.add, cown)


def schedule_from_main(window: PinnedCown[Any], cown: Cown[int]) -> None:
    """Schedule, make a cown, and set a notice, where the loop may not be."""
    scope = current_scope()
    window.value.append(scope.schedule(do.add, cown))
    window.value.append(Cown(7))
    scope.notices.write("from", "afar")


async def warm(scope: Any) -> None:
    """Let a worker learn that behaviours are short, so that it gets many at once."""
    for _ in range(200):
        scope.schedule(do.nothing)
    await scope.quiesce()


async def test_an_async_reader_keeps_what_was_not_saved() -> None:
    """It takes a changed value before that was packed, and so has to tell of it."""
    async with scoped() as scope:
        cown = Cown(0)
        for turn in range(1, TURNS + 1):
            scope.schedule(do.add, cown)
            assert await scope.schedule(look_later, cown) == turn
            assert await cown == turn


async def test_a_lost_value_ends_nothing_but_what_is_over_it() -> None:
    """Behaviours that were placed behind its loss are refused, and the worker lives."""
    async with scoped() as scope:
        await warm(scope)
        doomed, other = Cown(0), Cown(0)
        scope.schedule(do.spoil, doomed)
        scope.schedule(do.add, other)
        results = [scope.schedule(do.look, doomed) for _ in range(QUEUED)]
        scope.schedule(do.add, other)
        for result in results:
            with pytest.raises(CownPoisoned):
                await result
        assert await other == 2
        assert scope.stats().deaths == 0
        assert scope.stats().refused == QUEUED


async def test_a_value_that_cannot_be_read_ends_nothing_else() -> None:
    """The first one hears why, and the rest that it is lost; the worker lives."""
    async with scoped(serializer="pickle") as scope:
        await warm(scope)
        doomed = Cown(do.Unreadable())
        results = [scope.schedule(do.look, doomed) for _ in range(QUEUED)]
        with pytest.raises(Unreadable):
            await results.pop(0)
        for result in results:
            with pytest.raises(CownPoisoned):
                await result
        assert scope.stats().deaths == 0


async def test_a_bad_notice_of_a_behaviour_changes_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is logged, and neither the scope nor a worker ends."""
    async with scoped(serializer="pickle") as scope:
        scope.notices.write("key", 1)
        for bad in (write_unreadable, update_and_leave):
            await scope.schedule(bad, Cown(0), captures=("key",))
        await scope.quiesce()
        assert scope.notices.read("key") == 1
        assert scope.stats().deaths == 0
    assert "was not set" in caplog.text
    assert "was not updated" in caplog.text


async def test_an_error_that_was_raised_keeps_no_handles() -> None:
    """It knows the frames of its reader, and the scope does not keep it."""
    async with scoped() as scope:
        await scope.schedule(do.nothing)
        for _ in range(QUEUED):
            doomed = Cown(0)
            scope.schedule(do.spoil, doomed)
            with pytest.raises(CownPoisoned):
                await doomed
            refused = scope.schedule(do.look, doomed)
            with pytest.raises(CownPoisoned):
                await refused
            with pytest.raises(CownPoisoned):  # and again, for who comes later
                await refused
            del doomed, refused
        gc.collect()
        scope.turn()
        assert scope.stats().cowns <= 2


async def test_scheduling_from_another_thread() -> None:
    """It is done in the loop, and the order is that of the calls."""
    async with scoped() as scope:
        cown = Cown(0)

        def run() -> list[Any]:
            made = Cown(10)
            return [scope.schedule(do.add, each) for each in (cown, cown, made)]

        results = await trio.to_thread.run_sync(run)
        assert [await one for one in results] == [1, 2, 11]


def test_a_behaviour_schedules_from_the_thread_of_a_host() -> None:
    """Where a host pumps, it is not in the thread of the loop."""
    rung, ended = threading.Semaphore(0), threading.Event()
    left: list[Any] = []

    async def program() -> None:
        async with scoped() as scope:
            cown, window = Cown(0), PinnedCown(left)
            await scope.schedule(schedule_from_main, window, cown)
            await scope.quiesce()
            assert scope.notices.read("from") == "afar"
            left[:] = [await one for one in left]

    def host() -> None:
        try:
            trio.run(program)
        finally:
            ended.set()
            rung.release()

    pinned.set_pump_wakeup(rung.release)
    try:
        thread = threading.Thread(target=host)
        thread.start()
        while not ended.is_set() and rung.acquire(timeout=do.SAFETY):
            pinned.pump()
        thread.join(do.SAFETY)
    finally:
        pinned.set_pump_wakeup(None)
    assert left == [1, 7]


async def test_what_is_scheduled_after_a_break_is_not_waited_for(
    tmp_path: Path,
) -> None:
    """A worker that goes on adds nothing that would never run."""
    begun, go_on = str(tmp_path / "begun"), str(tmp_path / "go on")
    async with scoped() as scope:
        running = scope.schedule(wait_and_schedule, Cown(0), captures=(begun, go_on))
        await trio.to_thread.run_sync(do.wait_for, begun)
        scope.break_(BrokenPool("on purpose"))
        do.touch(go_on)
        with pytest.raises(BrokenPool, match="on purpose"):
            await running
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert scope.stats().in_flight == 0


async def test_what_was_dropped_may_end_all_the_same() -> None:
    """A behaviour on the main thread that is dropped in its midst changes nothing."""
    async with scoped() as scope:

        def break_(_: PinnedCown[int]) -> None:
            scope.break_(BrokenPool("in the midst"))

        result = scope.schedule(break_, PinnedCown(0))
        with pytest.raises(BrokenPool, match="in the midst"):
            await result
        await trio.testing.wait_all_tasks_blocked()
        assert scope.stats().finished == 0


async def test_an_outbox_waits_for_what_the_log_has_not() -> None:
    """Also if who said that had no place to wait; and after its end nobody waits."""
    path = make()
    try:
        outbox = Outbox(Log(path), 1 << 20)
        assert outbox.put(1, b"small")
        assert not outbox.put(1, bytes(ROOM))
        assert not outbox.put(1, b"small")
        with trio.fail_after(do.SAFETY):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.to_thread.run_sync, outbox.wait_sent)
                await trio.testing.wait_all_tasks_blocked()
                outbox.end()
            await trio.to_thread.run_sync(outbox.wait_sent)
        assert outbox.put(1, bytes(ROOM))
    finally:
        os.unlink(path)

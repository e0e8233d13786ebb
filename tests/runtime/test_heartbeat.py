"""Heartbeats: who does not answer is reported, and nothing else (reliability A8)."""

import logging
import os
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import pytest
import trio

import tractor
from tests._helpers import (
    QUICK,
    SAFETY,
    Bell,
    events,
    is_gone,
    open_tree,
    pid_of,
    raises,
    signal_of_strike,
    strike,
)
from tests._misbehaviours import behaves
from tests.runtime import supervised as do
from tractor import ActorDied, TransportClosed, open_heartbeat
from tractor._instrument import hub
from tractor.spawn import Traits
from tractor.testing import faults

MODULES = [do.__name__, behaves.__module__]
INTERVAL = 0.25  # seconds


@pytest.fixture
def reports() -> Iterator[list[str]]:
    """The events about it, and every rung that a ladder takes."""
    kinds: list[str] = []
    watched = {"responsive", "unresponsive", "rung"}
    with hub.subscribed(lambda e: kinds.append(e.kind) if e.kind in watched else None):
        yield kinds


@contextmanager
def reported_in_time() -> Iterator[None]:
    """It takes at most two intervals, and what a small machine needs."""
    began = trio.current_time()
    yield
    took = trio.current_time() - began
    busy = os.getloadavg()[0] > 2 * (os.cpu_count() or 1)
    assert INTERVAL * 0.9 < took < 2 * INTERVAL * (3 if busy else 1.5)
    print(f"unresponsive was reported after {took / INTERVAL:.2f} intervals")


class Ice:
    """Stops one actor, and lets it go on: its process, or else its loop.

    Args:
        tasks: Where the call runs that holds up the loop.
        gate: A named pipe.
    """

    def __init__(self, tasks: trio.Nursery, bell: Bell, gate: str) -> None:
        self._tasks = tasks
        self._bell = bell
        self._gate = gate

    async def stop(self, portal: tractor.Portal) -> None:
        """Let nothing of it move; it serves `MODULES`."""
        if pid_of(portal) != os.getpid():
            faults.stop(portal)
        else:
            self._tasks.start_soon(self._block, portal)
            await self._bell.heard()

    def resume(self, portal: tractor.Portal) -> None:
        """Let it go on."""
        if pid_of(portal) != os.getpid():
            faults.resume(portal)
        else:
            os.close(os.open(self._gate, os.O_WRONLY))

    async def _block(self, portal: tractor.Portal) -> None:
        with suppress(TransportClosed):
            await portal.run(do.blocks_the_loop, self._gate, self._bell.path)


@asynccontextmanager
async def open_ice(folder: Path) -> AsyncIterator[Ice]:
    """Put it around the tree, so that it ends after it."""
    gate = str(folder / "gate")
    os.mkfifo(gate)
    with Bell() as bell:
        async with trio.open_nursery() as tasks:
            yield Ice(tasks, bell, gate)


async def test_a_stopped_process_is_reported_and_goes_on(
    start_method: str, reports: list[str], tmp_path: Path
) -> None:
    """SIGSTOP is seen within two intervals; after SIGCONT its work goes on (A8)."""
    changes: list[bool] = []
    async with open_ice(tmp_path) as ice, open_tree(start_method) as an:
        portal = await an.start_actor("x", enable_modules=MODULES)
        async with open_heartbeat(
            portal, interval=INTERVAL, on_change=changes.append
        ) as beat:
            assert await portal.run(do.count_calls) == 1
            assert beat.responsive
            await ice.stop(portal)
            with reported_in_time():
                await beat.wait_unresponsive()
            assert not beat.responsive
            ice.resume(portal)
            await beat.wait_responsive()
            assert await portal.run(do.count_calls) == 2
            assert beat.round_trip is not None
        assert changes == [False, True]
        assert reports == ["unresponsive", "responsive"]
        await an.cancel()


async def test_a_stuck_loop_is_reported(
    start_method: str, reports: list[str], tmp_path: Path
) -> None:
    """So is code that does not give the loop back, until it does (A8)."""
    gate = str(tmp_path / "gate")
    os.mkfifo(gate)
    with Bell() as bell:
        async with open_tree(start_method) as an:
            portal = await an.start_actor("x", enable_modules=MODULES)
            async with (
                open_heartbeat(portal, interval=INTERVAL) as beat,
                trio.open_nursery() as nursery,
            ):
                nursery.start_soon(portal.run, do.blocks_the_loop, gate, bell.path)
                await bell.heard()
                with reported_in_time():
                    await beat.wait_unresponsive()
                os.close(os.open(gate, os.O_WRONLY))
                await beat.wait_responsive()
            assert reports == ["unresponsive", "responsive"]
            await an.cancel()


async def test_nobody_is_killed(
    start_method: str, reports: list[str], tmp_path: Path
) -> None:
    """However long it does not answer, the actor is left alone (A8)."""
    async with open_ice(tmp_path) as ice, open_tree(start_method, graces=QUICK) as an:
        portal = await an.start_actor("x", enable_modules=MODULES)
        await ice.stop(portal)
        async with open_heartbeat(portal, interval=0.01) as beat:
            await beat.wait_unresponsive()
            with trio.move_on_after(10 * 0.01):
                await beat.wait_responsive()
            assert not is_gone(portal)
            assert reports == ["unresponsive"]
        ice.resume(portal)
        await an.cancel()


async def test_a_half_open_link_is_reported(start_method: str) -> None:
    """It need not be the process that is at fault (reliability F7)."""
    async with open_tree(start_method, graces=QUICK) as an:
        portal = await an.start_actor("x")
        link = await faults.interpose(portal)
        async with open_heartbeat(portal, interval=INTERVAL) as beat:
            link.go_half_open()
            with reported_in_time():
                await beat.wait_unresponsive()
            await an.cancel()
        assert not an.cancelled_caught  # it could not be asked


@pytest.mark.parametrize("stopped", [False, True])
async def test_an_end_is_no_answer(
    *,
    start_method: str,
    traits: Traits,
    reports: list[str],
    tmp_path: Path,
    stopped: bool,
) -> None:
    """Who waits for a change gets the error of the dead actor; none is reported."""
    async with open_ice(tmp_path) as ice:
        with raises(ActorDied):
            async with open_tree(start_method) as an:
                portal = await an.start_actor("x", enable_modules=MODULES)
                await check_end(portal, ice, signal_of_strike(traits), stopped=stopped)
    if not traits.own_process:  # it outlived its link, and had to be stopped
        reports = [kind for kind in reports if kind != "rung"]
    assert reports == ["unresponsive"] * stopped


async def check_end(
    portal: tractor.Portal, ice: Ice, number: int | None, *, stopped: bool
) -> None:
    async with open_heartbeat(portal, interval=0.05) as beat:
        with trio.CancelScope(shield=True):
            wait = beat.wait_unresponsive
            if stopped:
                await ice.stop(portal)
                await beat.wait_unresponsive()
                wait = beat.wait_responsive
            strike(portal)
            with trio.fail_after(SAFETY), pytest.raises(ActorDied) as caught:
                await wait()
            assert caught.value.signal == number
            if stopped and number is None:
                ice.resume(portal)  # it is still there, and to be stopped


async def test_an_orderly_end_ends_the_heartbeat(start_method: str) -> None:
    """Its block goes on, and who waits is told."""
    async with open_tree(start_method) as an:
        portal = await an.start_actor("x")
        async with open_heartbeat(portal, interval=3600) as beat:
            await portal.cancel_actor()
            with trio.fail_after(SAFETY), pytest.raises(TransportClosed):
                await beat.wait_unresponsive()


async def test_a_callback_that_raises(
    start_method: str, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """It is logged, it is called no more, and the heartbeat goes on."""
    calls: list[bool] = []

    def fail(responsive: bool) -> None:
        calls.append(responsive)
        raise KeyError("of the callback")

    async with open_ice(tmp_path) as ice, open_tree(start_method) as an:
        portal = await an.start_actor("x", enable_modules=MODULES)
        with caplog.at_level(logging.ERROR, "tractor"):
            async with open_heartbeat(portal, interval=0.05, on_change=fail) as beat:
                await ice.stop(portal)
                await beat.wait_unresponsive()
                ice.resume(portal)
                await beat.wait_responsive()
        assert calls == [False]
        assert "callback raised" in caplog.text
        await an.cancel()


async def test_the_pings_end_with_the_block(start_method: str, tmp_path: Path) -> None:
    """Nothing is sent any more, and the actor goes on."""
    async with open_ice(tmp_path) as ice, open_tree(start_method) as an:
        portal = await an.start_actor("x", enable_modules=MODULES)
        async with open_heartbeat(portal, interval=0.01):
            await portal.run(behaves)
        peer = portal._peer
        with events("unresponsive") as late:
            await ice.stop(portal)
            asked = peer._last_ping
            await trio.testing.wait_all_tasks_blocked(0.05)
            assert (peer._last_ping, late) == (asked, [])
            ice.resume(portal)
        await an.cancel()


async def test_wrong_intervals_are_refused(start_method: str) -> None:
    """They are errors at the call."""
    async with open_tree(start_method) as an:
        portal = await an.start_actor("x")
        for interval in (0, -1, float("nan")):
            with pytest.raises(ValueError, match="interval must be > 0"):
                async with open_heartbeat(portal, interval=interval):
                    pass
        await an.cancel()


async def test_a_stall_of_our_own_is_not_blamed_on_it(
    start_method: str, reports: list[str]
) -> None:
    """Answers that are there when our own loop runs again were in time."""
    async with open_tree(start_method) as an:
        portal = await an.start_actor("x")
        async with open_heartbeat(portal, interval=0.02):
            for _ in range(15):
                await trio.lowlevel.checkpoint()
                time.sleep(0.1)  # noqa: ASYNC251 (the stall)
        await an.cancel()
    assert "unresponsive" not in reports


async def test_waiting_after_the_block_is_refused(start_method: str) -> None:
    """No news will come, so it raises at once; of a dead actor, its error."""
    async with open_tree(start_method) as an:
        portal = await an.start_actor("x")
        async with open_heartbeat(portal) as beat:
            await trio.lowlevel.checkpoint()
        for wait in (beat.wait_responsive, beat.wait_unresponsive):
            with trio.fail_after(SAFETY), pytest.raises(RuntimeError, match="is over"):
                await wait()
        await portal.cancel_actor()
        with trio.fail_after(SAFETY), pytest.raises(TransportClosed):
            await beat.wait_responsive()

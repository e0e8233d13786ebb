"""Heartbeats: who does not answer is reported, and nothing else (reliability A8)."""

import logging
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio

from tests._helpers import QUICK, SAFETY, Bell, events, open_tree, pid_of, raises
from tests._misbehaviours import behaves
from tests.runtime import supervised as do
from tractor import ActorDied, TransportClosed, open_heartbeat
from tractor._instrument import hub
from tractor.testing import faults

process = pytest.mark.requires_trait("own_process", "can_kill")

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


@process
async def test_a_stopped_process_is_reported_and_goes_on(
    start_method: str, reports: list[str]
) -> None:
    """SIGSTOP is seen within two intervals; after SIGCONT its work goes on (A8)."""
    changes: list[bool] = []
    async with open_tree(start_method) as an:
        portal = await an.start_actor("x", enable_modules=MODULES)
        async with open_heartbeat(
            portal, interval=INTERVAL, on_change=changes.append
        ) as beat:
            assert await portal.run(do.count_calls) == 1
            assert beat.responsive
            faults.stop(portal)
            with reported_in_time():
                await beat.wait_unresponsive()
            assert not beat.responsive
            faults.resume(portal)
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


@process
async def test_nobody_is_killed(start_method: str, reports: list[str]) -> None:
    """However long it does not answer, the actor is left alone (A8)."""
    async with open_tree(start_method, graces=QUICK) as an:
        portal = await an.start_actor("x")
        faults.stop(portal)
        async with open_heartbeat(portal, interval=0.01) as beat:
            await beat.wait_unresponsive()
            with trio.move_on_after(10 * 0.01):
                await beat.wait_responsive()
            assert Path(f"/proc/{pid_of(portal)}").exists()  # noqa: ASYNC240
            assert reports == ["unresponsive"]
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


@process
@pytest.mark.parametrize("stopped", [False, True])
async def test_an_end_is_no_answer(
    start_method: str, reports: list[str], *, stopped: bool
) -> None:
    """Who waits for a change gets the error of the dead actor; none is reported."""
    with raises(ActorDied):
        async with open_tree(start_method) as an:
            portal = await an.start_actor("x")
            async with open_heartbeat(portal, interval=0.05) as beat:
                with trio.CancelScope(shield=True):
                    wait = beat.wait_unresponsive
                    if stopped:
                        faults.stop(portal)
                        await beat.wait_unresponsive()
                        wait = beat.wait_responsive
                    faults.kill(portal)
                    with trio.fail_after(SAFETY), pytest.raises(ActorDied) as caught:
                        await wait()
    assert caught.value.signal == signal.SIGKILL
    assert reports == ["unresponsive"] * stopped


async def test_an_orderly_end_ends_the_heartbeat(start_method: str) -> None:
    """Its block goes on, and who waits is told."""
    async with open_tree(start_method) as an:
        portal = await an.start_actor("x")
        async with open_heartbeat(portal, interval=3600) as beat:
            await portal.cancel_actor()
            with trio.fail_after(SAFETY), pytest.raises(TransportClosed):
                await beat.wait_unresponsive()


@process
async def test_a_callback_that_raises(
    start_method: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged, it is called no more, and the heartbeat goes on."""
    calls: list[bool] = []

    def fail(responsive: bool) -> None:
        calls.append(responsive)
        raise KeyError("of the callback")

    async with open_tree(start_method) as an:
        portal = await an.start_actor("x")
        with caplog.at_level(logging.ERROR, "tractor"):
            async with open_heartbeat(portal, interval=0.05, on_change=fail) as beat:
                faults.stop(portal)
                await beat.wait_unresponsive()
                faults.resume(portal)
                await beat.wait_responsive()
        assert calls == [False]
        assert "callback raised" in caplog.text
        await an.cancel()


@process
async def test_the_pings_end_with_the_block(start_method: str) -> None:
    """Nothing is sent any more, and the actor goes on."""
    async with open_tree(start_method) as an:
        portal = await an.start_actor("x", enable_modules=MODULES)
        async with open_heartbeat(portal, interval=0.01):
            await portal.run(behaves)
        peer = portal._peer
        with events("unresponsive") as late:
            faults.stop(portal)
            asked = peer._last_ping
            await trio.testing.wait_all_tasks_blocked(0.05)
            assert (peer._last_ping, late) == (asked, [])
            faults.resume(portal)
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

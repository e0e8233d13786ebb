"""Is an actor still listening? Opt-in, and it only ever reports.

A `Ping` is answered by the reader task of the other side, so an answer says that its
process runs and its event loop turns, and nothing about its tasks. No answer within the
interval means that the process is stopped (SIGSTOP, a debugger, a frozen container),
starved, or held by code that does not give the loop back.
"""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final, Literal

import trio

from tractor._exceptions import TransportClosed
from tractor._instrument import hub
from tractor.log import get_logger
from tractor.runtime._portal import Portal
from tractor.runtime._state import current_actor

log = get_logger("heartbeat")

# Rounds of the scheduler before an answer is missed: when our own loop stood still, it
# is there and not read yet. One for the reader, one to spare. Takes no time.
LOOK: Final = 2


class Heartbeat:
    """What is known of one actor; got from `open_heartbeat`, and of use in its block.

    Attributes:
        responsive: Whether the last ping was answered in time.
        round_trip: Seconds that the last answer took; `None` before the first.
    """

    def __init__(self, portal: Portal) -> None:
        self.responsive = True
        self.round_trip: float | None = None
        self._portal = portal
        self._over = False
        self._changed = trio.Event()

    async def wait_unresponsive(self) -> None:
        """Wait until it does not answer; at once while it does not.

        Raises:
            TransportClosed: It has ended, or `ActorDied` when it died.
            RuntimeError: The block of `open_heartbeat` was left.
        """
        await self._wait(responsive=False)

    async def wait_responsive(self) -> None:
        """Wait until it answers; at once while it does.

        Raises:
            TransportClosed: It has ended, or `ActorDied` when it died.
            RuntimeError: The block of `open_heartbeat` was left.
        """
        await self._wait(responsive=True)

    async def _wait(self, *, responsive: bool) -> None:
        await trio.lowlevel.checkpoint_if_cancelled()
        while self._over or self.responsive != responsive:
            if self._portal.down:
                raise await self._portal.wait_down()
            if self._over:
                name = self._portal.aid.reprol()
                msg = f"the heartbeat of {name!r} is over; wait inside of its block"
                raise RuntimeError(msg)
            await self._changed.wait()

    def note(self, *, responsive: bool) -> bool:
        """Take in news; whether that is a change (for the runtime)."""
        if responsive == self.responsive:
            return False
        self.responsive = responsive
        self._tell()
        return True

    def end(self) -> None:
        """No more news will come (for the runtime)."""
        self._over = True
        self._tell()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = trio.Event()


@asynccontextmanager
async def open_heartbeat(
    portal: Portal,
    *,
    interval: float = 1.0,
    on_change: Callable[[bool], None] | None = None,
) -> AsyncIterator[Heartbeat]:
    """Ask an actor again and again whether it is there, while the block runs.

    Being late is reported within two intervals: by the event ``unresponsive``, a
    warning in the log, `Heartbeat.wait_unresponsive` and the callback. Nothing is
    killed or cancelled; when it answers again, that is reported as well
    (``responsive``). It ends by itself when the actor does, which is no news of its
    own; see `monitor`.

    Args:
        portal: To whom.
        interval: Seconds between pings, and the most an answer may take; > 0.
        on_change: Called with the new state, in the event loop; must not block. It is
            called no more when it raises, which is logged.

    Raises:
        ValueError: `interval` is out of range.

    Cancellation: the pings end.
    """
    if not interval > 0:
        msg = f"interval must be > 0 seconds, not {interval!r}"
        raise ValueError(msg)
    pulse = _Pulse(portal, interval, on_change)
    current_actor().spawn(pulse.run, name=f"heartbeat of {portal.aid.reprol()}")
    try:
        yield pulse.beat
    finally:
        pulse.scope.cancel()
        pulse.beat.end()


class _Pulse:
    """The service behind a heartbeat."""

    def __init__(
        self,
        portal: Portal,
        interval: float,
        on_change: Callable[[bool], None] | None,
    ) -> None:
        self.beat = Heartbeat(portal)
        self.scope = trio.CancelScope()
        self._portal = portal
        self._actor = current_actor()
        self._interval = interval
        self._on_change = on_change

    async def run(self) -> None:
        """Ping until the scope is cancelled or the actor is gone; never raises."""
        try:
            with self.scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._ping_for_ever)
                    await self._portal.wait_down()
                    nursery.cancel_scope.cancel()
        finally:
            self.beat.end()

    @trio.lowlevel.enable_ki_protection
    async def _ping_for_ever(self) -> None:
        while True:
            sent, began = trio.current_time(), time.monotonic()
            try:
                answer = self._portal.ping()
            except TransportClosed:
                return
            with trio.move_on_after(self._interval):
                await answer.wait()
            while not answer.is_set() and await self._actor.stood_still(began):
                began = time.monotonic()
                with trio.move_on_after(self._interval):
                    await answer.wait()
            for _ in range(LOOK):
                await trio.lowlevel.checkpoint()
            if not answer.is_set():
                self._report(responsive=False)
                await answer.wait()
            if self._portal.down:  # its end sets the event, too
                return
            self.beat.round_trip = trio.current_time() - sent
            self._report(responsive=True)
            await trio.sleep_until(sent + self._interval)

    def _report(self, *, responsive: bool) -> None:
        if not self.beat.note(responsive=responsive):
            return
        state: Literal["responsive", "unresponsive"] = (
            "responsive" if responsive else "unresponsive"
        )
        log.warning("%s is %s", self._portal.aid.reprol(), state)
        if hub.active:
            hub.emit(state, self._portal.aid)
        if self._on_change is None:
            return
        try:
            self._on_change(responsive)
        except Exception:  # an observer never breaks what it observes
            self._on_change = None
            log.exception("the heartbeat's callback raised and is not called again")

"""Waiting for the outcome of a call, and for the turn to make one."""

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import trio
from msgspec import Raw

from tractor._exceptions import TransportClosed
from tractor.log import get_logger
from tractor.msg import ANY
from tractor.msg import types as t

if TYPE_CHECKING:
    from tractor.runtime._peer import Peer

log = get_logger("peer")

REMEMBERED: Final = 1024  # functions that are named in errors, should there be any


@lru_cache(REMEMBERED)
def argument_of(ns: str, func: str) -> str:
    """What an argument of a function is called in errors."""
    return f"an argument of '{ns}.{func}'"


@lru_cache(REMEMBERED)
def result_of(ns: str, func: str) -> str:
    """What the result of a function is called in errors."""
    return f"the result of '{ns}.{func}'"


class Call:
    """One call of ours that waits for its outcome."""

    __slots__ = ("_error", "_settled", "_task", "_value")

    def __init__(self) -> None:
        self._settled = False
        self._value = t.EMPTY
        self._error: Exception | None = None
        self._task: trio.lowlevel.Task | None = None

    def settle(self, value: Raw, error: Exception | None = None) -> None:
        """The outcome is known; the first one counts."""
        if self._settled:
            return
        self._settled, self._value, self._error = True, value, error
        if self._task is not None:
            trio.lowlevel.reschedule(self._task)
            self._task = None

    async def wait(self) -> Raw:
        """The result; one task at a time. Cancellation loses nothing."""
        if not self._settled:
            self._task = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(self._abort)
        # Once raised, an error holds the frames that hold it, until the next garbage
        # collection: hence it is given away, and deleted here.
        error, self._error = self._error, None
        if error is not None:
            try:
                raise error
            finally:
                del error
        return self._value

    def _abort(self, _: Any) -> trio.lowlevel.Abort:
        self._task = None
        return trio.lowlevel.Abort.SUCCEEDED


class PostedCall(Call):
    """One of ours that was sent without a wait, and need not be waited for."""

    __slots__ = ("_calls", "_cid")

    def __init__(self, calls: dict[int, Call], cid: int) -> None:
        super().__init__()
        self._calls = calls
        self._cid = cid

    def settle(self, value: Raw, error: Exception | None = None) -> None:
        """The outcome is known, and an error is worth a line in the log."""
        self._calls.pop(self._cid, None)
        if error is not None and not isinstance(error, TransportClosed):
            log.error("a call of the runtime's own failed: %s", error)
        super().settle(value, error)


def post(peer: "Peer", ns: str, func: str, *args: Any) -> PostedCall:
    """Call a function over there, ahead of all that is called later; never waits.

    No event tells of it.
    """
    params = ANY.encode((args, {}), argument_of(ns, func))
    cid = peer.new_cid()
    call = PostedCall(peer._calls, cid)
    try:
        peer.channel.send_nowait(t.Start(cid, ns, func, params))
    except TransportClosed as exc:
        call.settle(t.EMPTY, exc)
    else:
        peer._calls[cid] = call
    return call


class Turns:
    """A queue of tasks in which nobody overtakes.

    They are woken one by one, each when the one before it runs again: trio runs tasks
    that are woken together in either order.
    """

    __slots__ = ("_called", "_lot", "_open")

    def __init__(self) -> None:
        self._lot = trio.lowlevel.ParkingLot()
        self._called = 0  # woken, and not running yet
        self._open = False

    @property
    def pending(self) -> bool:
        """Whether somebody is before whoever comes now."""
        return self._called > 0 or len(self._lot) > 0

    async def wait(self) -> None:
        """Wait for one's turn; cancellation gives up the place."""
        if not self._open:
            await self._lot.park()
            self._called -= 1

    def next(self) -> None:
        """Let the first one in line go, unless one is on its way."""
        if not self._called:
            self._called = len(self._lot.unpark())

    def open(self) -> None:
        """Let everybody go, now and later."""
        self._open = True
        self._called += len(self._lot.unpark_all())

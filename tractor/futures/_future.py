"""The task record, which is also what its submitter holds.

A `Future` is one of `concurrent.futures`, with the state of the base class kept up to
date: so `wait`, `as_completed` and `asyncio.wrap_future` work on it as on any other.
What it has beside that are a name, a number, and three abilities: a task that runs can
be cancelled, it can be awaited under trio and under asyncio, and others can be chained
to it (`then`, and the functions of `_algebra`).
"""

import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Generator
from concurrent import futures as cf
from concurrent.futures import _base
from itertools import count
from typing import Any, Final, Never, Protocol, Self, cast

import trio

from tractor.futures._errors import NestedWait
from tractor.futures._states import FINAL, State, may
from tractor.log import get_logger

log: Final = get_logger("futures")

_numbers: Final = count(1)


class Owner(Protocol):
    """What a future asks of the pool that runs it."""

    def cancel(self, future: "Future[Any]") -> bool:
        """End it, unless it has ended."""
        ...

    def why_not_wait(self) -> str:
        """Why this thread must not wait for a task of the pool; empty if it may."""
        ...


class Future[T](cf.Future[T]):
    """The outcome of a task, now or later; got from `submit` and its kin.

    Attributes:
        name: Of the task; that of its function unless `options` gave one.
        task_id: A number that no other future of this interpreter has.
        state: ``queued``, ``placed``, ``done``, ``failed`` or ``cancelled``.
        limit: Seconds after which it is stopped; `None` for no limit.
        worker: Name of the worker that has it, or had it.
        queued_at: `time.perf_counter` when it was submitted; the next two likewise.
        placed_at: When a worker got it; `None` until then.
        ended_at: When its outcome was known; `None` until then.
    """

    def __init__(self, name: str = "", limit: float | None = None) -> None:
        super().__init__()
        self.name = name
        self.task_id = next(_numbers)
        self.state: State = "queued"
        self.limit = limit
        self.worker: str | None = None
        self.queued_at = time.perf_counter()
        self.placed_at: float | None = None
        self.ended_at: float | None = None
        self.owner: Owner | None = None
        self.parcel: Any = None  # what is sent; dropped when nobody needs it any more

    # -- for users ---------------------------------------------------------------------

    def cancel(self) -> bool:
        """End the task, also when it runs; whether that succeeded.

        A task that has not begun never will. An async function is cancelled where it
        runs; another one is stopped together with its worker, which is replaced.
        From then on the future is cancelled; the worker may need a moment more, at
        most the bound of the ladder.
        """
        owner = self.owner
        if owner is not None:
            return owner.cancel(self)
        if super().cancel():
            self.advance("cancelled")
            with self._condition:
                if self._state == _base.CANCELLED:  # tell `wait` and its kin, too
                    super().set_running_or_notify_cancel()
        return self.cancelled()

    def result(self, timeout: float | None = None) -> T:
        """The result; waits for it, in a thread that may.

        Raises:
            TimeoutError: It is not there after `timeout` seconds.
            CancelledError: The task was cancelled.
            NestedWait: This is a worker of the same pool, or the thread of its loop.
        """
        self._check_may_wait()
        return super().result(timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """The error that it ended with, or `None`; waits as `result` does."""
        self._check_may_wait()
        return super().exception(timeout)

    def then[R](self, fn: Callable[[Self], R]) -> "Future[R]":
        """A future of what `fn(self)` returns, called when this one has its result.

        It is called in the thread that has the news, so let it be short. Where this
        one fails `fn` is not called, and the error is passed on.
        """
        from tractor.futures._algebra import then

        return then(self, cast("Callable[[Future[T]], R]", fn))

    def share(self) -> Self:
        """This future: anybody may read it, and as often as they like."""
        return self

    def __await__(self) -> Generator[Any, Any, T]:
        """Wait in a task of trio or of asyncio.

        Cancellation of the waiter leaves the task running.
        """
        if trio.lowlevel.in_trio_run() and trio.lowlevel.in_trio_task():
            yield from _wait_in_trio(self).__await__()
        elif not self.done():
            yield from _wait_in_asyncio(self).__await__()
        return cf.Future.result(self, 0)

    def set_result(self, result: T) -> Never:
        """Not for users: the pool alone knows the result."""
        self._refuse("set_result")

    def set_exception(self, exception: BaseException | None) -> Never:
        """Not for users: the pool alone knows the error."""
        self._refuse("set_exception")

    def set_running_or_notify_cancel(self) -> Never:
        """Not for users: the pool alone knows when it begins."""
        self._refuse("set_running_or_notify_cancel")

    def _refuse(self, what: str) -> Never:
        msg = f"{what}() is not yours to call: {self!r} belongs to its pool"
        raise RuntimeError(msg)

    def _check_may_wait(self) -> None:
        owner = self.owner  # which it has no more as soon as it has ended
        if owner is not None and not self.done():
            why = owner.why_not_wait()
            if why:
                raise NestedWait(why)

    # -- for the pool ------------------------------------------------------------------

    def advance(self, after: State) -> bool:
        """Go to the next state if the table allows; callers hold the pool's lock."""
        if not may(self.state, after):
            return False
        self.state = after
        if after == "placed":
            self.placed_at = time.perf_counter()
            with self._condition:
                self._state = _base.RUNNING
        elif after == "queued":
            self.placed_at = self.worker = None
            with self._condition:
                self._state = _base.PENDING
        elif after in FINAL:
            self.ended_at = time.perf_counter()
            self.parcel = None
        return True

    def fulfil(self, result: T) -> None:
        """It has this result; after `advance`, without the lock."""
        cf.Future.set_result(self, result)

    def fail(self, error: BaseException) -> None:
        """It ended with this error; after `advance`, without the lock."""
        cf.Future.set_exception(self, error)

    def set_cancelled(self) -> None:
        """It was cancelled, whether it ran or not; after `advance`, without the lock.

        The base class cancels nothing that runs, and so its own steps are taken here.
        """
        with self._condition:
            self._state = _base.CANCELLED_AND_NOTIFIED
            for waiter in self._waiters:
                waiter.add_cancelled(self)
            self._condition.notify_all()
        self._invoke_callbacks()  # type: ignore[attr-defined]


# -- Waiting in a loop -----------------------------------------------------------------


async def _wait_in_trio(future: Future[Any]) -> None:
    if future.done():
        await trio.lowlevel.checkpoint()
        return
    done = trio.Event()
    token = trio.lowlevel.current_trio_token()

    def tell(_: cf.Future[Any]) -> None:
        try:
            token.run_sync_soon(done.set)
        except trio.RunFinishedError:
            _warn_of_lost(future)

    future.add_done_callback(tell)
    await done.wait()


async def _wait_in_asyncio(future: Future[Any]) -> None:
    asyncio = sys.modules["asyncio"]  # who runs in a loop of it has imported it
    loop = asyncio.get_running_loop()
    done = loop.create_future()

    def set_done() -> None:
        if not done.done():
            done.set_result(None)

    def tell(_: cf.Future[Any]) -> None:
        try:
            loop.call_soon_threadsafe(set_done)
        except RuntimeError:  # the loop is closed
            _warn_of_lost(future)

    future.add_done_callback(tell)
    await done


def _warn_of_lost(future: Future[Any]) -> None:
    log.warning("the loop that waited for %r has ended; its outcome is lost", future)


# -- Settling without recursion --------------------------------------------------------


class _Turns(threading.local):
    """Continuations of this thread that wait for the one that runs."""

    def __init__(self) -> None:
        self.waiting: deque[Callable[[], None]] = deque()
        self.busy = False


_turns: Final = _Turns()


def take_turns(step: Callable[[], None]) -> None:
    """Call `step`, after the one of this thread that is being called.

    A chain of a thousand futures would else be a thousand calls deep.
    """
    _turns.waiting.append(step)
    if not _turns.busy:
        _take_all()


def _take_all() -> None:
    _turns.busy = True
    try:
        while _turns.waiting:
            _turns.waiting.popleft()()
    finally:
        _turns.busy = False
        if _turns.waiting:  # one raised what no callback should; the others go on
            _take_all()

"""Pools whose workers are threads of this interpreter, or nothing but the caller.

They need no loop and pack nothing. Threads are ours and not trio's, since those stay
for ten seconds after their work, and a pool that has ended leaves nothing behind.
"""

import ctypes
import inspect
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Final

import trio
from msgspec import Struct

from tractor._exceptions import Interrupted
from tractor.futures._engine import NESTED, Engine, Setup, log
from tractor.futures._errors import BrokenPool
from tractor.futures._future import Future

_current: Final = threading.local()  # `.engine` in a worker


class Call(Struct, frozen=True):
    """A task that is not packed."""

    fn: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


class _Hand:
    """One worker thread."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.thread: threading.Thread | None = None
        self.task: Future[Any] | None = None
        self.lost = False  # its task was stopped, and nobody waits for the thread
        self.cancel: Callable[[], None] | None = None  # for an async function


class Threads(Engine):
    """Workers that are threads, started when there is something to do."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self._hands: list[_Hand] = []
        self._hired = 0
        self._idle = 0
        self._work = threading.Condition(self.lock)
        self._threads: list[threading.Thread] = []  # those that will be waited for

    def pack(
        self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Call:
        """See `Engine`."""
        return Call(fn, args, kwargs)

    def workers(self) -> list[str]:
        """See `Engine`."""
        return [hand.name for hand in self._hands]

    def why_not_wait(self) -> str:
        """See `Owner.why_not_wait`."""
        if getattr(_current, "engine", None) is not self:
            return super().why_not_wait()
        return NESTED.format(who="a worker", hint="")

    def wake(self) -> None:
        """See `Engine`."""
        with self._work:
            wanted = len(self.pending) - self._idle
            while wanted > 0 and len(self._hands) < self.setup.workers:
                self._hire()
                wanted -= 1
            if self.closed and not self._hands:
                self.ended.set()
            self._work.notify_all() if self.closed else self._work.notify()

    def stop(self, future: Future[Any]) -> None:
        """See `Engine`."""
        with self._work:
            hand = next((h for h in self._hands if h.task is future), None)
            if hand is None:
                return
            if hand.cancel is not None:
                hand.cancel()
                return
            hand.lost = True
            self._hands.remove(hand)
            if hand.thread is not None and hand.thread.ident is not None:
                self._threads.remove(hand.thread)
                _interrupt(hand.thread.ident)
        self.wake()

    def wait_ended(self) -> None:
        """See `Engine`."""
        self.ended.wait()
        for thread in list(self._threads):
            if thread is not threading.current_thread():
                thread.join()

    # -- a worker ----------------------------------------------------------------------

    def _hire(self) -> None:
        self._hired += 1
        hand = _Hand(f"{self.setup.name}-{self._hired}")
        hand.thread = threading.Thread(
            target=self._live, args=(hand,), name=hand.name, daemon=True
        )
        self._hands.append(hand)
        self._threads.append(hand.thread)
        hand.thread.start()

    def _live(self, hand: _Hand) -> None:
        with suppress(Interrupted):  # then it is lost, and nobody waits for it
            _current.engine = self
            if self._initialize(hand):
                while (future := self._next(hand)) is not None:
                    self._run(hand, future)
                    del future
        with self._work, suppress(ValueError):
            self._hands.remove(hand)
        self.wake()

    def _initialize(self, hand: _Hand) -> bool:
        if self.setup.initializer is None:
            return True
        try:
            self.setup.initializer(*self.setup.initargs)
        except Exception as exc:  # noqa: BLE001 (whatever it is, the pool is broken)
            log.critical("the initializer of %s raised", hand.name, exc_info=True)
            error = BrokenPool(f"the initializer of {hand.name!r} raised: {exc!r}")
            error.__cause__ = exc
            self.break_(error)
            return False
        return True

    def _next(self, hand: _Hand) -> Future[Any] | None:
        with self._work:
            while not hand.lost:
                if (future := self.next_pending(hand.name)) is not None:
                    hand.task = future
                    return future
                if self.closed:
                    return None
                self._idle += 1
                try:
                    self._work.wait()
                finally:
                    self._idle -= 1
        return None

    def _run(self, hand: _Hand, future: Future[Any]) -> None:
        timer = None
        if future.limit is not None:
            timer = threading.Timer(future.limit, self.expire, (future,))
            timer.daemon = True
            timer.start()
        call: Call | None = future.parcel
        settle: Callable[[], object] | None = None
        try:
            if call is not None:
                settle = partial(self.finish, future, _call(hand, call))
        except trio.Cancelled:
            settle = partial(self.cancel, future)
        except Interrupted:
            if hand.lost:
                raise
        except BaseException as exc:  # noqa: BLE001 (it is the future's)
            settle = partial(self.fail, future, exc)
        finally:
            del call
            if timer is not None:
                timer.cancel()
        with self._work:
            hand.task = hand.cancel = None
            if hand.lost:
                return
        if settle is not None:
            settle()


class Inline(Engine):
    """No worker at all: `submit` itself runs the task."""

    def pack(
        self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Call:
        """See `Engine`."""
        return Call(fn, args, kwargs)

    def workers(self) -> list[str]:
        """See `Engine`."""
        return []

    def stop(self, future: Future[Any]) -> None:
        """See `Engine`; its own thread is the one that would be stopped."""

    def wake(self) -> None:
        """See `Engine`."""
        with self.lock:
            future = self.next_pending("caller")
            if self.closed and future is None:
                self.ended.set()
        if future is None:
            return
        call: Call = future.parcel
        try:
            result = _call(_Hand("caller"), call)
        except Exception as exc:  # noqa: BLE001 (it is the future's)
            self.fail(future, exc)
        else:
            self.finish(future, result)


def _call(hand: _Hand, call: Call) -> Any:
    if not inspect.iscoroutinefunction(call.fn):
        return call.fn(*call.args, **call.kwargs)
    return trio.run(_await, hand, call)


async def _await(hand: _Hand, call: Call) -> Any:
    token = trio.lowlevel.current_trio_token()
    with trio.CancelScope() as scope:

        def cancel() -> None:
            with suppress(trio.RunFinishedError):
                token.run_sync_soon(scope.cancel)

        hand.cancel = cancel
        return await call.fn(*call.args, **call.kwargs)
    return None  # it was cancelled, and its future knows


def _interrupt(ident: int) -> None:
    """Raise `Interrupted` in that thread, at its next line of Python."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(ident), ctypes.py_object(Interrupted)
    )

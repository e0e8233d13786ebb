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
from tractor.futures._engine import CLEAN_UP, NESTED, Engine, Setup, log
from tractor.futures._errors import BrokenPool
from tractor.futures._future import Future

_current: Final = threading.local()  # `.engine` whose task this thread runs


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
        self.timers: list[threading.Timer] = []  # of its task


class Threads(Engine):
    """Workers that are threads, started when there is something to do."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self._hands: list[_Hand] = []
        self._hired = 0
        self._idle = 0
        self._work = threading.Condition(self.lock)
        self._threads: list[threading.Thread] = []  # those that will be waited for

    def disown(self) -> None:
        """See `Engine`."""
        super().disown()
        self._work = threading.Condition(self.lock)
        self._hands, self._threads, self._idle = [], [], 0

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
        return _why_not_wait(self) or super().why_not_wait()

    def wake(self) -> None:
        """See `Engine`."""
        failure: RuntimeError | None = None
        with self._work:
            wanted = len(self.pending) - self._idle
            try:
                while wanted > 0 and len(self._hands) < self.setup.workers:
                    self._hire()
                    wanted -= 1
            except RuntimeError as exc:  # there are too many threads already
                failure = exc
            lost = failure is not None and not self._hands
            if self.closed and not self._hands:
                self.ended.set()
            self._work.notify_all() if self.closed else self._work.notify()
        if lost:
            error = BrokenPool(f"pool {self.setup.name!r} got no thread: {failure}")
            error.__cause__ = failure
            self.break_(error)

    def stop(self, future: Future[Any]) -> None:
        """See `Engine`."""
        with self._work:
            hand = next((h for h in self._hands if h.task is future), None)
            if hand is None:
                return
            if hand.cancel is not None:
                hand.cancel()
                with suppress(RuntimeError):  # there are too many threads already
                    self._after(CLEAN_UP, hand, self._lose, hand, future)
                return
            self._lose(hand, future)

    def _lose(self, hand: _Hand, future: Future[Any]) -> None:
        """Stop it in the middle of this task, and go on without it."""
        with self._work:
            if hand.task is not future or hand.lost:
                return
            hand.lost = True
            self._hands.remove(hand)
            for timer in hand.timers:
                timer.cancel()
            if hand.thread is not None and hand.thread.ident is not None:
                self._threads.remove(hand.thread)
                _interrupt(hand.thread.ident)
        self.wake()

    def _after(
        self, seconds: float, hand: _Hand, call: Callable[..., Any], *args: Any
    ) -> None:
        """Call it if the task of that worker goes on for so long; with the lock."""
        timer = threading.Timer(seconds, call, args)
        timer.daemon = True
        hand.timers.append(timer)
        self._start(timer)

    def _start(self, thread: threading.Thread) -> None:
        self._threads = [one for one in self._threads if one.is_alive()]
        thread.start()
        self._threads.append(thread)

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
        self._start(hand.thread)
        self._hands.append(hand)

    def _live(self, hand: _Hand) -> None:
        try:
            with suppress(Interrupted):  # then it is lost, and nobody waits for it
                _current.engine = self
                if self._initialize(hand):
                    while (future := self._next(hand)) is not None:
                        self._run(hand, future)
                        del future
        finally:  # a callback may raise what is no Exception
            while self.lock._is_owned():  # type: ignore[attr-defined]
                # It was interrupted between taking the lock and the block of `with`.
                self.lock.release()
            with self._work, suppress(ValueError):
                self._hands.remove(hand)
            self.wake()

    def _initialize(self, hand: _Hand) -> bool:
        if self.setup.initializer is None:
            return True
        try:
            self.setup.initializer(*self.setup.initargs)
        except BaseException as exc:  # noqa: BLE001 (then the pool is broken)
            _break(self, hand.name, exc)
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
        call: Call | None = future.parcel
        settle: Callable[[], object] | None = None
        try:
            if future.limit is not None:
                with self._work:
                    self._after(future.limit, hand, self.expire, future)
            if call is not None:
                settle = partial(self.finish, future, _call(hand, call))
        except trio.Cancelled:
            settle = partial(self.cancel, future)
        except Interrupted as exc:
            if hand.lost:
                raise
            settle = partial(self.fail, future, exc)
        except BaseException as exc:  # noqa: BLE001 (it is the future's)
            settle = partial(self.fail, future, exc)
        finally:
            del call
        with self._work:
            timers, hand.timers = hand.timers, []
            hand.task = hand.cancel = None
            if hand.lost:
                return
        for timer in timers:
            timer.cancel()
        if settle is not None:
            settle()


class Inline(Engine):
    """No worker at all: `submit` itself runs the task."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self._first = threading.RLock()
        self._initialized = False

    def pack(
        self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Call:
        """See `Engine`."""
        return Call(fn, args, kwargs)

    def workers(self) -> list[str]:
        """See `Engine`."""
        return []

    def why_not_wait(self) -> str:
        """See `Owner.why_not_wait`."""
        return _why_not_wait(self) or super().why_not_wait()

    def stop(self, future: Future[Any]) -> None:
        """See `Engine`; its own thread is the one that would be stopped."""

    def wake(self) -> None:
        """See `Engine`."""
        outer = getattr(_current, "engine", None)
        _current.engine = self
        try:
            if self.pending and self._initialize():
                self._run()
        finally:
            _current.engine = outer
        with self.lock:
            if self.closed and not self.pending and not self.placed:
                self.ended.set()

    def _initialize(self) -> bool:
        with self._first:
            if self._initialized or self.setup.initializer is None:
                return True
            self._initialized = True  # also for tasks that it submits itself
            try:
                self.setup.initializer(*self.setup.initargs)
            except Exception as exc:  # noqa: BLE001 (then the pool is broken)
                _break(self, "caller", exc)
                return False
            return True

    def _run(self) -> None:
        with self.lock:
            future = self.next_pending("caller")
            call: Call | None = None if future is None else future.parcel
        if future is None or call is None:
            return
        try:
            result = _call(_Hand("caller"), call)
        except BaseException as exc:
            self.fail(future, exc)
            if isinstance(exc, KeyboardInterrupt | trio.Cancelled):
                raise  # the caller's own
        else:
            self.finish(future, result)


def _why_not_wait(engine: Engine) -> str:
    if getattr(_current, "engine", None) is not engine:
        return ""
    return NESTED.format(who="a worker", hint="")


def _break(engine: Engine, name: str, cause: BaseException) -> None:
    log.critical("the initializer of %s raised", name, exc_info=cause)
    error = BrokenPool(f"the initializer of {name!r} raised: {cause!r}")
    error.__cause__ = cause
    engine.break_(error)


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

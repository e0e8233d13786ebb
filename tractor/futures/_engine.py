"""What every kind of pool has: a queue, a book about its tasks, and one lock.

An engine is told of tasks from any thread. It decides under its lock, and settles
futures outside of it, since that calls what users have attached to them.
"""

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, Final
from uuid import uuid4

from msgspec import Struct

from tractor._instrument import hub
from tractor._types import Aid
from tractor.futures._errors import BrokenPool, TaskTimeout
from tractor.futures._future import Future
from tractor.futures._parcels import Packer
from tractor.futures._states import State
from tractor.log import get_logger

log: Final = get_logger("futures")

CLOSED: Final = "cannot schedule new futures after shutdown"  # as the stdlib says it
NESTED: Final = (
    "{who} would wait for a task of its own pool, which may need this very place to "
    "run: chain it with then() or dataflow(){hint}"
)
FORKED: Final = "this pool belongs to the process from which this one was forked"
REMEMBERED: Final = 1000  # failed futures, and errors for `progress`
CLEAN_UP: Final = 1.5  # seconds for an async task to end; the ladder's cancel grace

type OnEnd = Callable[[], object]
type OnError = Callable[[Future[Any], BaseException], object]


class Setup(Struct, frozen=True, kw_only=True):
    """How the workers of a pool are.

    Attributes:
        name: Of the pool; its workers are called ``name-1`` and so on.
        workers: How many there are at most.
        serializer: See `Packer`.
        initializer: Called first in each worker, with `initargs`.
        initargs: Its arguments.
        start_method: Spawn backend of workers that are actors.
    """

    name: str
    workers: int
    serializer: str | None = None
    initializer: Callable[..., object] | None = None
    initargs: tuple[Any, ...] = ()
    start_method: str | None = None


class Engine:
    """Base of all; a kind of worker is a subclass.

    Attributes:
        setup: How its workers are.
        ended: Set when it is closed and nothing of it is left.
    """

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.ended = threading.Event()
        self.lock = threading.RLock()
        self.pending: deque[Future[Any]] = deque()
        self.closed = False
        self.broken: BrokenPool | None = None
        self.aid = Aid(setup.name, uuid4().hex, os.getpid())
        self.on_error: OnError | None = None
        self.counts: dict[State, int] = dict.fromkeys(
            ("queued", "placed", "done", "failed", "cancelled"), 0
        )
        self.placed: dict[int, Future[Any]] = {}
        self.unsettled: dict[int, Future[Any]] = {}  # all that are not done yet
        self.failures: deque[Future[Any]] = deque(maxlen=REMEMBERED)
        self.changed = threading.Condition(self.lock)  # told of each outcome
        self.last_end = time.monotonic()
        self.packer = Packer(setup.serializer)
        self.loop_thread = 0  # whose waiting would hold up the loop of its pool

    # -- for the faces -----------------------------------------------------------------

    def submit(
        self,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        name: str | None = None,
        limit: float | None = None,
    ) -> Future[Any]:
        """Run `fn(*args, **kwargs)` in a worker.

        Raises:
            TypeError: `fn` cannot be called.
            BrokenPool: A worker did not start.
            RuntimeError: The pool is closed.
        """
        if not callable(fn):
            msg = f"a task is something to call, not {fn!r}"
            raise TypeError(msg)
        future: Future[Any] = Future(name or name_of(fn), limit)
        future.owner = self
        error: Exception | None = None
        try:
            future.parcel = self.pack(fn, args, kwargs)
        except Exception as exc:  # noqa: BLE001 (an error of that task alone)
            error = exc
        with self.lock:
            if self.broken is not None:
                raise type(self.broken)(*self.broken.args) from self.broken.__cause__
            if self.closed:
                raise RuntimeError(CLOSED)
            if hub.active:  # before any worker can see it
                number, name = future.task_id, future.name
                hub.emit("task_queued", self.aid, task_id=number, name=name)
            self.counts["queued"] += 1
            self.unsettled[future.task_id] = future
            if error is None:
                self.pending.append(future)
        if error is not None:
            self.fail(future, error)
        else:
            self.wake()
        return future

    def cancel(self, future: Future[Any]) -> bool:
        """See `Future.cancel`."""
        with self.lock:
            was = future.state
            if not self._advance(future, "cancelled"):
                return future.state == "cancelled"
            if was == "queued":
                with suppress(ValueError):
                    self.pending.remove(future)
        if was == "placed":
            self.stop(future)
        self._settled(future, future.set_cancelled)
        self.wake()
        return True

    def why_not_wait(self) -> str:
        """See `Owner.why_not_wait`."""
        if threading.get_ident() != self.loop_thread:
            return ""
        return NESTED.format(who="the loop", hint=", or `await` it")

    def close(self, *, cancel_pending: bool = False, spare: bool = True) -> None:
        """Take no more tasks, and end when there are none; returns at once.

        Args:
            cancel_pending: Whether to cancel those that no worker has.
            spare: Whether to leave out those that a free worker is about to get.
        """
        with self.lock:
            self.closed = True
            free = self.setup.workers - len(self.placed) if spare else 0
            dropped = list(self.pending)[max(0, free) :] if cancel_pending else []
        for future in dropped:
            if future.state == "queued":
                self.cancel(future)
        self.wake()

    def abort(self) -> None:
        """Take no more tasks, and cancel all that there are."""
        self.close(cancel_pending=True, spare=False)
        with self.lock:
            left = list(self.placed.values())
        for future in left:
            self.cancel(future)

    def wait_ended(self) -> None:
        """Block until it has ended; after `close`."""
        self.ended.wait()

    def disown(self) -> None:
        """This process was forked from that of the pool, and has none of its workers.

        Any thread may have held a lock then, so there are new ones.
        """
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self.broken = BrokenPool(FORKED)
        self.closed = True
        self.pending.clear()
        self.placed.clear()
        self.unsettled.clear()
        self.loop_thread = 0
        self.ended = threading.Event()
        self.ended.set()

    # -- for subclasses ----------------------------------------------------------------

    def pack(
        self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """What is kept of a call until it runs."""
        return self.packer.pack(fn, args, kwargs)

    def wake(self) -> None:
        """There may be something to do; from any thread."""
        raise NotImplementedError

    def stop(self, future: Future[Any]) -> None:
        """End a task that a worker has; nobody waits for it any more."""
        raise NotImplementedError

    def workers(self) -> list[str]:
        """Names of the workers that there are."""
        raise NotImplementedError

    def next_pending(self, worker: str) -> Future[Any] | None:
        """Place the task that has waited longest; callers hold the lock."""
        while self.pending:
            future = self.pending.popleft()
            if self._advance(future, "placed"):
                future.worker = worker
                if hub.active:
                    hub.emit(
                        "task_placed",
                        self.aid,
                        task_id=future.task_id,
                        name=future.name,
                        worker=worker,
                    )
                return future
        return None

    def put_back(self, futures: list[Future[Any]]) -> None:
        """These were not begun: let others do it, first of all."""
        with self.lock:
            for future in reversed(futures):
                if self._advance(future, "queued"):
                    self.pending.appendleft(future)

    def finish(self, future: Future[Any], result: Any) -> None:
        """It has this result, unless its outcome is known."""
        with self.lock:
            if not self._advance(future, "done"):
                return
        self._settled(future, lambda: future.fulfil(result))

    def fail(self, future: Future[Any], error: BaseException) -> None:
        """It ended with this error, likewise."""
        with self.lock:
            if not self._advance(future, "failed"):
                return
            self.failures.append(future)
            on_error = self.on_error
        self._settled(future, lambda: future.fail(error))
        if on_error is not None:
            try:
                on_error(future, error)
            except Exception:
                log.exception("on_error raised for %s", future.name)

    def expire(self, future: Future[Any]) -> None:
        """Its time is over."""
        with self.lock:
            if future.state != "placed":
                return
            seconds = time.perf_counter() - (future.placed_at or 0.0)
        self.stop(future)
        msg = (
            f"task {future.name!r} ran for longer than its limit of {future.limit} s: "
            f"it was stopped after {seconds:.3f} s"
        )
        self.fail(future, TaskTimeout(msg))

    def break_(self, error: BrokenPool) -> None:
        """It can run nothing any more."""
        with self.lock:
            self.broken = self.broken or error
            left = list(self.placed.values())
        self.fail_pending(error, left)

    def fail_pending(
        self, error: BrokenPool, others: Iterable[Future[Any]] = ()
    ) -> None:
        """Let all that no worker has fail so, after the others."""
        with self.lock:
            left = [*others, *self.pending]
            self.pending.clear()
        for future in left:
            copy = type(error)(*error.args)
            copy.__cause__ = error.__cause__
            self.fail(future, copy)

    def _advance(self, future: Future[Any], after: State) -> bool:
        was = future.state
        if not future.advance(after):
            return False
        self.counts[was] -= 1
        self.counts[after] += 1
        if after == "placed":
            self.placed[future.task_id] = future
        else:
            self.placed.pop(future.task_id, None)
        return True

    def _settled(self, future: Future[Any], settle: Callable[[], None]) -> None:
        if hub.active:
            began = future.placed_at or future.queued_at
            hub.emit(
                "task_finished",
                self.aid,
                task_id=future.task_id,
                name=future.name,
                outcome=future.state,
                seconds=(future.ended_at or began) - began,
            )
        try:
            settle()
        finally:  # a callback may raise what is no Exception
            future.owner = None
            with self.lock:
                self.unsettled.pop(future.task_id, None)
                self.last_end = time.monotonic()
                self.changed.notify_all()


def name_of(fn: Callable[..., Any]) -> str:
    """A name for people: qualified where there is one."""
    name = getattr(fn, "__qualname__", None)
    if name is None:
        inner = getattr(fn, "func", None)  # of a `functools.partial`
        name = getattr(inner, "__qualname__", None) or type(fn).__qualname__
    module = getattr(fn, "__module__", None)
    return f"{module}.{name}" if module else str(name)

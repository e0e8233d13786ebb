"""Calls that wait for one thread, in the order in which they came.

Any thread may put a call in and take it back; one thread at a time runs them. There is
no loop and no wait in here: whoever has to know that there is something to do is told
by `on_ready`.

An *epoch* is a stretch of time during which something waits. It ends when the last call
that waits is begun or taken back, and it is what the watchdog looks at.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from threading import RLock, get_ident
from typing import Any, Final, NamedTuple

from tractor.pinned._bounds import check_count, check_seconds

NESTED: Final = (
    "pump() was called by what it runs; a call on the main thread returns, and what is "
    "left is run afterwards"
)
SECOND: Final = (
    "another thread is in pump(); exactly one thread runs the calls, the main thread"
)


class PumpResult(NamedTuple):
    """What one `pump` did.

    Attributes:
        executed: How many calls it ran, those that raised included.
        deadline_reached: Whether it left calls waiting because of its deadline.
        raised: How many of them raised an `Exception`.
    """

    executed: int
    deadline_reached: bool
    raised: int


class Job:
    """One call, and its outcome.

    Args:
        run: The call; runs once, or never.

    Attributes:
        settled: Whether the outcome is there.
    """

    __slots__ = ("_error", "_run", "_value", "settled")

    def __init__(self, run: Callable[[], Any]) -> None:
        self._run: Callable[[], Any] | None = run
        self._value: Any = None
        self._error: BaseException | None = None
        self.settled = False

    def tell(self) -> None:
        """The outcome is there.

        Called in the thread that ran the call, and at times twice; must not raise.
        """

    def run(self) -> BaseException | None:
        """Run the call and tell of it; what it raised."""
        run, self._run = self._run, None
        assert run is not None
        error: BaseException | None = None
        try:
            self._value = run()
        except BaseException as exc:  # noqa: BLE001 (the waiter raises it)
            self._error = error = exc
        del run  # what it holds goes in this thread, before the outcome is known
        self.settled = True
        self.tell()
        try:
            return error  # the waiter may have taken its own away by now
        finally:
            del error

    def fail(self, error: BaseException) -> None:
        """It will have no other outcome than this error, unless it has one."""
        if not self.settled:
            self._run, self._error, self.settled = None, error, True
        self.tell()

    def result(self) -> Any:
        """What the call returned; may be asked once.

        Raises:
            BaseException: What the call raised.
        """
        # Once raised, an error holds the frames that hold it: so it is given away.
        error, self._error = self._error, None
        value, self._value = self._value, None
        if error is None:
            return value
        try:
            raise error
        finally:
            del error


class Queue:
    """The calls that wait.

    Args:
        on_ready: Called in any thread when something waits that nobody was told of:
            the first call of an epoch, and what `pump` leaves behind.

    Attributes:
        epoch: Number of the latest epoch.
        since: `time.monotonic` at which it began; `None` when nothing waits.
    """

    def __init__(self, on_ready: Callable[[], object] = lambda: None) -> None:
        self.epoch = 0
        self.since: float | None = None
        self._on_ready = on_ready
        self._jobs: OrderedDict[Job, None] = OrderedDict()
        self._current: Job | None = None
        self._pumper: int | None = None
        # Reentrant, as the garbage collector may put something in at any line.
        self._lock = RLock()

    def __len__(self) -> int:
        return len(self._jobs)

    def put(self, job: Job) -> None:
        """Let it wait behind all others."""
        with self._lock:
            self._jobs[job] = None
            begins = self.since is None
            self._note()
        if begins:
            self._on_ready()

    def take_back(self, job: Job) -> bool:
        """Forget a call that has not begun; whether that was so."""
        with self._lock:
            if job not in self._jobs or job is self._current:
                return False
            del self._jobs[job]
            self._note()
            return True

    def pump(
        self,
        deadline: float | None = None,
        max_items: int | None = None,
        *,
        raise_on_error: bool = False,
    ) -> PumpResult:
        """Run what waits; see `tractor.pinned.pump`."""
        seconds = check_seconds("deadline", deadline)
        most = check_count("max_items", max_items)
        end = None if seconds is None else time.monotonic() + seconds
        executed = raised = 0
        late = False
        self._enter()
        try:
            while executed != most and self._jobs:
                if executed and end is not None and time.monotonic() >= end:
                    late = True
                    break
                ran, error = self._step()
                executed += ran
                if error is None:
                    continue
                if raise_on_error or not isinstance(error, Exception):
                    try:
                        raise error
                    finally:
                        del error
                raised += 1
        finally:
            self._leave()
        return PumpResult(executed, late, raised)

    def drain(self) -> None:
        """Run what waits now, for whoever waits for it; nothing where `pump` runs."""
        if self._pumper is not None:
            return  # it goes on itself, or tells of what is left
        self._enter()
        try:
            for _ in range(len(self._jobs)):
                self._step()
        finally:
            self._leave()

    # -- one by one --------------------------------------------------------------------

    def _step(self) -> tuple[bool, BaseException | None]:
        """Run the first one, unless there is none any more; what it raised."""
        try:
            job = self._begin()
            if job is None:
                return False, None
            error = job.run()
            self._current = None
        except BaseException as exc:  # Ctrl-C, between two lines of this
            self._give_up(exc)
            raise
        return True, error

    def _begin(self) -> Job | None:
        """Take the first one out; in this order, or Ctrl-C might lose it."""
        with self._lock:
            job = self._current = next(iter(self._jobs), None)
            if job is not None:
                del self._jobs[job]
                self._note()
            return job

    def _give_up(self, error: BaseException) -> None:
        """Whoever waits for the current one must not wait for ever."""
        job, self._current = self._current, None
        if job is None:
            return
        with self._lock:
            self._jobs.pop(job, None)
            self._note()
        job.fail(error)

    def _note(self) -> None:
        """Begin or end an epoch; with the lock."""
        if not self._jobs:
            self.since = None
        elif self.since is None:
            self.since = time.monotonic()
            self.epoch += 1

    def _enter(self) -> None:
        me = get_ident()
        with self._lock:
            if self._pumper is not None:
                raise RuntimeError(NESTED if self._pumper == me else SECOND)
            self._pumper = me

    def _leave(self) -> None:
        self._pumper = None
        if self._jobs:
            self._on_ready()

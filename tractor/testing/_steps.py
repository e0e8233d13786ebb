"""Watching for steps of a task that hold up the loop.

While one task computes or blocks, no other of its actor gets a turn: messages wait, and
so do heartbeats and cancellations.
"""

import functools
import gc
import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter, thread_time
from typing import TYPE_CHECKING, Any, Final

import trio

if TYPE_CHECKING:
    import pytest

SLOW_STEP: Final = 0.5  # seconds; docs/how-to/test-actors.md
READ_EVERY: Final = 0.05  # seconds; bounds the error of what a step is excused for

_THREAD: Final = getattr(resource, "RUSAGE_THREAD", resource.RUSAGE_SELF)


@contextmanager
def watched_steps(item: "pytest.Item", limit: float = SLOW_STEP) -> Iterator[None]:
    """Fail a test of pytest in which a step of a task takes too long, and name it.

    Both ways in are watched: the run that pytest-trio starts for an async test, and
    any that the test itself starts with `trio.run`.

    Args:
        item: The test, which was not called yet.
        limit: Seconds; twice as many on a busy machine.
    """
    import pytest

    limit *= 2 if os.getloadavg()[0] > 2 * (os.cpu_count() or 1) else 1
    slow: list[str] = []
    collector = _Collector()
    run = _watched(trio.run, lambda: StepWatch(limit, slow, collector))
    # pytest-trio took the runner at collection, but asks the closest marker for it.
    if item.get_closest_marker("trio") is not None:
        item.add_marker(pytest.mark.trio(run=run), append=False)
    with pytest.MonkeyPatch.context() as patch:  # of its own: a test may undo the other
        patch.setattr(trio, "run", run)
        gc.callbacks.append(collector)
        try:
            yield
        finally:
            gc.callbacks.remove(collector)
    if slow:
        pytest.fail("\n".join(slow) + f"; at most {limit} s are allowed", pytrace=False)


class _Collector:
    """How long the garbage collector of this interpreter has run."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._began = 0.0

    def __call__(self, phase: str, info: object) -> None:
        del info
        if phase == "start":
            self._began = perf_counter()
        elif self._began:  # else it had begun before we were called
            self.seconds += perf_counter() - self._began


class StepWatch(trio.abc.Instrument):
    """Notes each step of a task that takes longer than `limit` seconds.

    Two things are not the task's fault. The collector looks at all that the process
    keeps, pytest's reports of thousands of tests too, in whose step it comes to run.
    And the thread may be ready while another process has the processor. The kernel
    counts that, but reading the count on each step would slow them all down, so it is
    read now and then, and after a slow one.
    """

    def __init__(self, limit: float, slow: list[str], collector: _Collector) -> None:
        self._limit = limit
        self._slow = slow
        self._collector = collector
        self._collected = 0.0
        self._began = 0.0
        self._read_at = -READ_EVERY
        self._waited = 0.0
        self._computed = 0.0
        self._gave_up = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """Start the clock."""
        del task
        self._collected = self._collector.seconds
        self._computed, self._gave_up = thread_time(), _given_up()
        self._began = now = perf_counter()
        if now - self._read_at > READ_EVERY:
            self._read_at, self._waited = now, _waited_for_processor()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """Stop it."""
        took = perf_counter() - self._began
        if took > self._limit:
            took -= self._collector.seconds - self._collected
        if took > self._limit:
            took -= _waited_for_processor() - self._waited
        if took > self._limit and _given_up() == self._gave_up:
            # It never blocked, so what it did not compute was the machine's pause.
            took = min(took, thread_time() - self._computed)
        if took > self._limit:
            self._slow.append(f"task {task.name!r} held the loop for {took:.2f} s")


def _waited_for_processor() -> float:
    """Seconds that this thread was ready to run and did not; 0 where not counted."""
    try:
        with open("/proc/thread-self/schedstat", "rb") as file:
            return int(file.read().split()[1]) / 1e9
    except OSError:
        return 0.0


def _given_up() -> int:
    """How often this thread has given up the processor, as whoever blocks does."""
    return resource.getrusage(_THREAD).ru_nvcsw


def _watched(run: Callable[..., Any], make_watch: Callable[[], StepWatch]) -> Any:
    @functools.wraps(run)
    def watched(*args: Any, **kwargs: Any) -> Any:
        kwargs["instruments"] = [*kwargs.get("instruments", ()), make_watch()]
        return run(*args, **kwargs)

    return watched

"""Worker threads that can be joined, in place of trio's, which are daemons.

An interpreter cannot be given up while a thread runs in it: destroying it aborts the
whole process. trio keeps its worker threads for ten idle seconds and offers no way to
end them. These end when they are told to.
"""

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Final

import outcome
from trio._core import _thread_cache  # no public way to replace it; pinned by a test

from tractor._exceptions import Interrupted
from tractor.log import get_logger

log: Final = get_logger("interp")

WORKER: Final = "tractor worker"  # name of a thread that waits for a job

type Job = tuple[
    Callable[[], Any], Callable[[outcome.Outcome[Any]], object], str | None
]


class JoinableThreads:
    """What `trio.lowlevel.start_thread_soon` uses while this is installed."""

    def __init__(self) -> None:
        self._idle: list[_Worker] = []
        self._workers: list[_Worker] = []
        self._lock = threading.Lock()
        self._stopped = False

    def install(self) -> None:
        """Take the place of trio's cache in this interpreter."""
        _thread_cache.THREAD_CACHE = self  # type: ignore[assignment]

    def start_thread_soon(
        self,
        fn: Callable[[], Any],
        deliver: Callable[[outcome.Outcome[Any]], object],
        name: str | None = None,
    ) -> None:
        """As `trio.lowlevel.start_thread_soon`."""
        with self._lock:
            if self._stopped:
                msg = "this actor has ended; it can start no more threads"
                raise RuntimeError(msg)
            if self._idle:
                worker = self._idle.pop()
            else:
                worker = _Worker(self._add_idle)
                self._workers.append(worker)
        worker.jobs.put((fn, deliver, name))

    def stop(self) -> None:
        """End them all; waits for the jobs that still run, however long they take.

        May be called again, where it was interrupted.
        """
        with self._lock:
            self._stopped = True
        for worker in self._workers:
            worker.jobs.put(None)
        for worker in self._workers:
            worker.thread.join()

    def _add_idle(self, worker: "_Worker") -> None:
        with self._lock:
            self._idle.append(worker)


class _Worker:
    def __init__(self, on_idle: "Callable[[_Worker], None]") -> None:
        self.jobs: SimpleQueue[Job | None] = SimpleQueue()
        # Of the job at hand; here, because an interrupt may come at any line.
        self._job: Job | None = None
        self._result: outcome.Outcome[Any] | None = None
        self._on_idle = on_idle
        self.thread = threading.Thread(target=self._run, name=WORKER)
        self.thread.daemon = True  # nobody but `stop` waits for it
        self.thread.start()

    def _run(self) -> None:
        while True:
            try:
                self._work()
            except Interrupted:  # it was meant for the job, and came a moment later
                continue
            return

    def _work(self) -> None:
        while (job := self._job or self.jobs.get()) is not None:
            self._job = job
            fn, deliver, name = job
            del job
            if self._result is None:
                self.thread.name = name or WORKER
                self._result = outcome.capture(fn)
            self.thread.name = WORKER
            result, self._job, self._result = self._result, None, None
            del fn  # may hold much; the next job may be long in coming
            self._on_idle(self)  # first, because `deliver` may lead to the next job
            try:
                deliver(result)
            except Exception:  # as in trio: the one who waited has gone
                log.exception("delivering the result of a thread failed")
            del result, deliver

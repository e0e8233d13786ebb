"""Hosts that own the main thread: loops of several kinds, and trio beside them."""

import queue
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import outcome
import trio

from tests.pinned._things import SAFETY


class TickLoop:
    """As in a game: a clock, and functions that are called at every tick of it.

    Attributes:
        ticks: How many there were.
    """

    def __init__(self, rate: float = 240.0) -> None:
        self.ticks = 0
        self._interval = 1 / rate
        self._scheduled: list[Callable[[float], object]] = []
        self._over = threading.Event()

    def schedule(self, fn: Callable[[float], object]) -> None:
        """Let it be called at every tick, with the seconds since the last one."""
        self._scheduled.append(fn)

    def exit(self) -> None:
        """End the loop; from any thread."""
        self._over.set()

    def run(self) -> None:
        """Tick until the end; the clock is the wait for that."""
        most = int(SAFETY / self._interval)
        while not self._over.wait(self._interval):
            self.ticks += 1
            assert self.ticks < most, "nobody ended the loop"
            for fn in self._scheduled:
                fn(self._interval)


class PostLoop:
    """As in a window system: it sleeps until somebody posts a function to it."""

    def __init__(self) -> None:
        self._posted: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()
        self._over = False

    def post(self, fn: Callable[[], object]) -> None:
        """Let it be called by the loop; from any thread."""
        self._posted.put(fn)

    def exit(self) -> None:
        """End the loop; from any thread."""
        self.post(self._end)

    def run(self) -> None:
        """Call what is posted, until the end."""
        while not self._over:
            self._posted.get(timeout=SAFETY)()

    def _end(self) -> None:
        self._over = True


def run_as_guest(host: PostLoop, main: Callable[[], Awaitable[Any]]) -> Any:
    """What trio's `main` returns, as a guest of a loop of this thread."""
    done: list[outcome.Outcome[Any]] = []

    def finish(result: outcome.Outcome[Any]) -> None:
        done.append(result)
        host.exit()

    trio.lowlevel.start_guest_run(
        main,
        run_sync_soon_threadsafe=host.post,
        done_callback=finish,
        host_uses_signal_set_wakeup_fd=False,
    )
    host.run()
    return done[0].unwrap()


class InThread:
    """trio in a thread of its own."""

    def __init__(
        self,
        main: Callable[[], Awaitable[Any]],
        on_end: Callable[[], object] = lambda: None,
    ) -> None:
        self._main = main
        self._on_end = on_end
        self._outcome: outcome.Outcome[Any] | None = None
        self._thread = threading.Thread(target=self._run)

    def start(self) -> None:
        """Start it."""
        self._thread.start()

    def result(self) -> Any:
        """What it returned, once it has ended."""
        self._thread.join(SAFETY)
        assert self._outcome is not None, "trio has not ended"
        return self._outcome.unwrap()

    def _run(self) -> None:
        try:
            self._outcome = outcome.capture(trio.run, self._main)
        finally:
            self._on_end()

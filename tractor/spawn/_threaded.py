"""Starting something in a thread, so that interrupting the start leaves nothing behind.

For backends whose mechanism blocks while it starts a child.
"""

import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Any, Final

import trio

PATIENCE: Final = 3.0  # seconds for an unwanted start to be undone; T_down allows it


async def start_in_thread[T](
    start: Callable[[], T], undo: Callable[[T], object], held: ExitStack
) -> T:
    """What `start()` returns, which runs in a thread.

    Args:
        start: Makes something.
        undo: Unmakes it; called in a thread if the caller is interrupted meanwhile.
        held: What `start` needs; closed when it has returned, or could not be called.

    Cancellation (and Ctrl-C): waits for `start` and `undo`. If they take longer than
    `PATIENCE`, what they wait for is stuck; then they go on alone, and nothing that
    `start` may still make is kept.
    """

    def work() -> T:
        with held:
            return start()

    making = _Making(undo)
    try:
        trio.lowlevel.start_thread_soon(work, making.deliver)
    except BaseException:  # there can be no more threads
        held.close()
        raise
    try:
        await making.done.wait()
    except BaseException:
        over = trio.Event()
        trio.lowlevel.spawn_system_task(making.clean_up, over)
        with trio.move_on_after(PATIENCE, shield=True):
            await over.wait()
        raise
    return making.results[0].unwrap()  # type: ignore[no-any-return]


class _Making[T]:
    """Something that is made in a thread, and may be unwanted by then."""

    def __init__(self, undo: Callable[[T], object]) -> None:
        self.done = trio.Event()
        self.results: list[Any] = []  # at most one `outcome.Outcome`
        self._undo = undo
        self._alone = threading.Event()  # the loop will not see to it any more
        self._token = trio.lowlevel.current_trio_token()

    def deliver(self, result: Any) -> None:
        """Take the result; in the thread."""
        self.results.append(result)
        if self._alone.is_set():
            self._unmake()
            return
        try:
            self._token.run_sync_soon(self.done.set)
        except trio.RunFinishedError:
            self._unmake()

    async def clean_up(self, over: trio.Event) -> None:
        """Unmake it as soon as it is made; a system task."""
        try:
            await self.done.wait()
        except trio.Cancelled:  # the run ends, and who would be told is gone
            self._alone.set()
            if self.results:
                self._unmake()
            raise
        unmake = self._unmake
        await trio.to_thread.run_sync(unmake, limiter=trio.CapacityLimiter(1))
        over.set()

    def _unmake(self) -> None:
        # Once: who comes second finds nothing. Nobody is left to hear of errors.
        with suppress(Exception):
            self._undo(self.results.pop().unwrap())

"""Starting something in a thread, so that interrupting the start leaves nothing behind.

For backends whose mechanism blocks while it starts a child.
"""

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
    token = trio.lowlevel.current_trio_token()
    done = trio.Event()
    results: list[Any] = []  # at most one `outcome.Outcome`

    def work() -> T:
        with held:
            return start()

    def deliver(result: Any) -> None:
        results.append(result)
        try:
            token.run_sync_soon(done.set)
        except trio.RunFinishedError:
            unmake()

    def unmake() -> None:
        with suppress(Exception):  # nobody is left to hear of it
            undo(results[0].unwrap())

    async def clean_up(over: trio.Event) -> None:
        await done.wait()
        await trio.to_thread.run_sync(unmake, limiter=trio.CapacityLimiter(1))
        over.set()

    try:
        trio.lowlevel.start_thread_soon(work, deliver)
    except BaseException:  # there can be no more threads
        held.close()
        raise
    try:
        await done.wait()
    except BaseException:
        over = trio.Event()
        trio.lowlevel.spawn_system_task(clean_up, over)
        with trio.move_on_after(PATIENCE, shield=True):
            await over.wait()
        raise
    return results[0].unwrap()  # type: ignore[no-any-return]

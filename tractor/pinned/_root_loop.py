"""The root's loop, and how its tasks wait for the main thread.

Where the loop runs in the main thread it runs the calls as well, unless a host does:
whoever puts the first one in wakes it. Waiting takes no thread and no polling.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Never

import trio

from tractor._exceptions import RuntimeFailure
from tractor.pinned._main_thread import in_trio_thread, main, on_main_thread
from tractor.pinned._queue import Job
from tractor.pinned._registry import registry
from tractor.runtime import Actor, maybe_actor


class RootLoop:
    """A part of the root actor, from the first use of its main thread on.

    Attributes:
        token: Of its `trio.run`.
        on_main: Whether that runs in the main thread.
        draining: Whether it runs calls right now.
    """

    def __init__(self, actor: Actor) -> None:
        self.token = trio.lowlevel.current_trio_token()
        self.on_main = on_main_thread()
        self.draining = False
        self._actor = actor
        self._watching = False
        self._look = trio.Event()
        actor.lifetime_stack.callback(self._close)
        main.loop = self
        if main.queue:  # left by the end of another tree
            main.notify()
        self._start_watch()

    def drain_soon(self) -> None:
        """Run what waits there, if that is the main thread; never waits."""
        if self.on_main:
            in_trio_thread(self.token, self._drain)

    def look_soon(self) -> None:
        """Let the watchdog look again; never waits."""
        in_trio_thread(self.token, self._start_watch)

    def end_by_ctrl_c(self) -> None:
        """Ctrl-C came to a call of another actor: the root ends by it."""
        self._actor.lifetime_stack.callback(_raise_ctrl_c)
        self._actor.cancel_soon()

    def _drain(self) -> None:
        if main.wakeup is not None:
            return  # a host has taken it over, and was told
        self.draining = True
        try:
            main.queue.drain()
        finally:
            self.draining = False

    def _start_watch(self) -> None:
        self._look.set()
        if main.watchdog is None or self._watching or self._actor.ended:
            return
        self._watching = True
        self._actor.spawn(self._watch, name="watchdog of the main thread")

    async def _watch(self) -> None:
        while (watchdog := main.watchdog) is not None:
            self._look = trio.Event()
            seconds = watchdog.seconds_left(main.queue)
            if seconds is None:
                await self._look.wait()
            elif seconds > 0:
                with trio.move_on_after(seconds):
                    await self._look.wait()
            else:
                watchdog.tell(main.queue)
        self._watching = False

    def _close(self) -> None:
        main.loop = None
        registry.end_tree()
        if self.on_main:
            main.queue.drain()


class Waiting(Job):
    """A call for which a task waits."""

    __slots__ = ("_loop", "_task", "_woken")

    def __init__(self, run: Callable[[], Any], loop: RootLoop) -> None:
        super().__init__(run)
        self._loop = loop
        self._task: trio.lowlevel.Task | None = None
        self._woken = False

    def tell(self) -> None:
        """Wake the task, which may be in another thread."""
        if self._loop.draining:
            self._wake()
        else:
            in_trio_thread(self._loop.token, self._wake)

    async def outcome(self) -> Any:
        """Let it run, and wait for what it returns.

        Raises:
            BaseException: What it raises.

        Cancellation: what has not begun never will; else its outcome is dropped.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        main.queue.put(self)
        if not self._woken:
            self._task = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(self._abort)
        return self.result()

    def _wake(self) -> None:
        self._woken = True
        task, self._task = self._task, None
        if task is not None:
            trio.lowlevel.reschedule(task)

    def _abort(self, _: Any) -> trio.lowlevel.Abort:
        self._task = None
        main.queue.take_back(self)
        return trio.lowlevel.Abort.SUCCEEDED


def attend() -> None:
    """Let the root, if this is its loop, be told of values: they end with its tree."""
    if main.loop is not None or not trio.lowlevel.in_trio_run():
        return
    actor = maybe_actor()
    if actor is not None and actor.is_root and actor.runs_here and not actor.ended:
        actor.part(RootLoop)


async def run_on_main_thread(actor: Actor, run: Callable[[], Any]) -> Any:
    """Run something on the main thread, in its turn; `actor` is the root.

    Raises:
        BaseException: What it raises.
        RuntimeFailure: This is not a task of that actor's loop.
    """
    if not actor.runs_here:
        msg = (
            f"actor {actor.aid.reprol()!r} runs in the loop of another thread; call "
            "from a task there, by trio.from_thread.run() if need be"
        )
        raise RuntimeFailure(msg)
    return await Waiting(lambda: _interruptible(run), actor.part(RootLoop)).outcome()


# trio shields its callbacks from Ctrl-C, which is to end a call as it ends any other.
@trio.lowlevel.disable_ki_protection
def _interruptible(run: Callable[[], Any]) -> Any:
    return run()


async def run_for_another(actor: Actor, run: Callable[[], Any]) -> Any:
    """As `run_on_main_thread`, for a task that serves another actor.

    What such a task raises goes to that actor. So Ctrl-C, if it comes while trio runs
    the call, ends the root beside that; a host gets it from its `pump`.
    """
    loop = actor.part(RootLoop)
    return await run_on_main_thread(actor, partial(_ended_by_ctrl_c, loop, run))


def _ended_by_ctrl_c(loop: RootLoop, run: Callable[[], Any]) -> Any:
    try:
        return run()
    except KeyboardInterrupt:
        if loop.draining:
            loop.end_by_ctrl_c()
        raise


def _raise_ctrl_c() -> Never:
    raise KeyboardInterrupt

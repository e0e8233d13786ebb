"""The main thread of this process: what waits for it, and who is told of that.

A process has one main thread, before, during and after a tree of actors; so this
belongs to the interpreter and not to an actor.
"""

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, Protocol

import trio

from tractor.log import get_logger
from tractor.pinned._bounds import check_seconds
from tractor.pinned._queue import Job, PumpResult, Queue
from tractor.pinned._watchdog import OnStarve, Watchdog
from tractor.runtime import maybe_actor

log = get_logger("pinned")


class Loop(Protocol):
    """The loop of the root, as seen from other threads."""

    def drain_soon(self) -> None:
        """Run what waits there, if that is the main thread; never waits."""
        ...

    def look_soon(self) -> None:
        """Let the watchdog look again; never waits."""
        ...


class MainThread:
    """What belongs to it.

    Attributes:
        queue: What is to run there.
        loop: Of the root; `None` while there is none that has used this.
        wakeup: How the host is told that something waits; `None` if there is no host.
        watchdog: `None` while it is off.
    """

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Nothing waits; what a fork has copied is the business of its parent."""
        self.queue = Queue(self.notify)
        self.loop: Loop | None = None
        self.wakeup: Callable[[], object] | None = None
        self.watchdog: Watchdog | None = None

    def notify(self) -> None:
        """Something waits: tell whoever runs it; in any thread."""
        loop, wakeup = self.loop, self.wakeup
        if wakeup is not None:
            try:
                wakeup()
            except Exception:  # who puts something in has nothing to do with it
                log.exception("the wake-up of set_pump_wakeup() raised")
        elif loop is not None:
            loop.drain_soon()
        if loop is not None and self.watchdog is not None:
            loop.look_soon()

    def run_soon(self, run: Callable[[], Any]) -> None:
        """Let something run there that nobody waits for; in any thread."""
        if on_main_thread():
            run()
        else:
            self.queue.put(Job(run))


main: Final = MainThread()
os.register_at_fork(after_in_child=main.forget)


def on_main_thread() -> bool:
    """Whether the caller runs there."""
    return threading.current_thread() is threading.main_thread()


def may_have_main_thread() -> bool:
    """Whether this interpreter is where pinned things live: the root's, or none's."""
    actor = maybe_actor()
    return actor is None or actor.is_root


def pump(
    deadline: float | None = None,
    max_items: int | None = None,
    *,
    raise_on_error: bool = False,
) -> PumpResult:
    """Run the calls that wait for the main thread, and return; never waits for more.

    For hosts that own the main thread while trio runs in another one, or as a guest.
    Where trio owns it the calls run by themselves.

    Args:
        deadline: Seconds, above 0, after which no other call is begun. The first one
            is begun in any case, so that calls get on however short it is.
        max_items: How many calls to run at most, above 0.
        raise_on_error: Whether the first call that raises an `Exception` ends it.
            That call's waiter gets the error, `pump` raises it as well, and the calls
            behind it stay queued. By default errors go to their waiters only.

    Returns:
        What it did. If it left calls waiting, the wake-up of `set_pump_wakeup` was
        called once more.

    Raises:
        RuntimeError: This is not the main thread, or a call that runs there.
        TypeError: A bound is no number.
        ValueError: A bound is not above 0, or not finite.
        OverflowError: The deadline is longer than any wait can be.
        BaseException: A call raised one that is no `Exception`, `KeyboardInterrupt`
            say: its waiter gets it, `pump` raises it at once, and the rest stays
            queued.
    """
    if not on_main_thread():
        name = threading.current_thread().name
        msg = (
            f"pump() was called in thread {name!r}; exactly one thread runs the calls, "
            "the main thread"
        )
        raise RuntimeError(msg)
    return main.queue.pump(deadline, max_items, raise_on_error=raise_on_error)


def set_pump_wakeup(callback: Callable[[], object] | None) -> None:
    """Let a host be told that calls wait for `pump`, and leave the calls to it.

    Without a callback trio runs the calls itself where it runs in the main thread, as
    its owner or as a guest. With one it never does: the host calls `pump`, also where
    trio is its guest. A host that looks by itself, in each frame say, gives a callback
    that does nothing.

    Args:
        callback: Called when a call waits and none did before, when `pump` has left
            some, and now if some wait already. It is called in any thread, must not
            wait, and must not call `pump`; it asks the host's loop to do so. What it
            raises is logged. `None` takes it away.

    Raises:
        TypeError: It cannot be called.
    """
    if callback is not None and not callable(callback):
        msg = f"callback is a function without arguments, or None, not {callback!r}"
        raise TypeError(msg)
    main.wakeup = callback
    if main.queue:
        main.notify()


def set_pump_watchdog(
    warn_after: float | None = 1.0, on_starve: OnStarve | None = None
) -> None:
    """Let somebody be told when calls wait for the main thread and nobody runs them.

    It is off until this is called, and a second call replaces the first. The time
    counts from the moment from which something has waited all the time, and of each
    such stretch it tells once. The loop of the tree watches, so it tells of a host that
    never calls `pump`, too.

    Args:
        warn_after: Seconds, above 0; `None` turns it off.
        on_starve: Called in trio's thread with the seconds, and how many calls wait.
            What it raises is logged. By default it is an error in the log.

    Raises:
        TypeError: `warn_after` is no number, or `on_starve` cannot be called.
        ValueError: `warn_after` is not above 0, or not finite.
    """
    seconds = check_seconds("warn_after", warn_after)
    if on_starve is not None and not callable(on_starve):
        msg = f"on_starve is a function of two numbers, or None, not {on_starve!r}"
        raise TypeError(msg)
    main.watchdog = None if seconds is None else Watchdog(seconds, on_starve)
    if main.loop is not None:
        main.loop.look_soon()


def in_trio_thread(token: trio.lowlevel.TrioToken, fn: Callable[[], object]) -> None:
    """Call `fn` in that loop, soon and once, unless it has ended; in any thread."""
    with suppress(trio.RunFinishedError):  # then it matters to nobody any more
        token.run_sync_soon(fn, idempotent=True)

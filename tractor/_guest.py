"""trio as a guest of asyncio: two kinds of tasks, one thread, one loop under both.

The loop is asyncio's, and what trio has to do are callbacks of it. While trio waits for
I/O, a thread of its does that and wakes the loop.

Three things can break that, and each ends trio's tasks in order before it is raised:
`loop.stop()`, and a KeyboardInterrupt or SystemExit from a task of asyncio's, which let
them out of the loop. So the loop is started again until trio has ended.

Ctrl-C is raised at the next checkpoint of trio's main task, as `trio.run` does it when
it comes at a bad moment. Only if that has not turned by the next Ctrl-C, something
keeps both loops from running, and then it is raised right there.

At the end come asyncio's other tasks, its generators and its threads. All of them
together have `LOOP_END` seconds: whoever stops this actor has the patience for that.
"""

import _interpreters
import asyncio
import signal
import sys
import warnings
from collections.abc import Awaitable, Callable
from contextlib import suppress
from importlib import import_module
from types import FrameType
from typing import Any, Final

import outcome
import trio

from tractor._aio_errors import AsyncioRuntimeTranslationError
from tractor._exceptions import Interrupted, RuntimeFailure
from tractor.log import get_logger

log: Final = get_logger("to_asyncio")

LOOP_END: Final = 1.0  # seconds; below the cancel grace, docs/adr/0021
MOMENT: Final = 0.05  # seconds of it that are left for threads, at least


def run_as_guest[*Ts, T](async_fn: Callable[[*Ts], Awaitable[T]], *args: *Ts) -> T:
    """Run it under trio, on a new loop of asyncio, and end all that is in that.

    The loop is uvloop's where that is installed, save in sub-interpreters.

    Raises:
        RuntimeFailure: A loop runs in this thread already.
        AsyncioRuntimeTranslationError: Somebody stopped the loop.
    """
    if trio.lowlevel.in_trio_run() or asyncio._get_running_loop() is not None:
        msg = "a loop runs in this thread already; it can be no guest of a second one"
        raise RuntimeFailure(msg)
    guest: _Guest[T] = _Guest(lambda: async_fn(*args))
    return guest.run()


class _Guest[T]:
    def __init__(self, main: Callable[[], Awaitable[T]]) -> None:
        self._main = main
        self._loop = _new_loop()
        self._scope = trio.CancelScope()
        self._outcome: outcome.Outcome[T] | None = None
        self._escaped: BaseException | None = None  # out of the loop
        self._token: trio.lowlevel.TrioToken | None = None
        self._ctrl_c: _CtrlC | None = None
        self._hooks: Any = None  # of trio's, for async generators
        self._hooks_lost = False

    def run(self) -> T:
        try:
            self._loop.call_soon(self._start)
            while self._outcome is None:
                self._run_loop()
        finally:
            if self._ctrl_c is not None:
                self._ctrl_c.remove()
            escaped = _LoopEnd(self._loop).run()
        if self._escaped is not None:
            raise self._escaped
        result = self._outcome.unwrap()
        if escaped is not None:
            raise escaped
        return result

    def _run_loop(self) -> None:
        try:
            self._loop.run_forever()
        except Interrupted:
            # At any line: a callback may be lost, and so trio with it. The thread that
            # waits for its I/O must not wait for ever.
            if self._token is not None:
                self._token.run_sync_soon(lambda: None)
            raise
        except BaseException as exc:  # noqa: BLE001 (raised when trio has ended)
            self._break_off(exc)
        else:
            if self._outcome is None:
                msg = (
                    "the asyncio loop of this actor was stopped; it ends by itself "
                    "when trio's main task does"
                )
                self._break_off(AsyncioRuntimeTranslationError(msg))

    def _break_off(self, error: BaseException) -> None:
        self._escaped = self._escaped or error
        self._hooks_lost = True  # asyncio sets its own whenever its loop is started
        self._scope.cancel(reason=f"the asyncio loop was left: {error!r}")

    def _start(self) -> None:
        before = signal.getsignal(signal.SIGINT)
        try:
            trio.lowlevel.start_guest_run(
                self._run_main,
                run_sync_soon_threadsafe=self._soon_threadsafe,
                run_sync_soon_not_threadsafe=self._soon,
                done_callback=self._done,
                host_uses_signal_set_wakeup_fd=_is_woken_by_signals(),
                restrict_keyboard_interrupt_to_checkpoints=True,
            )
        except BaseException as exc:  # noqa: BLE001 (raised by `run`)
            self._done(outcome.Error(exc))
            return
        self._token = trio.lowlevel.current_trio_token()
        self._hooks = sys.get_asyncgen_hooks()
        if (handler := signal.getsignal(signal.SIGINT)) is not before:
            assert callable(handler)  # it is trio's
            self._ctrl_c = _CtrlC(self._token, handler)

    async def _run_main(self) -> T:
        with self._scope:
            return await self._main()
        msg = "broken off"  # never seen: what broke it off is raised
        raise AsyncioRuntimeTranslationError(msg)

    def _soon(self, fn: Callable[[], object]) -> None:
        self._loop.call_soon(self._step, fn)

    def _soon_threadsafe(self, fn: Callable[[], object]) -> None:
        with suppress(RuntimeError):  # closed: somebody broke in, and trio is lost
            self._loop.call_soon_threadsafe(self._step, fn)

    def _step(self, fn: Callable[[], object]) -> None:
        if self._hooks_lost and self._hooks is not None:
            self._hooks_lost = False
            sys.set_asyncgen_hooks(*self._hooks)
        try:
            fn()
        except BaseException as exc:  # noqa: BLE001 (no step follows, and asyncio would only log it)
            self._done(outcome.Error(exc))

    def _done(self, how: outcome.Outcome[T]) -> None:
        self._outcome = how
        self._loop.stop()


class _CtrlC:
    """Handles SIGINT by trio's handler, and breaks in where no loop turns after it."""

    def __init__(
        self,
        token: trio.lowlevel.TrioToken,
        deliver: Callable[[int, FrameType | None], Any],
    ) -> None:
        self._token = token
        self._deliver = deliver
        self._under_way = False
        signal.signal(signal.SIGINT, self._handle)

    def remove(self) -> None:
        """Let Ctrl-C be what it is elsewhere."""
        if signal.getsignal(signal.SIGINT) == self._handle:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        if self._under_way:
            raise KeyboardInterrupt
        self._under_way = True
        self._deliver(signum, frame)
        with suppress(trio.RunFinishedError):
            self._token.run_sync_soon(self._turned)

    def _turned(self) -> None:
        self._under_way = False


def _new_loop() -> asyncio.AbstractEventLoop:
    # One interpreter alone can load uvloop, so it is for the main one.
    if _interpreters.get_current()[0] == _interpreters.get_main()[0]:
        with suppress(ImportError):
            loop: asyncio.AbstractEventLoop = import_module("uvloop").new_event_loop()
            return loop
    return asyncio.new_event_loop()


def _is_woken_by_signals() -> bool:
    """Whether the loop that runs here sees to it that signals wake it, as uvloop's."""
    try:
        fd = signal.set_wakeup_fd(-1)
    except ValueError:  # no signal comes to this thread
        return False
    signal.set_wakeup_fd(fd)
    return fd != -1


# -- The end of a loop -----------------------------------------------------------------


class _LoopEnd:
    """Ends what is left in a loop, within `LOOP_END` seconds, and closes it.

    A task that stops the loop in its clean-up, or lets a SystemExit out of it, holds
    up nobody else. Ctrl-C does, and an interrupt of the warden.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop: Any = loop
        self._deadline = loop.time() + LOOP_END
        self._escaped: BaseException | None = None

    def run(self) -> BaseException | None:
        """Do it; what left the loop meanwhile."""
        loop = self._loop
        try:
            if tasks := asyncio.all_tasks(loop):
                self._cancel(tasks)
            closing = loop.create_task(loop.shutdown_asyncgens())
            self._wait({closing}, self._deadline)
            self._end_threads(max(MOMENT, self._deadline - loop.time()))
        finally:
            loop.close()
        return self._escaped

    def _cancel(self, tasks: "set[asyncio.Task[Any]]") -> None:
        for task in tasks:
            task.cancel("the asyncio loop ends")
        if left := self._wait(tasks, self._deadline):
            names = ", ".join(sorted(task.get_name() for task in left))
            log.error(
                "asyncio tasks did not end when cancelled, and are left: %s", names
            )

    def _end_threads(self, timeout: float) -> None:
        # uvloop's minds its time-out only once it was cancelled, and then takes it in
        # full.
        loop, half = self._loop, timeout / 2
        with warnings.catch_warnings(record=True, action="always") as complaints:
            closing = loop.create_task(loop.shutdown_default_executor(half))
            late = bool(self._wait({closing}, loop.time() + half + MOMENT))
            if late:
                closing.cancel()
                self._wait({closing}, None)
        if late or complaints:
            log.error("threads of asyncio's executor still run after %.2f s", timeout)

    def _wait(
        self, tasks: "set[asyncio.Task[Any]]", deadline: float | None
    ) -> "set[asyncio.Task[Any]]":
        """Wait for tasks until then; which have not ended."""
        timeout = None if deadline is None else max(0.0, deadline - self._loop.time())
        waiting = self._loop.create_task(asyncio.wait(tasks, timeout=timeout))
        waiting.add_done_callback(lambda _: self._loop.stop())
        while not waiting.done():
            try:
                self._loop.run_forever()
            except (KeyboardInterrupt, Interrupted):
                raise
            except BaseException as exc:  # noqa: BLE001 (raised when all has ended)
                self._escaped = self._escaped or exc
        left: set[asyncio.Task[Any]] = waiting.result()[1]
        return left

"""A helper thread in each interpreter: what a signal handler is to a process.

The parent writes single bytes to a socket, and the warden does what they ask for, from
inside, also when the actor's link is broken or its loop is stuck.

CPython can raise an exception in another thread of the same interpreter, at its next
bytecode. That ends busy loops and polling waits; what is blocked in C for good stays.
"""

import ctypes
import math
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from inspect import CO_COROUTINE
from types import FrameType
from typing import Final

from tractor._exceptions import Interrupted
from tractor._loop import run_loop
from tractor._orders import CANCEL, CUT_OFF, INSIST

SOON: Final = 0.02  # seconds to find that out, before its loop is interrupted
AGAIN: Final = 0.05  # seconds between two interrupts of code that survives them


class Warden:
    """Watches over the thread that makes it.

    Args:
        control: The child's end; the parent closes the other to end the watch.
        link: Of the actor; cut where it has to stop before it runs.
    """

    def __init__(self, control: socket.socket, link: socket.socket) -> None:
        self.interrupted = False
        self._control = control
        self._link = link
        self._driver = threading.get_ident()
        self._cancel: Callable[[], None] | None = None
        self._insist: Callable[[Callable[[], None]], None] = lambda _: None
        self._cut_off: Callable[[], None] = lambda: None
        self._asked: Callable[[], bool] = lambda: False
        self._turned = False  # the loop, since it was told to insist
        self._seen: FrameType | None = None  # a task that ran when we looked last
        self._insists_since = math.inf  # monotonic
        self._go = threading.Event()
        self._thread = threading.Thread(
            target=self._watch, name="tractor warden", daemon=True
        )

    def serve(
        self,
        cancel: Callable[[], None],
        asked: Callable[[], bool],
        insist: Callable[[Callable[[], None]], None],
        cut_off: Callable[[], None],
    ) -> None:
        """From now on there is an actor to ask; it is asked in the warden's thread.

        Args:
            cancel: Asks the actor to stop.
            asked: Whether it was asked to stop already; the next time, it insists.
            insist: Has its loop cancel even what is shielded, and call its argument.
            cut_off: Ends whatever it has started.
        """
        self._asked, self._insist, self._cut_off = asked, insist, cut_off
        self._cancel = cancel

    def start(self) -> None:
        """Begin to watch; as soon as that, and until `stop`, it may interrupt."""
        self._thread.start()
        self._go.set()

    def cut_off(self) -> None:
        """Let go of what the actor has started: it ended without doing so."""
        self._cut_off()

    def stop(self) -> None:
        """End the watch; call it again where it was interrupted. Then nothing is."""
        with suppress(OSError):
            self._control.shutdown(socket.SHUT_RD)
        self._thread.join()
        _raise_in(self._driver, None)  # one may still be under way

    def _watch(self) -> None:
        self._go.wait()
        patience: float | None = None
        while True:
            self._control.settimeout(patience)
            try:
                order = self._control.recv(1)
            except TimeoutError:
                patience = self._interrupt_again()
                continue
            except OSError:
                return
            if not order:
                return
            if order == CUT_OFF:
                self._cut_off()
            elif order == CANCEL:
                self._ask()
            else:
                patience = self._break_in()

    def _ask(self) -> None:
        if self._cancel is None:
            self._end_boot()
        elif self._asked():
            self._insists_since = min(self._insists_since, time.monotonic())
            self._insist(self._note_turn)
        else:
            self._cancel()

    def _end_boot(self) -> None:
        """It has no loop yet; let it find that nobody listens to it."""
        with suppress(OSError):
            self._link.shutdown(socket.SHUT_RDWR)

    def _break_in(self) -> float:
        """Begin to; what still runs after so many seconds is interrupted again."""
        now = time.monotonic()
        self._insists_since = min(self._insists_since, now)
        self._seen = _running_task(self._stack())[1]
        if self._cancel is None:
            self._end_boot()
        # Who lost patience gives all orders at once, and the loop knows of none yet.
        at_once = now - self._insists_since < AGAIN
        self._interrupt(spared=at_once and self._cancel is not None)
        return SOON

    def _interrupt_again(self) -> float:
        """Spare the loop while it turns: it stops what is below it, and needs time.

        An interrupt in the middle of trio's own code would tear that down, with a word
        from each task of it. So the loop turns, too, where it is there now, or in a
        task that is not the one of the last look: it may just not get the GIL.
        """
        last = self._seen
        in_loop, self._seen = _running_task(self._stack())
        moved = last is not None and last is not self._seen
        self._interrupt(
            spared=(self._turned or in_loop or moved)
            and time.monotonic() < self._insists_since + INSIST
        )
        return AGAIN

    def _interrupt(self, *, spared: bool) -> None:
        ours = {
            thread.ident
            for thread in threading.enumerate()
            if thread.name.startswith("tractor ")
        }
        for thread in sys._current_frames():  # of this interpreter alone
            if not spared if thread == self._driver else thread not in ours:
                self.interrupted = True
                _raise_in(thread, Interrupted)
        self._turned = False
        self._insist(self._note_turn)  # wakes the loop, too

    def _stack(self) -> FrameType | None:
        return sys._current_frames().get(self._driver)

    def _note_turn(self) -> None:
        self._turned = True


def _running_task(frame: FrameType | None) -> tuple[bool, FrameType | None]:
    """Whether that stack is of a loop's own code, else the task that runs, if any."""
    task = None
    while frame is not None:
        if frame.f_code.co_flags & CO_COROUTINE:
            task = frame
        if frame.f_code is run_loop.__code__:
            return task is None, task
        frame = frame.f_back
    return False, None


def _raise_in(thread: int, cls: type[BaseException] | None) -> None:
    exception = ctypes.py_object(cls) if cls is not None else None
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), exception)

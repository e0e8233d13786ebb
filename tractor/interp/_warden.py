"""A helper thread in each interpreter: what a signal handler is to a process.

The parent writes single bytes to a socket, and the warden does what they ask for, from
inside, also when the actor's link is broken or its loop is stuck.

CPython can raise an exception in another thread of the same interpreter, at its next
bytecode. That ends busy loops and polling waits; what is blocked in C for good stays.
"""

import ctypes
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from tractor._exceptions import Interrupted

CANCEL: Final = b"c"  # stop the actor in order
INTERRUPT: Final = b"i"  # break into whatever runs
CUT_OFF: Final = b"x"  # nobody waits any more: let go of what others hang on

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
        self._insist: Callable[[], None] = lambda: None
        self._cut_off: Callable[[], None] = lambda: None
        self._asked: Callable[[], bool] = lambda: False
        self._go = threading.Event()
        self._thread = threading.Thread(
            target=self._watch, name="tractor warden", daemon=True
        )

    def serve(
        self,
        cancel: Callable[[], None],
        asked: Callable[[], bool],
        insist: Callable[[], None],
        cut_off: Callable[[], None],
    ) -> None:
        """From now on there is an actor to ask; it is asked in the warden's thread.

        Args:
            cancel: Asks the actor to stop.
            asked: Whether it was asked to stop already; the next time, it insists.
            insist: Has its loop cancel even what is shielded; wakes the loop.
            cut_off: Ends whatever it has started.
        """
        self._asked, self._insist, self._cut_off = asked, insist, cut_off
        self._cancel = cancel

    def start(self) -> None:
        """Begin to watch; as soon as that, and until `stop`, it may interrupt."""
        self._thread.start()
        self._go.set()

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
                self._interrupt()
                continue
            except OSError:
                return
            if not order:
                return
            if order == CUT_OFF:
                self._cut_off()
            elif order == CANCEL and self._cancel is not None:
                (self._insist if self._asked() else self._cancel)()
            else:
                patience = self._break_in()

    def _break_in(self) -> float:
        """Begin to; what still runs after so many seconds is interrupted again."""
        self.interrupted = True
        if self._cancel is None:  # it still boots, and has no loop
            with suppress(OSError):
                self._link.shutdown(socket.SHUT_RDWR)
        self._interrupt()
        return AGAIN

    def _interrupt(self) -> None:
        for thread in sys._current_frames():  # of this interpreter alone
            if thread != self._thread.ident:
                _raise_in(thread, Interrupted)
        self._insist()  # wakes the loop, too


def _raise_in(thread: int, cls: type[BaseException] | None) -> None:
    exception = ctypes.py_object(cls) if cls is not None else None
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), exception)

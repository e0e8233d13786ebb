"""Answering: how a process tells what it knows, also while its event loop is stuck.

A process that is *ready to answer* has a mailbox and a handler for a signal. Whoever
asks puts a request into the mailbox and sends the signal. The handler runs between two
bytecodes of the main thread, also in a busy loop, and in `time.sleep` or another wait
that a signal interrupts; it answers with the report. Nothing of this needs the loop, a
thread that waits for it, or a file that somebody would have to remove.

The main thread may be in C code that lets no handler run. For that there is a second
signal, upon which `faulthandler` writes down the stacks of all threads, in C and
without asking anybody.

A person sends the first signal without a request. Then the process dumps itself and
all those below it, in a thread.

Signals do not reach sub-interpreters. There a thread waits for a byte in a pipe.
"""

import os
import select
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Final

import msgspec

from tractor.devx._actors import take_report
from tractor.devx._mailbox import Mailbox, OwnFd, create_file
from tractor.log import get_logger
from tractor.runtime import maybe_actor

log = get_logger("devx")

LAST_RESORT: Final = getattr(signal, "SIGRTMAX", 0) - 1  # the stacks alone, from C
DUMPER: Final = "tractor dump"  # name of a thread
MOST_DUMPERS: Final = 2  # the second one is of a signal that came during a dump
TICK: Final = 0.2  # seconds between two looks whether the actor has ended


def _answer(box: Mailbox, frame: FrameType | None = None) -> None:
    asked, answer = box.asked, b""  # which says that there is none
    try:
        answer = msgspec.msgpack.encode(take_report(frame))
    except Exception:
        log.exception("a request for a dump could not be answered")
    box.put_answer(asked, answer)


class SignalAnswerer:
    """Answers upon a signal, as its handler.

    Args:
        signum: The signal.
        dump: What to do when a person sent it; called in a thread.

    Raises:
        ValueError: This thread or interpreter gets no signals.
    """

    def __init__(self, signum: int, dump: Callable[[], object]) -> None:
        self._signum = signum
        self._dump = dump
        self._pid = os.getpid()
        self._mailbox: Mailbox | None = None
        self._stacks: OwnFd | None = None
        self._previous = signal.signal(signum, self)
        if hasattr(os, "memfd_create"):
            import faulthandler  # local: sub-interpreters may not load it

            self._mailbox = Mailbox.create("signal", signum)
            self._stacks = OwnFd(create_file("stacks", LAST_RESORT))
            faulthandler.register(LAST_RESORT, self._stacks.number, all_threads=True)

    def __call__(self, _signum: int, frame: FrameType | None) -> None:
        """Answer, or dump; whoever was interrupted has no part in what goes wrong."""
        if os.getpid() != self._pid:
            return  # a fork, with a copy of us and the mailbox of its parent
        try:
            if not self._has_answered(frame):
                self._start_dump()
        except Exception:
            with suppress(Exception):
                log.exception("a signal that asks for a dump came to nothing")

    def _has_answered(self, frame: FrameType | None) -> bool:
        box = self._mailbox
        with suppress(OSError):  # the program has closed it, so nobody finds it either
            if box is not None and box.asked != box.answered:
                _answer(box, frame)
                return True
        return False

    def _start_dump(self) -> None:
        under_way = [each for each in threading.enumerate() if each.name == DUMPER]
        if len(under_way) >= MOST_DUMPERS:
            return
        try:
            threading.Thread(target=self._dump, name=DUMPER).start()
        except RuntimeError:  # no thread is to be had, and this one is at hand
            self._dump()

    def close(self) -> None:
        """Undo it all."""
        signal.signal(self._signum, self._previous)
        if self._mailbox is not None:
            import faulthandler

            faulthandler.unregister(LAST_RESORT)
            self._mailbox.close()
        if self._stacks is not None:
            self._stacks.close()


class ThreadAnswerer(threading.Thread):
    """Answers upon a byte in a pipe; for an actor in a sub-interpreter.

    It ends with the actor: by `close`, or by itself, since an actor that was
    interrupted ends without any clean-up.
    """

    def __init__(self) -> None:
        super().__init__(name="tractor answerer", daemon=True)
        read, write = map(OwnFd, os.pipe())
        inode = os.fstat(write.number).st_ino
        self._wake, self._write = read, write
        self._box = Mailbox.create("pipe", write.number, inode)
        self._over = False
        # Around what wakes the thread and what closes the descriptors: their numbers
        # are somebody else's right after that.
        self._lock = threading.Lock()

    def close(self) -> None:
        """End it; nothing of it is left."""
        with self._lock:
            self._over = True
            with suppress(OSError):  # it has ended by itself
                os.write(self._write.number, b"x")
        self.join()

    def run(self) -> None:
        """Answer until the actor has ended."""
        seen = False
        try:
            while not self._over:
                # What ends a stuck actor is raised in every thread of it, and this one
                # is needed for as long as the actor has not ended by it.
                with suppress(BaseException):
                    self._wait_and_answer()
                if maybe_actor() is not None:
                    seen = True
                elif seen:
                    break
        finally:
            with self._lock:
                self._box.close()
                self._wake.close()
                self._write.close()

    def _wait_and_answer(self) -> None:
        if not self._woken() or self._over:
            return
        try:
            _answer(self._box)
        except OSError:  # the program has closed its file
            time.sleep(TICK)

    def _woken(self) -> bool:
        try:
            poller = select.poll()
            poller.register(self._wake.number, select.POLLIN)
            woken = bool(poller.poll(TICK * 1000))
            if woken and not os.read(self._wake.number, 1):
                raise EOFError
            return woken
        except (OSError, EOFError):  # the program has closed it: nobody can ask
            time.sleep(TICK)
            return False

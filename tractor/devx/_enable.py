"""`enable_stack_on_sig`: from now on this actor answers, to people and to actors."""

import atexit
import os
import signal
import threading

from tractor.devx._answer import SignalAnswerer, ThreadAnswerer
from tractor.devx._dump import dump_to_file
from tractor.devx._mailbox import current_interpreter


def enable_stack_on_sig(sig: int = signal.SIGUSR1) -> None:
    """Make this actor tell where it is when its process gets the signal `sig`.

    From then on ``kill -USR1 PID`` writes a file with the tasks, threads, calls and
    channels of this actor and of all below it, and the log names that file. The actor
    also answers when one above it makes such a dump. Those that are not enabled are
    only described from outside, so call this in each of them; a module that they serve
    can do so when it is imported.

    In a sub-interpreter, which gets no signals, it only makes the actor answer. Again
    with the same signal does nothing. Answers to other actors need Linux.

    Args:
        sig: A signal that the program does not use.

    Raises:
        RuntimeError: Called in another thread than the main one.
    """
    if current_interpreter() != 0:
        _enable_interpreter()
        return
    if isinstance(signal.getsignal(sig), SignalAnswerer):
        return
    try:
        SignalAnswerer(sig, _dump)
    except ValueError as exc:
        msg = f"only the main thread can make signal {sig} dump stacks: {exc}"
        raise RuntimeError(msg) from exc


def _enable_interpreter() -> None:
    running = any(isinstance(each, ThreadAnswerer) for each in threading.enumerate())
    if running or not hasattr(os, "memfd_create"):
        return
    answerer = ThreadAnswerer()
    answerer.start()
    atexit.register(answerer.close)  # an interpreter calls this after each actor


def _dump() -> None:
    dump_to_file("asked for by a signal")

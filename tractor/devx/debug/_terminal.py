"""The terminal itself: which one it is, how it is set, and whose it is.

A REPL reads the terminal by itself, in the process of its actor, so that line editing
works as everywhere. For that time its process group is the foreground of the terminal,
as a shell does it with a job: reading needs that, and Ctrl-C then goes to this process
alone. Its standard input and output are the terminal, whatever they were before.
"""

import atexit
import fcntl
import os
import signal
import sys
import termios
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, Final, TextIO

STDIN: Final = 0
STDOUT: Final = 1
STANDARD: Final = (STDIN, STDOUT, 2)
CONTROLLING: Final = "/dev/tty"
SPECIAL: Final = 6  # where `tcgetattr` has the control characters
FIRST_FREE: Final = 3  # descriptor


def find_terminal() -> str | None:
    """Path of the terminal of this process; `None` when it has none."""
    for fd in STANDARD:
        with suppress(OSError):
            return os.ttyname(fd)
    with suppress(OSError):
        os.close(open_terminal(CONTROLLING))
        return CONTROLLING
    return None


def open_terminal(path: str) -> int:
    """A descriptor of it.

    Raises:
        OSError: It is gone, or not ours.
    """
    return os.open(path, os.O_RDWR | os.O_NOCTTY)


class SavedMode:
    """How a terminal is at this moment, to set it so again.

    Args:
        fd: Of the terminal.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._mode: list[Any] | None = None
        self._foreground: int | None = None
        with suppress(termios.error):
            self._mode = termios.tcgetattr(fd)
        with suppress(OSError):  # it is not the controlling one
            self._foreground = os.tcgetpgrp(fd)

    def restore(self) -> None:
        """Set it so, also from the background."""
        with _unstoppable():
            if self._mode is not None:
                with suppress(termios.error):
                    termios.tcsetattr(self._fd, termios.TCSANOW, self._mode)
            self._give_back()

    def _give_back(self) -> None:
        with suppress(OSError):
            if self._foreground in (None, os.tcgetpgrp(self._fd)):
                return
            assert self._foreground is not None
            os.tcsetpgrp(self._fd, self._foreground)
            # Whoever read from the terminal meanwhile was stopped by that.
            os.killpg(self._foreground, signal.SIGCONT)


@contextmanager
def at_terminal(
    path: str, on_ctrl_c: Callable[[], None]
) -> Iterator[tuple[TextIO, TextIO]]:
    """Be at the terminal during the block; its input and its output.

    Args:
        path: Of the terminal.
        on_ctrl_c: What Ctrl-C does, where this is the main thread of a process.

    Raises:
        OSError: It cannot be opened.
    """
    with ExitStack() as stack:
        for stream in (sys.stdout, sys.stderr):
            with suppress(Exception):
                stream.flush()
        fd = open_terminal(path)
        stack.callback(os.close, fd)
        restore = SavedMode(fd).restore
        stack.callback(restore)
        # This may be a thread that the end of the program does not wait for.
        stack.callback(atexit.unregister, restore)
        atexit.register(restore)
        stack.enter_context(_interruptible(on_ctrl_c))
        _take_foreground(fd)
        for standard in (STDIN, STDOUT):
            stack.enter_context(_instead_of(standard, fd))
        encoding = {"encoding": "utf-8", "errors": "replace", "closefd": False}
        given = stack.enter_context(open(STDIN, **encoding))  # type: ignore[call-overload]
        shown = stack.enter_context(open(STDOUT, "w", **encoding))  # type: ignore[call-overload]
        stack.enter_context(_streams(given, shown))
        yield given, shown


def _take_foreground(fd: int) -> None:
    """Make this process the foreground, where it is not yet."""
    own = os.getpgrp()
    with suppress(OSError), _unstoppable():
        if os.tcgetpgrp(fd) == own:
            return
        os.tcsetpgrp(fd, own)
        # Nobody waits for this process as a shell does: it must not be stopped.
        mode = termios.tcgetattr(fd)
        mode[SPECIAL][termios.VSUSP] = b"\0"
        with suppress(termios.error):
            termios.tcsetattr(fd, termios.TCSANOW, mode)


@contextmanager
def _unstoppable() -> Iterator[None]:
    """Whoever sets a terminal from the background is stopped, unless he forbids it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _interruptible(on_ctrl_c: Callable[[], None]) -> Iterator[None]:
    try:
        before = signal.signal(signal.SIGINT, lambda _signum, _frame: on_ctrl_c())
    except ValueError:  # not the main thread of a process
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _instead_of(standard: int, fd: int) -> Iterator[None]:
    """Let a standard descriptor be this one for a while, if it is another file."""
    if _is_same(standard, fd):
        yield
        return
    try:
        saved = fcntl.fcntl(standard, fcntl.F_DUPFD_CLOEXEC, FIRST_FREE)
    except OSError:  # it is closed
        saved = None
    os.dup2(fd, standard)
    try:
        yield
    finally:
        if saved is None:
            os.close(standard)
        else:
            os.dup2(saved, standard)
            os.close(saved)


def _is_same(standard: int, fd: int) -> bool:
    try:
        return (
            os.isatty(standard) and os.fstat(standard).st_rdev == os.fstat(fd).st_rdev
        )
    except OSError:
        return False


@contextmanager
def _streams(given: TextIO, shown: TextIO) -> Iterator[None]:
    before = sys.stdin, sys.stdout
    sys.stdin, sys.stdout = given, shown
    try:
        yield
    finally:
        sys.stdin, sys.stdout = before

"""The lifeline: no child process outlives its parent, however the parent ended.

Theory of operation. The parent runtime holds the only write end of a pipe and never
writes. Every child process inherits the read end. When the parent is gone, be it by
SIGKILL, the kernel closes the write end, and the children see the hang-up. There are
two ways to act on it:

``signal`` (Linux)
    The child asks the kernel to send SIGKILL to it when something happens to the pipe
    (`O_ASYNC` with `F_SETSIG`). That works within 3–11 ms (measured, two children on
    two cores), even in ``while True: pass`` and in C code that holds the GIL, and
    costs no thread. Owner and signal belong to the open file description, which all
    children of one parent share if they just inherit it, so that the last one to set
    them would be the only one to die. Hence the child opens the pipe once more
    through ``/proc/self/fd``, which makes a description of its own.
``thread`` (elsewhere)
    A daemon thread blocks in a read and ends the process. It needs the GIL once, so it
    works in a busy loop of Python, but not in C code that keeps the GIL.

Either way the pipe is looked at once more after arming, for a parent that was gone
before. Either way the child dies of SIGKILL: nothing of it runs any more.

Why not `PR_SET_PDEATHSIG`: it fires when the *thread* that started the child ends.
Children started from a worker thread died with it, after 10 s of idleness
(docs/adr/0007).

What this cannot do. A process that the parent forks without exec (`os.fork`,
`multiprocessing` with fork) holds a copy of the write end: the children then live until
that process is gone too. Programs that a child starts with exec do not inherit its
lifeline, and are not ended by it.
"""

import errno
import os
import select
import signal
import sys
import threading
from types import TracebackType
from typing import Literal, NoReturn, Self

from msgspec import Struct

type Mechanism = Literal["signal", "thread"]


class Lifeline:
    """The parent's side: one pipe for all children of one runtime.

    `close`, or the end of this process, ends every child that still holds on.
    There is no `__del__`: a forgotten reference must not kill anybody.
    """

    def __init__(self) -> None:
        # Neither end is inheritable; a backend passes on the read end by number.
        self._read_fd, self._write_fd = os.pipe()
        self._closed = False

    @property
    def fd(self) -> int:
        """The read end, to be passed to children."""
        return self._read_fd

    def close(self) -> None:
        """Let go; may be called again."""
        if self._closed:
            return
        self._closed = True
        os.close(self._write_fd)
        os.close(self._read_fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.close()


class Hold(Struct, frozen=True):
    """The child's side. Never closed: it ends with the process.

    Attributes:
        fd: The descriptor that must stay open.
        mechanism: How this process will learn of its parent's end.
    """

    fd: int
    mechanism: Mechanism


def hold(fd: int, *, mechanism: Mechanism | None = None) -> Hold:
    """Tie this process to the parent that holds the other end of `fd`.

    Does not return when the parent is gone already.

    Args:
        fd: Read end of a `Lifeline`, inherited; owned by this call.
        mechanism: Which way; `None` takes the best that works here.

    Raises:
        OSError: `mechanism` does not work here; `fd` is untouched.
    """
    if mechanism != "thread":
        try:
            return _hold_by_signal(fd)
        except OSError:
            # No /proc, a sandbox that forbids the calls, or not Linux.
            if mechanism == "signal":
                raise
    return _hold_by_thread(fd)


def _hold_by_signal(fd: int) -> Hold:
    if sys.platform != "linux":
        raise OSError(errno.ENOTSUP, "F_SETSIG is Linux's own")
    import fcntl  # not everywhere

    own = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_NONBLOCK)
    try:
        fcntl.fcntl(own, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(own, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(own, fcntl.F_SETFL, os.O_NONBLOCK | os.O_ASYNC)
    except OSError:
        os.close(own)
        raise
    os.close(fd)
    _die_if_hung_up(own)
    return Hold(own, "signal")


def _hold_by_thread(fd: int) -> Hold:
    os.set_inheritable(fd, False)
    _die_if_hung_up(fd)
    threading.Thread(
        target=_watch, args=(fd,), name="tractor lifeline", daemon=True
    ).start()
    return Hold(fd, "thread")


def _watch(fd: int) -> NoReturn:  # pragma: no cover (the killed report nothing)
    while os.read(fd, 1):  # nobody writes, so this waits for end-of-file
        pass
    _die()


def _die_if_hung_up(fd: int) -> None:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    if any(event & select.POLLHUP for _, event in poll.poll(0)):
        _die()  # pragma: no cover (the killed report nothing)


def _die() -> NoReturn:  # pragma: no cover (the killed report nothing)
    # SIGKILL and not `os._exit`, so that the end looks the same by either mechanism.
    os.kill(os.getpid(), signal.SIGKILL)
    os._exit(1)  # the first process of a pid namespace is immune to its own signals

"""The mailbox of a process: an unnamed file in memory through which it is asked.

It begins with two numbers: the last request, which the asker writes, and the request
that was answered last, which the owner writes. Then comes the answer. While the owner
writes one, the second number is 0; so an asker that finds the same number before and
after it has read the answer has read the whole of it, and two askers need no lock.

Others find it by its name among the descriptors of the owner's process, and the name
says whose it is and how to wake the owner. It goes when the owner does.

Numbers of descriptors are reused, and a name proves nothing: any process can give it to
any file. So both sides make sure of what they hold before they write. The asker writes
to a file in memory and to a pipe only, and only to those of its own user; the owner
writes to what it has made, even where the program has closed that in between.
"""

import errno
import os
import re
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Literal, Self, cast

from msgspec import Struct

from tractor._proc import PROC, Birth, read_stat

type Kind = Literal["signal", "pipe", "stacks"]

_NAME: Final = "tractor-door-"
_LINK: Final = re.compile(
    rf"/memfd:{_NAME}(signal|pipe|stacks)-(\d+)-(\d+)-(\d+)-(\d+)-(\d+) \(deleted\)"
)
_WORD: Final = 8  # bytes of a number
_BODY: Final = 2 * _WORD  # where the answer begins


class Door(Struct, frozen=True):
    """Where one may knock at a process.

    Attributes:
        kind: ``signal`` and ``pipe`` are mailboxes, whose owner is woken by a signal or
            a byte; ``stacks`` is a file to which a signal makes the process append.
        number: Of the signal, or of the descriptor to write to.
        inode: Of the pipe behind that descriptor; 0 where there is none.
        interpreter: Number of the interpreter that owns it; 0 is the first.
        owner: The process that made it. A fork has it too, and is not the owner.
        path: Of the file.
    """

    kind: Kind
    number: int
    inode: int
    interpreter: int
    owner: Birth
    path: str


class OwnFd:
    """A descriptor that stays one's own.

    A program may close all that are open, as a daemon does, and open files that get
    the same numbers. Then this one is lost, and nothing is done to those.

    Args:
        number: Of the descriptor; owned by this object.
    """

    def __init__(self, number: int) -> None:
        self._number = number
        self._file = self._now()

    @property
    def number(self) -> int:
        """For the next operation on it.

        Raises:
            OSError: It is lost.
        """
        if self._now() != self._file:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        return self._number

    def close(self) -> None:
        """Let go of it."""
        with suppress(OSError):
            os.close(self.number)

    def _now(self) -> tuple[int, int]:
        found = os.fstat(self._number)
        return found.st_dev, found.st_ino


class Mailbox:
    """A mailbox, at either side of it.

    Args:
        fd: Of the file; owned by this object.

    Raises:
        OSError: From all methods but `close`: the file is lost.
    """

    def __init__(self, fd: int) -> None:
        self._fd = OwnFd(fd)

    @classmethod
    def create(cls, kind: Kind, number: int, inode: int = 0) -> Self:
        """One of this interpreter, empty; see `Door`."""
        fd = create_file(kind, number, inode)
        os.ftruncate(fd, _BODY)
        return cls(fd)

    def close(self) -> None:
        """Let go of it."""
        self._fd.close()

    @property
    def asked(self) -> int:
        """Number of the last request; 0 at first."""
        return self._number(0)

    @property
    def answered(self) -> int:
        """Number of the request that was answered last; 0 at first."""
        return self._number(_WORD)

    def ask(self) -> None:
        """Write a request; the owner has to be woken, too."""
        self._put(0, int.from_bytes(os.urandom(_WORD)) | 1)

    def put_answer(self, number: int, answer: bytes) -> None:
        """Answer that request (the owner)."""
        self._put(_WORD, 0)
        written = 0
        while written < len(answer):
            written += os.pwrite(self._fd.number, answer[written:], _BODY + written)
        os.ftruncate(self._fd.number, _BODY + len(answer))
        self._put(_WORD, number)

    def get_answer(self, before: int) -> bytes | None:
        """A newer answer than that to the request `before`; `None` while there is none.

        Args:
            before: What `answered` was before the request.
        """
        number = self.answered
        if number in (0, before):
            return None
        size = os.fstat(self._fd.number).st_size - _BODY
        answer = os.pread(self._fd.number, size, _BODY) if size > 0 else b""
        return answer if self.answered == number and len(answer) == size else None

    def _number(self, at: int) -> int:
        return int.from_bytes(os.pread(self._fd.number, _WORD, at))

    def _put(self, at: int, number: int) -> None:
        os.pwrite(self._fd.number, number.to_bytes(_WORD), at)


def current_interpreter() -> int:
    """Number of this interpreter; 0 is the first of its process."""
    module: Any = sys.modules.get("_interpreters")
    return 0 if module is None else int(module.get_current()[0])


def create_file(kind: Kind, number: int, inode: int = 0) -> int:
    """An unnamed file that `find_doors` finds; see `Door`."""
    pid, started = _birth(os.getpid())
    words = (kind, number, inode, current_interpreter(), pid, started)
    return os.memfd_create(_NAME + "-".join(map(str, words)))


def find_doors(pid: int) -> Iterator[Door]:
    """Those of a process.

    Raises:
        OSError: One may not look at the process, or it is gone, or another user's.
    """
    folder = PROC / str(pid)
    if folder.stat().st_uid != os.geteuid():
        raise OSError(errno.EACCES, os.strerror(errno.EACCES))
    owner = _birth(pid)
    for fd in os.listdir(folder / "fd"):
        with suppress(OSError):  # one that was closed meanwhile
            door = _door_at(folder / "fd" / fd)
            if door is not None and door.owner == owner:
                yield door


def open_door(door: Door, flags: int) -> int:
    """A descriptor of its file, for who will close it.

    Raises:
        OSError: It is not there any more, or nothing that one should write to.
    """
    return _open(door.path, flags, lambda link: _door_at(link, door.path) == door)


def open_pipe(door: Door) -> int:
    """A descriptor to wake the owner by, for who will close it.

    Raises:
        OSError: It is not there any more.
    """
    path = os.path.join(os.path.dirname(door.path), str(door.number))
    target = f"pipe:[{door.inode}]"
    return _open(path, os.O_WRONLY, lambda link: os.readlink(link) == target)


def _open(path: str, flags: int, is_it: Callable[[str], bool]) -> int:
    """Open that file of another process, and make sure that it is the right one."""
    fd = os.open(path, flags | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        found = os.fstat(fd)
        in_memory = stat.S_ISREG(found.st_mode) and not found.st_nlink
        if not (in_memory or stat.S_ISFIFO(found.st_mode)):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        if found.st_uid != os.geteuid():
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        if not is_it(f"/proc/self/fd/{fd}"):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
    except OSError:
        os.close(fd)
        raise
    return fd


def _door_at(path: str | Path, called: str = "") -> Door | None:
    """What that link in ``/proc`` leads to; `called` is the path to say instead."""
    match = _LINK.fullmatch(os.readlink(path))
    if match is None:
        return None
    number, inode, interpreter, pid, started = map(int, match.groups()[1:])
    kind, owner = cast("Kind", match[1]), (pid, started)
    return Door(kind, number, inode, interpreter, owner, called or str(path))


def _birth(pid: int) -> Birth:
    found = read_stat(PROC / str(pid))
    return pid, found.started if found is not None else 0

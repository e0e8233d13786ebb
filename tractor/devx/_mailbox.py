"""The mailbox of a process: an unnamed file in memory through which it is asked.

It begins with two numbers: the last request, which the asker writes, and the request
that was answered last, which the owner writes. Then comes the answer. While the owner
writes one, the second number is 0; so an asker that finds the same number before and
after it has read the answer has read the whole of it, and two askers need no lock.

Others find it by its name among the descriptors of the owner's process, and the name
says how to wake the owner. To open it one has to be the same user. It goes when the
owner does.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final, Literal, Self, cast

from msgspec import Struct

from tractor._proc import PROC

type Kind = Literal["signal", "pipe", "stacks"]

_NAME: Final = "tractor-door-"
_WORD: Final = 8  # bytes of a number
_BODY: Final = 2 * _WORD  # where the answer begins


class Door(Struct, frozen=True):
    """Where one may knock at a process.

    Attributes:
        kind: ``signal`` and ``pipe`` are mailboxes, whose owner is woken by a signal or
            a byte; ``stacks`` is a file to which a signal makes the process append.
        number: Of the signal, or of the descriptor to write to.
        interpreter: Number of the interpreter that owns it; 0 is the first.
        path: Of the file.
    """

    kind: Kind
    number: int
    interpreter: int
    path: str


class Mailbox:
    """A mailbox, at either side of it.

    Args:
        fd: Of the file; owned by this object.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd

    @classmethod
    def create(cls, kind: Kind, number: int) -> Self:
        """One of this interpreter, empty; see `Door`."""
        fd = create_file(kind, number)
        os.ftruncate(fd, _BODY)
        return cls(fd)

    def close(self) -> None:
        """Let go of it."""
        os.close(self._fd)

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
            written += os.pwrite(self._fd, answer[written:], _BODY + written)
        os.ftruncate(self._fd, _BODY + len(answer))
        self._put(_WORD, number)

    def get_answer(self, before: int) -> bytes | None:
        """A newer answer than that to the request `before`; `None` while there is none.

        Args:
            before: What `answered` was before the request.
        """
        number = self.answered
        if number in (0, before):
            return None
        size = os.fstat(self._fd).st_size - _BODY
        answer = os.pread(self._fd, size, _BODY) if size > 0 else b""
        return answer if self.answered == number and len(answer) == size else None

    def _number(self, at: int) -> int:
        return int.from_bytes(os.pread(self._fd, _WORD, at))

    def _put(self, at: int, number: int) -> None:
        os.pwrite(self._fd, number.to_bytes(_WORD), at)


def current_interpreter() -> int:
    """Number of this interpreter; 0 is the first of its process."""
    module: Any = sys.modules.get("_interpreters")
    return 0 if module is None else int(module.get_current()[0])


def create_file(kind: Kind, number: int) -> int:
    """An unnamed file that `find_doors` finds; see `Door`."""
    return os.memfd_create(f"{_NAME}{kind}-{number}-{current_interpreter()}")


def find_doors(pid: int) -> Iterator[Door]:
    """Those of a process.

    Raises:
        OSError: One may not look at the process, or it is gone.
    """
    folder = PROC / str(pid) / "fd"
    for fd in os.listdir(folder):
        with suppress(OSError):  # one that was closed meanwhile
            target = os.readlink(folder / fd)
            if target.startswith(f"/memfd:{_NAME}"):
                words = target.removeprefix(f"/memfd:{_NAME}").partition(" ")[0]
                kind, number, interpreter = words.split("-")
                path = str(folder / fd)
                yield Door(cast("Kind", kind), int(number), int(interpreter), path)

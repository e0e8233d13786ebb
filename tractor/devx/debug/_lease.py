"""The other side of the desk: to wait for the terminal, have it, and give it back."""

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Final

import msgspec
import trio

from tractor.devx.debug._desk import as_address, is_own
from tractor.devx.debug._errors import DebugRequestError

ANSWER: Final = 1.0  # seconds that the desk has to answer what needs no waiting
PIECE: Final = 4096  # bytes read at once
REFUSED: Final = (
    "no REPL here: this thread has the terminal already, in a REPL or in a block of "
    "acquire_debug_lock() of another task, and would wait for itself; in a task, "
    "`await tractor.pause()` lets the loop run on to the end of that block"
)


locked: "Final[ContextVar[Lease | None]]" = ContextVar("tractor_debug", default=None)
"""In whose block this is, or was; in one if that still has the terminal."""


class Lease:
    """The terminal of the tree, for one thread of an actor.

    It is acquired first, which makes it one's turn for a moment, and then opened.

    Args:
        address: Of the desk.
        name: Of the actor.

    Attributes:
        path: Of the terminal, from one's turn to the next step or the end.
    """

    def __init__(self, address: str, name: str) -> None:
        self.path: str | None = None
        self._address = address
        self._name = name
        self._connection: socket.socket | None = None
        self._unread = b""

    def __del__(self) -> None:
        self._close()  # of who stepped, and did not stop again

    def acquire(self) -> str:
        """Wait for one's turn, which blocks this thread, and return its path.

        Raises:
            DebugRequestError: There is no terminal, or no desk any more; or what this
                thread would wait for is that it goes on.
        """
        with self._asking():
            if self.path is None:
                self._ask("block")
            while self.path is None:
                self._take(self._answer())
        return self.path

    async def acquire_soon(self) -> str:
        """The same, in the loop of trio.

        Cancellation: one's place in the line is given up.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        with self._asking():
            while self.path is None:
                connection = self._ask("want")
                while self.path is None:
                    if b"\n" not in self._unread:
                        await trio.lowlevel.wait_readable(connection)
                    self._take(self._answer())
                self._claim("step")  # this task may have had to wait for its loop
        return self.path

    def open(self) -> str:
        """Begin a REPL; waits as `acquire` does if it is not one's turn any more.

        Raises:
            DebugRequestError: As for that.
        """
        path = self.acquire()
        with self._asking():
            while not self._claim("open"):
                path = self.acquire()
        return path

    async def lock_soon(self) -> None:
        """Wait for one's turn and begin what is no REPL, in the loop of trio.

        Raises:
            DebugRequestError: As for `acquire`.

        Cancellation: as for `acquire_soon`.
        """
        await self.acquire_soon()
        with self._asking():
            while not self._claim("lock"):
                await self.acquire_soon()

    def step(self) -> None:
        """End what is open, and run on, to come back soon."""
        self._tell("step")
        self.path = None

    def release(self) -> None:
        """Give it back."""
        try:
            self._tell("done")
        finally:
            self._close()

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """Whatever goes wrong, the desk hears of it by the end of the connection."""
        try:
            yield
        except OSError as exc:
            self._close()
            msg = f"the terminal cannot be asked for, since the root has ended: {exc}"
            raise DebugRequestError(msg) from exc
        except BaseException:
            self._close()
            raise

    def _ask(self, word: str) -> socket.socket:
        if self._connection is None:
            self._connection = connected(self._address)
        thread = f"{os.getpid()}.{threading.get_native_id()}"
        who = msgspec.json.encode((self._name, thread))
        self._connection.sendall(word.encode() + b" " + who + b"\n")
        return self._connection

    def _answer(self) -> bytes:
        """The next line of the desk."""
        assert self._connection is not None
        while b"\n" not in self._unread:
            if not (data := self._connection.recv(PIECE)):
                msg = "the desk is closed"
                raise ConnectionError(msg)
            self._unread += data
        line, _, self._unread = self._unread.partition(b"\n")
        return line

    def _take(self, line: bytes) -> None:
        word, _, path = line.partition(b" ")
        if word == b"no":
            raise DebugRequestError(REFUSED)
        if word != b"go":  # an answer that was late
            return
        self.path = os.fsdecode(path)
        if not self.path:
            msg = "there is no terminal: the root of the tree has none"
            raise DebugRequestError(msg)

    def _claim(self, word: str) -> bool:
        """Say what one does in one's turn; whether it is that still."""
        assert self._connection is not None
        self._connection.sendall(word.encode() + b"\n")
        mine = self._answer() == b"yours"
        if not mine:
            self.path = None
        return mine

    def _tell(self, word: str) -> None:
        """Tell the desk, and wait until it knows."""
        if (connection := self._connection) is None:
            return
        try:
            with suppress(OSError):
                connection.settimeout(ANSWER)
                connection.sendall(word.encode() + b"\n")
                self._answer()
            connection.settimeout(None)
        except BaseException:  # Ctrl-C, which means the tree by now
            self._close()
            raise

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection, self.path, self._unread = None, None, b""


def refuse_in_lock() -> None:
    """Refuse a REPL to who has the terminal already, and would wait for himself.

    Raises:
        DebugRequestError: He does.
    """
    lock = locked.get()
    if lock is not None and lock.path is not None:
        msg = "no REPL in a block of acquire_debug_lock(), which has the terminal"
        raise DebugRequestError(msg)


def connected(address: str) -> socket.socket:
    """A connection to the desk.

    Raises:
        OSError: There is none of this user.
    """
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(as_address(address))
        if not is_own(connection):
            msg = "the desk is another user's"
            raise ConnectionError(msg)
    except BaseException:
        connection.close()
        raise
    return connection


async def stood_still(address: str, since: float) -> bool:
    """Wait while somebody is in a REPL; whether somebody was, since then.

    Args:
        address: Of the desk; one that says nothing has nobody in a REPL.
        since: As `time.monotonic` says it.
    """
    held, data = False, b""
    with suppress(OSError), connected(address) as connection:
        connection.sendall(b"look\n")
        with trio.move_on_after(ANSWER) as patience:
            while not _released_at(data):
                await trio.lowlevel.wait_readable(connection)
                if not (piece := connection.recv(PIECE)):
                    break
                data += piece
                if data.startswith(b"held"):
                    held, patience.deadline = True, float("inf")
    return held or (_released_at(data) or 0.0) > since


def stood_still_now(address: str, since: float) -> bool:
    """Whether somebody is in a REPL, or was since then; does not wait for its end."""
    with suppress(OSError), connected(address) as connection:
        connection.settimeout(ANSWER)
        connection.sendall(b"look\n")
        data = connection.recv(PIECE)
        return data.startswith(b"held") or (_released_at(data) or 0.0) > since
    return False


def _released_at(data: bytes) -> float | None:
    """What the last line says, if it is complete."""
    if not data.endswith(b"\n"):
        return None
    word, _, number = data.splitlines()[-1].partition(b" ")
    return float(number) if word == b"free" else None

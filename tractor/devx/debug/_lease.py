"""The other side of the desk: to wait for the terminal, have it, and give it back."""

import os
import socket
import threading
from contextlib import suppress
from contextvars import ContextVar
from typing import Final, NoReturn

import msgspec
import trio

from tractor.devx.debug._desk import as_address, is_own
from tractor.devx.debug._errors import DebugRequestError

ANSWER: Final = 1.0  # seconds that the desk has to answer what needs no waiting
PIECE: Final = 4096  # bytes read at once


locked: "Final[ContextVar[Lease | None]]" = ContextVar("tractor_debug", default=None)
"""In whose block this is, if in one."""


class Lease:
    """The terminal of the tree, for one thread of an actor.

    Args:
        address: Of the desk.
        name: Of the actor.
        locks: Whether there will be no REPL, so that Ctrl-C means the tree as always.

    Attributes:
        path: Of the terminal, while it is ours.
    """

    def __init__(self, address: str, name: str, *, locks: bool = False) -> None:
        self.path: str | None = None
        self._address = address
        word = b"lock " if locks else b"want "
        self._want = word + msgspec.json.encode(name) + b"\n"
        self._connection: socket.socket | None = None
        self._unread = b""

    def acquire(self) -> str:
        """Wait for it, which blocks this thread, and return its path.

        Raises:
            DebugRequestError: There is no terminal, or no desk any more.
        """
        if self.path is None:
            try:
                connection = self._ask()
                while self.path is None:
                    self._take(connection.recv(PIECE))
            except OSError as exc:
                self._fail(exc)
            except BaseException:
                self._close()
                raise
        return self.path

    async def acquire_soon(self) -> str:
        """The same, in the loop of trio.

        Cancellation: one's place in the line is given up.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        if self.path is None:
            try:
                connection = self._ask()
                while self.path is None:
                    await trio.lowlevel.wait_readable(connection)
                    self._take(connection.recv(PIECE))
            except OSError as exc:
                self._fail(exc)
            except BaseException:
                self._close()
                raise
        return self.path

    def step(self) -> None:
        """Run on, to come back soon."""
        self._tell(b"step\n")
        self.path = None

    def release(self) -> None:
        """Give it back."""
        self._tell(b"done\n")
        self._close()

    def _ask(self) -> socket.socket:
        if self._connection is None:
            self._connection = connected(self._address)
        self._connection.sendall(self._want)
        return self._connection

    def _take(self, data: bytes) -> None:
        if not data:
            msg = "the desk is closed"
            raise ConnectionError(msg)
        *lines, self._unread = (self._unread + data).split(b"\n")
        for line in lines:
            word, _, path = line.partition(b" ")
            if word != b"go":  # an answer that was late
                continue
            self.path = os.fsdecode(path)
            if not self.path:
                msg = "there is no terminal: the root of the tree has none"
                raise DebugRequestError(msg)

    def _tell(self, line: bytes) -> None:
        """Tell the desk, and wait until it knows."""
        if (connection := self._connection) is not None:
            with suppress(OSError):
                connection.settimeout(ANSWER)
                connection.sendall(line)
                connection.recv(PIECE)
            connection.settimeout(None)

    def _fail(self, exc: OSError) -> NoReturn:
        self._close()
        msg = f"the terminal cannot be asked for, since the root has ended: {exc}"
        raise DebugRequestError(msg) from exc

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection, self.path, self._unread = None, None, b""


class Leases:
    """Those of one actor.

    A task that waits for the terminal has a lease of its own. Who steps keeps his; if
    the program stops for another reason meanwhile, in the same thread, it takes that
    one over, or it would wait for itself.

    Args:
        address: Of the desk.
        name: Of the actor.
    """

    def __init__(self, address: str, name: str) -> None:
        self._address = address
        self._name = name
        self._of_thread = threading.local()

    def new(self) -> Lease:
        """For whoever stops now.

        Raises:
            DebugRequestError: He has the terminal already, and would wait for himself.
        """
        _refuse_in_lock()
        return self._kept() or Lease(self._address, self._name)

    def again(self, lease: Lease | None) -> Lease:
        """For whoever had this one at his last stop, and has it still if it is kept.

        Raises:
            DebugRequestError: As for `new`.
        """
        if lease is not None and lease.path is not None:
            return lease
        _refuse_in_lock()
        if lease is not None and self._kept(lease):
            return lease
        return Lease(self._address, self._name)

    def keep(self, lease: Lease) -> None:
        """Its holder steps."""
        lease.step()
        self._of_thread.kept = lease

    def _kept(self, wanted: Lease | None = None) -> Lease | None:
        kept: Lease | None = getattr(self._of_thread, "kept", None)
        if wanted is not None and wanted is not kept:
            return None
        self._of_thread.kept = None
        return kept


def _refuse_in_lock() -> None:
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

"""The desk: hands out the terminal of a tree, first come, first served.

It is a thread of the root's process with a socket of its own, and whoever wants the
terminal connects to that: an actor at any depth, from any of its threads, also while
its loop stands still, which it does in a REPL. No loop is needed at either end, so what
is debugged cannot be in the way of its debugger. And the kernel ends a connection with
its process: whoever dies gives back what he had.

    from a guest              from the desk
    want [NAME, THREAD]       go PATH         once it is his turn, for a moment
    block [NAME, THREAD]      go PATH | no    likewise; until then his thread waits
    open                      yours | late    his prompt begins, if it is his turn still
    lock                      yours | late    likewise what needs no prompt
    step                      yours | late    nothing is open any more, or not yet
    done                      known           likewise; the next one may have it
    look                      held 1 | free T at once; after `held 1` also `free T`

Each is one line, and what is in brackets is JSON. An offer that nobody takes up passes,
so that clocks stand still for prompts and locks alone, and not for a guest that cannot
run. Who steps or has done goes on when that is known: from then on Ctrl-C means the
tree.
"""

import os
import selectors
import socket
import struct
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Final
from uuid import uuid4

import msgspec

from tractor.devx.debug._line import Line
from tractor.devx.debug._terminal import SavedMode, open_terminal
from tractor.log import get_logger

log = get_logger("devx")

BACKLOG: Final = 128
MOST: Final = 1 << 17  # bytes of a request; a name is the longest thing in it
CREDENTIALS: Final = struct.Struct("3i")  # pid, uid, gid


class Guest:
    """A connection to the desk.

    Attributes:
        name: Of the actor.
        thread: In which it waits; empty if it did not say.
        done: Whether the terminal was left as it was found.
        locks: Whether it has the terminal for no REPL.
        looking: Whether it waits for the end of a REPL.
    """

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.name = ""
        self.thread = ""
        self.done = True
        self.locks = False
        self.looking = False
        self.unread = b""

    def tell(self, line: str) -> None:
        """Send a line; if it is gone, that is noticed elsewhere."""
        with suppress(OSError):
            self.connection.sendall(line.encode(errors="surrogateescape") + b"\n")


class Desk:
    """Serves one terminal; see the module.

    Attributes:
        address: Where it is, for `connect`.

    Args:
        path: Of the terminal; `None` where there is none.
    """

    def __init__(self, path: str | None) -> None:
        self._terminal: int | None = None
        if path is not None:
            with suppress(OSError):  # it is another user's, say: as good as none
                self._terminal = open_terminal(path)
        self._path = path if self._terminal is not None else None
        self._line = Line()
        self._saved: SavedMode | None = None
        self._selector = selectors.DefaultSelector()
        self._guests: set[Guest] = set()
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._listener = socket.socket(socket.AF_UNIX)
        self.address = self._listen()
        self._stop, self._stopped = socket.socketpair()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._stopped, selectors.EVENT_READ)
        self._thread = threading.Thread(
            target=self._serve, name="tractor debug desk", daemon=True
        )
        self._thread.start()

    @property
    def holder(self) -> str:
        """Name of the actor that is in a REPL; empty while none is."""
        guest = self._line.holder
        if not self._line.held or not isinstance(guest, Guest) or guest.locks:
            return ""
        return guest.name

    def say(self, text: str) -> None:
        """Write a line to the terminal; also from a signal handler."""
        if self._terminal is not None:
            with suppress(OSError):
                os.write(self._terminal, f"\r\n{text}\r\n".encode(errors="replace"))

    def close(self) -> None:
        """End it; whoever has the terminal keeps it."""
        self._stop.close()
        self._thread.join()
        for guest in self._guests:
            guest.connection.close()
        self._selector.close()
        self._listener.close()
        self._stopped.close()
        if self._terminal is not None:
            os.close(self._terminal)
        if self._folder is not None:
            self._folder.cleanup()

    # -- the thread --------------------------------------------------------------------

    def _listen(self) -> str:
        if sys.platform == "linux":  # no file, so none is left behind by a death
            address = f"@tractor-debug-{uuid4().hex}"
        else:
            self._folder = tempfile.TemporaryDirectory(prefix="tractor-debug-")
            address = str(Path(self._folder.name) / "desk")
        self._listener.bind(as_address(address))
        self._listener.listen(BACKLOG)
        return address

    def _serve(self) -> None:
        while True:
            now = time.monotonic()
            self._let_in(self._line.expire(now))
            patience = None
            if self._line.until < float("inf"):
                patience = max(0.0, self._line.until - now)
            for key, _ in self._selector.select(patience):
                if key.fileobj is self._stopped:
                    return
                if key.fileobj is self._listener:
                    self._accept()
                else:
                    self._read(key.data)

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return
        if not is_own(connection):
            connection.close()
            return
        guest = Guest(connection)
        self._guests.add(guest)
        self._selector.register(connection, selectors.EVENT_READ, guest)

    def _read(self, guest: Guest) -> None:
        try:
            data = guest.connection.recv(MOST)
        except OSError:
            data = b""
        *lines, guest.unread = (guest.unread + data).split(b"\n")
        for line in lines:
            self._obey(guest, line)
        if not data or len(guest.unread) > MOST:
            self._leave(guest)

    def _obey(self, guest: Guest, line: bytes) -> None:
        word, _, rest = line.partition(b" ")
        if word in (b"want", b"block"):
            with suppress(msgspec.MsgspecError):
                guest.name, guest.thread = msgspec.json.decode(
                    rest, type=tuple[str, str]
                )
            self._want(guest, blocks=word == b"block")
        elif word in (b"open", b"lock"):
            self._open(guest, locks=word == b"lock")
        elif word == b"step":
            guest.done = True
            mine = self._line.step(guest, time.monotonic())
            self._tell_free()
            guest.tell("yours" if mine else "late")
        elif word == b"done":
            guest.done = True
            self._leave_line(guest)
            guest.tell("known")
        elif word == b"look":
            guest.looking = self._line.held
            guest.tell("held 1" if guest.looking else self._free())

    def _want(self, guest: Guest, *, blocks: bool) -> None:
        mates = {
            other
            for other in self._guests
            if other is not guest and other.thread and other.thread == guest.thread
        }
        if blocks and self._line.refuses(mates):
            guest.tell("no")
            return
        self._let_in(self._line.want(guest, time.monotonic(), mates, blocks=blocks))

    def _open(self, guest: Guest, *, locks: bool) -> None:
        guest.locks = locks
        if not self._line.open(guest):
            guest.tell("late")
            return
        guest.done = self._terminal is None
        if self._terminal is not None:
            self._saved = SavedMode(self._terminal)
        guest.tell("yours")

    def _leave(self, guest: Guest) -> None:
        self._selector.unregister(guest.connection)
        guest.connection.close()
        self._guests.discard(guest)
        if guest is self._line.holder and not guest.done:
            if self._saved is not None:
                self._saved.restore()
            self.say(f"actor {guest.name!r} is gone, and its debugger with it")
        self._leave_line(guest)

    def _leave_line(self, guest: Guest) -> None:
        self._let_in(self._line.leave(guest, time.monotonic()))
        self._tell_free()

    def _let_in(self, guest: object) -> None:
        if not isinstance(guest, Guest):
            return
        log.devx("the terminal is for %s", guest.name)
        guest.tell(f"go {self._path or ''}")

    def _free(self) -> str:
        return f"free {self._line.released_at}"

    def _tell_free(self) -> None:
        if self._line.held:
            return
        for guest in self._guests:
            if guest.looking:
                guest.looking = False
                guest.tell(self._free())


def as_address(address: str) -> str:
    """As `connect` takes it: ``@`` at its beginning is a name that is no file."""
    return f"\0{address[1:]}" if address.startswith("@") else address


def is_own(connection: socket.socket) -> bool:
    """Whether the other side is of the same user."""
    if not hasattr(socket, "SO_PEERCRED"):  # elsewhere the folder is ours alone
        return True
    size = CREDENTIALS.size
    data = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
    uid: int = CREDENTIALS.unpack(data)[1]
    return uid in (os.geteuid(), 0)

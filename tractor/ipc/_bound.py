"""Sockets that listen, and the files that go with them."""

import os
import socket
from contextlib import suppress

from tractor.ipc._address import Address, UnixAddress
from tractor.ipc._bind import bind_tcp, bind_unix, bound_address, unlink_socket


class BoundSocket:
    """A listening socket.

    Attributes:
        sock: It itself.
        address: Where it listens.
    """

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.address = bound_address(sock)
        self._file = self._stat()

    @property
    def lost(self) -> bool:
        """Whether nobody can find it any more, since somebody removed its file."""
        return self._file != self._stat()

    def unlink(self) -> None:
        """Remove its file, if it has one that is still its own."""
        if isinstance(self.address, UnixAddress) and self._file is not None:
            unlink_socket(self.address.path, *self._file)

    def _stat(self) -> tuple[int, int] | None:
        if isinstance(self.address, UnixAddress):
            with suppress(OSError):
                found = os.lstat(self.address.path)
                return found.st_dev, found.st_ino
        return None


def bind(address: Address) -> list[BoundSocket]:
    """Listen at an address; a name of a machine may have several.

    Raises:
        AddressInUse: Somebody else does.
        OSError: It cannot be done.
    """
    if isinstance(address, UnixAddress):
        return [BoundSocket(bind_unix(address))]
    return [BoundSocket(sock) for sock in bind_tcp(address)]

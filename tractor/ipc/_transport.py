"""The bytes below a channel.

A transport is a non-blocking duplex byte stream with the two calls of a socket and the
two waits that go with them. It frames nothing, queues nothing and retries nothing.
"""

import socket
from contextlib import suppress
from typing import Final, Protocol

import trio

from tractor._exceptions import TransportBroken

READ_SIZE: Final = 64 * 1024  # bytes asked for at once; see docs/adr/0003

# What a wait ends with: a broken connection, or one that is closed meanwhile.
_FAILURES: Final = (OSError, trio.ClosedResourceError)


class Transport(Protocol):
    """What a channel needs of the bytes below it."""

    def send_nowait(self, data: bytes | bytearray | memoryview) -> int:
        """Hand over what fits now; 0 when nothing does.

        Raises:
            TransportBroken: The connection is gone; what has arrived can still be
                received, and then its end.
        """
        ...

    async def send_ready(self) -> None:
        """Wait until `send_nowait` is worth another try.

        Raises:
            TransportBroken: The connection is gone.
        """
        ...

    async def receive_some(self, limit: int = READ_SIZE) -> bytes:
        """What has arrived, 1 to `limit` bytes; empty at the end of the stream.

        Raises:
            TransportBroken: The connection failed.

        Cancellation loses nothing.
        """
        ...

    def close(self) -> None:
        """Close it now; every wait on it ends with `TransportBroken`."""
        ...


class SocketTransport:
    """A connected stream socket: an inherited pair, a Unix or a TCP connection."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock = sock

    def send_nowait(self, data: bytes | bytearray | memoryview) -> int:
        """See `Transport`."""
        try:
            return self._sock.send(data)
        except BlockingIOError:
            return 0
        except OSError as exc:
            # A peer that takes nothing any more, but holds its end open, would never
            # be noticed by whoever waits for its answer.
            with suppress(OSError):
                self._sock.shutdown(socket.SHUT_RD)
            raise _broken(exc) from exc

    async def send_ready(self) -> None:
        """See `Transport`."""
        self._check_open()
        try:
            await trio.lowlevel.wait_writable(self._sock)
        except _FAILURES as exc:
            raise _broken(exc) from exc

    async def receive_some(self, limit: int = READ_SIZE) -> bytes:
        """See `Transport`."""
        while True:
            self._check_open()
            try:
                # Waiting first, also where bytes are there already, lets other tasks
                # run between two reads of a peer that never pauses.
                await trio.lowlevel.wait_readable(self._sock)
                return self._sock.recv(limit)
            except BlockingIOError:
                continue
            except _FAILURES as exc:
                raise _broken(exc) from exc

    def close(self) -> None:
        """See `Transport`."""
        if self._sock.fileno() >= 0:
            trio.lowlevel.notify_closing(self._sock)
            self._sock.close()

    def _check_open(self) -> None:
        # trio is not to wait for a closed socket: the attempt would leave a mark on
        # "descriptor -1" that fails the next one as well.
        if self._sock.fileno() < 0:
            msg = "the connection was closed on this side"
            raise TransportBroken(msg)


def _broken(exc: Exception) -> TransportBroken:
    return TransportBroken(f"the connection failed: {exc}")

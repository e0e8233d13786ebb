"""The bytes below a channel.

A transport is a non-blocking duplex byte stream with the two calls of a socket and the
two waits that go with them. It frames nothing, queues nothing and retries nothing.
"""

import socket
from contextlib import suppress
from typing import Final, Protocol

import trio

from tractor._exceptions import TransportBroken

SEND_BUFFER: Final = 512 * 1024  # bytes; Linux takes twice as much, with its own
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

    def send_two_nowait(self, head: bytearray, body: bytes) -> int:
        """As `send_nowait` of the two together, or of the first alone.

        It spares a copy of the second one.
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
        if sock.family == socket.AF_UNIX:
            # The default has room for three payloads of 64 KiB, and so both sides would
            # wait for one another all the time.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        self._sock = sock
        self._more = False  # bytes are probably there

    def send_nowait(self, data: bytes | bytearray | memoryview) -> int:
        """See `Transport`."""
        try:
            return self._sock.send(data)
        except BlockingIOError:
            return 0
        except OSError as exc:
            raise self._cut(exc) from exc

    def send_two_nowait(self, head: bytearray, body: bytes) -> int:
        """See `Transport`."""
        try:
            return self._sock.sendmsg([head, body])
        except BlockingIOError:
            return 0
        except OSError as exc:
            raise self._cut(exc) from exc

    def _cut(self, exc: OSError) -> TransportBroken:
        # A peer that takes nothing any more, but holds its end open, would never be
        # noticed by whoever waits for its answer.
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_RD)
        return _broken(exc)

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
                # Before a read other tasks run, also where bytes are there already:
                # the peer may never pause. Where the last read found much there is
                # probably more, and the kernel need not be asked first.
                if self._more:
                    await trio.lowlevel.checkpoint()
                    self._check_open()
                else:
                    await trio.lowlevel.wait_readable(self._sock)
                data = self._sock.recv(limit)
            except BlockingIOError:
                self._more = False
                continue
            except _FAILURES as exc:
                raise _broken(exc) from exc
            self._more = len(data) > limit // 2
            return data

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

"""The bytes below a channel.

A transport is a non-blocking duplex byte stream with the calls of a socket and the
waits that go with them. It frames nothing, queues nothing and retries nothing.
"""

import socket
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Final, Protocol

import trio

from tractor._exceptions import TransportBroken

SEND_BUFFER: Final = 512 * 1024  # bytes; Linux takes twice as much, with its own
READ_SIZE: Final = 64 * 1024  # bytes asked for at once; see docs/adr/0003
MUCH: Final = READ_SIZE // 2  # bytes in one read, after which there are probably more

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

    async def receive_into(self, space: memoryview) -> int:
        """As `receive_some`, to a place; how many bytes."""
        ...

    def close(self) -> None:
        """Close it now; every wait on it ends with `TransportBroken`."""
        ...


async def copy_into(transport: Transport, space: memoryview) -> int:
    """`Transport.receive_into` for one that cannot spare the copy."""
    data = await transport.receive_some(len(space))
    space[: len(data)] = data
    return len(data)


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

    def receive_some(self, limit: int = READ_SIZE) -> Coroutine[Any, Any, bytes]:
        """See `Transport`."""
        return self._receive(self._sock.recv, limit)

    def receive_into(self, space: memoryview) -> Coroutine[Any, Any, int]:
        """See `Transport`."""
        return self._receive(self._sock.recv_into, space)

    async def _receive[P, T: (bytes, int)](self, take: Callable[[P], T], where: P) -> T:
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
                got = take(where)
            except BlockingIOError:
                self._more = False
                continue
            except _FAILURES as exc:
                raise _broken(exc) from exc
            self._more = (got if isinstance(got, int) else len(got)) > MUCH
            return got

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

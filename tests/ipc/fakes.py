"""A transport in memory, whose other end is the test."""

import math
from collections import deque

import trio

from tractor._exceptions import TransportBroken
from tractor.ipc import Transport
from tractor.msg import encode_frame
from tractor.msg.types import Record

LIMIT = 1024 * 1024  # bytes; of frames in these tests


class FakeTransport:
    """Takes `room` bytes until it gets more room; gives what it was fed.

    Attributes:
        sent: All that it took.
        writes: How often it was asked while it had room.
        closed: Whether the channel closed it.
    """

    def __init__(self, room: float = math.inf) -> None:
        self.sent = bytearray()
        self.writes = 0
        self.closed = False
        self._room = room
        self._arrived: deque[bytes | TransportBroken] = deque()
        self._cannot_send: TransportBroken | None = None
        self._changed = trio.Event()

    # -- as `Transport` ----------------------------------------------------------------

    def send_nowait(self, data: bytes | bytearray | memoryview) -> int:
        """See `Transport`."""
        if self._cannot_send is not None:
            raise self._cannot_send
        count = int(min(self._room, len(data)))
        self.writes += count > 0
        self._room -= count
        self.sent += data[:count]
        return count

    def send_two_nowait(self, head: bytearray, body: bytes) -> int:
        """See `Transport`; the first alone."""
        return self.send_nowait(head)

    async def send_ready(self) -> None:
        """See `Transport`."""
        while self._room == 0 and self._cannot_send is None:
            await self._changed.wait()
        await trio.lowlevel.checkpoint()

    async def receive_some(self, limit: int = LIMIT) -> bytes:
        """See `Transport`; gives each piece whole, whatever the limit."""
        await trio.lowlevel.checkpoint()
        while not self._arrived:
            await self._changed.wait()
        first = self._arrived[0]
        if isinstance(first, TransportBroken):
            raise first
        self._arrived.popleft()
        return first

    async def receive_into(self, space: memoryview) -> int:
        """See `Transport`; what does not fit comes with the next read."""
        piece = await self.receive_some()
        space[: len(piece)] = piece[: len(space)]
        if len(piece) > len(space):
            self._arrived.appendleft(piece[len(space) :])
        return min(len(piece), len(space))

    def close(self) -> None:
        """See `Transport`."""
        self.closed = True
        self.fail_sending("closed")
        self._arrived.append(TransportBroken("closed"))

    # -- for the test ------------------------------------------------------------------

    def give_room(self, count: float = math.inf) -> None:
        """Take `count` bytes more."""
        self._room += count
        self._change()

    def feed(self, *pieces: bytes) -> None:
        """Let each of them arrive, with a read of its own; empty is the end."""
        self._arrived += pieces
        self._change()

    def break_off(self) -> None:
        """Let the connection fail, once all that was fed is read."""
        self._arrived.append(TransportBroken("reset"))
        self._change()

    def fail_sending(self, why: str) -> None:
        """Take nothing any more."""
        self._cannot_send = TransportBroken(why)
        self._change()

    def _change(self) -> None:
        self._changed.set()
        self._changed = trio.Event()


def _meets_the_protocol(transport: FakeTransport) -> Transport:
    return transport


def frames(*records: Record) -> bytes:
    """What they look like on the wire."""
    return b"".join(encode_frame(record, LIMIT) for record in records)

"""Faulty links: a transport that does to its bytes what it is told to."""

import math

import trio

from tractor._exceptions import TransportBroken
from tractor.ipc import READ_SIZE, Transport, copy_into
from tractor.runtime import Portal


class Lane:
    """One direction of a link, and what is wrong with it."""

    def __init__(self) -> None:
        self.held = False
        self.to_drop = 0.0  # bytes
        self.left = math.inf  # bytes until it breaks
        self.changed = trio.Event()

    def hold(self) -> None:
        """Let nothing through until `resume`; nothing is lost, only late."""
        self.held = True

    def resume(self) -> None:
        """Let it all through again."""
        self.held = False
        self.change()

    def drop(self, count: float = math.inf) -> None:
        """Lose the next `count` bytes; whoever sent them does not notice."""
        self.to_drop += count

    def truncate(self, after: int) -> None:
        """Let `after` more bytes through, ≥ 1, and then break the connection."""
        if after < 1:
            msg = f"truncate after at least one byte, not {after}; or cut() it now"
            raise ValueError(msg)
        self.left = after

    def change(self) -> None:
        """Wake whoever waits here (for the transport)."""
        self.changed.set()
        self.changed = trio.Event()

    def take(self, size: int) -> tuple[int, int]:
        """Of the next `size` bytes: how many are lost, and how many then pass."""
        lost = int(min(size, self.to_drop))
        self.to_drop -= lost
        return lost, int(min(size - lost, self.left))


class FaultyTransport:
    """A transport that fails as it is told to, and otherwise is the one below it.

    Attributes:
        sending: What is wrong with what goes out; `Lane` tells what can be.
        receiving: What is wrong with what comes in.
    """

    def __init__(self, below: Transport) -> None:
        self.sending = Lane()
        self.receiving = Lane()
        self._below = below
        self._closed = False
        self._arrived = b""
        self._at_end = False

    def cut(self) -> None:
        """Break the connection now; both sides see it end."""
        self._below.close()

    def go_half_open(self) -> None:
        """Lose all, either way, the end included: as if a cable was pulled."""
        self.sending.drop()
        self.receiving.drop()

    # -- as `tractor.ipc.Transport` ----------------------------------------------------

    def send_nowait(self, data: bytes | bytearray | memoryview) -> int:
        """See `Transport`."""
        lane = self.sending
        if self._closed or lane.left <= 0:
            self._break()
        if lane.held:
            return 0
        lost, passes = lane.take(len(data))
        sent = 0
        if passes:
            sent = self._below.send_nowait(data[lost : lost + passes])
            lane.left -= sent
        if lane.left <= 0:
            self._below.close()
        return lost + sent

    def send_two_nowait(self, head: bytearray, body: bytes) -> int:
        """See `Transport`; the first alone."""
        return self.send_nowait(head)

    async def send_ready(self) -> None:
        """See `Transport`."""
        lane = self.sending
        while lane.held and not self._closed and lane.left > 0:
            await lane.changed.wait()
        if self._closed or lane.left <= 0:
            self._break()
        if lane.to_drop:
            await trio.lowlevel.checkpoint()
        else:
            await self._below.send_ready()

    async def receive_some(self, limit: int = READ_SIZE) -> bytes:
        """See `Transport`."""
        lane = self.receiving
        await trio.lowlevel.checkpoint_if_cancelled()
        while True:
            if self._closed:
                self._break()
            if lane.left <= 0:
                self._below.close()
                return b""
            if lane.held or (self._at_end and math.isinf(lane.to_drop)):
                await lane.changed.wait()
            elif self._arrived:
                lost, passes = lane.take(min(len(self._arrived), limit))
                data = self._arrived[lost : lost + passes]
                self._arrived = self._arrived[lost + passes :]
                lane.left -= passes
                if data:
                    return data
            elif self._at_end:
                return b""
            else:
                self._arrived = await self._below.receive_some()
                self._at_end = not self._arrived

    async def receive_into(self, space: memoryview) -> int:
        """See `Transport`."""
        return await copy_into(self, space)

    def close(self) -> None:
        """See `Transport`."""
        self._closed = True
        self._below.close()
        self.sending.change()
        self.receiving.change()

    def _break(self) -> None:
        self._below.close()
        raise TransportBroken("the connection failed: cut by a test")


async def interpose(portal: Portal) -> FaultyTransport:
    """Put a faulty transport under the link to an actor that answers.

    It affects all that either side sends from now on.

    Raises:
        TransportClosed: The actor is gone.

    Cancellation: the transport is there, or not.
    """
    channel = portal.chan
    faulty = FaultyTransport(channel._transport)
    channel._transport = faulty
    # The reader waits on the one below; what comes there next makes it turn to this.
    await portal.ping().wait()
    return faulty

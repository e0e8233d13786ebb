"""Typed messages with one peer.

Sending never tears a frame: a frame is queued whole or not at all, so a cancelled
sender leaves the channel sound. Three ways out:

1. The common case writes straight to the socket, with no task switch.
2. In a rush, when something has just been sent, a call or an answer waits in the outbox
   until tasks that run before the writer task have added theirs; then all go out in one
   write. (A stream's item never waits: its task may compute for a long time before it
   lets the writer run. Who calls or has answered lets others run at once.)
3. What the kernel does not take waits in the outbox until it does.

One reader task splits every complete frame out of what arrives and dispatches each
record synchronously. A handler must not wait, and may raise `RemoteProtocolError`
alone, which closes the channel.
"""

from collections import deque
from collections.abc import Callable, Iterable
from time import perf_counter, time
from typing import TYPE_CHECKING, Final, NoReturn

import trio

from tractor._exceptions import RemoteProtocolError, TransportBroken, TransportClosed
from tractor._types import Aid
from tractor.ipc._address import AnyAddress, parse_address
from tractor.ipc._framing import FrameSplitter
from tractor.ipc._transport import Transport
from tractor.msg import decode_bulk, decode_record, encode_frame
from tractor.msg.types import MAX_FRAME, AnyRecord, Greet, Record

if TYPE_CHECKING:
    import ssl

RUSH: Final = 100e-6  # seconds; about what a few steps of tasks take
GATHER: Final = 64 * 1024  # bytes of small frames that go out in one write
HIGH_WATER: Final = 256 * 1024  # queued bytes above which `send` waits; docs/adr/0003


class Channel:
    """A connection that carries records; `run` must be running for it to work.

    Attributes:
        max_frame: Largest record in bytes, both ways.
        closed: Why it carries nothing any more; `None` while it works.
        life_signs: How often bytes came from the other side, or it made room for more
            of ours; a large message may take long either way.
    """

    def __init__(self, transport: Transport, *, max_frame: int) -> None:
        self.max_frame = max_frame
        self.closed: TransportClosed | None = None
        self.life_signs = 0
        self._transport = transport
        self._outbox: deque[bytearray | memoryview] = deque()
        self._queued = 0  # bytes in it
        self._jammed = False  # the kernel takes no more at present
        self._sent_at = 0.0  # when something was last written
        self._writer: trio.lowlevel.Task | None = None  # while it waits to be woken
        self._drained: trio.Event | None = None  # of who waits for an empty outbox
        self._turns = trio.StrictFIFOLock()  # of senders that wait
        self._broken: TransportBroken | None = None  # why nothing can be sent

    @classmethod
    async def from_addr(
        cls,
        addr: AnyAddress,
        *,
        secret: bytes,
        aid: Aid,
        max_frame: int = MAX_FRAME,
        ssl_context: "ssl.SSLContext | None" = None,
    ) -> "Channel":
        """Connect to an actor without being one; for tools.

        Args:
            addr: Where it listens.
            secret: Of its tree.
            aid: Who it is to take us for.
            max_frame: Largest record in bytes, both ways; the actor may want less.
            ssl_context: Of ``PROTOCOL_TLS_CLIENT``, for an actor on another machine.

        Returns:
            A channel, to be `run`.

        Raises:
            ActorUnreachable: Nobody answers there.
            AuthenticationFailed: Who answers has another secret.

        Waits for as long as the other end likes; bound it. Cancellation: nothing is
        left of it.
        """
        # Local: few channels are made so.
        from tractor.ipc._dial import connect
        from tractor.ipc._handshake import introduce
        from tractor.ipc._hello import Secret

        transport = await connect(parse_address(addr), ssl_context)
        greet = Greet(aid, time(), max_frame)
        answer = await introduce(transport, Secret(secret), greet)
        return cls(transport, max_frame=min(max_frame, answer.max_frame))

    # -- sending -----------------------------------------------------------------------

    def send_nowait(
        self, record: Record, body: bytes = b"", *, relaxed: bool = False
    ) -> None:
        """Send one record, or queue it whole; never waits.

        Args:
            record: To be sent.
            body: The rest of its last field, whose beginning is in the record: large
                payloads go from where they are to the kernel. See `msg.Bulk`.
            relaxed: Whether this task lets others run right after it, so that the
                record may wait for theirs.

        Raises:
            FrameTooLarge: It exceeds `max_frame`; nothing was sent.
            TransportClosed: The channel is closed.
        """
        frame = encode_frame(record, self.max_frame, len(body))
        if self.closed is not None or self._broken is not None:
            self._raise_closed()
        now = perf_counter()
        if self._outbox or (relaxed and now - self._sent_at < RUSH):
            self._enqueue(frame)
            if body:
                self._enqueue(memoryview(body))
            if not (relaxed or self._jammed):
                self._flush()
            return
        self._sent_at = now
        if body:
            self._send_large(frame, body)
            return
        sent = self._transport.send_nowait(frame)
        if sent < len(frame):
            self._enqueue(memoryview(frame)[sent:])

    def _send_large(self, frame: bytearray, body: bytes) -> None:
        sent = self._transport.send_two_nowait(frame, body)
        if sent < len(frame):
            self._enqueue(memoryview(frame)[sent:])
            self._enqueue(memoryview(body))
        elif sent < len(frame) + len(body):
            self._enqueue(memoryview(body)[sent - len(frame) :])

    def _enqueue(self, frame: bytearray | memoryview) -> None:
        self._outbox.append(frame)
        self._queued += len(frame)
        if self._writer is not None:
            trio.lowlevel.reschedule(self._writer)
            self._writer = None

    async def send(
        self, record: Record, body: bytes = b"", *, relaxed: bool = False
    ) -> None:
        """Send one record; waits while too much is queued before it.

        The arguments are those of `send_nowait`. Records are sent in the order of the
        calls, also of calls that wait.

        Raises:
            FrameTooLarge: It exceeds `max_frame`; nothing was sent.
            TransportClosed: The channel is closed.

        Cancellation before the record is queued sends nothing; there is no other
        point at which it can be cancelled.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        if not self.crowded:
            self.send_nowait(record, body, relaxed=relaxed)
            return
        async with self._turns:
            await self.wait_uncongested()
            self.send_nowait(record, body, relaxed=relaxed)

    @property
    def crowded(self) -> bool:
        """Whether `send` would wait."""
        return self._queued > HIGH_WATER or self._turns.locked()

    @property
    def congested(self) -> bool:
        """Whether so much is queued that senders of payloads wait."""
        return self._queued > HIGH_WATER

    @property
    def queued(self) -> int:
        """Bytes that the kernel did not take yet."""
        return self._queued

    async def wait_uncongested(self) -> None:
        """Wait until a payload may be queued, or for the end of the channel."""
        while self.congested:
            await self.wait_drained()

    async def drain(self) -> None:
        """Wait until everything queued is with the kernel, or the channel is closed."""
        while self._outbox and self.closed is None and self._broken is None:
            await self.wait_drained()

    async def wait_drained(self) -> None:
        """Wait until what is queued, which is something, has all been written.

        Returns at the end of the channel, too.
        """
        if self._drained is None:
            self._drained = trio.Event()
        await self._drained.wait()

    # -- running -----------------------------------------------------------------------

    async def run(self, dispatch: Callable[[AnyRecord], None]) -> TransportClosed:
        """Read and write until the connection ends; says why it did.

        Raises nothing but `trio.Cancelled`; in every case the channel is closed after.
        """
        try:
            async with trio.open_nursery() as tasks:
                tasks.start_soon(self._write)
                reason = await self._read(dispatch)
                self._close(reason)
                tasks.cancel_scope.cancel()
        finally:
            self.close()
        return self.closed or reason

    async def _read(self, dispatch: Callable[[AnyRecord], None]) -> TransportClosed:
        splitter = FrameSplitter(self.max_frame)
        try:
            while True:
                records: Iterable[AnyRecord]
                if splitter.filling is None:
                    data = await self._transport.receive_some(splitter.appetite)
                    count = len(data)
                    records = map(decode_record, splitter.feed(data))
                    del data
                else:
                    space = splitter.filling.space
                    count = await self._transport.receive_into(space)
                    del space  # else its memory would be copied
                    frame = splitter.fill(count)
                    records = () if frame is None else (decode_bulk(*frame),)
                    del frame
                if not count:
                    break
                self.life_signs += 1
                for record in records:
                    dispatch(record)
                    del record  # it may be large, and the next one far away
                    if self.closed is not None:
                        return self.closed
                del records
        except TransportClosed as exc:
            return exc
        except RemoteProtocolError as exc:
            return TransportBroken(f"closed on a protocol error: {exc}")
        if splitter.midway:
            return TransportBroken("the peer closed in the middle of a frame")
        return TransportClosed("the peer closed the channel")

    @trio.lowlevel.enable_ki_protection  # as the reader, which is a service
    async def _write(self) -> None:
        try:
            while True:
                if self._outbox:
                    while not self._flush():
                        self._jammed = True
                        await self._transport.send_ready()
                        self._jammed = False
                        self.life_signs += 1
                    self._sent_at = perf_counter()
                self._note_drained()  # also where a sender has written it all
                self._writer = trio.lowlevel.current_task()
                await trio.lowlevel.wait_task_rescheduled(self._abort_writer)
        except TransportBroken as exc:
            # Not the end of the channel: what the peer sent before it went is still to
            # be read, and the reader finds the end. But a frame may be cut by now.
            self._broken = exc
            self._clear()

    def _flush(self) -> bool:
        """Write what is queued; whether the kernel took it all."""
        outbox = self._outbox
        while outbox:
            if len(outbox) > 1 and len(outbox[0]) < GATHER:
                outbox.appendleft(self._gather())
            chunk = outbox[0]
            sent = self._transport.send_nowait(chunk)
            self._queued -= sent
            if sent < len(chunk):
                outbox[0] = memoryview(chunk)[sent:]
                return False
            outbox.popleft()
        return True

    def _gather(self) -> bytearray:
        """Take several small frames, to be written together."""
        chunk = bytearray()
        while self._outbox and len(chunk) < GATHER:
            chunk += self._outbox.popleft()
        return chunk

    def _abort_writer(self, _: object) -> trio.lowlevel.Abort:
        self._writer = None
        return trio.lowlevel.Abort.SUCCEEDED

    def _note_drained(self) -> None:
        if self._drained is not None:
            self._drained.set()
            self._drained = None

    def _clear(self) -> None:
        self._outbox.clear()
        self._queued = 0
        self._note_drained()

    # -- closing -----------------------------------------------------------------------

    def close(self) -> None:
        """Close it now; what is queued is dropped. Idempotent."""
        self._close(TransportClosed("the channel was closed on this side"))

    def _close(self, reason: TransportClosed) -> None:
        if self.closed is None:
            self.closed = reason
            self._clear()
            self._transport.close()

    def _raise_closed(self) -> NoReturn:
        reason = self.closed or self._broken
        assert reason is not None
        raise type(reason)(str(reason))

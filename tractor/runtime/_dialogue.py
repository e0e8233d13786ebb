"""One end of a dialogue that is a context: table, credit, inbox, outcome.

It knows records and not users: `Context` and `MsgStream` are the faces of it. Records
come in synchronously through `on_record`, and each either moves the table or breaks it;
a broken table fails this dialogue and no other. Whatever may wait here waits in one of
two parking lots or for one of three events, and `_settle` wakes them all.

A side that leaves its stream by an exception says `Stop` *in doubt*. Most often the
exception is the end of that side, and its outcome follows; an `EndOfChannel` meanwhile
would pass what is half done for all of it. So who reads, or sends, waits for the
outcome then, but no longer than `DOUBT`: the exception may have been dealt with.

A caller that wants nothing but the result drops what the callee sends, which the callee
need not know. But if it never opened the stream, and so will never close it, it closes
its half: a callee that waits for items would wait for it, and it for the callee.
"""

import math
from collections.abc import Callable
from contextlib import suppress
from typing import Final, NoReturn

import trio
from msgspec import Raw

from tractor._exceptions import (
    ContextCancelled,
    FrameTooLarge,
    LocalProtocolError,
    RemoteProtocolError,
    TransportClosed,
)
from tractor._types import ErrorInfo, Uid
from tractor.ipc import Channel
from tractor.msg import Dialogue, Half, Role, shorten, unbox
from tractor.msg import types as t
from tractor.runtime._flow import WINDOW, Inbox, StreamStatistics

DOUBT: Final = 1.0  # seconds that a failing side gets to say how it ended


class DialogueEnd:
    """Our end of a context.

    Attributes:
        started: Set when the callee has called `started`, or never will.
        first: The value that it started with.
        settled: Set when the outcome is known.
        result: The callee's result, when it returned.
        error: Why there is no result, or why the caller gave up; the first one stays.
        cancel_acked: Set when the callee acknowledged our `Cancel`, or never will.
        asked_as: uid of this actor, once it has asked for the callee's end in time.
        stream_opened: Whether somebody reads or sends items here, or did.
        stream_closed: Whether nobody does any more.
    """

    def __init__(
        self, cid: int, role: Role, channel: Channel, on_error: Callable[[], None]
    ) -> None:
        self.cid = cid
        self.started = trio.Event()
        self.first: Raw | None = None
        self.settled = trio.Event()
        self.result: Raw | None = None
        self.error: Exception | None = None
        self.cancel_acked = trio.Event()
        self.stream_opened = False
        self.stream_closed = False
        self.table = Dialogue(role)
        self.channel = channel
        self._on_error = on_error
        self.asked_as: Uid | None = None
        self._inbox = Inbox()
        self._credit = WINDOW
        self._sent = 0
        self._discarding = False
        self._said: int | None = None  # how we stopped
        self._heard: int | None = None  # how the peer did
        self._doubt_until = math.inf  # trio time
        self._receivers = trio.lowlevel.ParkingLot()
        self._senders = trio.lowlevel.ParkingLot()  # of one task, whose turn it is
        self._turn = trio.StrictFIFOLock()  # of senders that have to wait

    @property
    def opened(self) -> bool:
        """Whether the callee was called."""
        return self.table.state.caller is not Half.SILENT

    @property
    def first_unsent(self) -> bool:
        """Whether the callee has not called `started` yet."""
        return self.table.state.callee is Half.SILENT

    @property
    def ended_as_asked(self) -> bool:
        """Whether the callee was cancelled because this side had asked for that."""
        return (
            self.asked_as is not None
            and isinstance(self.error, ContextCancelled)
            and self.error.canceller == self.asked_as
            and not self.error.is_inception()
        )

    @property
    def window(self) -> int:
        """How many items may wait here unread."""
        return self._inbox.window

    # -- what arrives ------------------------------------------------------------------

    def on_record(self, record: t.AnyRecord) -> None:
        """A record of this dialogue arrived; never raises."""
        try:
            self.table.receive(type(record))
            if isinstance(record, t.Yield):
                self._on_item(record.pld)
            else:
                self._take_in(record)
        except RemoteProtocolError as exc:
            self.fail(exc)

    def _take_in(self, record: t.AnyRecord) -> None:
        match record:
            case t.Credit():
                self._on_credit(record.count)
            case t.Stop():
                self._heard = record.how
                self._doubt_until = trio.current_time() + DOUBT
                self.wake()
            case t.Started():
                self.first = record.pld
                self.started.set()
            case t.Return():
                self.result = record.pld
                self._settle()
            case t.Error():
                self.fail(unbox(record.error))
            case t.CancelAck():
                self.cancel_acked.set()
            case t.Cancel():
                if record.error is not None:
                    self.fail(unbox(record.error))

    def _on_item(self, payload: Raw) -> None:
        self._inbox.put(payload)
        if self._discarding:
            self._grant(self._inbox.discard())
        elif self._receivers:
            self._receivers.unpark()

    def _on_credit(self, count: int) -> None:
        if count < 1:
            msg = f"a credit of {count} items"
            raise RemoteProtocolError(msg)
        self._credit += count
        self._senders.unpark()

    def fail(self, error: Exception) -> None:
        """There will be no result; the first reason stays."""
        if self.settled.is_set():
            return
        self.error = error
        self._settle()
        if not self.ended_as_asked:
            self._on_error()

    def finish(self) -> None:
        """Our function has ended: whoever still waits here learns that (callee)."""
        with suppress(LocalProtocolError):
            self.table.send(t.Return)
        self._settle()

    def wake(self) -> None:
        """Let every task that waits for the stream look again."""
        self._receivers.unpark_all()
        self._senders.unpark_all()

    def _settle(self) -> None:
        self.settled.set()
        self.started.set()
        self.cancel_acked.set()
        self.wake()

    # -- what leaves -------------------------------------------------------------------

    def send(self, record: t.Record, body: bytes = b"") -> None:
        """Send a record of this dialogue.

        Raises:
            LocalProtocolError: Not in this state; nothing was sent.
            FrameTooLarge: Nothing was sent.
            TransportClosed: The channel is gone.
        """
        before = self.table.state
        self.table.send(type(record))
        try:
            self.channel.send_nowait(record, body)
        except FrameTooLarge:
            self.table.state = before
            raise

    def send_quietly(self, record: t.Record) -> None:
        """Send it if it still means something to the other side."""
        with suppress(LocalProtocolError, TransportClosed):
            self.send(record)

    async def deliver(self, record: t.Record) -> None:
        """As `send`; for a channel that is gone, raise what became of the peer."""
        try:
            self.send(record)
        except TransportClosed as exc:
            await self._raise_fate(exc)

    async def _raise_fate(self, exc: TransportClosed) -> NoReturn:
        await self.settled.wait()  # the news comes in a moment
        self.raise_if_failed()
        raise exc

    def request_cancel(
        self, canceller: Uid, seconds: float, error: ErrorInfo | None
    ) -> None:
        """Ask the callee to end within `seconds`, because of `error` if there is one.

        Credit for what it sends meanwhile is still given.
        """
        if not self.settled.is_set():
            self.asked_as = canceller
        try:
            self.send_quietly(t.Cancel(self.cid, canceller, seconds, error))
        except FrameTooLarge:
            assert error is not None
            record = t.Cancel(self.cid, canceller, seconds, shorten(error))
            self.send_quietly(record)
        self.wake()

    def raise_if_failed(self) -> None:
        """Raise the other side's error, unless it is the end that we asked for."""
        if self.error is not None and not self.ended_as_asked:
            raise self.error

    # -- the stream's sending side -----------------------------------------------------

    @property
    def can_send(self) -> bool:
        """Whether `send_item` would not wait, nor raise for the state of the stream."""
        return (
            self._credit > 0
            and self.error is None
            and self._heard is None
            and not self.stream_closed
            and self.table.own_half is Half.OPEN
            and not self._turn.locked()
            and not self.channel.congested
            and not self.settled.is_set()
        )

    async def send_item(self, payload: Raw, body: bytes = b"") -> None:
        """Send a stream item as soon as there is credit for it, in order of calls."""
        if not self.can_send:
            self.raise_if_unsendable()
            async with self._turn:
                await self._wait_sendable()
        try:
            self.send(t.Yield(self.cid, payload), body)
        except TransportClosed as exc:
            await self._raise_fate(exc)
        self._credit -= 1
        self._sent += 1

    async def _wait_sendable(self) -> None:
        self.raise_if_unsendable()
        while self._credit <= 0 or self._heard == t.IN_DOUBT:
            await self._park(self._senders)
            self.raise_if_unsendable()
        if self.channel.congested:
            await self.channel.wait_uncongested()
            self.raise_if_unsendable()

    def raise_if_unsendable(self) -> None:
        """Raise why no item can be sent, now or later."""
        self.raise_if_failed()
        if self.stream_closed or self.table.own_half is not Half.OPEN:
            raise _closed()
        if self._has_stopped() and self._heard != t.HALF_CLOSED:
            msg = "the other side closed the stream"
            raise trio.BrokenResourceError(msg)

    # -- the stream's reading side -----------------------------------------------------

    def open_stream(self, window: int, *, overruns: bool) -> None:
        """Choose how many items may wait here unread."""
        self.stream_opened = True
        self._grant(self._inbox.open(window, overruns=overruns))

    async def next_item(self) -> Raw:
        """The oldest unread item.

        What arrived before an error stays readable, and then comes the error, although
        the scope around the reader is cancelled by then.
        """
        if self.error is None:
            await trio.lowlevel.checkpoint_if_cancelled()
        while not self.stream_closed:
            if self._inbox:
                return self._next()
            self.raise_if_failed()
            if self._is_read_out():
                # Woken by what comes just before a cancellation, and both are here.
                await trio.lowlevel.checkpoint_if_cancelled()
                raise trio.EndOfChannel
            await self._park(self._receivers)
        self.raise_if_failed()
        raise _closed()

    def next_item_nowait(self) -> Raw:
        """The oldest unread item.

        Raises:
            trio.WouldBlock: There is none now.
        """
        if self.stream_closed:
            raise _closed()
        if self._inbox:
            return self._next()
        self.raise_if_failed()
        raise trio.EndOfChannel if self._is_read_out() else trio.WouldBlock

    def _next(self) -> Raw:
        item, credit = self._inbox.take()
        self._grant(credit)
        return item

    def _grant(self, credit: int) -> None:
        if credit and self.table.peer_half is Half.OPEN:
            self.send_quietly(t.Credit(self.cid, credit))

    def _is_read_out(self) -> bool:
        return self._has_stopped() or self.table.peer_half is Half.CANCELLING

    # -- both --------------------------------------------------------------------------

    async def _park(self, lot: trio.lowlevel.ParkingLot) -> None:
        """Wait for news, and no longer than the end of the stream is in doubt."""
        if self._heard != t.IN_DOUBT:
            await lot.park()
            return
        with trio.move_on_at(self._doubt_until):
            await lot.park()

    def _has_stopped(self) -> bool:
        """Whether the other side sends no more items, beyond doubt."""
        if self.settled.is_set() or self._heard is None:
            return self.settled.is_set()
        return self._heard != t.IN_DOUBT or trio.current_time() >= self._doubt_until

    def discard_items(self) -> None:
        """From now on nobody reads; let the sender go on all the same."""
        self._discarding = True
        self._grant(self._inbox.discard())

    def let_go(self) -> None:
        """Only the outcome counts now, and the context goes on."""
        self.discard_items()
        if self._said == t.IN_DOUBT:
            self.close_stream()
        elif not self.stream_opened:
            self.stop(t.HALF_CLOSED)

    def stop(self, how: int) -> None:
        """No more items from here; again to say it in a more final way."""
        if self._said not in (how, t.CLOSED):
            self.send_quietly(t.Stop(self.cid, how))
            self._said = how

    def close_stream(self, how: int = t.CLOSED) -> None:
        """No more items from here, and none wanted."""
        self.stream_closed = True
        self.stop(how)
        self.discard_items()
        self.wake()

    def statistics(self) -> StreamStatistics:
        """Counts at this moment."""
        turn = self._turn.statistics()
        return StreamStatistics(
            sent=self._sent,
            received=self._inbox.taken,
            unread=len(self._inbox),
            dropped=self._inbox.dropped,
            send_credit=self._credit,
            tasks_waiting_send=turn.tasks_waiting + turn.locked,
            tasks_waiting_receive=len(self._receivers),
        )


def _closed() -> trio.ClosedResourceError:
    return trio.ClosedResourceError("this side closed the stream")

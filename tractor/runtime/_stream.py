"""Items both ways inside a context."""

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import trio
from msgspec import Raw

from tractor.msg import current_limit
from tractor.runtime._dialogue import DialogueEnd
from tractor.runtime._flow import StreamStatistics

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tractor.ipc import Channel
    from tractor.runtime._context import Context
    from tractor.trionics import BroadcastReceiver

BREATH: Final = 64  # items after which other tasks get a turn, whatever is possible


class MsgStream[InT = Any, OutT = Any](trio.abc.Channel[Any]):
    """One side of a stream; got from `Context.open_stream`.

    Sending waits while the other side is a window of items behind (64 by default);
    nothing is dropped and nothing piles up.
    """

    def __init__(self, ctx: "Context[Any, InT, OutT, Any]", end: DialogueEnd) -> None:
        self._ctx = ctx
        self._end = end
        self._turns = 0
        self._what = f"an item of {ctx.path!r}"
        self._broadcaster: BroadcastReceiver[InT] | None = None

    @property
    def ctx(self) -> "Context[Any, InT, OutT, Any]":
        """The context that it belongs to."""
        return self._ctx

    @property
    def chan(self) -> "Channel":
        """The channel below."""
        return self._ctx.chan

    @property
    def closed(self) -> bool:
        """Whether this side closed it."""
        return self._end.stream_closed

    async def send(self, value: OutT) -> None:
        """Send one item.

        Raises:
            MsgTypeError: It cannot be encoded or does not fit the stream's type;
                nothing was sent, and the stream goes on.
            trio.ClosedResourceError: This side closed the stream, or has cancelled
                the other side's function.
            trio.BrokenResourceError: The other side closed it, or its function ended.
            RemoteActorError: The other side raised.
            ActorDied: The other side is gone.

        Cancellation: the item was not sent; the stream is sound.
        """
        self._end.raise_if_failed()
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._is_out_of_breath():
            await trio.lowlevel.cancel_shielded_checkpoint()
        pld_type = current_limit() or self._ctx.types.outbound
        bulk = pld_type.as_bulk(value)
        if bulk is None:
            await self._end.send_item(pld_type.encode(value, self._what))
        else:
            await self._end.send_item(*bulk)

    async def receive(self) -> InT:
        """The next item.

        Raises:
            trio.EndOfChannel: The other side closed the stream, or its function
                returned or ended because this side cancelled it, and every item was
                read.
            trio.ClosedResourceError: This side closed the stream.
            MsgTypeError: The item does not fit the stream's type; it is used up, and
                the stream goes on.
            RemoteActorError: The other side raised; items that came before are
                read first.
            ActorDied: The other side is gone; likewise.

        Cancellation loses no item.
        """
        if self._broadcaster is not None:
            return await self._broadcaster.receive()
        return await self._receive()

    async def _receive(self) -> InT:
        payload = await self._end.next_item()
        if self._is_out_of_breath():
            await trio.lowlevel.cancel_shielded_checkpoint()
        return self._decode(payload)

    def _is_out_of_breath(self) -> bool:
        self._turns += 1
        return not self._turns % BREATH

    async def __anext__(self) -> InT:  # that of the base class is not typed
        try:
            return await self.receive()
        except trio.EndOfChannel:
            raise StopAsyncIteration from None

    def receive_nowait(self) -> InT:
        """The next item, if one is here.

        Raises:
            trio.WouldBlock: None is.
            Exception: Whatever `receive` raises.
        """
        if self._broadcaster is not None:
            return self._broadcaster.receive_nowait()
        return self._decode(self._end.next_item_nowait())

    async def aclose(self) -> None:
        """Close this side; the other side's iteration ends after what was sent.

        Items that were not read are dropped. May be called again.
        """
        self.close()
        await trio.lowlevel.checkpoint()

    def close(self) -> None:
        """As `aclose`, without a checkpoint."""
        self._end.close_stream()

    @asynccontextmanager
    async def subscribe(
        self, *, raise_on_lag: bool = True
    ) -> "AsyncIterator[BroadcastReceiver[InT]]":
        """Another receiver of the same items, for another task.

        From the first call on, `receive` is one subscriber among the others. A
        subscriber that is more than `msg_buffer_size` behind gets `trionics.Lagged`.
        """
        # Local: most streams have one reader.
        from tractor.trionics import broadcast_receiver

        if self._broadcaster is None:
            self._broadcaster = broadcast_receiver(
                self,
                self._end.window,
                receive_afunc=self._receive,
                raise_on_lag=raise_on_lag,
            )
        async with self._broadcaster.subscribe(raise_on_lag=raise_on_lag) as receiver:
            yield receiver

    def statistics(self) -> StreamStatistics:
        """Counts at this moment."""
        return self._end.statistics()

    def _decode(self, payload: Raw) -> InT:
        pld_type = current_limit() or self._ctx.types.inbound
        item: InT = pld_type.decode(payload, self._what)
        return item

"""The channel between a block of trio's and a task of asyncio.

Both sides hold the same object, and most of its methods are for either: each does what
is right in the task that calls it.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio

from tractor._aio_errors import AsyncioTaskExited, TrioTaskExited
from tractor.to_asyncio._linked import LinkedTask
from tractor.trionics import BroadcastReceiver, broadcast_receiver


class LinkedTaskChannel(trio.abc.Channel[Any]):
    """Items both ways between trio and asyncio; got from `open_channel_from`.

    At most `qsize` items wait in each direction; who sends more waits, or is refused.
    Any object may be sent, and it is not copied.
    """

    def __init__(self, linked: LinkedTask) -> None:
        self._linked = linked
        self._broadcaster: BroadcastReceiver[Any] | None = None

    def __repr__(self) -> str:
        return f"<LinkedTaskChannel with {self._linked.name!r}>"

    # -- either side -------------------------------------------------------------------

    async def send(self, value: Any) -> None:
        """Send an item; waits while `qsize` of them wait.

        Raises:
            AsyncioTaskExited: In trio: the asyncio task takes no more.
            trio.ClosedResourceError: In trio: its side is closed.
            TrioTaskExited: In asyncio: the block was left, or takes no more.
            TrioCancelled: In asyncio: the block was cancelled, or failed.
            asyncio.QueueShutDown: In asyncio: its side is closed.

        Cancellation: the item was not sent.
        """
        if trio.lowlevel.in_trio_task():
            await trio.lowlevel.checkpoint()
            while not self._send_from_trio(value):
                await self._linked.trio_news.wait()
            return
        await self._check_trio()
        while not self._send_from_asyncio(value):
            await self._linked.wait_in_asyncio()

    def send_nowait(self, value: Any) -> None:
        """As `send`, but never waits.

        Raises:
            asyncio.QueueFull: In asyncio: `qsize` items wait; use ``await send()``.
            trio.WouldBlock: The same in trio.
        """
        if trio.lowlevel.in_trio_task():
            if not self._send_from_trio(value):
                raise trio.WouldBlock
        elif not self._send_from_asyncio(value):
            msg = (
                f"{self._linked.size} items wait for trio to receive them; use "
                "`await chan.send()`, which waits, or a larger qsize"
            )
            raise asyncio.QueueFull(msg)

    async def receive(self) -> Any:
        """The next item.

        Raises:
            trio.EndOfChannel: In trio: there are no more.
            trio.ClosedResourceError: In trio: its side is closed.
            TrioTaskExited: In asyncio: the block was left, or there are no more.
            TrioCancelled: In asyncio: the block was cancelled, or failed.
            asyncio.QueueShutDown: In asyncio: its side is closed.

        Cancellation: no item is lost.
        """
        if not trio.lowlevel.in_trio_task():
            return await self._receive_in_asyncio()
        if self._broadcaster is not None:
            return await self._broadcaster.receive()
        return await self._receive_in_trio()

    async def get(self) -> Any:
        """As `receive`; the name that queues of asyncio have for it."""
        return await self.receive()

    async def __anext__(self) -> Any:
        """The next item, until the other side has left or closed its channel."""
        try:
            return await self.receive()
        except (trio.EndOfChannel, TrioTaskExited):
            raise StopAsyncIteration from None

    async def aclose(self) -> None:
        """Close this side. The other one gets what was sent, and then its end."""
        self._linked.check_thread()
        if trio.lowlevel.in_trio_task():
            self._linked.trio_closed = True
        else:
            self._linked.aio_closed = True
        self._linked.trio_news.tell()
        self._linked.aio_news.tell()
        if trio.lowlevel.in_trio_task():
            await trio.lowlevel.checkpoint()
        else:
            await asyncio.sleep(0)

    def closed(self) -> bool:
        """Whether a side is closed, or the asyncio task has ended."""
        linked = self._linked
        return linked.trio_closed or linked.aio_closed or linked.outcome is not None

    # -- for trio ----------------------------------------------------------------------

    def cancel_asyncio_task(self, msg: str = "") -> None:
        """Cancel the asyncio task; the block goes on."""
        self._linked.check_thread()
        self._linked.cancel_task(msg)

    async def wait_for_result(self) -> Any:
        """What the asyncio task returns; `None` if it let `TrioTaskExited` through.

        Raises:
            AsyncioCancelled: It was cancelled.
            BaseException: It failed, so the block is cancelled, too.
        """
        await trio.lowlevel.checkpoint()
        await self._linked.wait_ended()
        return self._linked.result()

    @asynccontextmanager
    async def subscribe(
        self, *, raise_on_lag: bool = True
    ) -> AsyncIterator[BroadcastReceiver[Any]]:
        """Another receiver of the same items, for another task of trio.

        From the first call on, `receive` is one subscriber among the others. A
        subscriber that is more than `qsize` behind gets `trionics.Lagged`.
        """
        if self._broadcaster is None:
            self._broadcaster = broadcast_receiver(
                self,
                self._linked.size,
                receive_afunc=self._receive_in_trio,
                raise_on_lag=raise_on_lag,
            )
        async with self._broadcaster.subscribe(raise_on_lag=raise_on_lag) as receiver:
            yield receiver

    # -- for asyncio -------------------------------------------------------------------

    def started_nowait(self, value: Any = None) -> None:
        """Let the block begin, with this as its first value.

        Raises:
            RuntimeError: It was called before.
            TrioCancelled: Nobody waits for it any more.
        """
        linked = self._linked
        linked.check_thread()
        if linked.trio_end is not None:
            raise linked.end_error()
        if linked.started:
            msg = "started_nowait() was called already; use send_nowait()"
            raise RuntimeError(msg)
        linked.started, linked.first = True, value
        linked.trio_news.tell()

    def cancel_trio_task(self, msg: str = "") -> None:
        """Cancel the block, which raises `AsyncioCancelled` then."""
        self._linked.check_thread()
        self._linked.cancel_block(msg)

    # -- within ------------------------------------------------------------------------

    async def _wait_started(self) -> Any:
        linked = self._linked
        while not linked.started:
            if linked.outcome is not None or linked.aio_closed:
                how = "closed its channel" if linked.outcome is None else "ended"
                msg = f"asyncio task {linked.name!r} {how} before chan.started_nowait()"
                raise AsyncioTaskExited(msg)
            await linked.trio_news.wait()
        return linked.first

    def _send_from_trio(self, value: Any) -> bool:
        linked = self._linked
        if linked.trio_closed:
            msg = "this side of the channel is closed"
            raise trio.ClosedResourceError(msg)
        if linked.outcome is not None or linked.aio_closed:
            how = "closed its channel" if linked.outcome is None else "ended"
            raise linked.refused(f"asyncio task {linked.name!r} has {how}")
        if len(linked.to_aio) >= linked.size:
            return False
        linked.to_aio.append(value)
        linked.aio_news.tell()
        return True

    def _send_from_asyncio(self, value: Any) -> bool:
        linked = self._linked
        linked.check_thread()
        if linked.trio_end is not None or linked.trio_closed:
            raise linked.end_error()
        self._check_asyncio_side()
        if not linked.started:
            msg = "call started_nowait() before anything is sent"
            raise RuntimeError(msg)
        if len(linked.to_trio) >= linked.size:
            return False
        linked.to_trio.append(value)
        linked.trio_news.tell()
        return True

    async def _receive_in_trio(self) -> Any:
        linked = self._linked
        await trio.lowlevel.checkpoint()
        while not self._has_item_for_trio():
            await linked.trio_news.wait()
        value = linked.to_trio.popleft()
        linked.aio_news.tell()
        return value

    def _has_item_for_trio(self) -> bool:
        linked = self._linked
        if linked.trio_closed:
            msg = "this side of the channel is closed"
            raise trio.ClosedResourceError(msg)
        if linked.to_trio:
            return True
        if linked.outcome is not None or linked.aio_closed:
            raise trio.EndOfChannel
        return False

    async def _receive_in_asyncio(self) -> Any:
        linked = self._linked
        await self._check_trio()
        while not self._has_item_for_asyncio():
            await linked.wait_in_asyncio()
        value = linked.to_aio.popleft()
        linked.trio_news.tell()
        return value

    def _has_item_for_asyncio(self) -> bool:
        linked = self._linked
        if linked.trio_end is not None:
            raise linked.end_error()
        self._check_asyncio_side()
        if linked.to_aio:
            return True
        if linked.trio_closed:
            raise linked.end_error()
        return False

    async def _check_trio(self) -> None:
        """Let others run before a task is told what it may not listen to."""
        if self._linked.trio_end is not None or self._linked.trio_closed:
            await asyncio.sleep(0)

    def _check_asyncio_side(self) -> None:
        if self._linked.aio_closed:
            msg = "this side of the channel is closed"
            raise asyncio.QueueShutDown(msg)


class ToTrio:
    """What a target gets as `to_trio`: one half of the channel, as older code has it.

    The first item is the first value of the block.
    """

    def __init__(self, chan: LinkedTaskChannel) -> None:
        self._chan = chan
        self._started = False

    def send_nowait(self, value: Any) -> None:
        """As `LinkedTaskChannel.send_nowait`."""
        if self._started:
            self._chan.send_nowait(value)
            return
        self._chan.started_nowait(value)
        self._started = True

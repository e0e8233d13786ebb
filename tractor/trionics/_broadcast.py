"""One channel, received by several tasks: each of them gets every item.

The model is tokio's broadcast channel: the last `max_buffer_size` items are kept until
every subscriber has got them. No subscriber holds up the others; one that falls further
behind than that loses the oldest items, and is told how many.

Theory of operation:

- Items are numbered. The buffer has the numbers `first` to `end`, and a subscriber
  knows the number of the item that it gets next.
- A subscriber that has got all there is asks the channel itself, unless some task does
  that already; then it waits for that one. When the asking ends, in whatever way, all
  who wait look again: an item is there for each of them, or one of them asks next. So a
  cancelled task hands over to the others, and the channel never has more than one task
  in its `receive`.
- An error of the channel takes a place between two items. Each subscriber that comes
  there gets it, once; then it asks the channel again. Thus an error that is of one item
  only does not end anything, and one that is final is raised again by the channel. It
  uses up no room in the buffer, so that asking again and again loses no item.
"""

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import NamedTuple, Protocol

import trio


class Lagged(trio.TooSlowError):
    """A subscriber was too slow, and lost items.

    Raised by `BroadcastReceiver.receive`. The next call gets the oldest item that is
    left.

    Attributes:
        lost: How many items.
    """

    def __init__(self, lost: int) -> None:
        super().__init__(lost)
        self.lost = lost

    def __str__(self) -> str:
        items = "1 item" if self.lost == 1 else f"{self.lost} items"
        return (
            f"this subscriber fell behind and lost {items}; receive faster, "
            "or with a larger buffer"
        )


class AsyncReceiver[T](Protocol):
    """What `broadcast_receiver` needs of a channel."""

    async def receive(self) -> T:
        """The next item; loses none when it is cancelled."""


@dataclass(frozen=True)
class BroadcastStatistics:
    """Counts at one moment.

    Attributes:
        behind: Items that the subscriber has not got, lost ones included.
        received: Items that were received from the channel.
        buffered: Items that are kept for some subscriber.
        max_buffer_size: Most items that are kept.
        subscribers: Open ones.
        tasks_waiting: In `receive`, of any subscriber.
    """

    behind: int
    received: int
    buffered: int
    max_buffer_size: int
    subscribers: int
    tasks_waiting: int


def broadcast_receiver[T](
    recv_chan: AsyncReceiver[T],
    max_buffer_size: int,
    receive_afunc: Callable[[], Awaitable[T]] | None = None,
    *,
    raise_on_lag: bool = True,
) -> "BroadcastReceiver[T]":
    """The first subscriber to a channel; others come from its `subscribe`.

    From now on nobody else should receive from the channel. It stays open when the
    subscribers are closed.

    Args:
        recv_chan: The channel.
        max_buffer_size: Items that a subscriber may be behind; ≥ 1.
        receive_afunc: Called for each item in place of ``recv_chan.receive``.
        raise_on_lag: See `BroadcastReceiver.subscribe`.

    Raises:
        ValueError: `max_buffer_size` is less than 1.
    """
    if max_buffer_size < 1:
        msg = f"max_buffer_size must be ≥ 1, not {max_buffer_size!r}"
        raise ValueError(msg)
    source = _Source(receive_afunc or recv_chan.receive, max_buffer_size)
    return BroadcastReceiver(source, raise_on_lag=raise_on_lag)


class BroadcastReceiver[T](trio.abc.ReceiveChannel[T]):
    """One subscriber; got from `broadcast_receiver` or `subscribe`.

    Several tasks may receive from one subscriber; then each item goes to one of them.
    """

    def __init__(self, source: "_Source[T]", *, raise_on_lag: bool) -> None:
        self._source = source
        self._raise_on_lag = raise_on_lag
        self._closed = False
        self._next = source.end
        # An error that is there already is none of its business.
        self._fault_seen_at = source.end - (source.end not in source.faults)
        source.subscribers.add(self)

    async def receive(self) -> T:
        """The next item.

        Raises:
            Lagged: Items were lost; call again for the oldest that is left.
            trio.EndOfChannel: The channel ended, and every item was received.
            trio.ClosedResourceError: This subscriber is closed.
            Exception: Whatever the channel raised after the last item.

        Cancellation loses no item, if that is so for the channel.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        try:
            item = self.receive_nowait()
        except trio.WouldBlock:
            pass
        else:
            await trio.lowlevel.cancel_shielded_checkpoint()
            return item
        source = self._source
        while True:
            if source.asking is None:
                await source.ask(self)
                if len(source.subscribers) > 1:
                    # A channel that never lets its receiver wait must not let the one
                    # who asks run ahead of the others.
                    await trio.lowlevel.cancel_shielded_checkpoint()
            else:
                await source.waiters.park()
            try:
                return self.receive_nowait()
            except trio.WouldBlock:
                continue

    def receive_nowait(self) -> T:
        """The next item, if some subscriber has received it from the channel already.

        The channel is not asked.

        Raises:
            trio.WouldBlock: There is none.
            Exception: Whatever `receive` raises.
        """
        self._check_open()
        source = self._source
        if (lost := source.first - self._next) > 0:
            self._next = source.first
            if self._raise_on_lag:
                raise Lagged(lost)
        if self._fault_seen_at < self._next and (
            fault := source.faults.get(self._next)
        ):
            self._fault_seen_at = self._next
            raise fault.error.with_traceback(fault.traceback)
        if self._next == source.end:
            raise trio.WouldBlock
        index = self._next - source.first
        item = source.items[index]
        self._next += 1
        if index == 0:  # we may have been the last to need it
            source.drop_what_all_have()
        return item

    @asynccontextmanager
    async def subscribe(
        self, *, raise_on_lag: bool = True
    ) -> AsyncIterator["BroadcastReceiver[T]"]:
        """Another subscriber, which gets all items that are received from now on.

        It is closed at the end of the block.

        Args:
            raise_on_lag: Whether it gets `Lagged` when it has lost items; otherwise
                it goes on with the oldest that is left.

        Raises:
            trio.ClosedResourceError: This subscriber is closed.
        """
        self._check_open()
        subscriber = BroadcastReceiver(self._source, raise_on_lag=raise_on_lag)
        try:
            yield subscriber
        finally:
            subscriber.close()

    def close(self) -> None:
        """Close this subscriber alone; whoever receives from it gets an error."""
        if self._closed:
            return
        self._closed = True
        self._source.subscribers.discard(self)
        self._source.drop_what_all_have()
        self._source.interrupt(self)

    async def aclose(self) -> None:
        """As `close`, and a checkpoint."""
        self.close()
        await trio.lowlevel.checkpoint()

    def statistics(self) -> BroadcastStatistics:
        """Counts at this moment."""
        source = self._source
        return BroadcastStatistics(
            behind=source.end - self._next,
            received=source.end,
            buffered=len(source.items),
            max_buffer_size=source.max_buffer_size,
            subscribers=len(source.subscribers),
            tasks_waiting=len(source.waiters) + (source.asking is not None),
        )

    def _check_open(self) -> None:
        if self._closed:
            msg = "this subscriber is closed"
            raise trio.ClosedResourceError(msg)


class _Fault(NamedTuple):
    error: Exception
    # As it was at first. Each subscriber raises the error anew, and its traceback
    # would grow by the frames of each.
    traceback: TracebackType | None


class _Source[T]:
    """The channel, and the items and errors that some subscriber may not have yet."""

    def __init__(
        self, receive: Callable[[], Awaitable[T]], max_buffer_size: int
    ) -> None:
        self.max_buffer_size = max_buffer_size
        self.subscribers: set[BroadcastReceiver[T]] = set()
        self.items: deque[T] = deque()
        self.first = 0  # number of the first of `items`
        self.faults: dict[int, _Fault] = {}  # by the number of the item that follows
        self.asking: BroadcastReceiver[T] | None = None  # whose task asks the channel
        self.waiters = trio.lowlevel.ParkingLot()
        self._receive = receive
        self._scope = trio.CancelScope()  # of the task that asks

    @property
    def end(self) -> int:
        """Number of the item that is received next."""
        return self.first + len(self.items)

    async def ask(self, subscriber: "BroadcastReceiver[T]") -> None:
        """Receive one item from the channel, for all; `subscriber` has them all."""
        self.asking = subscriber
        try:
            with trio.CancelScope() as self._scope:  # `interrupt` cancels it
                self._keep(await self._receive())
        except Exception as error:
            # Only the first at each place, so that they do not pile up. The others
            # are for those alone who insisted.
            fault = _Fault(error, error.__traceback__)
            self.faults.setdefault(self.end, fault)
            subscriber._fault_seen_at = self.end
            raise
        finally:
            self.asking = None
            self.waiters.unpark_all()

    def interrupt(self, subscriber: "BroadcastReceiver[T]") -> None:
        """Let the tasks of this subscriber look again."""
        if self.asking is subscriber:
            self._scope.cancel()
        else:
            self.waiters.unpark_all()

    def drop_what_all_have(self) -> None:
        """Forget the items that no subscriber is going to get."""
        needed = min((each._next for each in self.subscribers), default=self.end)
        while self.first < needed:
            self._drop_first()

    def _keep(self, item: T) -> None:
        self.items.append(item)
        if len(self.items) > self.max_buffer_size:
            self._drop_first()

    def _drop_first(self) -> None:
        self.items.popleft()
        self.faults.pop(self.first, None)
        self.first += 1

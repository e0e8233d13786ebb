"""`broadcast_receiver` under random use, compared with a model of it.

Two tests with two ideas. In lockstep, each operation is followed by its consequences,
and all of them are predicted. In the rush, many things happen at once, in an order that
nobody knows; then what every subscriber saw must still be a story without gaps.
"""

from collections import deque
from dataclasses import dataclass, field
from math import inf
from typing import Any, Final

import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

from tractor.trionics import BroadcastReceiver, Lagged, broadcast_receiver

WAITING: Final = "waiting"
END: Final = "end"
CLOSED: Final = "closed"
CANCELLED: Final = "cancelled"
NOTHING: Final = "nothing"

type Outcome = Any  # one of the above, an item, ("lost", count) or ("error", item)


class Boom(Exception):
    """An error of the channel."""


class Channel:
    """Gives what is put in; never to two tasks at once."""

    def __init__(self) -> None:
        self.put, self._get = trio.open_memory_channel[int | Boom](inf)
        self._busy = False

    async def receive(self) -> int:
        """The next item."""
        assert not self._busy
        self._busy = True
        try:
            item = await self._get.receive()
        finally:
            self._busy = False
        if isinstance(item, Boom):
            raise item
        return item


def outcome_of(error: Exception) -> Outcome:
    match error:
        case Lagged():
            return "lost", error.lost
        case trio.EndOfChannel():
            return END
        case trio.ClosedResourceError():
            return CLOSED
        case trio.WouldBlock():
            return NOTHING
        case Boom():
            return "error", error.args[0]
    raise error


# -- In lockstep: the model ------------------------------------------------------------


@dataclass
class Subscriber:
    """A subscriber as the model has it."""

    next: int
    error_seen_at: int
    raise_on_lag: bool
    closed: bool = False
    outcome: Outcome = None  # of its last `receive`


@dataclass
class Model:
    """All items since the beginning, and what each subscriber gets of them."""

    size: int
    subscribers: list[Subscriber]
    history: list[int] = field(default_factory=list)
    errors: dict[int, Outcome] = field(default_factory=dict)
    pending: deque[int | Boom] = field(default_factory=deque)
    ended: bool = False

    def subscribe(self, raise_on_lag: bool) -> None:
        """One more, at the end."""
        end = len(self.history)
        seen = end if end in self.errors else end - 1
        self.subscribers.append(Subscriber(end, seen, raise_on_lag))

    def look(self, sub: Subscriber) -> Outcome:
        """What is there for it without waiting; takes it."""
        if sub.closed:
            return CLOSED
        lost = len(self.history) - self.size - sub.next
        if lost > 0:
            sub.next += lost
            if sub.raise_on_lag:
                return "lost", lost
        if sub.next in self.errors and sub.error_seen_at < sub.next:
            sub.error_seen_at = sub.next
            return self.errors[sub.next]
        if sub.next == len(self.history):
            return NOTHING
        sub.next += 1
        return self.history[sub.next - 1]

    def receive(self, sub: Subscriber) -> None:
        """Start receiving; `outcome` may be `WAITING` for what comes."""
        sub.outcome = self.look(sub)
        if sub.outcome == NOTHING:
            sub.outcome = WAITING
            self.settle(sub)

    def settle(self, asking: Subscriber | None) -> None:
        """Let those who wait receive as long as there is something."""
        while asking is not None and (self.pending or self.ended):
            self._ask(asking)
            for sub in self.waiting():
                found = self.look(sub)
                sub.outcome = WAITING if found == NOTHING else found
            # Which task asks next matters no more: only the end can follow.
            asking = next(iter(self.waiting()), None)

    def waiting(self) -> list[Subscriber]:
        """Those in `receive`."""
        return [sub for sub in self.subscribers if sub.outcome == WAITING]

    def _ask(self, asking: Subscriber) -> None:
        item = self.pending.popleft() if self.pending else None
        if isinstance(item, int):
            self.history.append(item)
            return
        error = END if item is None else ("error", item.args[0])
        self.errors.setdefault(len(self.history), error)
        asking.error_seen_at = len(self.history)
        asking.outcome = error


@dataclass
class Real:
    """The same with the real thing."""

    channel: Channel
    receivers: list[BroadcastReceiver[int]]
    scopes: list[trio.CancelScope]
    outcomes: list[Outcome]

    def add(self, receiver: BroadcastReceiver[int]) -> None:
        """One more subscriber."""
        self.receivers.append(receiver)
        self.scopes.append(trio.CancelScope())
        self.outcomes.append(None)

    def asking(self) -> int | None:
        """Index of the one whose task receives from the channel."""
        asking = self.receivers[0]._source.asking
        return None if asking is None else self.receivers.index(asking)

    async def receive(self, index: int) -> None:
        """A task's life."""
        self.outcomes[index] = WAITING
        try:
            with trio.CancelScope() as self.scopes[index]:
                self.outcomes[index] = await self.receivers[index].receive()
        except Exception as error:  # noqa: BLE001 (compared with the model's)
            self.outcomes[index] = outcome_of(error)
        if self.scopes[index].cancelled_caught:
            self.outcomes[index] = CANCELLED


names = st.sampled_from(
    ["send"] * 4
    + ["receive"] * 5
    + ["cancel"] * 2
    + ["receive_nowait", "close", "subscribe", "error", "end"]
)
operations = st.lists(st.tuples(names, st.integers(0, 9)), min_size=15, max_size=40)


class Lockstep:
    """Does each operation to both, and compares."""

    def __init__(self, size: int, nursery: trio.Nursery) -> None:
        self.nursery = nursery
        self.model = Model(size, [])
        self.model.subscribe(raise_on_lag=True)
        channel = Channel()
        self.real = Real(channel, [], [], [])
        self.real.add(broadcast_receiver(channel, size))
        for _ in range(2):  # with one alone, much cannot happen
            self.do_subscribe(9)
        self.sent = 0

    async def do(self, name: str, argument: int) -> None:
        """One operation and its consequences."""
        asking = self.real.asking()
        if name in ("receive", "receive_nowait", "cancel", "close"):
            argument %= len(self.model.subscribers)
        elif name == "end" and argument:  # only now and then: not much follows it
            return
        getattr(self, f"do_{name}")(argument)
        await wait_all_tasks_blocked()
        self.model.settle(None if asking is None else self.model.subscribers[asking])
        expected = [sub.outcome for sub in self.model.subscribers]
        assert self.real.outcomes == expected, (name, argument)

    def do_send(self, count: int) -> None:
        """One to three items."""
        for _ in range(count // 4 + 1 if not self.model.ended else 0):
            self._put(self.sent)

    def do_error(self, _: int) -> None:
        """An error of the channel."""
        if not self.model.ended:
            self._put(Boom(self.sent))

    def _put(self, item: int | Boom) -> None:
        self.sent += 1
        self.real.channel.put.send_nowait(item)
        self.model.pending.append(item)

    def do_end(self, _: int) -> None:
        """The end of the channel."""
        self.real.channel.put.close()
        self.model.ended = True

    def do_receive(self, index: int) -> None:
        """A task that receives, unless it does already."""
        if self.model.subscribers[index].outcome != WAITING:
            self.nursery.start_soon(self.real.receive, index)
            self.model.receive(self.model.subscribers[index])

    def do_receive_nowait(self, index: int) -> None:
        """One item, if there is one."""
        found: Outcome
        try:
            found = self.real.receivers[index].receive_nowait()
        except Exception as error:  # noqa: BLE001 (compared with the model's)
            found = outcome_of(error)
        assert found == self.model.look(self.model.subscribers[index])

    def do_cancel(self, index: int) -> None:
        """Cancel its task."""
        self.real.scopes[index].cancel()
        if self.model.subscribers[index].outcome == WAITING:
            self.model.subscribers[index].outcome = CANCELLED

    def do_close(self, index: int) -> None:
        """Close it."""
        self.real.receivers[index].close()
        self.model.subscribers[index].closed = True
        if self.model.subscribers[index].outcome == WAITING:
            self.model.subscribers[index].outcome = CLOSED

    def do_subscribe(self, choice: int) -> None:
        """One more subscriber."""
        raise_on_lag = choice > 3
        source = self.real.receivers[0]._source
        self.real.add(BroadcastReceiver(source, raise_on_lag=raise_on_lag))
        self.model.subscribe(raise_on_lag)


@settings(deadline=None)
@given(size=st.integers(1, 4), script=operations)
def test_every_outcome_is_that_of_the_model(
    size: int, script: list[tuple[str, int]]
) -> None:
    """Items, counts of lost ones, errors, and who waits."""

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            lockstep = Lockstep(size, nursery)
            for name, argument in script:
                await lockstep.do(name, argument)
            nursery.cancel_scope.cancel()

    trio.run(main)


# -- In a rush: no gaps ----------------------------------------------------------------


class Consumer:
    """A subscriber's tasks; checks that what comes is what follows."""

    def __init__(self, receiver: BroadcastReceiver[int], first: int) -> None:
        self.receiver = receiver
        self.first = first
        self.next = first
        self.lost = 0
        self.scope = trio.CancelScope()
        self.running = False  # two tasks would not know whose item is the earlier one

    async def run(self, turns: int) -> None:
        """Receive, at most so many items, or be cancelled."""
        with trio.CancelScope() as self.scope:
            for _ in range(turns):
                try:
                    item = await self.receiver.receive()
                except Lagged as error:
                    self.next += error.lost
                    self.lost += error.lost
                except (trio.EndOfChannel, trio.ClosedResourceError):
                    break
                else:
                    assert item == self.next
                    self.next += 1
        self.running = False


rushed = st.sampled_from(["send"] * 2 + ["run"] * 4 + ["cancel", "close", "subscribe"])
batches = st.lists(
    st.lists(
        st.tuples(rushed, st.integers(0, 9), st.integers(1, 8)), min_size=3, max_size=8
    ),
    min_size=3,
    max_size=10,
)


class Rush:
    """Does operations without looking at what comes of them."""

    def __init__(self, size: int, nursery: trio.Nursery) -> None:
        self.nursery = nursery
        self.channel = Channel()
        self.first = broadcast_receiver(self.channel, size)
        self.consumers = [Consumer(self.first, 0)]
        self.sent = 0
        for _ in range(2):
            self.do("subscribe", 0, 0)

    def do(self, name: str, index: int, turns: int) -> None:
        """One operation."""
        consumer = self.consumers[index % len(self.consumers)]
        match name:
            case "send":
                for _ in range(turns):
                    self.channel.put.send_nowait(self.sent)
                    self.sent += 1
            case "run" if not consumer.running:
                consumer.running = True
                self.nursery.start_soon(consumer.run, turns)
            case "cancel":
                consumer.scope.cancel()
            case "close" if consumer.receiver is not self.first:
                consumer.receiver.close()
            case "subscribe":
                source = self.first._source
                receiver = BroadcastReceiver(source, raise_on_lag=True)
                self.consumers.append(Consumer(receiver, source.end))

    async def drain(self) -> None:
        """Let every one that is open come to the end, and compare."""
        self.channel.put.close()
        for consumer in self.consumers:
            consumer.scope.cancel()
        await wait_all_tasks_blocked()
        for consumer in self.consumers:
            if not consumer.receiver._closed:
                await consumer.run(1000)
                assert consumer.next == self.sent


@settings(deadline=None)
@given(size=st.sampled_from([1, 2, 5, 1000]), script=batches)
def test_no_subscriber_sees_a_gap(
    size: int, script: list[list[tuple[str, int, int]]]
) -> None:
    """What it got and what it was told that it lost is all that there was."""

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            rush = Rush(size, nursery)
            for batch in script:
                for operation in batch:
                    rush.do(*operation)
                await wait_all_tasks_blocked()
            await rush.drain()
        if rush.sent <= size:
            assert not any(consumer.lost for consumer in rush.consumers)

    trio.run(main)

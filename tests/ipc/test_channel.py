"""Channels: whole frames, in order, and nobody waits on a dead one."""

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final, Never

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

from tests.ipc.fakes import LIMIT, FakeTransport, frames
from tractor._exceptions import (
    FrameTooLarge,
    RemoteProtocolError,
    TransportBroken,
    TransportClosed,
)
from tractor.ipc import Channel, SocketTransport, Transport
from tractor.ipc._channel import HIGH_WATER
from tractor.msg import Bulk, encode_payload
from tractor.msg import types as t

BIG: Final = t.Return(0, encode_payload(b"x" * HIGH_WATER, "it"))


def ignore(_: t.AnyRecord) -> None:
    pass


def numbers(count: int, start: int = 0) -> list[t.Ping]:
    return [t.Ping(number) for number in range(start, start + count)]


class Running:
    """A channel with its reader and writer at work."""

    def __init__(self, transport: Transport, max_frame: int) -> None:
        self.channel = Channel(transport, max_frame=max_frame)
        self.received: list[t.AnyRecord] = []
        self.ended = trio.Event()
        self.reason: TransportClosed | None = None

    async def run(self, dispatch: Callable[[t.AnyRecord], None] | None) -> None:
        self.reason = await self.channel.run(dispatch or self.received.append)
        self.ended.set()

    async def end(self) -> TransportClosed:
        with trio.fail_after(5):
            await self.ended.wait()
        assert self.reason is not None
        return self.reason


@asynccontextmanager
async def running(
    transport: Transport,
    dispatch: Callable[[t.AnyRecord], None] | None = None,
    max_frame: int = LIMIT,
) -> AsyncIterator[Running]:
    made = Running(transport, max_frame)
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(made.run, dispatch)
            await wait_all_tasks_blocked()
            yield made
            nursery.cancel_scope.cancel()
    assert made.channel.closed is not None


class Senders:
    """Tasks that send one record each; `outcomes` by the number of the task."""

    def __init__(self, nursery: trio.Nursery, channel: Channel) -> None:
        self.outcomes: dict[int, str] = {}
        self.scopes: list[trio.CancelScope] = []
        self._nursery = nursery
        self._channel = channel

    async def start(self, *records: t.Record) -> None:
        """One after the other, each until it waits or is done."""
        for record in records:
            self.scopes.append(trio.CancelScope())
            self._nursery.start_soon(self._send, len(self.scopes) - 1, record)
            await wait_all_tasks_blocked()

    async def _send(self, number: int, record: t.Record) -> None:
        with self.scopes[number]:
            try:
                await self._channel.send(record)
                self.outcomes[number] = "sent"
            except TransportClosed as exc:
                self.outcomes[number] = type(exc).__name__


# -- Sending ---------------------------------------------------------------------------


async def test_a_record_is_sent_without_a_task_switch() -> None:
    """The common case writes straight to the transport (architecture §5)."""
    transport = FakeTransport()
    channel = Channel(transport, max_frame=LIMIT)
    channel.send_nowait(t.Ping(1))
    assert transport.sent == frames(t.Ping(1))
    with trio.CancelScope() as scope:
        await channel.send(t.Ping(2))  # no reader, no writer, no checkpoint
        scope.cancel()
    assert not scope.cancelled_caught
    assert transport.sent == frames(t.Ping(1), t.Ping(2))


@given(st.lists(st.integers(0, 20), max_size=30), st.lists(st.booleans(), max_size=12))
async def test_short_writes_keep_every_byte_in_order(
    rooms: list[int], queued: list[bool]
) -> None:
    """However little the transport takes at a time, frames arrive whole (arch. §5)."""
    transport = FakeTransport(room=0)
    async with running(transport) as it:
        for number, wait in enumerate(queued):
            it.channel.send_nowait(t.Ping(number))
            transport.give_room(rooms.pop() if rooms else 7)
            if wait:
                await wait_all_tasks_blocked()
        transport.give_room()
        await it.channel.drain()
        assert transport.sent == frames(*numbers(len(queued)))


async def test_many_queued_frames_go_out_in_one_write() -> None:
    """What waits in the outbox is sent together (architecture §5)."""
    transport = FakeTransport(room=0)
    async with running(transport) as it:
        for record in numbers(1000):
            it.channel.send_nowait(record)
        transport.give_room()
        await it.channel.drain()
    assert transport.writes == 1
    assert transport.sent == frames(*numbers(1000))


async def test_a_cancelled_sender_leaves_nothing_behind() -> None:
    """A frame is queued whole or not at all (architecture §5)."""
    transport = FakeTransport(room=0)
    async with running(transport) as it, trio.open_nursery() as nursery:
        senders = Senders(nursery, it.channel)
        await senders.start(BIG, t.Ping(1), t.Ping(2))
        senders.scopes[1].cancel()
        await wait_all_tasks_blocked()
        transport.give_room()
        await wait_all_tasks_blocked()
        assert senders.outcomes == {0: "sent", 2: "sent"}
        assert transport.sent == frames(BIG, t.Ping(2))


async def test_a_cancelled_task_sends_nothing() -> None:
    """`send` in a cancelled scope raises before anything is queued."""
    transport = FakeTransport()
    with trio.CancelScope() as scope:
        scope.cancel()
        await Channel(transport, max_frame=LIMIT).send(t.Ping(1))
    assert scope.cancelled_caught
    assert not transport.sent


async def test_senders_wait_above_the_high_water_mark() -> None:
    """Queued bytes are bounded by the mark and one frame (docs/adr/0003)."""
    transport = FakeTransport(room=0)
    async with running(transport) as it, trio.open_nursery() as nursery:
        senders = Senders(nursery, it.channel)
        await senders.start(BIG, BIG)
        assert senders.outcomes == {0: "sent"}
        transport.give_room(1)
        await wait_all_tasks_blocked()
        assert senders.outcomes == {0: "sent"}
        transport.give_room()
        await wait_all_tasks_blocked()
        assert senders.outcomes == {0: "sent", 1: "sent"}


async def test_waiting_senders_take_turns() -> None:
    """Records leave in the order of the calls, also of those that wait (§4.2)."""
    transport = FakeTransport(room=0)
    async with running(transport) as it, trio.open_nursery() as nursery:
        senders = Senders(nursery, it.channel)
        waiting = numbers(50)
        await senders.start(BIG, *waiting)
        transport.give_room()
        while it.channel._outbox:
            await trio.lowlevel.checkpoint()
        # The mark is passed, but those who came before are not all through yet.
        late = t.Ping(99)
        await it.channel.send(late)
        await wait_all_tasks_blocked()
        assert transport.sent == frames(BIG, *waiting, late)


async def test_a_jam_is_told_and_waited_for() -> None:
    """Whoever wants to wait before there is a record to send can, in any number."""
    transport = FakeTransport(room=0)
    async with running(transport) as it, trio.open_nursery() as nursery:
        assert not it.channel.congested
        await it.channel.wait_uncongested()
        it.channel.send_nowait(BIG)
        assert it.channel.congested
        left = []

        async def wait(number: int) -> None:
            while it.channel.congested:
                await it.channel.wait_uncongested()
            left.append(number)

        for number in range(5):
            nursery.start_soon(wait, number)
        await wait_all_tasks_blocked()
        assert not left
        transport.give_room()
        await wait_all_tasks_blocked()
        assert sorted(left) == [0, 1, 2, 3, 4]


async def test_the_end_of_a_channel_ends_a_jam() -> None:
    """Nobody waits for room on a channel that is closed."""
    async with (
        running(FakeTransport(room=0)) as it,
        trio.open_nursery() as nursery,
    ):
        it.channel.send_nowait(BIG)
        nursery.start_soon(it.channel.wait_uncongested)
        await wait_all_tasks_blocked()
        it.channel.close()


async def test_each_refill_has_its_own_end() -> None:
    """`drain` waits until all is out, also what was queued meanwhile."""
    transport = FakeTransport(room=0)
    async with running(transport) as it, trio.open_nursery() as nursery:
        drained = trio.Event()

        async def drain() -> None:
            await it.channel.drain()
            assert not it.channel._outbox
            drained.set()

        nursery.start_soon(drain)
        await wait_all_tasks_blocked()
        assert drained.is_set()  # there was nothing to wait for
        drained = trio.Event()
        for record in numbers(20):
            it.channel.send_nowait(record)
            transport.give_room(len(frames(record)) - 1)
            if record.token == 0:
                nursery.start_soon(drain)
            await wait_all_tasks_blocked()
            assert not drained.is_set()
        transport.give_room(20)
        await drained.wait()


async def test_senders_pass_through_many_refills() -> None:
    """Each of many waiting senders gets through, whatever the pace of the peer."""
    transport = FakeTransport(room=0)
    async with running(transport) as it, trio.open_nursery() as nursery:
        senders = Senders(nursery, it.channel)
        await senders.start(*[BIG] * 10)
        for _ in range(30):
            transport.give_room(HIGH_WATER // 2)
            await wait_all_tasks_blocked()
        assert senders.outcomes == dict.fromkeys(range(10), "sent")
        assert transport.sent == frames(*[BIG] * 10)


async def test_a_record_over_the_limit_is_refused() -> None:
    """`FrameTooLarge` is raised and nothing is sent, not even queued (D7)."""
    transport = FakeTransport()
    async with running(transport, max_frame=100) as it:
        with pytest.raises(FrameTooLarge):
            await it.channel.send(BIG)
        it.channel.send_nowait(t.Ping(1))
    assert transport.sent == frames(t.Ping(1))


# -- Ends ------------------------------------------------------------------------------


async def test_close_wakes_every_waiter() -> None:
    """Senders get `TransportClosed`, `drain` returns, `run` tells why."""
    transport = FakeTransport(room=0)
    async with running(transport) as it, trio.open_nursery() as nursery:
        senders = Senders(nursery, it.channel)
        await senders.start(BIG, *numbers(5))
        for _ in range(3):
            nursery.start_soon(it.channel.drain)
        await wait_all_tasks_blocked()
        it.channel.close()
        it.channel.close()
        assert str(await it.end()) == "the channel was closed on this side"
        await wait_all_tasks_blocked()
        assert senders.outcomes == {0: "sent"} | dict.fromkeys(
            range(1, 6), "TransportClosed"
        )
        assert transport.closed


async def test_a_failing_write_wakes_every_waiter() -> None:
    """They get `TransportBroken` at once, and what arrived is still read."""
    transport = FakeTransport(room=10)
    async with running(transport) as it, trio.open_nursery() as nursery:
        senders = Senders(nursery, it.channel)
        await senders.start(BIG, *numbers(5))
        nursery.start_soon(it.channel.drain)
        await wait_all_tasks_blocked()
        transport.fail_sending("reset")
        await wait_all_tasks_blocked()
        assert senders.outcomes == {0: "sent"} | dict.fromkeys(
            range(1, 6), "TransportBroken"
        )
        transport.feed(frames(t.Ping(7)), b"")
        assert isinstance(await it.end(), TransportClosed)
        assert it.received == [t.Ping(7)]


async def test_nothing_is_sent_after_a_failed_write() -> None:
    """The frame that it cut is not followed by another, as if nothing had been."""
    transport = FakeTransport(room=1)
    async with running(transport) as it:
        it.channel.send_nowait(t.Ping(1))
        transport.fail_sending("reset")
        await wait_all_tasks_blocked()
        transport._cannot_send = None
        transport.give_room()
        with pytest.raises(TransportBroken, match="reset"):
            it.channel.send_nowait(t.Ping(2))
        with pytest.raises(TransportBroken, match="reset"):
            await it.channel.send(t.Ping(3))
    assert len(transport.sent) == 1


async def test_a_failing_direct_send_does_not_close_the_channel() -> None:
    """What the peer sent before it went is still read (architecture §6)."""
    transport = FakeTransport()
    async with running(transport) as it:
        transport.fail_sending("reset")
        with pytest.raises(TransportBroken):
            it.channel.send_nowait(t.Ping(1))
        assert it.channel.closed is None
        transport.feed(frames(t.Ping(2)))
        transport.break_off()
        assert str(await it.end()) == "reset"
        assert it.received == [t.Ping(2)]


async def test_a_closed_channel_raises_a_new_error_each_time() -> None:
    """Nobody shares a traceback with anybody."""
    async with running(FakeTransport()) as it:
        it.channel.close()
        errors = []
        for _ in range(2):
            with pytest.raises(TransportClosed) as caught:
                await it.channel.send(t.Ping(1))
            errors.append(caught.value)
        assert errors[0] is not errors[1]
        assert it.channel.closed not in errors


async def test_cancelling_run_closes_the_channel() -> None:
    """Whatever ends `run`, nobody goes on waiting."""
    transport = FakeTransport(room=0)
    async with trio.open_nursery() as nursery:
        channel = Channel(transport, max_frame=LIMIT)
        with trio.CancelScope() as scope:
            senders = Senders(nursery, channel)
            nursery.start_soon(_cancel_when_blocked, scope, senders)
            await channel.run(ignore)
        assert scope.cancelled_caught
        await wait_all_tasks_blocked()
        assert senders.outcomes == {0: "sent", 1: "TransportClosed"}
    assert transport.closed


async def _cancel_when_blocked(scope: trio.CancelScope, senders: Senders) -> None:
    await senders.start(BIG, t.Ping(1))
    scope.cancel()


# -- Receiving -------------------------------------------------------------------------


@given(st.data())
async def test_records_are_dispatched_in_order(data: st.DataObject) -> None:
    """In whatever pieces they come, and by the dozen in one (architecture §5)."""
    stream = frames(*numbers(20))
    transport = FakeTransport()
    while stream:
        cut = data.draw(st.integers(1, len(stream)))
        transport.feed(stream[:cut])
        stream = stream[cut:]
    transport.feed(b"")
    async with running(transport) as it:
        await it.end()
    assert it.received == numbers(20)


@pytest.mark.parametrize(
    ("last", "kind", "text"),
    [
        (b"", TransportClosed, "the peer closed the channel"),
        (b"\x05", TransportBroken, "in the middle of a frame"),
        (frames(t.Ping(1))[:-1], TransportBroken, "in the middle of a frame"),
        (b"\xff\xff\xff\xff", TransportBroken, "protocol error: the peer announced"),
        (b"GET / HTTP/1.1\r\n", TransportBroken, "protocol error: the peer announced"),
        (b"\x01\x00\x00\x00\xc1", TransportBroken, "protocol error: the peer sent"),
    ],
)
async def test_run_tells_why_it_ended(
    last: bytes, kind: type[TransportClosed], text: str
) -> None:
    """An orderly end, a cut frame and garbage are told apart (reliability D4–D6)."""
    transport = FakeTransport()
    async with running(transport) as it:
        transport.feed(frames(t.Ping(1)), *([last] if last else []), b"")
        reason = await it.end()
        assert type(reason) is kind
        assert text in str(reason)
        assert it.received == [t.Ping(1)]
        assert it.channel.closed is reason


async def test_a_handler_may_refuse_a_record() -> None:
    """`RemoteProtocolError` closes the channel; what came after is not looked at."""
    seen: list[t.AnyRecord] = []

    def refuse(record: t.AnyRecord) -> Never:
        seen.append(record)
        msg = "not now"
        raise RemoteProtocolError(msg)

    transport = FakeTransport()
    async with running(transport, refuse) as it:
        transport.feed(frames(*numbers(3)))
        assert "not now" in str(await it.end())
    assert seen == numbers(1)


async def test_a_handler_may_close_the_channel() -> None:
    """Nothing is dispatched on a closed channel, not even what has arrived."""
    seen: list[t.AnyRecord] = []

    def close(record: t.AnyRecord) -> None:
        seen.append(record)
        it.channel.close()

    transport = FakeTransport()
    async with running(transport, close) as it:
        transport.feed(frames(*numbers(3)))
        await it.end()
    assert seen == numbers(1)


# -- Real sockets ----------------------------------------------------------------------


@asynccontextmanager
async def socket_channels() -> AsyncIterator[tuple[Running, Running]]:
    one, other = socket.socketpair()
    async with (
        running(SocketTransport(one), max_frame=16 * LIMIT) as first,
        running(SocketTransport(other), max_frame=16 * LIMIT) as second,
    ):
        yield first, second


async def test_large_records_cross_both_ways_at_once() -> None:
    """8 MiB each way, among small ones, on real sockets."""
    large = t.Return(0, encode_payload(bytes(range(256)) * 32768, "it"))
    wanted = [t.Ping(0), large, t.Ping(1), t.Ping(2)]
    async with socket_channels() as ends, trio.open_nursery() as nursery:
        for end in ends:
            await Senders(nursery, end.channel).start(*wanted)
        for end in ends:
            await end.channel.drain()
        await wait_all_tasks_blocked()
        for end in ends:
            assert frames_of(end.received) == frames_of(wanted)


def frames_of(records: Any) -> list[bytes]:
    payloads = [getattr(record, "pld", b"-") for record in records]
    return [b"".join(p) if isinstance(p, Bulk) else bytes(p) for p in payloads]


async def test_what_was_sent_before_a_close_arrives() -> None:
    """The other side reads it all, and then the end (architecture §6)."""
    async with socket_channels() as (first, second):
        for record in numbers(1000):
            first.channel.send_nowait(record)
        await first.channel.drain()
        first.channel.close()
        assert str(await second.end()) == "the peer closed the channel"
        assert second.received == numbers(1000)


async def test_a_reset_comes_after_what_was_sent() -> None:
    """A peer that leaves without reading breaks the channel, and loses us nothing."""
    ours, theirs = socket.socketpair()
    transport = SocketTransport(ours)
    channel = Channel(transport, max_frame=LIMIT)
    channel.send_nowait(t.Ping(1))
    theirs.send(frames(t.Ping(2)))
    theirs.close()
    received: list[t.AnyRecord] = []
    reason = await channel.run(received.append)
    assert isinstance(reason, TransportBroken)
    assert "Connection reset" in str(reason)
    assert received == [t.Ping(2)]


async def test_a_peer_that_takes_nothing_is_an_end() -> None:
    """Half a connection would leave whoever asks without an answer for ever."""
    ours, theirs = socket.socketpair()
    with theirs:
        theirs.send(frames(t.Ping(1)))
        theirs.shutdown(socket.SHUT_RD)
        async with running(SocketTransport(ours)) as it:
            with pytest.raises(TransportBroken, match="Broken pipe"):
                it.channel.send_nowait(t.Ping(2))
            await it.end()
            assert it.received == [t.Ping(1)]


async def test_a_channel_that_was_closed_before_can_be_run() -> None:
    """It ends at once, with the reason; so a race between the two is harmless."""
    ours, theirs = socket.socketpair()
    with theirs:
        channel = Channel(SocketTransport(ours), max_frame=LIMIT)
        channel.close()
        assert "on this side" in str(await channel.run(ignore))
        transport = SocketTransport(theirs)
        transport.close()
        transport.close()
        with pytest.raises(TransportBroken):
            await transport.send_ready()
        with pytest.raises(TransportBroken):
            await transport.receive_some()
        with pytest.raises(TransportBroken):
            transport.send_nowait(b"x")


async def test_garbage_closes_only_its_own_channel() -> None:
    """The others go on as if nothing had been (reliability D5)."""
    ours, theirs = socket.socketpair()
    with theirs:
        async with socket_channels() as (first, second):
            async with running(SocketTransport(ours)) as attacked:
                theirs.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
                assert "protocol error" in str(await attacked.end())
            first.channel.send_nowait(t.Ping(1))
            await wait_all_tasks_blocked()
            assert second.received == [t.Ping(1)]


async def test_a_flood_leaves_other_tasks_their_turn() -> None:
    """Between two reads every other task gets to run (reliability E2)."""
    ours, theirs = socket.socketpair()
    flood = frames(*numbers(1000)) * 500
    turns = 0
    async with (
        running(SocketTransport(ours), ignore) as it,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(trio.to_thread.run_sync, _send_all, theirs, flood)
        while not it.ended.is_set():
            turns += 1
            await trio.lowlevel.checkpoint()
    assert turns > len(flood) / (64 * 1024)


def _send_all(sock: socket.socket, data: bytes) -> None:
    with sock:
        sock.sendall(data)


async def test_what_is_sent_in_a_rush_goes_out_together() -> None:
    """The first frame of a rush leaves at once, the others in one write."""
    transport = FakeTransport()
    async with running(transport) as it:
        for record in numbers(10):
            it.channel.send_nowait(record, relaxed=True)
        assert transport.writes == 1
        await wait_all_tasks_blocked()
        assert transport.writes == 2
        assert transport.sent == frames(*numbers(10))


async def test_what_is_urgent_takes_along_what_waits() -> None:
    """A record whose task may compute on is with the kernel, and in order."""
    transport = FakeTransport()
    async with running(transport) as it:
        first, *rushed, urgent = numbers(10)
        it.channel.send_nowait(first)
        for record in rushed:
            it.channel.send_nowait(record, relaxed=True)
        await it.channel.send(urgent)
        assert transport.sent == frames(first, *rushed, urgent)


# -- Signs of life ---------------------------------------------------------------------


async def test_what_arrives_is_a_sign_of_life() -> None:
    """Also a part of a frame."""
    transport = FakeTransport()
    async with running(transport) as made:
        assert made.channel.life_signs == 0
        transport.feed(b"\x09")
        await wait_all_tasks_blocked()
        assert made.channel.life_signs == 1


async def test_room_for_more_is_a_sign_of_life() -> None:
    """What the kernel takes at once is none: nobody need be there for that."""
    transport = FakeTransport(room=10)
    async with running(transport, max_frame=2 * HIGH_WATER) as made:
        made.channel.send_nowait(BIG)
        await wait_all_tasks_blocked()
        assert made.channel.life_signs == 0
        for count in (1, 2):
            transport.give_room(10)
            await wait_all_tasks_blocked()
            assert made.channel.life_signs == count

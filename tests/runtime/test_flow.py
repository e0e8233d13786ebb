"""Flow control (semantics §6.2): windows, credit, overruns, who holds up whom."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import hypothesis.strategies as st
import pytest
import trio
from hypothesis import given, settings
from msgspec import Raw
from trio.testing import MockClock, wait_all_tasks_blocked

import tractor
from tests._helpers import open_tree
from tests.runtime import callees
from tests.runtime.helpers import FUNCTIONS
from tests.runtime.memory import open_world
from tests.runtime.rpc_functions import note
from tractor import Context, MsgStream, Portal
from tractor.msg import types as t
from tractor.runtime._flow import WINDOW, Inbox

CALLEES: Final = callees.__name__
BIG: Final = b"x" * 100_000


# -- The bookkeeping alone -------------------------------------------------------------


class Flow:
    """An inbox and its sender, with items on their way between them."""

    def __init__(self) -> None:
        self.inbox = Inbox()
        self.credit = WINDOW
        self.under_way = 0
        self.credits = 0
        self.read = 0

    def send(self, count: int) -> None:
        count = min(count, self.credit)
        self.credit -= count
        self.under_way += count

    def arrive(self, count: int) -> None:
        for _ in range(min(count, self.under_way)):
            self.under_way -= 1
            self.inbox.put(Raw(b""))  # raises on an overflow

    def take(self, count: int) -> None:
        for _ in range(min(count, len(self.inbox))):
            self.grant(self.inbox.take()[1])
            self.read += 1

    def discard(self, _: int) -> None:
        self.read += len(self.inbox)
        self.grant(self.inbox.discard())

    def grant(self, credit: int) -> None:
        self.credit += credit
        self.credits += credit > 0


steps = st.lists(
    st.tuples(
        st.sampled_from([Flow.send, Flow.arrive, Flow.take, Flow.discard]),
        st.integers(1, 3 * WINDOW),
    ),
    max_size=30,
)


@settings(deadline=None)
@given(window=st.integers(1, 300), before=steps, after=steps)
def test_a_window_is_never_exceeded_and_never_lost(
    window: int, before: Any, after: Any
) -> None:
    """In whatever order things happen, and whenever the window is chosen."""
    flow = Flow()
    for step, count in before:
        step(flow, count)
    flow.grant(flow.inbox.open(window, overruns=False))
    flow.credits, flow.read = 0, 0
    for step, count in after:
        step(flow, count)
        # A smaller window than that of the protocol is kept once it is reached.
        assert flow.credit + flow.under_way + len(flow.inbox) <= max(window, WINDOW)
    flow.arrive(10**6)
    flow.take(10**6)
    assert 1 <= flow.credit <= max(window, WINDOW)
    assert flow.credits <= flow.read // max(1, window // 2) + 1


@settings(deadline=None)
@given(
    window=st.integers(1, 100), before=st.integers(0, WINDOW), after=st.integers(0, 300)
)
def test_overruns_keep_the_newest(window: int, before: int, after: int) -> None:
    """And count what they drop; items that were there before are no exception."""
    inbox = Inbox()
    for number in range(before):
        inbox.put(Raw(str(number).encode()))
    assert inbox.open(window, overruns=True) > 2**60
    for number in range(before, before + after):
        inbox.put(Raw(str(number).encode()))
    kept = [int(bytes(inbox.take()[0])) for _ in range(len(inbox))]
    everything = list(range(before + after))
    assert kept == everything[-window:]
    assert inbox.dropped == len(everything) - len(kept)


# -- Between actors --------------------------------------------------------------------


@asynccontextmanager
async def a_child(start_method: str) -> AsyncIterator[Portal]:
    """An actor that serves `callees`, in a tree of its own."""
    async with open_tree(start_method) as an:
        yield await an.start_actor("child", enable_modules=[CALLEES, FUNCTIONS])
        await an.cancel()


async def send_until_stuck(stream: MsgStream) -> int:
    """Send numbers until nobody takes more; how many."""
    sent = 0
    while True:
        with trio.move_on_after(5) as patience:
            await stream.send(sent)
            sent += 1
            continue
        assert patience.cancelled_caught
        return sent


@tractor.context
async def opens_and_waits(ctx: Context, size: int, overruns: bool = False) -> list[int]:
    """Open a stream with that buffer; read it when the items have ended."""
    await ctx.started()
    async with ctx.open_stream(msg_buffer_size=size, allow_overruns=overruns) as stream:
        await trio.sleep(100)
        return [item async for item in stream]


@pytest.mark.parametrize("size", [1, 10, WINDOW, 65, 1000])
async def test_a_sender_waits_at_the_window(
    size: int, autojump_clock: MockClock
) -> None:
    """It is `msg_buffer_size`, but the first 64 can always be sent (§6.2)."""
    async with open_world(__name__) as world:
        portal = world.parent.portal
        async with (
            portal.open_context(opens_and_waits, size) as (ctx, _),
            ctx.open_stream() as stream,
        ):
            await wait_all_tasks_blocked()
            assert await send_until_stuck(stream) == max(size, WINDOW)
            counts = stream.statistics()
            assert (counts.send_credit, counts.tasks_waiting_send) == (0, 0)


async def test_the_window_is_known_from_the_start(autojump_clock: MockClock) -> None:
    """A callee sends before the caller has opened the stream, and waits then (§6.2)."""
    async with (
        open_world(CALLEES) as world,
        world.parent.portal.open_context(callees.counts, 1000) as (ctx, _),
    ):
        await wait_all_tasks_blocked()
        assert world.child.count(t.Yield) == WINDOW
        assert world.parent.count(t.Credit) == 0
        async with ctx.open_stream() as stream:
            assert [item async for item in stream] == list(range(1000))


async def test_credit_is_cheap(start_method: str) -> None:
    """One small record for 32 items, so at most one for 16 (issue 3)."""
    async with a_child(start_method) as portal:
        async with (
            portal.open_context(callees.counts, 3200) as (ctx, _),
            ctx.open_stream() as stream,
        ):
            credits = count_sent(ctx, t.Credit)
            assert [item async for item in stream] == list(range(3200))
        assert 3200 / 64 - 2 <= credits() <= 3200 / 16


def count_sent(ctx: Context, kind: type[t.Record]) -> Any:
    """How many records of a kind are sent from now on, by this end."""
    sent: list[t.Record] = []
    send = ctx.end.send

    def spy(record: t.Record, body: bytes = b"") -> None:
        sent.append(record)
        send(record, body)

    ctx.end.send = spy  # type: ignore[method-assign]
    return lambda: sum(isinstance(record, kind) for record in sent)


async def test_overruns_never_wait(autojump_clock: MockClock) -> None:
    """`allow_overruns` keeps the newest, and counts the drops (semantics §6.2)."""
    async with open_world(__name__) as world:
        portal = world.parent.portal
        async with portal.open_context(opens_and_waits, 10, True) as (ctx, _):
            await wait_all_tasks_blocked()
            async with ctx.open_stream() as stream:
                for number in range(1000):
                    await stream.send(number)
                await wait_all_tasks_blocked()
                counts = world.child.peer.ends[0].statistics()
                assert (counts.dropped, counts.unread) == (990, 10)
            assert await ctx.wait_for_result() == list(range(990, 1000))
        assert trio.current_time() == 100


async def test_cancelled_waits_for_credit_are_clean(start_method: str) -> None:
    """What was cancelled was not sent; everything else arrives (semantics §6.2)."""
    async with (
        a_child(start_method) as portal,
        portal.open_context(callees.reads_late) as (ctx, _),
        ctx.open_stream() as stream,
    ):
        for number in range(WINDOW):
            await stream.send(number)
        async with trio.open_nursery() as tasks:
            for _ in range(50):
                tasks.start_soon(stream.send, "cancelled")
            await wait_all_tasks_blocked()
            assert stream.statistics().tasks_waiting_send == 50
            tasks.cancel_scope.cancel()
        await portal.run(note, "go on")
        await stream.send("after")
        await stream.aclose()
        assert await ctx.wait_for_result() == [*range(WINDOW), "after"]


async def test_streams_of_big_items_share_a_channel(start_method: str) -> None:
    """Items that do not fit into the channel's buffers wait, in turn, and arrive."""
    async with a_child(start_method) as portal, trio.open_nursery() as tasks:

        async def send(count: int) -> None:
            async with (
                portal.open_context(callees.counts_bytes) as (ctx, _),
                ctx.open_stream() as stream,
            ):
                for _ in range(count):
                    await stream.send(BIG)
                await stream.aclose()
                assert await ctx.wait_for_result() == count * len(BIG)

        for _ in range(5):
            tasks.start_soon(send, 50)


async def test_a_reader_that_sleeps_holds_up_its_writer_alone(
    start_method: str,
) -> None:
    """Calls and other streams of the channel go on (semantics §6.2)."""
    async with (
        a_child(start_method) as portal,
        portal.open_context(callees.reads_late) as (slow, _),
        slow.open_stream() as stuck,
        trio.open_nursery() as tasks,
    ):

        async def write() -> None:
            for number in range(1000):
                await stuck.send(number)
            await stuck.aclose()

        tasks.start_soon(write)
        async with (
            portal.open_context(callees.echo) as (ctx, _),
            ctx.open_stream() as stream,
        ):
            for number in range(1000):
                await stream.send(number)
                assert await stream.receive() == number
        assert stuck.statistics().sent == WINDOW
        await portal.run(note, "go on")
        assert await slow.wait_for_result() == list(range(1000))

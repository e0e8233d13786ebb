"""Streams between real actors: what `semantics.md` §6 promises, sentence by sentence.

Windows and credit are in `test_flow`, the ends that other things cause in
`test_context_cancel`, deaths in `test_context`.
"""

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import tractor
from tests._helpers import open_tree
from tests.runtime import callees
from tests.runtime.helpers import FUNCTIONS
from tests.runtime.memory import open_world
from tests.runtime.rpc_functions import wait_noted
from tractor import Context, MsgStream, Portal
from tractor.trionics import Lagged

CALLEES = callees.__name__


@asynccontextmanager
async def a_child(start_method: str) -> AsyncIterator[Portal]:
    """An actor that serves `callees`, in a tree of its own."""
    async with open_tree(start_method) as an:
        yield await an.start_actor("child", enable_modules=[CALLEES, FUNCTIONS])
        await an.cancel()


@asynccontextmanager
async def a_stream(
    start_method: str, fn: Any = callees.echo, *args: Any, **options: Any
) -> AsyncIterator[tuple[Context, MsgStream, Portal]]:
    """A stream with a callee, which is ended after the block."""
    async with (
        a_child(start_method) as portal,
        portal.open_context(fn, *args) as (ctx, _),
        ctx.open_stream(**options) as stream,
    ):
        yield ctx, stream, portal
        await ctx.cancel()


async def test_items_cross_both_ways_in_order(start_method: str) -> None:
    """By `send`, `receive`, `receive_nowait` and `async for` (semantics §6.1)."""
    async with a_stream(start_method) as (ctx, stream, _):
        assert (stream.ctx, stream.chan, stream.closed) == (ctx, ctx.chan, False)
        with pytest.raises(trio.WouldBlock):
            stream.receive_nowait()
        for item in ("text", None, {"a": [1, 2.5]}, b"bytes"):
            await stream.send(item)
            assert await stream.receive() == item
        await stream.send(1)
        await stream.send(2)
        assert await stream.receive() == 1
        with trio.fail_after(5):
            while (item := await poll(stream)) is None:
                await trio.lowlevel.checkpoint()
        assert item == 2
        for number in range(50):
            await stream.send(number)
        assert [item async for item in take(stream, 50)] == list(range(50))
        counts = stream.statistics()
        assert (counts.sent, counts.received, counts.unread) == (56, 56, 0)


async def poll(stream: MsgStream) -> Any:
    try:
        return stream.receive_nowait()
    except trio.WouldBlock:
        return None


async def take(stream: MsgStream, count: int) -> AsyncIterator[Any]:
    async for item in stream:
        yield item
        if (count := count - 1) == 0:
            return


async def test_a_stream_is_opened_once(start_method: str) -> None:
    """A second time on the same side is a `RuntimeError` (semantics §6.1)."""
    async with a_stream(start_method) as (ctx, stream, _):
        with pytest.raises(RuntimeError, match="opened before"):
            await ctx.open_stream().__aenter__()
        assert ctx.repr_state == "streaming"
        await stream.aclose()
        with pytest.raises(RuntimeError, match="opened before"):
            await ctx.open_stream().__aenter__()


@tractor.context
async def streams_too_early(ctx: Context) -> None:
    with pytest.raises(RuntimeError, match=r"call started\(\) first"):
        await ctx.open_stream().__aenter__()
    await ctx.started()


async def test_a_callee_starts_before_it_streams(autojump_clock: MockClock) -> None:
    """`open_stream` before `started` is a `RuntimeError` (api §1.4)."""
    async with (
        open_world(__name__) as world,
        world.parent.portal.open_context(streams_too_early),
    ):
        pass


@pytest.mark.parametrize("size", [0, -1, 0.5])
async def test_a_buffer_has_room_for_one_at_least(
    size: int, autojump_clock: MockClock
) -> None:
    """A `msg_buffer_size` out of range is a `ValueError`."""
    async with (
        open_world(CALLEES) as world,
        world.parent.portal.open_context(callees.returns, 1) as (ctx, _),
    ):
        with pytest.raises(ValueError, match="msg_buffer_size must be ≥ 1"):
            await ctx.open_stream(msg_buffer_size=size).__aenter__()
        async with ctx.open_stream(msg_buffer_size=1):
            pass


# -- Closing ---------------------------------------------------------------------------


async def test_closing_ends_the_iteration_of_the_other_side(start_method: str) -> None:
    """After the items that were sent before (semantics §6.3)."""
    async with a_stream(start_method, callees.sums) as (ctx, stream, _):
        for number in range(30):
            await stream.send(number)
        await stream.aclose()
        await stream.aclose()
        assert stream.closed
        for use in (stream.receive, lambda: stream.send(1)):
            with pytest.raises(trio.ClosedResourceError):
                await use()
        with pytest.raises(trio.ClosedResourceError):
            stream.receive_nowait()
        assert await ctx.wait_for_result() == sum(range(30))


@pytest.mark.parametrize("early", [True, False])
async def test_the_end_comes_after_the_items(start_method: str, early: bool) -> None:
    """Also where the function has returned long ago; then `send` raises (§6.3)."""
    async with a_stream(start_method, callees.counts, 50) as (ctx, stream, _):
        if early:
            await ctx.end.settled.wait()
        assert [item async for item in stream] == list(range(50))
        with pytest.raises(trio.EndOfChannel):
            await stream.receive()
        with pytest.raises(trio.EndOfChannel):
            stream.receive_nowait()
        with pytest.raises(trio.BrokenResourceError):
            await stream.send("too late")


async def test_send_stop_ends_only_what_is_sent(start_method: str) -> None:
    """The other side's iteration ends, its items still come (api §1.4)."""
    async with a_child(start_method) as portal:
        async with (
            portal.open_context(callees.echo) as (ctx, _),
            ctx.open_stream() as stream,
        ):
            await stream.send("last")
            await ctx.send_stop()
            with pytest.raises(trio.ClosedResourceError):
                await stream.send("more")
            assert [item async for item in stream] == ["last"]
        assert ctx.outcome == 1


async def test_a_cancelled_consumer_leaves_the_stream_open(start_method: str) -> None:
    """Nor does it lose an item (semantics §6.3)."""
    async with a_stream(start_method) as (_, stream, _):
        got = []
        for number in range(100):
            with trio.CancelScope() as scope:
                await stream.send(number)
                if number % 2:
                    scope.cancel()
                got.append(await stream.receive())
        while len(got) < 100:
            got.append(await stream.receive())
        assert got == list(range(100))


# -- Several tasks ---------------------------------------------------------------------


async def test_several_tasks_share_a_stream(start_method: str) -> None:
    """Whatever they send is received once, by one of them."""
    numbers = itertools.count()
    got: list[int] = []

    async def work(stream: MsgStream) -> None:
        for _ in range(100):
            await stream.send(next(numbers))
            got.append(await stream.receive())

    async with a_stream(start_method) as (_, stream, _):
        async with trio.open_nursery() as tasks:
            for _ in range(10):
                tasks.start_soon(work, stream)
        assert sorted(got) == list(range(1000))


async def test_subscribers_get_every_item(start_method: str) -> None:
    """`subscribe` broadcasts to local tasks (semantics §6.4)."""
    async with a_stream(start_method) as (_, stream, _):
        got: list[list[int]] = [[], [], []]

        async def listen(mine: list[int], task_status: trio.TaskStatus) -> None:
            async with stream.subscribe() as receiver:
                task_status.started()
                while len(mine) < 200:
                    mine.append(await receiver.receive())

        async with trio.open_nursery() as tasks:
            for mine in got:
                await tasks.start(listen, mine)
            for number in range(200):
                await stream.send(number)
                assert await stream.receive() == number
        assert got == [list(range(200))] * 3


@pytest.mark.parametrize("raise_on_lag", [True, False])
async def test_a_slow_subscriber_lags(start_method: str, raise_on_lag: bool) -> None:
    """Once it is more than the buffer behind it has lost items (semantics §6.4)."""
    async with (
        a_stream(start_method, msg_buffer_size=8) as (_, stream, _),
        stream.subscribe() as fast,
        stream.subscribe(raise_on_lag=raise_on_lag) as slow,
    ):
        for number in range(20):
            await stream.send(number)
            assert await fast.receive() == number
        if raise_on_lag:
            with pytest.raises(Lagged) as caught:
                await slow.receive()
            assert caught.value.lost == 12
        assert [await slow.receive() for _ in range(8)] == list(range(12, 20))


async def test_subscribers_get_the_error_as_well(start_method: str) -> None:
    """And each of them, and whoever comes later (semantics §5.3, §6.4)."""
    async with a_child(start_method) as portal:
        errors: list[str] = []

        async def listen(stream: MsgStream, task_status: trio.TaskStatus) -> None:
            async with stream.subscribe() as receiver:
                task_status.started()
                try:
                    await receiver.receive()
                except tractor.RemoteActorError as exc:
                    errors.append(exc.src_type_str)

        async with trio.open_nursery() as tasks:
            with pytest.raises(tractor.RemoteActorError):
                await fail_with_listeners(portal, tasks, listen)
        assert errors == ["KeyError"] * 3


async def fail_with_listeners(portal: Portal, tasks: trio.Nursery, listen: Any) -> None:
    async with (
        portal.open_context(callees.fails) as (ctx, _),
        ctx.open_stream() as stream,
    ):
        for _ in range(3):
            await tasks.start(listen, stream)
        await stream.send("now")
        await trio.sleep_forever()


# -- Taking turns ----------------------------------------------------------------------


async def test_items_that_are_there_do_not_hold_the_loop(start_method: str) -> None:
    """Reading, and sending, lets other tasks run now and then."""
    async with a_stream(
        start_method, callees.counts_and_waits, 10_000, msg_buffer_size=10_000
    ) as (_, stream, portal):
        await portal.run(wait_noted, "all sent")
        await wait_all_tasks_blocked()
        turns = 0

        async def watch() -> None:
            nonlocal turns
            while True:
                turns += 1
                await trio.lowlevel.checkpoint()

        async with trio.open_nursery() as tasks:
            tasks.start_soon(watch)
            for number in range(10_000):
                assert await stream.receive() == number
            tasks.cancel_scope.cancel()
        assert turns >= 100

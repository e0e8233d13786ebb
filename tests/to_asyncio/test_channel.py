"""The channel of a linked task, in a root that is a guest of asyncio."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests._helpers import raises
from tractor import RuntimeFailure
from tractor.to_asyncio import (
    AsyncioTaskExited,
    LinkedTaskChannel,
    TrioCancelled,
    TrioTaskExited,
    open_channel_from,
    run_as_asyncio_guest,
    run_task,
    run_trio_task_in_future,
)
from tractor.trionics import Lagged

type Target = Callable[[LinkedTaskChannel], Awaitable[Any]]


def on_asyncio(test: Callable[[], Awaitable[None]]) -> Callable[[], None]:
    """Let a test be the main task of a root on asyncio."""

    def run() -> None:
        async def main() -> None:
            with trio.fail_after(20):
                await test()

        run_as_asyncio_guest(main)

    run.__doc__ = test.__doc__
    run.__name__ = test.__name__
    return run


async def idle(chan: LinkedTaskChannel) -> None:
    chan.started_nowait("first")
    await asyncio.Event().wait()


async def echo(chan: LinkedTaskChannel) -> str:
    chan.started_nowait()
    async for item in chan:
        await chan.send(item)
    return "heard enough"


# -- What it takes, and what it gives --------------------------------------------------


@on_asyncio
async def test_the_first_value_is_that_of_started() -> None:
    """The block gets what the task gave to `started_nowait`."""
    async with open_channel_from(idle) as (chan, first):
        assert first == "first"
        assert "idle" in repr(chan)


@on_asyncio
async def test_a_target_gets_what_its_signature_names() -> None:
    """Halves of the channel have the names that older code has for them."""

    async def target(to_trio: Any, from_trio: Any, factor: int) -> None:
        to_trio.send_nowait("ready")
        while True:
            to_trio.send_nowait(factor * await from_trio.get())

    async with open_channel_from(target, factor=3) as (chan, first):
        await chan.send(5)
        assert (first, await chan.receive()) == ("ready", 15)


@on_asyncio
async def test_any_object_crosses_uncopied() -> None:
    """Both sides are in one thread, so nothing is encoded."""
    thing = object()
    async with open_channel_from(echo) as (chan, _):
        await chan.send(thing)
        assert await chan.receive() is thing


@on_asyncio
async def test_an_eager_loop_makes_no_difference() -> None:
    """A target begins in a task of its own, whatever makes the others."""
    asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
    async with open_channel_from(echo) as (chan, _):
        await chan.send(1)
        assert await chan.receive() == 1
        assert await run_task(sync_value) == 1


@on_asyncio
async def test_what_is_sent_before_the_end_arrives() -> None:
    """`aclose` is an end of the items, and not of the task."""
    async with open_channel_from(echo) as (chan, _):
        for item in range(5):
            await chan.send(item)
        assert not chan.closed()
        assert [await chan.receive() for _ in range(5)] == list(range(5))
        await chan.aclose()
        assert chan.closed()
        assert await chan.wait_for_result() == "heard enough"


@on_asyncio
async def test_what_a_task_sends_before_it_returns_arrives() -> None:
    """Then comes the end of the channel."""

    async def target(chan: LinkedTaskChannel) -> None:
        chan.started_nowait()
        for item in range(3):
            chan.send_nowait(item)

    async with open_channel_from(target) as (chan, _):
        assert [item async for item in chan] == [0, 1, 2]


@on_asyncio
async def test_subscribers_get_every_item() -> None:
    """`subscribe` is for several tasks of trio, and a slow one is told what it lost."""

    async def target(chan: LinkedTaskChannel) -> None:
        chan.started_nowait()
        await chan.get()
        for item in range(6):
            await chan.send(item)

    async with (
        open_channel_from(target, qsize=4) as (chan, _),
        chan.subscribe() as other,
    ):
        await chan.send("go")
        assert [await chan.receive() for _ in range(6)] == list(range(6))
        with raises(Lagged):
            await other.receive()
        assert await other.receive() == 2


# -- Bounds ----------------------------------------------------------------------------


@on_asyncio
async def test_trio_waits_when_asyncio_does_not_read() -> None:
    """No more than `qsize` items wait, and a cancelled `send` sends nothing."""
    gate = trio.Event()

    async def target(chan: LinkedTaskChannel) -> list[int]:
        chan.started_nowait()
        await run_trio_task_in_future(gate.wait)
        return [item async for item in chan]

    async with open_channel_from(target, qsize=2) as (chan, _):
        await chan.send(1)
        chan.send_nowait(2)
        with raises(trio.WouldBlock):
            chan.send_nowait(3)
        with trio.move_on_after(0.01) as patience:
            await chan.send(4)
        assert patience.cancelled_caught
        gate.set()
        await chan.send(5)
        await chan.aclose()
        assert await chan.wait_for_result() == [1, 2, 5]


@on_asyncio
async def test_asyncio_waits_when_trio_does_not_read() -> None:
    """`send_nowait` refuses what `send` waits with, and says so."""

    async def target(chan: LinkedTaskChannel) -> str:
        chan.started_nowait()
        chan.send_nowait(1)
        chan.send_nowait(2)
        try:
            chan.send_nowait(3)
        except asyncio.QueueFull as full:
            refused = str(full)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(chan.send(4), 0.01)
        await run_trio_task_in_future(gate.wait)
        await chan.send(5)
        return refused

    gate = trio.Event()
    async with open_channel_from(target, qsize=2) as (chan, _):
        await wait_all_tasks_blocked(0.02)
        gate.set()
        assert [item async for item in chan] == [1, 2, 5]
        assert "use `await chan.send()`" in await chan.wait_for_result()


# -- Wrong use -------------------------------------------------------------------------


async def sync_value() -> int:
    return 1


@on_asyncio
async def test_wrong_arguments_are_refused() -> None:
    """Before anything is started."""
    coroutine: Any = sync_value()
    with raises(TypeError, match="give it the function"):
        await run_task(coroutine)
    for target, qsize, error in (
        (sync_value, 1, "needs a parameter `chan`"),
        (None, 1, "an async function is wanted"),
        (idle, 0, "qsize ≥ 1"),
    ):
        wrong: Any = target
        with raises((TypeError, ValueError), match=error):
            async with open_channel_from(wrong, qsize=qsize):
                raise AssertionError


async def test_without_asyncio_nothing_works() -> None:
    """In another root the errors say what is missing."""
    with raises(RuntimeFailure, match="run_as_asyncio_guest"):
        await run_task(sync_value)
    with raises(RuntimeFailure, match="infect_asyncio=True"):
        async with open_channel_from(idle):
            raise AssertionError


def test_without_trio_nothing_runs() -> None:
    """Nor can asyncio alone run tasks of trio."""

    async def main() -> None:
        with pytest.raises(RuntimeFailure, match="no trio here"):
            run_trio_task_in_future(trio.sleep, 0)

    asyncio.run(main())


@on_asyncio
async def test_starting_twice_and_sending_early_are_refused() -> None:
    """Both are mistakes of the target."""

    async def target(chan: LinkedTaskChannel) -> None:
        with pytest.raises(RuntimeError, match="call started_nowait"):
            chan.send_nowait(1)
        chan.started_nowait()
        with pytest.raises(RuntimeError, match="already"):
            chan.started_nowait()

    async with open_channel_from(target) as (chan, _):
        await chan.wait_for_result()


@on_asyncio
async def test_a_closed_side_can_do_nothing() -> None:
    """Each side has the error that its world has for that."""

    async def target(chan: LinkedTaskChannel) -> None:
        chan.started_nowait()
        await chan.aclose()
        with pytest.raises(asyncio.QueueShutDown):
            await chan.send(1)
        with pytest.raises(asyncio.QueueShutDown):
            await chan.get()

    async with open_channel_from(target) as (chan, _):
        await chan.wait_for_result()
        with raises(AsyncioTaskExited):
            await chan.send(1)
        with raises(AsyncioTaskExited):
            chan.send_nowait(1)
        await chan.aclose()
        with raises(trio.ClosedResourceError):
            await chan.send(1)
        with raises(trio.ClosedResourceError):
            await chan.receive()


# -- Ends ------------------------------------------------------------------------------


@on_asyncio
async def test_what_is_told_at_the_end() -> None:
    """The first time that the block was left, then that this is a cancellation."""
    told: list[type[BaseException]] = []

    async def target(chan: LinkedTaskChannel) -> None:
        chan.started_nowait()
        for ask in (chan.get, chan.get, partial(chan.send, 1)):
            try:
                await ask()
            except (TrioTaskExited, TrioCancelled) as error:
                told.append(type(error))

    async with open_channel_from(target):
        await wait_all_tasks_blocked(0.01)
    assert told == [TrioTaskExited, TrioCancelled, TrioCancelled]


@on_asyncio
async def test_graceful_exits_can_be_errors() -> None:
    """With `suppress_graceful_exits=False` each side is told that the other left."""

    async def returns(chan: LinkedTaskChannel) -> None:
        chan.started_nowait()

    with raises(AsyncioTaskExited, match="has returned"):
        async with open_channel_from(returns, suppress_graceful_exits=False):
            await trio.sleep_forever()
    strict = partial(open_channel_from, suppress_graceful_exits=False)

    async def waits(chan: LinkedTaskChannel) -> None:
        chan.started_nowait()
        await chan.get()

    with raises(TrioTaskExited):
        async with strict(waits):
            await wait_all_tasks_blocked(0.01)
    with trio.CancelScope() as scope:
        async with strict(waits):
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught
    async with strict(waits) as (chan, _):
        chan.cancel_asyncio_task()


@on_asyncio
async def test_the_error_of_a_task_counts_once() -> None:
    """Also where a task of the block has seen it."""

    async def fails(chan: LinkedTaskChannel) -> None:
        chan.started_nowait()
        await chan.get()
        raise KeyError(1)

    with raises(KeyError):
        async with (
            open_channel_from(fails) as (chan, _),
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(chan.wait_for_result)
            await chan.send("go")


@on_asyncio
async def test_a_task_that_is_cancelled_at_once_never_runs() -> None:
    """Before its first step there is nothing to clean up."""

    async def target(chan: LinkedTaskChannel) -> None:
        raise AssertionError

    with trio.CancelScope() as scope:
        scope.cancel()
        async with open_channel_from(target):
            raise AssertionError
    assert scope.cancelled_caught


@on_asyncio
async def test_futures_of_trio_tasks_are_cancelled_both_ways() -> None:
    """Whoever awaits one can cancel it, and a task that is cancelled cancels it."""
    ended = trio.Event()

    async def wait() -> None:
        try:
            await trio.sleep_forever()
        finally:
            ended.set()

    async def await_it() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(run_trio_task_in_future(wait), 0.01)

    await run_task(await_it)
    await ended.wait()


def test_futures_end_with_the_loop() -> None:
    """What still runs when the main task is done is cancelled."""
    futures: list[asyncio.Future[None]] = []

    async def main() -> int:
        futures.append(run_trio_task_in_future(trio.sleep_forever))
        return 5

    assert run_as_asyncio_guest(main) == 5
    assert futures[0].cancelled()

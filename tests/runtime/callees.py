"""Contexts and generators that tests open in other actors; quick to import."""

import gc
import resource
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Never

import trio

import tractor
from tests.runtime.rpc_functions import log
from tractor import Context


@tractor.context
async def echo(ctx: Context, value: Any = None) -> Any:
    """Start with the value, send back what comes, and return how much it was."""
    await ctx.started(value)
    count = 0
    async with ctx.open_stream() as stream:
        async for item in stream:
            await stream.send(item)
            count += 1
    return count


@tractor.context
async def sleeper(ctx: Context) -> Never:
    """Note how it ends."""
    await ctx.started()
    try:
        await trio.sleep_forever()
    except BaseException as exc:
        log.add(["sleeper", type(exc).__name__, ctx.canceller and ctx.canceller[0]])
        raise


@tractor.context
async def returns(ctx: Context, value: Any) -> Any:
    await ctx.started()
    return value


@tractor.context
async def never_starts(ctx: Context, how: str) -> None:
    """End in some way before `started`."""
    match how:
        case "raise":
            raise KeyError("early")
        case "cancel":
            await ctx.cancel()
        case "sleep":
            log.add("waits")
            await trio.sleep_forever()


@tractor.context
async def starts_twice(ctx: Context) -> str:
    await ctx.started(1)
    try:
        await ctx.started(2)
    except RuntimeError as exc:
        return str(exc)
    return ""


@tractor.context
async def fails(ctx: Context, how: str = "raise") -> None:
    """When told to."""
    await ctx.started()
    async with ctx.open_stream() as stream:
        await stream.receive()
        if how == "cancel":
            await ctx.cancel()
        raise KeyError("told to")


@tractor.context
async def hears(ctx: Context) -> None:
    """Note what its pending `receive` raises, and what the context says of it."""
    await ctx.started()
    async with ctx.open_stream() as stream:
        try:
            await stream.receive()
        except tractor.RemoteActorError as exc:
            log.add([exc.src_type_str, exc.src_uid[0], str(ctx.maybe_error)])
            raise


@tractor.context
async def cleans_up(ctx: Context, error: str = "") -> None:
    """When cancelled, do something slow first, and then perhaps fail."""
    await ctx.started()
    try:
        await trio.sleep_forever()
    finally:
        with trio.CancelScope(shield=True):
            await trio.lowlevel.checkpoint()
            while "go on" not in log.entries:
                await log.changed()
        log.add("cleaned")
        if error:
            raise KeyError(error)


@tractor.context
async def cancels_itself(ctx: Context) -> None:
    await ctx.started()
    await ctx.cancel()
    await trio.sleep_forever()


@tractor.context
async def reports(ctx: Context) -> None:
    """Note what a callee sees of itself, at first and when it is cancelled."""
    await ctx.started()
    log.add([ctx.side, ctx.peer_side, ctx.portal is None, ctx.repr_state])
    assert ctx.parent_task is trio.lowlevel.current_task()
    assert tractor.current_ipc_ctx() is ctx
    async with trio.open_nursery() as tasks:
        tasks.start_soon(_report_from_below, ctx)
        await trio.sleep_forever()


async def _report_from_below(ctx: Context) -> None:
    log.add(tractor.current_ipc_ctx() is ctx)
    try:
        await trio.sleep_forever()
    finally:
        log.add([ctx.cancel_called, ctx.canceller and ctx.canceller[0]])


@tractor.context
async def waits_for_result(ctx: Context) -> None:
    await ctx.started()
    await ctx.wait_for_result()


@tractor.context
async def counts(ctx: Context, upto: int) -> int:
    """Send numbers, then return."""
    await ctx.started()
    async with ctx.open_stream() as stream:
        for number in range(upto):
            await stream.send(number)
    return upto


@tractor.context
async def counts_and_waits(ctx: Context, upto: int) -> None:
    """Send numbers, say so, and go on forever."""
    await ctx.started()
    async with ctx.open_stream() as stream:
        for number in range(upto):
            await stream.send(number)
        log.add("all sent")
        await trio.sleep_forever()


@tractor.context
async def sums(ctx: Context) -> int:
    """Add up what comes."""
    await ctx.started()
    async with ctx.open_stream() as stream:
        return sum([item async for item in stream])


@tractor.context
async def reads_late(ctx: Context) -> list[Any]:
    """Leave what comes unread until somebody notes that it may go on."""
    await ctx.started()
    async with ctx.open_stream() as stream:
        while "go on" not in log.entries:
            await log.changed()
        return [item async for item in stream]


@tractor.context
async def counts_bytes(ctx: Context) -> int:
    await ctx.started()
    async with ctx.open_stream() as stream:
        return sum([len(item) async for item in stream])


# -- Trees -----------------------------------------------------------------------------


@tractor.context
async def passes_on(ctx: Context, fn: str) -> None:
    """Open a context in an actor below, and be linked with it."""
    async with tractor.open_nursery() as an:
        modules = [__name__, log_module]
        portal = await an.start_actor("leaf", enable_modules=modules)
        async with portal.open_context(globals()[fn]) as (below, _):
            await ctx.started()
            await below.wait_for_result()
        await an.cancel()


@tractor.context
async def cancels_actor_above(ctx: Context) -> None:
    """Have the actor of our caller cancelled, with everything in it."""
    await ctx.started()
    with trio.CancelScope(shield=True):
        await tractor.current_actor().get_parent().cancel_actor()
    await trio.sleep_forever()


@tractor.context
async def opens_above(ctx: Context) -> Any:
    """Open a context in the actor of our caller."""
    portal = tractor.current_actor().get_parent()
    async with portal.open_context(echo, "above") as (up, first):
        await ctx.started(first)
        async with up.open_stream() as stream:
            await stream.send(1)
            assert await stream.receive() == 1
    return up.outcome


log_module = log.__class__.__module__


# -- Generators ------------------------------------------------------------------------


async def numbers(upto: int) -> AsyncIterator[int]:
    try:
        for number in range(upto):
            yield number
    finally:
        log.add("generator closed")


async def one_and_no_more() -> AsyncIterator[int]:
    try:
        yield 1
        await trio.sleep_forever()
    finally:
        log.add("generator closed")


async def fails_midway() -> AsyncIterator[int]:
    yield 1
    raise KeyError("midway")


# -- Floods ----------------------------------------------------------------------------


@tractor.context
async def reads_slowly(ctx: Context, batch: int, pause: float) -> int:
    """Sleep until somebody notes "go on"; then count items, with a pause after some."""
    await ctx.started()
    count = 0
    async with ctx.open_stream() as stream:
        while "go on" not in log.entries:
            await log.changed()
        async for _ in stream:
            count += 1
            if not count % batch:
                await trio.sleep(pause)
    return count


async def quick(number: int) -> int:
    return number


async def slow(number: int) -> int:
    """A call that takes its time, and cleans up."""
    try:
        await trio.sleep(60)
    finally:
        with trio.CancelScope(shield=True):
            await trio.lowlevel.checkpoint()
    return number


async def resources() -> dict[str, int]:
    """How much memory this process has, in bytes, and how many tasks."""
    gc.collect()
    return {
        "rss": _resident_pages() * resource.getpagesize(),
        "tasks": trio.lowlevel.current_statistics().tasks_living,
    }


def _resident_pages() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1])

# pyright: reportUnnecessaryTypeIgnoreComment=true
"""What type checkers say of contexts and streams; read by them and never run.

A line that they must refuse carries an ignore, and one that is not needed is an error.
"""

from collections.abc import AsyncIterator
from typing import Any, assert_type

import tractor
from tractor import Context, MsgStream, Portal


@tractor.context
async def tail(ctx: Context[str, int, float], path: str, *, lines: int = 1) -> bytes:
    """Start with a text, receive integers, send floats, return bytes."""
    await ctx.started("ready")
    await ctx.started()  # type: ignore[call-arg]
    await ctx.started(1)  # type: ignore[arg-type]
    async with ctx.open_stream() as stream:
        assert_type(stream, MsgStream[int, float])
        assert_type(await stream.receive(), int)
        assert_type(stream.receive_nowait(), int)
        async for item in stream:
            assert_type(item, int)
        await stream.send(0.5)
        await stream.send("x")  # type: ignore[arg-type]
        async with stream.subscribe() as receiver:
            assert_type(await receiver.receive(), int)
    return path.encode()


@tractor.context(ext_types=[complex], enc_hook=repr)
async def untyped(ctx: Context, count: int) -> int:
    """Without parameters everything is `Any`."""
    await ctx.started()
    await ctx.started(1)
    async with ctx.open_stream() as stream:
        assert_type(await stream.receive(), Any)
        await stream.send("anything")
    return count


@tractor.context
async def silent(ctx: Context[None]) -> None:
    """Nothing to start with, so nothing has to be given."""
    await ctx.started()
    await ctx.started("x")  # type: ignore[call-overload]


async def plain(path: str) -> bytes:
    return path.encode()


async def ticks(upto: int) -> AsyncIterator[str]:
    yield str(upto)


async def open_context(portal: Portal) -> None:
    """The caller gets the mirrored types, the first value and the result."""
    async with portal.open_context(tail, "log", lines=3) as (ctx, first):
        assert_type(ctx, Context[str, float, int, bytes])
        assert_type(first, str)
        assert_type(await ctx.wait_for_result(), bytes)
        async with ctx.open_stream(allow_overruns=True) as stream:
            assert_type(stream, MsgStream[float, int])
            assert_type(await stream.receive(), float)
            async for item in stream:
                assert_type(item, float)
            await stream.send(1)
            await stream.send("x")  # type: ignore[arg-type]
    async with portal.open_context(untyped, 1) as (loose, anything):
        assert_type(anything, Any)
        assert_type(await loose.wait_for_result(), int)
    async with portal.open_context(silent) as (quiet, nothing):
        assert_type(nothing, None)
        assert_type(await quiet.wait_for_result(), None)


async def wrong_contexts(portal: Portal) -> None:
    """Wrong arguments, and what is no context."""
    portal.open_context(tail)  # type: ignore[call-arg]
    portal.open_context(tail, 1)  # type: ignore[arg-type]
    portal.open_context(tail, "log", 3)  # type: ignore[call-arg]
    portal.open_context(tail, "log", lines="3")  # type: ignore[arg-type]
    portal.open_context(tail, "log", other=3)  # type: ignore[call-arg]
    portal.open_context(plain, "log")  # type: ignore[arg-type, call-arg]
    portal.open_context("tail")  # type: ignore[arg-type]
    portal.open_context(ticks, 1)  # type: ignore[arg-type, call-arg]
    await portal.run(tail, "log")  # type: ignore[arg-type, call-arg]


async def open_stream_from(portal: Portal) -> None:
    """Items have the type that the generator yields; there is nobody to send to."""
    async with portal.open_stream_from(ticks, 3) as stream:
        assert_type(await stream.receive(), str)
        async for item in stream:
            assert_type(item, str)
        await stream.send("x")  # type: ignore[arg-type]
    portal.open_stream_from(ticks)  # type: ignore[call-arg]
    portal.open_stream_from(ticks, "x")  # type: ignore[arg-type]
    portal.open_stream_from(plain, "x")  # type: ignore[arg-type]


async def current() -> None:
    """What a task finds out about its context."""
    if (ctx := tractor.current_ipc_ctx()) is not None:
        assert_type(ctx.canceller, tuple[str, str] | None)
        assert_type(ctx.maybe_error, BaseException | None)
        assert_type(ctx.has_outcome, bool)

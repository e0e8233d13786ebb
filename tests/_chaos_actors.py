"""What actors of the chaos run do; they import this, so it imports little."""

from collections.abc import AsyncIterator

import tractor

_bumps: list[None] = []


async def bump() -> int:
    """How often this actor was asked that."""
    _bumps.append(None)
    return len(_bumps)


@tractor.context
async def echo(ctx: tractor.Context) -> int:
    """Send back what comes; return how much it was."""
    await ctx.started()
    count = 0
    async with ctx.open_stream() as stream:
        async for item in stream:
            await stream.send(item)
            count += 1
    return count


async def count_up() -> AsyncIterator[int]:
    """All numbers, as fast as they are read."""
    number = 0
    while True:
        yield number
        number += 1

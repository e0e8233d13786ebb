"""What runs in the actors of the benchmarks.

A module of its own, so that an actor imports no more than it needs: neither the harness
nor what others are compared by.
"""

from time import perf_counter

import trio

import tractor
from tractor._instrument import Event, hub

# -- Calls -----------------------------------------------------------------------------


async def noop() -> None:
    """Nothing."""


async def echo(data: bytes) -> bytes:
    """The same."""
    return data


async def count(steps: int) -> int:
    """Compute in Python."""
    total = 0
    for step in range(steps):
        total += step & 7
    return total


async def call_parent(calls: int) -> None:
    """Call the root, one after the other."""
    async with tractor.find_actor("root", raise_on_none=True) as portal:
        for _ in range(calls):
            await portal.run(noop)


async def look_up(how: str, name: str, times: int) -> list[float]:
    """Microseconds of each of so many look-ups.

    Args:
        how: ``find``, ``query`` or ``call``.
        name: Of the actor.
        times: How many.
    """
    found = []
    async with tractor.find_actor(name, raise_on_none=True) as portal:
        for _ in range(times):
            began = perf_counter()
            if how == "call":
                await portal.run(noop)
            elif how == "find":
                async with tractor.find_actor(name):
                    pass
            else:
                async with tractor.query_actor(name):
                    pass
            found.append((perf_counter() - began) * 1e6)
    return found


async def connect(name: str, times: int) -> list[float]:
    """Microseconds of each of so many connections with an actor."""
    found = []
    for _ in range(times):
        began = perf_counter()
        async with tractor.find_actor(name, raise_on_none=True):
            found.append((perf_counter() - began) * 1e6)
    return found


# -- Contexts --------------------------------------------------------------------------


@tractor.context
async def just_start(ctx: tractor.Context) -> None:
    """Begin, and be over."""
    await ctx.started()


@tractor.context
async def answer(ctx: tractor.Context) -> None:
    """Send back each item."""
    await ctx.started()
    async with ctx.open_stream() as stream:
        async for item in stream:
            await stream.send(item)


@tractor.context
async def give(ctx: tractor.Context, size: int) -> None:
    """For each number that arrives send so many items: integers, or bytes of `size`."""
    await ctx.started()
    data = bytes(size)
    async with ctx.open_stream() as stream:
        async for wanted in stream:
            for number in range(wanted):
                await stream.send(data if size else number)


@tractor.context
async def take(ctx: tractor.Context, wanted: int) -> None:
    """Send one item for every `wanted` that arrive."""
    await ctx.started()
    async with ctx.open_stream() as stream:
        while True:
            try:
                for _ in range(wanted):
                    await stream.receive()
            except trio.EndOfChannel:
                return
            await stream.send(None)


# -- Watching --------------------------------------------------------------------------


class Watch:
    """Whether somebody here is subscribed to the events of the runtime."""

    def __init__(self) -> None:
        self.over = trio.Event()

    def see(self, event: Event) -> None:
        """Do nothing with it."""


WATCHES: list[Watch] = []


@tractor.context
async def watch(ctx: tractor.Context) -> None:
    """Be subscribed, until `unwatch`."""
    WATCHES.append(mine := Watch())
    with hub.subscribed(mine.see):
        await ctx.started()
        await mine.over.wait()


async def unwatch() -> None:
    """End all subscriptions here."""
    while WATCHES:
        WATCHES.pop().over.set()


# -- Cancelling ------------------------------------------------------------------------


NOTED: list[float] = []  # when scopes here were cancelled, `perf_counter` seconds


@tractor.context
async def sleep_noted(ctx: tractor.Context) -> None:
    """Wait for the cancellation, and note when it comes."""
    await ctx.started()
    try:
        await trio.sleep_forever()
    finally:
        NOTED.append(perf_counter())


async def noted() -> list[float]:
    """When that was, since the last time."""
    found = NOTED.copy()
    NOTED.clear()
    return found


@tractor.context
async def grow(ctx: tractor.Context, depth: int) -> None:
    """A chain of actors, of which this is the first of `depth`; for ever."""
    if depth > 1:
        async with tractor.open_nursery() as an:
            portal = await an.start_actor(f"level {depth}", enable_modules=[__name__])
            async with portal.open_context(grow, depth - 1):
                await ctx.started()
                await trio.sleep_forever()
    await ctx.started()
    await trio.sleep_forever()


@tractor.context
async def relay(ctx: tractor.Context, depth: int) -> None:
    """For each item that arrives make a call `depth` levels down."""
    if depth == 1:
        await ctx.started()
        async with ctx.open_stream() as stream:
            async for item in stream:
                await stream.send(item)
        return
    async with tractor.open_nursery() as an:
        portal = await an.start_actor(f"level {depth}", enable_modules=[__name__])
        async with (
            portal.open_context(relay, depth - 1) as (below, _),
            below.open_stream() as lower,
        ):
            await ctx.started()
            async with ctx.open_stream() as stream:
                async for item in stream:
                    await lower.send(item)
                    await stream.send(await lower.receive())
        await portal.cancel_actor()

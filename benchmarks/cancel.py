"""What it costs to cancel: a task over there, a call, and trees of actors.

From the request to the moment at which the scope over there is cancelled, by the clock
that all processes share; then until the caller goes on. And from the request to stop
until all actors of a chain are gone, at each depth.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from time import perf_counter
from typing import Final

import trio

import tractor
from benchmarks import _served
from benchmarks._harness import Case, Group, Setting, Target, main
from benchmarks._ways import MODULES, each_of

CALL: Final = "Portal.run"
DEPTHS: Final = (1, 2, 3, 4)


async def to_the_scope(portal: tractor.Portal, count: int) -> list[float]:
    """Microseconds from each request to the cancellation of the scope."""
    asked = []
    for _ in range(count):
        async with portal.open_context(_served.sleep_noted) as (ctx, _):
            asked.append(perf_counter())
            await ctx.cancel()
    noted = await portal.run(_served.noted)
    return [(at - since) * 1e6 for since, at in zip(asked, noted, strict=True)]


async def to_the_outcome(portal: tractor.Portal, count: int) -> list[float]:
    """Microseconds from each request until the context is over here."""
    found = []
    for _ in range(count):
        async with portal.open_context(_served.sleep_noted) as (ctx, _):
            began = perf_counter()
            await ctx.cancel()
        found.append((perf_counter() - began) * 1e6)
    await portal.run(_served.noted)
    return found


async def take_back(portal: tractor.Portal, count: int) -> list[float]:
    """Microseconds until a cancelled call is over, over there and here."""
    found = []
    for _ in range(count):
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(portal.run, trio.sleep_forever)
                await portal.run(_served.noop)  # which starts after that one
                began = perf_counter()
                scope.cancel()
        found.append((perf_counter() - began) * 1e6)
    return found


@asynccontextmanager
async def open_tasks(setting: Setting) -> AsyncIterator[Sequence[Case]]:
    """One actor whose tasks are cancelled."""
    count = setting.size(300, 20)
    async with tractor.open_nursery(start_method=setting.backend) as an:
        portal = await an.start_actor("callee", enable_modules=[*MODULES, "trio"])
        target = Target("cancel: request to cancelled scope", 2, CALL)
        call = partial(portal.run, _served.noop)
        yield [
            Case(CALL, "µs", partial(each_of, call, count)),
            Case(
                "request to cancelled scope",
                "µs",
                partial(to_the_scope, portal, count),
                CALL,
                (target,),
            ),
            Case(
                "request to the end of the context",
                "µs",
                partial(to_the_outcome, portal, count),
                CALL,
            ),
            Case("cancelled call", "µs", partial(take_back, portal, count), CALL),
        ]
        await an.cancel()


async def fell(depth: int) -> list[float]:
    """Milliseconds in which a chain of so many actors ends."""
    async with tractor.open_nursery() as an:
        portal = await an.start_actor("first", enable_modules=MODULES)
        with suppress(tractor.ContextCancelled, tractor.TransportClosed):
            async with portal.open_context(_served.grow, depth):
                began = perf_counter()
                await an.cancel()
                took = perf_counter() - began
    return [took * 1e3]


@asynccontextmanager
async def open_trees(setting: Setting) -> AsyncIterator[Sequence[Case]]:
    """Chains of actors, made anew for each measurement."""
    async with tractor.open_root_actor(start_method=setting.backend):
        yield [
            Case(f"depth {depth}", "ms", partial(fell, depth), f"depth {DEPTHS[0]}")
            for depth in DEPTHS
        ]


GROUPS: Final = (
    Group("cancel tasks", open_tasks),
    Group("cancel a chain", open_trees, rounds=5),
)

if __name__ == "__main__":
    main(__doc__, GROUPS)

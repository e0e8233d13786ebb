"""How costs grow: with actors, contexts, depth of the tree, and size of the payload.

Everything is next to the smallest of its kind.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from time import perf_counter
from typing import Any, Final

import trio

import tractor
from benchmarks import _served
from benchmarks._harness import Case, Group, Setting, Target, main
from benchmarks._ways import MODULES, each_of, open_callee

ACTORS: Final = (1, 2, 4, 8, 16, 32, 64)
CONTEXTS: Final = (1, 10, 100, 1_000, 10_000)
DEPTHS: Final = (1, 2, 3, 4)
SIZES: Final = (0, 1 << 10, 1 << 14, 1 << 16, 1 << 18, 1 << 20, 1 << 22)
BASE: Final = "2 actors"  # of which each has a processor on most machines


# -- Actors ----------------------------------------------------------------------------


async def call_root(portals: list[tractor.Portal], calls: int) -> list[float]:
    """Calls per second into this actor, by all of those at once."""
    each = max(1, calls // len(portals))
    began = perf_counter()
    async with trio.open_nursery() as nursery:
        for portal in portals:
            nursery.start_soon(portal.run, _served.call_parent, each)
    return [each * len(portals) / (perf_counter() - began)]


@asynccontextmanager
async def open_actors(setting: Setting) -> AsyncIterator[Sequence[Case]]:
    """As many as there may be; some of them call the root."""
    calls = setting.size(6_400, 64)
    counts = ACTORS if not setting.quick else ACTORS[:3]
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(
            tractor.open_root_actor(
                start_method=setting.backend, enable_modules=MODULES
            )
        )
        an = await stack.enter_async_context(tractor.open_nursery())
        portals = [
            await an.start_actor(f"caller {number}", enable_modules=MODULES)
            for number in range(max(counts))
        ]
        target = Target("64 actors that call the root", 0.8, BASE, at_least=True)
        yield [
            Case(
                f"{count} actors",
                "/s",
                partial(call_root, portals[:count], calls),
                BASE,
                (target,) if count == 64 else (),
            )
            for count in counts
        ]
        await an.cancel()


# -- Contexts --------------------------------------------------------------------------


async def hold_context(
    portal: tractor.Portal, ready: Callable[[], None], over: trio.Event
) -> None:
    """Have a context open until it is over."""
    async with (
        portal.open_context(_served.answer) as (ctx, _),
        ctx.open_stream(),
    ):
        ready()
        await over.wait()


async def with_contexts(
    portal: tractor.Portal, number: int, count: int
) -> tuple[float, list[float]]:
    """Milliseconds to open so many, and microseconds of calls beside them."""
    left, opened, over = number, trio.Event(), trio.Event()

    def ready() -> None:
        nonlocal left
        left -= 1
        if not left:
            opened.set()

    async with trio.open_nursery() as nursery:
        began = perf_counter()
        for _ in range(number):
            nursery.start_soon(hold_context, portal, ready, over)
        await opened.wait()
        took = (perf_counter() - began) * 1e3
        calls = await each_of(partial(portal.run, _served.noop), count)
        over.set()
    return took, calls


async def opening(portal: tractor.Portal, number: int) -> list[float]:
    """Milliseconds for each context."""
    return [(await with_contexts(portal, number, 1))[0] / number]


async def beside(portal: tractor.Portal, number: int, count: int) -> list[float]:
    """Microseconds of calls."""
    return (await with_contexts(portal, number, count))[1]


@asynccontextmanager
async def open_contexts(setting: Setting) -> AsyncIterator[Sequence[Case]]:
    """One callee for all of them."""
    counts = CONTEXTS if not setting.quick else CONTEXTS[:3]
    async with open_callee(setting) as portal:
        yield [
            case
            for number in counts
            for case in (
                Case(
                    f"open {number}, each",
                    "ms",
                    partial(opening, portal, number),
                    f"open {counts[0]}, each",
                ),
                Case(
                    f"call beside {number}",
                    "µs",
                    partial(beside, portal, number, setting.size(200, 10)),
                    f"call beside {counts[0]}",
                ),
            )
        ]


# -- Depth -----------------------------------------------------------------------------


@asynccontextmanager
async def open_depths(setting: Setting) -> AsyncIterator[Sequence[Case]]:
    """A chain of actors for each depth, through which an item goes down and back."""
    count = setting.size(300, 10)
    async with AsyncExitStack() as stack:
        an = await stack.enter_async_context(
            tractor.open_nursery(start_method=setting.backend)
        )
        stack.push_async_callback(an.cancel)  # when the streams are closed
        cases = []
        for depth in DEPTHS if not setting.quick else DEPTHS[:2]:
            portal = await an.start_actor(f"depth {depth}", enable_modules=MODULES)
            ctx, _ = await stack.enter_async_context(
                portal.open_context(_served.relay, depth)
            )
            stream = await stack.enter_async_context(ctx.open_stream())
            call = partial(there_and_back, stream)
            measure = partial(each_of, call, count)
            cases.append(Case(f"depth {depth}", "µs", measure, f"depth {DEPTHS[0]}"))
        yield cases


async def there_and_back(stream: tractor.MsgStream[Any, Any]) -> None:
    """Send an item, and wait until it is back."""
    await stream.send(1)
    await stream.receive()


# -- Size ------------------------------------------------------------------------------


@asynccontextmanager
async def open_sizes(setting: Setting) -> AsyncIterator[Sequence[Case]]:
    """One callee, which returns what it was called with."""
    async with open_callee(setting) as portal:
        cases = []
        for size in SIZES:
            count = min(300, (32 << 20) // max(size, 1))
            call: Callable[[], Awaitable[Any]]
            call = partial(portal.run, _served.echo, bytes(size))
            measure = partial(each_of, call, setting.size(count, 2))
            cases.append(Case(f"{size} bytes", "µs", measure, f"{SIZES[0]} bytes"))
        yield cases


GROUPS: Final = (
    Group("actors", open_actors, rounds=5, backends=("mp_forkserver", "subint")),
    Group("open contexts", open_contexts, rounds=3, backends=("trio",)),
    Group("depth", open_depths, rounds=5, backends=("mp_forkserver",)),
    Group("payload", open_sizes, rounds=5, backends=("trio",)),
)

if __name__ == "__main__":
    main(__doc__, GROUPS)

"""Ways to measure, and the one actor that most of it needs."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from time import perf_counter
from typing import Any, Final

import trio

import tractor
from benchmarks import _served
from benchmarks._harness import Setting

MODULES: Final = (_served.__name__,)


@asynccontextmanager
async def open_callee(
    setting: Setting, **options: Any
) -> AsyncIterator[tractor.Portal]:
    """An actor that serves what there is for benchmarks."""
    async with tractor.open_nursery(start_method=setting.backend, **options) as an:
        portal = await an.start_actor("callee", enable_modules=MODULES)
        yield portal
        await an.cancel()


async def each_of(call: Callable[[], Awaitable[Any]], count: int) -> list[float]:
    """Microseconds of each of `count` calls, one after the other."""
    found = []
    for _ in range(count):
        began = perf_counter()
        await call()
        found.append((perf_counter() - began) * 1e6)
    return found


async def with_callers(
    call: Callable[[], Awaitable[Any]], count: int, callers: int
) -> list[float]:
    """Calls per second, by so many tasks that call one after the other."""

    async def caller() -> None:
        for _ in range(count // callers):
            await call()

    began = perf_counter()
    async with trio.open_nursery() as nursery:
        for _ in range(callers):
            nursery.start_soon(caller)
    return [count // callers * callers / (perf_counter() - began)]


def timed(call: Callable[[], Awaitable[Any]]) -> Callable[[], Awaitable[list[float]]]:
    """A measurement of one call in milliseconds."""

    async def measure() -> list[float]:
        began = perf_counter()
        await call()
        return [(perf_counter() - began) * 1e3]

    return measure

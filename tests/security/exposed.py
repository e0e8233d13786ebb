"""What actors under attack serve: the bait, and the pings that show how they fare."""

import time
from collections.abc import AsyncIterator
from typing import Final, NoReturn

import trio
from trio import run_process  # noqa: F401 (the bait: who may call it has a shell)

import tractor

PAUSE: Final = 0.01  # seconds between two pings

CALLS: list[str] = []  # what strangers made this actor run
_pings: list[float] = []  # seconds that each has taken, since they were asked for


async def bait() -> None:
    """Is for those of the tree alone."""
    CALLS.append("bait")


async def _hidden() -> None:
    CALLS.append("_hidden")


class Namespace:
    """Its functions are not those of the module."""

    @staticmethod
    async def inside() -> None:
        """Cannot be named."""
        CALLS.append("inside")


@tractor.context
async def dialogue(ctx: tractor.Context, reply: str = "") -> str:
    """Send back what comes, and return the argument."""
    await ctx.started(reply)
    async with ctx.open_stream() as stream:
        async for item in stream:
            await stream.send(item)
    return reply


async def numbers(count: int = 1000) -> AsyncIterator[int]:
    """So many."""
    for number in range(count):
        yield number


async def pong() -> None:
    """Answer a ping."""


async def ping_the_parent() -> NoReturn:
    """Call it again and again, and remember how long each call has taken."""
    while True:
        await _ping()
        await trio.sleep(PAUSE)


async def _ping() -> None:
    began = time.perf_counter()
    await tractor.current_actor().get_parent().run(pong)
    _pings.append(time.perf_counter() - began)


async def take_pings() -> list[float]:
    """Those since the last time, and one more."""
    await _ping()
    found = _pings[:]
    _pings.clear()
    return found

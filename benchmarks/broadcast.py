"""What it costs to give every item of a stream to several tasks.

Next to the stream with one reader, and to trio's memory channels with as many readers.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from time import perf_counter
from typing import Any, Final

import trio

import tractor
from benchmarks import _served
from benchmarks._harness import Case, Group, Setting, main
from benchmarks._ways import open_callee

ONE: Final = "one reader, no broadcast"
READERS: Final = (1, 4, 16)
BUFFER: Final = 64


async def receive(channel: Any, count: int) -> None:
    """So many items."""
    for _ in range(count):
        await channel.receive()


async def read(
    stream: tractor.MsgStream[Any, int], readers: Sequence[Any], count: int
) -> list[float]:
    """Items of the stream per second, each of which every reader gets."""
    began = perf_counter()
    async with trio.open_nursery() as nursery:
        for each in readers:
            nursery.start_soon(receive, each, count)
        await stream.send(count)
    return [count / (perf_counter() - began)]


async def read_memory(readers: int, count: int) -> list[float]:
    """The same within one loop: a memory channel for each reader."""
    pairs = [trio.open_memory_channel[int](BUFFER) for _ in range(readers)]
    began = perf_counter()
    async with trio.open_nursery() as nursery:
        for _, channel in pairs:
            nursery.start_soon(receive, channel, count)
        for number in range(count):
            for sender, _ in pairs:
                await sender.send(number)
    return [count / (perf_counter() - began)]


@asynccontextmanager
async def open_broadcasts(setting: Setting) -> AsyncIterator[Sequence[Case]]:
    """One stream for each number of readers."""
    count = setting.size(5_000, 200)
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        portal = await enter(open_callee(setting))
        cases = []
        for number in (0, *READERS):
            ctx, _ = await enter(portal.open_context(_served.give, 0))
            stream = await enter(ctx.open_stream(msg_buffer_size=BUFFER))
            readers: list[Any] = [stream]
            if number:
                readers = [
                    await enter(stream.subscribe(raise_on_lag=False))
                    for _ in range(number)
                ]
                # The stream itself is a subscriber by now, and drops what it misses.
            name = f"{number} subscribers" if number else ONE
            of = ONE if number else None
            cases.append(Case(name, "/s", partial(read, stream, readers, count), of))
            if number:
                memory = partial(read_memory, number, count)
                cases.append(Case(f"{number} memory channels", "/s", memory, ONE))
        yield cases


GROUPS: Final = (Group("broadcast", open_broadcasts, backends=("trio",)),)

if __name__ == "__main__":
    main(__doc__, GROUPS)

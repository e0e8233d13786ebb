"""What it costs to hand over 4 MiB in shared memory, beside sockets that copy them.

The actor copies its bytes into the memory and says so by an item of a stream; the root
has them when it has looked at both ends of them. Meanwhile the actor fills another
buffer, and it fills none that the root has not given back. The reference is a blocking
socket into one buffer, as in `streams.py`.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from functools import partial
from socket import MSG_WAITALL, socket
from time import perf_counter
from typing import Any, Final

import tractor
from benchmarks import _ends, _references, _served
from benchmarks._harness import Case, Group, Measure, Setting, Target, main
from tractor.ipc.shm import ShmBuffer, attach_shm_buffer, open_shm_buffer

SOCKET: Final = "raw blocking socket"
SLOTS: Final = 2  # buffers, so that one is filled while the other one is read
KIB, MIB = 1 << 10, 1 << 20


# -- What runs in the actor ------------------------------------------------------------


@tractor.context
async def fill_again(ctx: tractor.Context, size: int) -> None:
    """For each number that arrives fill so many buffers, the same ones by turns."""
    data = bytes(size)
    with ExitStack() as stack:
        buffers = [stack.enter_context(open_shm_buffer(size)) for _ in range(SLOTS)]
        await ctx.started([each.token for each in buffers])
        async with ctx.open_stream() as stream:
            async for wanted in stream:
                for number in range(wanted):
                    if number >= SLOTS:
                        await stream.receive()
                    buffers[number % SLOTS].write(data)
                    await stream.send(number)


@tractor.context
async def fill_and_tell(ctx: tractor.Context, size: int) -> None:
    """The same, with the token in each item."""
    data = bytes(size)
    with ExitStack() as stack:
        buffers = [stack.enter_context(open_shm_buffer(size)) for _ in range(SLOTS)]
        await ctx.started()
        async with ctx.open_stream() as stream:
            async for wanted in stream:
                for number in range(wanted):
                    if number >= SLOTS:
                        await stream.receive()
                    buffers[number % SLOTS].write(data)
                    await stream.send(buffers[number % SLOTS].token)


@tractor.context
async def fill_new(ctx: tractor.Context, size: int) -> None:
    """For each number that arrives hand over so many new buffers."""
    data = bytes(size)
    await ctx.started()
    async with ctx.open_stream() as stream:
        async for wanted in stream:
            for number in range(wanted):
                if number >= SLOTS:
                    await stream.receive()
                buffer = open_shm_buffer(size)
                buffer.write(data)
                await stream.send(buffer.hand_over())


# -- What the root does ----------------------------------------------------------------

type Stream = tractor.MsgStream[Any, Any]


def look(buffer: ShmBuffer) -> None:
    """Have it."""
    view = buffer.view
    assert view[0] == view[-1] == 0


async def read_again(
    stream: Stream, count: int, buffers: list[ShmBuffer], into: bytearray | None = None
) -> None:
    """Receive so many, into memory that is attached already; copy them out if asked."""
    await stream.send(count)
    for number in range(count):
        slot = buffers[await stream.receive() % SLOTS]
        if into is None:
            look(slot)
        else:
            memoryview(into)[:] = slot.view
        if number < count - SLOTS:
            await stream.send(None)


async def read_attached(stream: Stream, count: int) -> None:
    """Receive so many, and attach each."""
    await stream.send(count)
    for number in range(count):
        with attach_shm_buffer(await stream.receive()) as buffer:
            look(buffer)
        if number < count - SLOTS:
            await stream.send(None)


async def read_items(stream: Stream, count: int) -> None:
    """Receive so many as bytes."""
    await stream.send(count)
    for _ in range(count):
        await stream.receive()


async def read_socket(sock: socket, count: int, buffer: bytearray) -> None:
    """Receive so many over a socket."""
    sock.sendall(_ends.HEADER.pack(count, len(buffer)))
    for _ in range(count):
        sock.recv_into(buffer, len(buffer), MSG_WAITALL)


def rated(run: Any, count: int, size: int) -> Measure:
    """MB per second."""

    async def measure() -> list[float]:
        began = perf_counter()
        await run()
        return [count * size / 1e6 / (perf_counter() - began)]

    return measure


@asynccontextmanager
async def open_giver(setting: Setting) -> AsyncIterator[tractor.Portal]:
    """An actor that has this module."""
    modules = [__name__, _served.__name__]
    async with tractor.open_nursery(start_method=setting.backend) as an:
        yield await an.start_actor("giver", enable_modules=modules)
        await an.cancel()


@asynccontextmanager
async def open_ways(
    setting: Setting, *, size: int, full: int, quick: int
) -> AsyncIterator[Sequence[Case]]:
    """Payloads of one size."""
    count = setting.size(full, quick)
    target = Target("hand-over of 4 MiB", 1.5, SOCKET, at_least=True)
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        sock, _ = stack.enter_context(_references.socket_to("flood"))
        portal = await enter(open_giver(setting))

        async def opened(function: Any) -> tuple[Any, Stream]:
            ctx, first = await enter(portal.open_context(function, size))
            return first, await enter(ctx.open_stream())

        tokens, again = await opened(fill_again)
        buffers = [stack.enter_context(attach_shm_buffer(each)) for each in tokens]
        _, told = await opened(fill_and_tell)
        _, new = await opened(fill_new)
        _, items = await opened(_served.give)
        into = bytearray(size)
        ways = {
            "memory used again": partial(read_again, again, count, buffers),
            "memory used again, copied out": partial(
                read_again, again, count, buffers, into
            ),
            "memory attached each time": partial(read_attached, told, count),
            "new memory each time": partial(read_attached, new, count),
            "stream of bytes": partial(read_items, items, count),
            SOCKET: partial(read_socket, sock, count, into),
        }
        yield [
            Case(
                name,
                "MB/s",
                rated(run, count, size),
                None if name == SOCKET else SOCKET,
                (target,) if (name, size) == ("memory used again", 4 * MIB) else (),
            )
            for name, run in ways.items()
        ]


GROUPS: Final = (
    Group("4 MiB", partial(open_ways, size=4 * MIB, full=50, quick=3)),
    Group("64 KiB", partial(open_ways, size=64 * KIB, full=500, quick=10)),
)

if __name__ == "__main__":
    main(__doc__, GROUPS)

"""What items of a stream cost: small ones, 64 KiB and 4 MiB, from an actor and to it.

Next to them the same over a `multiprocessing` pipe, and over a blocking socket into one
buffer, which is as fast as the kernel copies. There is flow control in the stream and
none in the others. The reader says how much it wants; the time is from then to the last
item.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from socket import MSG_WAITALL, socket
from time import perf_counter
from typing import Any, Final

import tractor
from benchmarks import _ends, _references, _served
from benchmarks._harness import Case, Group, Measure, Setting, Target, main
from benchmarks._ways import open_callee

FROM: Final = "stream from an actor"
TO: Final = "stream to an actor"
PIPE: Final = "multiprocessing pipe"
SOCKET: Final = "raw blocking socket"
KIB, MIB = 1 << 10, 1 << 20


def rated(run: Any, count: int, size: int) -> Measure:
    """Items per second, or MB per second where they have a size."""

    async def measure() -> list[float]:
        began = perf_counter()
        await run()
        seconds = perf_counter() - began
        return [count * size / 1e6 / seconds if size else count / seconds]

    return measure


async def read(stream: tractor.MsgStream[Any, int], count: int) -> None:
    """Have so many items sent, and receive them."""
    await stream.send(count)
    for _ in range(count):
        await stream.receive()


async def write(stream: tractor.MsgStream[Any, Any], count: int, size: int) -> None:
    """Send so many items, and wait for the word that they arrived."""
    data = bytes(size)
    for number in range(count):
        await stream.send(data if size else number)
    await stream.receive()


async def read_pipe(pipe: _ends.Pipe, count: int, size: int) -> None:
    """The same over a pipe."""
    pipe.send((count, size))
    for _ in range(count):
        pipe.recv()


async def read_socket(sock: socket, count: int, size: int) -> None:
    """The same over a socket."""
    buffer = bytearray(size)
    sock.sendall(_ends.HEADER.pack(count, size))
    for _ in range(count):
        sock.recv_into(buffer, size, MSG_WAITALL)


@asynccontextmanager
async def open_items(
    setting: Setting, *, size: int, full: int, quick: int
) -> AsyncIterator[Sequence[Case]]:
    """Items of one size; small integers where it is 0."""
    count = setting.size(full, quick)
    unit = "MB/s" if size else "/s"
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        pipe = stack.enter_context(_references.pipe_to(_ends.flood_pipe))
        sock, _ = stack.enter_context(_references.socket_to("flood"))
        portal = await enter(open_callee(setting))
        ctx, _ = await enter(portal.open_context(_served.give, size))
        reading = await enter(ctx.open_stream())
        ctx, _ = await enter(portal.open_context(_served.take, count))
        writing = await enter(ctx.open_stream())
        of = SOCKET if size else PIPE
        if size:
            name = f"stream of {size // KIB} KiB"
            targets = (Target(name, 0.6, SOCKET, stretch=1.5, at_least=True),)
        else:
            targets = (Target("small items", 2, PIPE, stretch=4, at_least=True),)
        cases = [
            Case(
                FROM,
                unit,
                rated(partial(read, reading, count), count, size),
                of,
                targets,
            ),
            Case(
                TO, unit, rated(partial(write, writing, count, size), count, size), of
            ),
            Case(
                PIPE,
                unit,
                rated(partial(read_pipe, pipe, count, size), count, size),
                of,
            ),
        ]
        if size:
            raw = rated(partial(read_socket, sock, count, size), count, size)
            cases.append(Case(SOCKET, unit, raw))
        yield cases


GROUPS: Final = (
    Group("integers", partial(open_items, size=0, full=20_000, quick=500)),
    Group("64 KiB", partial(open_items, size=64 * KIB, full=2_000, quick=50)),
    Group("4 MiB", partial(open_items, size=4 * MIB, full=50, quick=3)),
)

if __name__ == "__main__":
    main(__doc__, GROUPS)

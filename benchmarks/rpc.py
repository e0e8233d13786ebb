"""What a call costs: `Portal.run` of a no-op next to a raw ping-pong of the same bytes.

Both go over an `AF_UNIX` socket pair to one other process. Repeats are interleaved, so
that a slow moment of the machine meets both, and medians over the repeats are shown.
"""

import argparse
import json
import socket
import statistics
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from time import perf_counter
from typing import Final

import trio

import tractor
from tractor.msg import encode_frame, encode_payload
from tractor.msg import types as t

OUTSTANDING: Final = 64
MAX_FRAME: Final = 1024
ECHO: Final = "--echo"  # the other end of the ping-pong: descriptor, request, reply

PARAMS: Final = encode_payload(((), {}), "no arguments")
REQUEST: Final = encode_frame(t.Start(2, "__main__", "noop", PARAMS), MAX_FRAME)
REPLY: Final = encode_frame(t.Return(2, encode_payload(None, "nothing")), MAX_FRAME)

type Call = Callable[[], Awaitable[None]]


async def noop() -> None:
    """What is called."""


# -- The raw ping-pong -----------------------------------------------------------------


async def receive_exactly(stream: trio.SocketStream, size: int) -> bytes:
    """`size` bytes, or fewer at the end of the stream."""
    data = b""
    while len(data) < size and (more := await stream.receive_some(size - len(data))):
        data += more
    return data


async def echo(fd: int) -> None:
    """Answer each request with a reply until the end."""
    sock = trio.socket.from_stdlib_socket(socket.socket(fileno=fd))
    async with trio.SocketStream(sock) as stream:
        while await receive_exactly(stream, len(REQUEST)):
            await stream.send_all(REPLY)


@asynccontextmanager
async def open_ping_pong() -> AsyncIterator[Call]:
    """A function that sends a request and waits for the reply of another process."""
    ours, theirs = socket.socketpair()
    with theirs:
        argv = [sys.executable, __file__, ECHO, str(theirs.fileno())]
        other = subprocess.Popen(argv, pass_fds=[theirs.fileno()])  # noqa: ASYNC220 (once)
    async with trio.SocketStream(trio.socket.from_stdlib_socket(ours)) as stream:

        async def ping_pong() -> None:
            await stream.send_all(REQUEST)
            await receive_exactly(stream, len(REPLY))

        yield ping_pong
    await trio.to_thread.run_sync(other.wait)


# -- Measuring -------------------------------------------------------------------------


async def latencies(call: Call, count: int) -> list[float]:
    """Microseconds of each of `count` calls, one after the other."""
    found = []
    for _ in range(count):
        began = perf_counter()
        await call()
        found.append((perf_counter() - began) * 1e6)
    return found


async def rate(call: Call, count: int) -> float:
    """Calls per second with `OUTSTANDING` tasks that call one after the other."""

    async def caller() -> None:
        for _ in range(count // OUTSTANDING):
            await call()

    began = perf_counter()
    async with trio.open_nursery() as nursery:
        for _ in range(OUTSTANDING):
            nursery.start_soon(caller)
    return count // OUTSTANDING * OUTSTANDING / (perf_counter() - began)


async def measure(count: int, repeats: int) -> dict[str, float]:
    """Medians over the repeats of what each repeat shows."""
    samples: dict[str, list[float]] = {}

    def add(**values: float) -> None:
        for name, value in values.items():
            samples.setdefault(name, []).append(value)

    async with open_ping_pong() as ping_pong, tractor.open_nursery() as an:
        portal = await an.start_actor("callee", enable_modules=[__name__])

        async def call() -> None:
            await portal.run(noop)

        for one in (ping_pong, call):
            await latencies(one, count // 4)  # warm up
        for _ in range(repeats):
            raw = statistics.quantiles(await latencies(ping_pong, count), n=100)
            run = statistics.quantiles(await latencies(call, count), n=100)
            add(raw_p50_us=raw[49], raw_p99_us=raw[98])
            add(run_p50_us=run[49], run_p99_us=run[98], run_to_raw=run[49] / raw[49])
            add(run_64_per_s=await rate(call, count))
        await an.cancel()
    return {name: statistics.median(values) for name, values in samples.items()}


def main() -> None:
    """Measure and print."""
    if sys.argv[1:2] == [ECHO]:
        trio.run(echo, int(sys.argv[2]))
        return
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--calls", type=int, default=2000, help="per repeat")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = trio.run(measure, options.calls, options.repeats)
    if options.json:
        print(json.dumps(found))
        return
    print(f"{'':32}{'p50 µs':>10}{'p99 µs':>10}{'calls/s':>10}")
    print(
        f"{'raw SocketStream ping-pong':32}"
        f"{found['raw_p50_us']:10.1f}{found['raw_p99_us']:10.1f}"
    )
    print(
        f"{'Portal.run, 1 outstanding':32}"
        f"{found['run_p50_us']:10.1f}{found['run_p99_us']:10.1f}"
    )
    print(
        f"{f'Portal.run, {OUTSTANDING} outstanding':32}{'':20}"
        f"{found['run_64_per_s']:10.0f}"
    )
    print(f"a call takes {found['run_to_raw']:.2f} × the ping-pong")


if __name__ == "__main__":
    main()

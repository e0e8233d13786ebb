"""What the hello costs: a connection that is authenticated, next to a plain one.

Both are made over a Unix socket to one other process, with the same code below, and
each ends with one byte back and forth, so that the other side is known to be there.
Repeats are interleaved, and medians are shown.
"""

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Final

import trio

from tractor import Aid
from tractor.ipc import SocketTransport, Transport, UnixAddress
from tractor.ipc._handshake import meet_dialer
from tractor.ipc.network import Hello, Secret, bind, connect, meet_listener
from tractor.msg import types as t

SERVE: Final = "--serve"  # the other end: the folder of both sockets
SECRET: Final = Secret(bytes(32))
GREET: Final = t.Greet(Aid("bench", "0" * 32, os.getpid()), 0.0, 2**24)
ECHO: Final = b"x"

type Meeting = Callable[[Transport], Awaitable[object]]


async def nothing(transport: Transport) -> None:
    """Trust whoever is there."""


async def as_dialer(transport: Transport) -> None:
    """The hello of who has dialled."""
    await meet_listener(transport, Hello("dialer", SECRET), GREET)


async def as_listener(transport: Transport) -> None:
    """That of who was dialled."""
    await meet_dialer(transport, Hello("listener", SECRET), GREET)


def address(folder: str, kind: str) -> UnixAddress:
    """Where connections of that kind are made."""
    return UnixAddress(f"{folder}/{kind}.sock")


# -- The other end ---------------------------------------------------------------------


async def serve(folder: str) -> None:
    """Listen at both addresses, for ever."""
    async with trio.open_nursery() as nursery:
        for kind, meet in (("plain", nothing), ("hello", as_listener)):
            (bound,) = bind(address(folder, kind))
            nursery.start_soon(accept, bound.sock, meet)
        print("up", flush=True)


async def accept(sock: socket.socket, meet: Meeting) -> None:
    """One connection after the other."""
    while True:
        await trio.lowlevel.wait_readable(sock)
        transport = SocketTransport(sock.accept()[0])
        await meet(transport)
        transport.send_nowait(await transport.receive_some(1))
        await transport.receive_some(1)  # the end
        transport.close()


# -- Measuring -------------------------------------------------------------------------


async def milliseconds(where: UnixAddress, meet: Meeting) -> float:
    """From nothing to the byte that came back."""
    began = perf_counter()
    transport = await connect(where, None)
    await meet(transport)
    transport.send_nowait(ECHO)
    await transport.receive_some(1)
    took = (perf_counter() - began) * 1e3
    transport.close()
    return took


async def measure(folder: str, count: int) -> dict[str, float]:
    """Medians of both, and what the hello adds."""
    plain, hello, added = [], [], []
    for number in range(count + count // 10):
        one = await milliseconds(address(folder, "plain"), nothing)
        other = await milliseconds(address(folder, "hello"), as_dialer)
        if number >= count // 10:  # what is before warms up
            plain.append(one)
            hello.append(other)
            added.append(other - one)
    return {
        "plain_ms": statistics.median(plain),
        "hello_ms": statistics.median(hello),
        "added_ms": statistics.median(added),
    }


def main() -> None:
    """Measure and print."""
    if sys.argv[1:2] == [SERVE]:
        trio.run(serve, sys.argv[2])
        return
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--connections", type=int, default=1000, help="of each kind")
    parser.add_argument("--json", action="store_true")
    options, _ = parser.parse_known_args()
    with tempfile.TemporaryDirectory(prefix="hello-") as folder:
        argv = [sys.executable, __file__, SERVE, folder]
        with subprocess.Popen(argv, stdout=subprocess.PIPE) as other:
            try:
                assert other.stdout is not None
                other.stdout.readline()
                found = trio.run(measure, folder, options.connections)
            finally:
                other.kill()
    if options.json:
        print(json.dumps(found))
        return
    print(f"{'a connection over a Unix socket':40}{'p50 ms':>8}")
    print(f"{'plain':40}{found['plain_ms']:8.3f}")
    print(f"{'with the hello':40}{found['hello_ms']:8.3f}")
    print(f"{'added by the hello':40}{found['added_ms']:8.3f}")


if __name__ == "__main__":
    main()

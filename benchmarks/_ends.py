"""The other ends of what actors are compared with: no actors, and no `tractor`.

As a program, ``_ends.py WHAT FD``, it is the other end of a socket; its functions are
what the processes of `multiprocessing` and the workers of pools run.
"""

import os
import socket
import struct
import sys
from multiprocessing.connection import Connection
from typing import Any, Final

type Pipe = Connection[Any, Any]

HEADER: Final = struct.Struct("=II")  # request and reply of an echo; count and size
CHUNK: Final = 1 << 16


# -- Workers ---------------------------------------------------------------------------


def noop() -> None:
    """What a worker does."""


def count(steps: int) -> int:
    """Compute in Python, as the actors do."""
    total = 0
    for step in range(steps):
        total += step & 7
    return total


# -- Processes of multiprocessing ------------------------------------------------------


def echo_pipe(pipe: Pipe) -> None:
    """Send each message back, until one that is `None`."""
    while (message := pipe.recv()) is not None:
        pipe.send(message)


def echo_once(pipe: Pipe) -> None:
    """Send one message back."""
    pipe.send(pipe.recv())


def echo_once_in_trio(pipe: Pipe) -> None:
    """Send one message back, in an event loop, which an actor needs as well."""
    import trio

    async def main() -> None:
        await trio.lowlevel.wait_readable(pipe.fileno())
        pipe.send(pipe.recv())

    trio.run(main)


def flood_pipe(pipe: Pipe) -> None:
    """For each count and size send so many integers, or `bytes` of that size."""
    while (wanted := pipe.recv()) is not None:
        times, size = wanted
        data = bytes(size)
        for number in range(times):
            pipe.send(data if size else number)


def count_pipe(pipe: Pipe) -> None:
    """Compute for each number of steps."""
    while (steps := pipe.recv()) is not None:
        pipe.send(count(steps))


# -- Sockets ---------------------------------------------------------------------------


def receive_exactly(sock: socket.socket, size: int) -> bytes:
    """`size` bytes, or none at the end."""
    data = b""
    while len(data) < size:
        if not (more := sock.recv(size - len(data))):
            return b""
        data += more
    return data


def flood(sock: socket.socket) -> None:
    """For each count and size send so many times so many bytes; blocking."""
    while head := receive_exactly(sock, HEADER.size):
        times, size = HEADER.unpack(head)
        data = bytes(size)
        for _ in range(times):
            sock.sendall(data)


def echo(sock: socket.socket) -> None:
    """Answer requests of one size by replies of another, by trio's streams."""
    import trio

    async def main() -> None:
        asking, answering = HEADER.unpack(receive_exactly(sock, HEADER.size))
        reply = bytes(answering)
        async with trio.SocketStream(trio.socket.from_stdlib_socket(sock)) as stream:
            missing = asking
            while more := await stream.receive_some(missing):
                missing -= len(more)
                if not missing:
                    await stream.send_all(reply)
                    missing = asking

    trio.run(main)


def serve_bare(sock: socket.socket) -> None:
    """Answer calls by the least that trio and msgspec need for it.

    A task and a cancel scope for each call, and nothing else: no errors, no
    cancellation over the wire, no flow control, no supervision.
    """
    import msgspec
    import trio

    decode, encode = msgspec.msgpack.Decoder().decode, msgspec.msgpack.Encoder().encode
    sock.setblocking(False)

    async def serve(number: int) -> None:
        with trio.CancelScope():
            await trio.lowlevel.checkpoint()
            frame = encode([number, None])
            sock.send(len(frame).to_bytes(4, "little") + frame)

    async def main() -> None:
        buffer = b""
        async with trio.open_nursery() as nursery:
            while True:
                await trio.lowlevel.wait_readable(sock)
                if not (more := sock.recv(CHUNK)):
                    return
                frames, buffer = split(buffer + more)
                for frame in frames:
                    nursery.start_soon(serve, decode(frame)[0])

    trio.run(main)


def split(data: bytes) -> tuple[list[bytes], bytes]:
    """The whole frames in it, and what is left."""
    frames, at = [], 0
    while len(data) - at >= 4:
        size = int.from_bytes(data[at : at + 4], "little")
        if len(data) - at - 4 < size:
            break
        frames.append(data[at + 4 : at + 4 + size])
        at += 4 + size
    return frames, data[at:]


# -- Waiting ---------------------------------------------------------------------------


def idle(sock: socket.socket) -> None:
    """Be a trio program that waits, with msgspec in it, and say so."""
    import msgspec
    import trio

    assert msgspec

    async def main() -> None:
        sock.send(b"x")
        await trio.lowlevel.wait_readable(sock)

    trio.run(main)


def start_forked(sock: socket.socket) -> None:
    """Start a process by a forkserver without preload, and say in how many seconds.

    For each byte that arrives; until the first message of the process is here.
    """
    from multiprocessing import get_context
    from time import perf_counter

    context = get_context("forkserver")
    context.set_forkserver_preload([])
    while sock.recv(1):
        began = perf_counter()
        ours, theirs = context.Pipe()
        process = context.Process(target=say_hello, args=(theirs,))
        process.start()
        theirs.close()
        ours.recv()
        sock.send(struct.pack("=d", perf_counter() - began))
        process.join()
        ours.close()


def say_hello(pipe: Pipe) -> None:
    """What a process does that is to be ready and nothing more."""
    pipe.send("ready")


ENDS: Final = {
    each.__name__: each for each in (flood, echo, serve_bare, idle, start_forked)
}


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[2])) as link:
        os.set_inheritable(link.fileno(), False)
        ENDS[sys.argv[1]](link)

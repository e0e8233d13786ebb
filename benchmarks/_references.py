"""What actors are compared with: the same work without them.

Whatever blocks is called in the loop's thread: nothing else is to run meanwhile.
"""

import socket
import struct
import subprocess
import sys
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter
from typing import Any, Final

import msgspec
import trio

from benchmarks import _ends

FORKSERVER: Final = get_context("forkserver")
END: Final = Path(__file__).with_name("_ends.py")

type Call = Callable[[], Awaitable[Any]]


# -- Other ends ------------------------------------------------------------------------


@contextmanager
def socket_to(end: str) -> Iterator[tuple[socket.socket, "subprocess.Popen[bytes]"]]:
    """A socket to a process that runs that function of `_ends`."""
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            argv = [sys.executable, str(END), end, str(theirs.fileno())]
            process = subprocess.Popen(argv, pass_fds=[theirs.fileno()])
        with process:
            try:
                yield ours, process
            finally:
                ours.close()


@contextmanager
def pipe_to(target: Callable[[_ends.Pipe], None]) -> Iterator[_ends.Pipe]:
    """A pipe to a process of `multiprocessing` that runs that function."""
    ours, theirs = FORKSERVER.Pipe()
    process = FORKSERVER.Process(target=target, args=(theirs,))
    process.start()
    theirs.close()
    try:
        yield ours
    finally:
        ours.send(None)
        process.join()
        process.close()
        ours.close()


@contextmanager
def pool(executor: Executor) -> Iterator[Executor]:
    """A pool with its one worker started."""
    with executor:
        executor.submit(_ends.noop).result()
        yield executor


def process_pool() -> Executor:
    """One worker in a process."""
    return ProcessPoolExecutor(1, mp_context=FORKSERVER)


def interpreter_pool() -> Executor | None:
    """One worker in a sub-interpreter; `None` where there are none."""
    made = getattr(import_module("concurrent.futures"), "InterpreterPoolExecutor", None)
    return made(1) if made is not None else None


def installed(name: str) -> Any:
    """A module of the dependency group ``bench``, or `None`."""
    return import_module(name) if find_spec(name.partition(".")[0]) else None


# -- Fresh processes -------------------------------------------------------------------


def fresh(*argv: str) -> Call:
    """A measurement: milliseconds of a Python from its start to its end."""
    command = [sys.executable, *argv]

    async def measure() -> list[float]:
        began = perf_counter()
        await trio.to_thread.run_sync(partial(subprocess.run, command, check=True))
        return [(perf_counter() - began) * 1e3]

    return measure


def printed(*argv: str) -> Call:
    """A measurement: the numbers that a fresh Python prints."""
    command = [sys.executable, *argv]
    run = partial(subprocess.run, command, check=True, stdout=subprocess.PIPE)

    async def measure() -> list[float]:
        done = await trio.to_thread.run_sync(run)
        return [float(word) for word in done.stdout.split()]

    return measure


def forked(sock: socket.socket) -> Call:
    """A measurement: milliseconds to a process of a forkserver without preload."""

    async def measure() -> list[float]:
        sock.send(b"x")
        return [struct.unpack("=d", sock.recv(8))[0] * 1e3]

    return measure


# -- Calls, one after the other --------------------------------------------------------


def blocking(call: Callable[[], object], count: int) -> Call:
    """A measurement of a call that blocks: microseconds of each of `count`."""

    async def measure() -> list[float]:
        found = []
        for _ in range(count):
            began = perf_counter()
            call()
            found.append((perf_counter() - began) * 1e6)
        return found

    return measure


@asynccontextmanager
async def open_ping_pong(request: int, reply: int) -> AsyncIterator[Call]:
    """A function that sends so many bytes and waits for so many of another process."""
    with socket_to("echo") as (sock, _):
        sock.send(_ends.HEADER.pack(request, reply))
        data = bytes(request)
        raw = trio.socket.from_stdlib_socket(sock.dup())
        async with trio.SocketStream(raw) as stream:

            async def ping_pong() -> None:
                await stream.send_all(data)
                missing = reply
                while missing:
                    missing -= len(await stream.receive_some(missing))

            yield ping_pong


@asynccontextmanager
async def open_bare() -> AsyncIterator[Call]:
    """A call by the least that trio and msgspec need; see `_ends.serve_bare`."""
    with socket_to("serve_bare") as (sock, _):
        sock.setblocking(False)
        async with trio.open_nursery() as nursery:
            wire = BareWire(sock)
            nursery.start_soon(wire.read)
            yield wire.call
            nursery.cancel_scope.cancel()


class BareWire:
    """The caller's side of it."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._waiting: dict[int, trio.lowlevel.Task] = {}
        self._last = 0
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder().decode

    async def call(self) -> None:
        """Call the function at the other end."""
        self._last = number = self._last + 1
        frame = self._encode([number, "module", "noop", [[], {}]])
        self._sock.send(len(frame).to_bytes(4, "little") + frame)
        self._waiting[number] = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(self._abort)

    async def read(self) -> None:
        """Wake who waits for what arrives; a task."""
        buffer = b""
        while True:
            await trio.lowlevel.wait_readable(self._sock)
            frames, buffer = _ends.split(buffer + self._sock.recv(_ends.CHUNK))
            for frame in frames:
                trio.lowlevel.reschedule(self._waiting.pop(self._decode(frame)[0]))

    def _abort(self, _: Any) -> trio.lowlevel.Abort:
        return trio.lowlevel.Abort.SUCCEEDED


# -- Many outstanding ------------------------------------------------------------------


def pipe_rate(pipe: _ends.Pipe, count: int, outstanding: int) -> Call:
    """A measurement: messages per second there and back, with so many under way."""

    async def measure() -> list[float]:
        began = perf_counter()
        for number in range(count):
            if number >= outstanding:
                pipe.recv()
            pipe.send(number)
        for _ in range(min(count, outstanding)):
            pipe.recv()
        return [count / (perf_counter() - began)]

    return measure


def pool_rate(executor: Executor, count: int, outstanding: int) -> Call:
    """A measurement: calls per second, with so many under way."""

    async def measure() -> list[float]:
        began = perf_counter()
        under_way: deque[Future[None]] = deque()
        for _ in range(count):
            if len(under_way) == outstanding:
                under_way.popleft().result()
            under_way.append(executor.submit(_ends.noop))
        for each in under_way:
            each.result()
        return [count / (perf_counter() - began)]

    return measure

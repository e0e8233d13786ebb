"""What actors in sub-interpreters do in tests, and programs that start them.

Children import this, so it imports little.
"""

import asyncio
import atexit
import builtins
import ctypes
import gc
import logging
import os
import random
import re
import socket
import ssl
import sys
import threading
import time
import warnings
import weakref
from concurrent import futures
from contextlib import suppress
from time import perf_counter_ns
from types import FunctionType
from typing import Any, Final, NoReturn

import msgspec
import trio

import tractor
import tractor.log
from tests._misbehaviours import ring
from tractor._instrument import hub

_ML: Final = 2 * ctypes.sizeof(ctypes.c_void_p)  # offset of a builtin's definition


def interpreter() -> int:
    """Number of this interpreter."""
    import _interpreters

    return int(_interpreters.get_current()[0])


async def where() -> int:
    """Number of the interpreter that hosts the actor."""
    return interpreter()


async def has_own_gil() -> bool:
    """As the actor knows it."""
    return tractor.current_actor().own_gil


# -- They do not stop ------------------------------------------------------------------


async def computes(bell: str) -> None:
    """Compute in C for ages, with the GIL held."""
    ring(bell)
    re.match(r"(a+)+$", "a" * 64 + "b")


async def polls(bell: str, seconds: float = 1) -> NoReturn:
    """Wait again and again, never in trio."""
    ring(bell)
    while True:
        threading.Event().wait(seconds)


async def swallows(bell: str) -> NoReturn:
    """Survive each Exception."""
    ring(bell)
    while True:
        with suppress(Exception):
            sum(range(1000))


async def cleans_up(bell: str) -> None:
    """Be cancelled, and clean up for as long as it may."""
    try:
        ring(bell)
        await trio.sleep_forever()
    finally:
        ring(bell, "cancelled")
        try:
            with trio.CancelScope(shield=True):
                await trio.sleep_forever()
        finally:
            ring(bell, "shield lowered")


async def blocks_a_thread(bell: str) -> None:
    """Have a worker thread that is in C for good."""
    await trio.to_thread.run_sync(sleep_for_good, bell)


def sleep_for_good(bell: str) -> None:
    """Until the process ends."""
    ring(bell)
    time.sleep(3600)


async def leaves_thread(bell: str, *, daemon: bool, seconds: float) -> int:
    """Leave a thread behind that runs for so long."""

    def run() -> None:
        time.sleep(seconds)
        ring(bell, "thread")

    threading.Thread(target=run, daemon=daemon).start()
    return interpreter()


async def holds_own_gil(bell: str, seconds: float) -> None:
    """Be in C for a while, with the GIL held."""
    ring(bell)
    ctypes.PyDLL(None).usleep(int(seconds * 1e6))


# -- They use what there is ------------------------------------------------------------


async def uses_threads() -> list[str]:
    """Names of three worker threads that were at work at the same time."""
    together = threading.Barrier(3)

    def work() -> str:
        together.wait(10)
        return trio.from_thread.run_sync(lambda: threading.current_thread().name)

    names: list[str] = []

    async def use() -> None:
        names.append(await trio.to_thread.run_sync(work))

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(use)
    return names


async def runs_process() -> str:
    """What a subprocess prints."""
    command = [sys.executable, "-c", "print(input())"]
    done = await trio.run_process(command, stdin=b"hello", capture_stdout=True)
    return bytes(done.stdout).decode().strip()


async def runs_asyncio() -> str:
    """What a loop of asyncio in a thread comes to, and a subprocess of it."""

    async def main() -> str:
        command = [sys.executable, "-c", "print('hello')"]
        process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.PIPE
        )
        out, _ = await process.communicate()
        return await asyncio.to_thread(lambda: out.decode().strip())

    return await trio.to_thread.run_sync(asyncio.run, main())


async def uses_ssl() -> str:
    """The first thing that a TLS client says."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.create_default_context()
    client = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    with suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()[:1].hex()


async def starts_another(start_method: str) -> list[int]:
    """Process and interpreter of a child, and of a child of that."""
    async with tractor.open_nursery() as an:
        portal = await an.start_actor(
            "below", enable_modules=[__name__], start_method=start_method
        )
        found = await portal.run(process_and_interpreter)
        await portal.cancel_actor()
    return found


async def has_one_that_polls(bell: str) -> None:
    """Have a child that does."""
    async with tractor.open_nursery() as an:
        portal = await an.start_actor("below", enable_modules=[__name__])
        await portal.run(polls, bell, 0.05)


async def starts_without_descriptors(start_method: str) -> list[str]:
    """How it fails to start one while there are too few."""
    import resource

    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    failures = []
    async with tractor.open_nursery() as an:
        await an.start_actor("warm", start_method=start_method)
        free = os.open(os.devnull, os.O_RDONLY)
        os.close(free)
        for few in range(12):
            resource.setrlimit(resource.RLIMIT_NOFILE, (free + few, limits[1]))
            try:
                await an.start_actor(f"few {few}", start_method=start_method)
            except tractor.SpawnError as error:
                failures.append(f"{error.stage}: {error}")
            else:
                break
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        await an.cancel()
    return failures


async def process_and_interpreter() -> list[int]:
    """Where the actor is."""
    return [os.getpid(), interpreter()]


async def counts(steps: int) -> int:
    """Compute in Python."""
    total = 0
    for step in range(steps):
        total += step & 7
    return total


async def share(steps: int) -> float:
    """How much of the time of a computation its thread did not wait for a GIL.

    The kernel counts how long a thread ran, and how long it could have but for others.
    """
    began, ready = perf_counter_ns(), _ready()
    await counts(steps)
    return (_ready() - ready) / (perf_counter_ns() - began)


def _ready() -> int:
    with open("/proc/thread-self/schedstat", "rb") as file:
        ran, waited, _ = file.read().split()
    return int(ran) + int(waited)


# -- What they leave, and find ---------------------------------------------------------


class Soil:
    """Something of the user's."""


async def soils(bell: str, module: str) -> int:
    """Leave as much behind as there is; the number of the interpreter."""
    __import__(module)
    main: Any = sys.modules["__main__"]
    main.soiled = builtins.soiled = Soil()  # type: ignore[attr-defined]
    atexit.register(ring, bell, "atexit")
    logging.getLogger("soiled").setLevel(logging.DEBUG)
    logging.basicConfig(level=logging.DEBUG)
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("error")
    sys.path.append("/soiled")
    sys.stdout = sys.stderr
    sys.excepthook = lambda *_: None
    sys.setrecursionlimit(5000)
    sys.settrace(lambda *_: None)
    threading.setprofile(lambda *_: None)
    socket.setdefaulttimeout(1.5)
    gc.disable()
    tractor.log.add_log_level("soil", 33, "red")
    logging.addLevelName(logging.INFO, "soiled")
    main.subscription = hub.subscribed(lambda _: None)
    main.subscription.__enter__()
    random.seed(1)
    return interpreter()


async def ends_things() -> list[object]:
    """What still works of that which refuses to, once it has seen an end."""
    finalized: list[int] = []
    weakref.finalize(Soil(), finalized.append, 1)
    with futures.ThreadPoolExecutor(1) as pool:
        done = pool.submit(int).result()
    looped = await trio.to_thread.run_sync(asyncio.run, asyncio.to_thread(int))
    return [finalized, done, looped, atexit._ncallbacks()]


async def copies() -> tuple[int, int]:
    """Number of the interpreter; how many functions like this one there are in it."""
    gc.collect()
    alike = [
        each
        for each in gc.get_objects()
        if type(each) is FunctionType and each.__qualname__ == copies.__qualname__
    ]
    return interpreter(), sum(each.__module__ == __name__ for each in alike)


async def breaks() -> int:
    """Leave what cannot be undone; the number of the interpreter."""
    vars(logging.root.manager)["loggerDict"] = None
    return interpreter()


async def looks(module: str) -> dict[str, Any]:
    """What is seen of all that."""
    return {
        "module": module in sys.modules,
        "main": hasattr(sys.modules["__main__"], "soiled"),
        "builtins": hasattr(builtins, "soiled"),
        "loggers": [
            logging.getLogger("soiled").level,
            logging.root.level,
            len(logging.root.handlers),
            logging.root.manager.disable,
        ],
        "filters": len(warnings.filters),
        "errors": warnings.filters[0][0] == "error",
        "path": "/soiled" in sys.path,
        "stdout": sys.stdout is sys.__stdout__,
        "hook": sys.excepthook is sys.__excepthook__,
        "depth": sys.getrecursionlimit(),
        "trace": sys.gettrace() is not None,
        "profile": threading.getprofile() is not None,
        "timeout": socket.getdefaulttimeout(),
        "collects": gc.isenabled(),
        "method": hasattr(tractor.log.StackLevelAdapter, "soil"),
        "level": logging.getLevelName(33),
        "levels": list(tractor.log.CUSTOM_LEVELS),
        "name": logging.getLevelName(logging.INFO),
        "hub": hub.active,
        "random": random.random(),
        "compiled": "msgspec._core" in sys.modules and "ssl" in sys.modules,
    }


async def variable(name: str) -> str | None:
    """Of the environment."""
    return os.environ.get(name)


async def codec_address() -> int:
    """Where the library of msgspec keeps what it says of a function."""
    return ctypes.c_void_p.from_address(id(msgspec.json.decode) + _ML).value or 0


async def decodes(seconds: float) -> int:
    """Make strings, and let go of them."""
    done, end = 0, time.monotonic() + seconds
    text = msgspec.json.encode([f"name {number}" for number in range(50)])
    while time.monotonic() < end:
        done += len(msgspec.json.decode(text))
        await trio.lowlevel.checkpoint()
    return done


async def imports(name: str) -> str:
    """Where the module was loaded from."""
    module = __import__(name)
    return str(getattr(module, "__file__", None))


# -- What of trio and CPython is relied on ---------------------------------------------


async def names_of_others() -> dict[str, bool]:
    """Whether each private thing is what it is taken for."""
    from trio._core import _thread_cache

    task = trio.lowlevel.current_task()
    with trio.CancelScope(shield=True) as scope:
        status: Any = task._cancel_status
        innermost = status._scope is scope
        outer = status._parent is not None
        await trio.lowlevel.checkpoint()
    threads = sys._current_frames()
    return {
        "cache": type(_thread_cache.THREAD_CACHE).__name__ == "JoinableThreads",
        "innermost scope": innermost,
        "outer scope": outer,
        "this thread": threading.get_ident() in threads,
        "warden": len(threads) == 2,
    }


async def submodule_is_current() -> bool:
    """Whether a package gives the module that is imported, and not a former one."""
    import tractor.discovery as current

    return current is sys.modules["tractor.discovery"]

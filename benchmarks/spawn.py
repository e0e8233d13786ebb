"""What an actor costs: from `start_actor` to its readiness, and back to nothing.

Next to it, by turns, Pythons that import what a subprocess actor needs anyway, and
processes of `multiprocessing`'s forkserver without preload, from their start to their
first message. *Cold* is the first actor of a fresh process, with whatever the backend
needs once; *warm* is the first after a second of other work, in which a backend may
have prepared itself; all others come after many.
"""

import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from time import perf_counter
from typing import Final

import trio

import tractor
from benchmarks import _references
from benchmarks._harness import Case, Group, Setting, Target, main

BARE: Final = "import trio, msgspec"
CHILD: Final = "import trio, msgspec, tractor._child"
FORKED: Final = "multiprocessing forkserver, no preload"
READY: Final = "start to ready"
FIRST: Final = (
    "--first"  # ms to the first actor of this process: backend, seconds before
)
EIGHT: Final = 8
PROCESSES: Final = ("trio", "mp_spawn")  # of which each is a Python of its own
RECYCLED: Final = ("subint", "subint_legacy")

# What an actor serves: a module that it has loaded anyway, so that only the actor is
# measured and not what this program imports.
MODULES: Final = ("trio",)

READY_TARGETS: Final = (
    Target("spawn to ready", 1.15, CHILD, backends=PROCESSES),
    Target("spawn to ready, warm", 20, stretch=10, backends=("mp_forkserver",)),
    Target("  the same", 0.5, FORKED, backends=("mp_forkserver",)),
    Target("spawn to ready, recycled", 5, stretch=2, backends=RECYCLED),
)


async def start_and_end(which: int, number: int = 1) -> list[float]:
    """Milliseconds until so many actors are ready (0), or from then to their end (1)"""
    async with tractor.open_nursery() as an:
        began = perf_counter()
        async with trio.open_nursery() as nursery:
            for each in range(number):
                start = partial(an.start_actor, enable_modules=MODULES)
                nursery.start_soon(start, f"callee {each}")
        ready = perf_counter()
        await an.cancel()
        return [((ready - began), (perf_counter() - ready))[which] * 1e3]


async def first(backend: str, seconds: float) -> None:
    """Print the milliseconds to the first actor, after so much other work."""
    async with tractor.open_root_actor(start_method=backend):
        if seconds:
            await trio.sleep(seconds)
        print((await start_and_end(0))[0])


@asynccontextmanager
async def open_actors(setting: Setting) -> AsyncIterator[Sequence[Case]]:
    """Actors one by one and eight at once, when everything is warmed up."""
    with _references.socket_to("start_forked") as (sock, _):
        async with tractor.open_root_actor(start_method=setting.backend):
            for _ in range(3):  # a forkserver starts, interpreters are made
                await start_and_end(0, setting.size(EIGHT, 1))
            teardown = Target("graceful teardown", 10, stretch=5)
            at_once = Target("eight at once", 3, READY)
            eight = setting.size(EIGHT, 2)
            yield [
                Case(READY, "ms", partial(start_and_end, 0), CHILD, READY_TARGETS),
                Case(
                    "cancel to the end",
                    "ms",
                    partial(start_and_end, 1),
                    READY,
                    (teardown,),
                ),
                Case(
                    f"{eight} at once, to ready",
                    "ms",
                    partial(start_and_end, 0, eight),
                    READY,
                    (at_once,),
                ),
                Case(
                    f"{eight} at once, to the end",
                    "ms",
                    partial(start_and_end, 1, eight),
                    READY,
                ),
                Case(BARE, "ms", _references.fresh("-c", BARE), CHILD),
                Case(CHILD, "ms", _references.fresh("-c", CHILD)),
                Case(FORKED, "ms", _references.forked(sock), CHILD),
            ]


@asynccontextmanager
async def open_first(setting: Setting) -> AsyncIterator[Sequence[Case]]:
    """First actors of fresh processes."""
    warm = Target("spawn to ready, pre-warmed", 20, backends=RECYCLED)
    yield [
        Case("cold", "ms", _first(setting.backend, 0), CHILD),
        Case("warm", "ms", _first(setting.backend, 1), CHILD, (warm,)),
        Case(CHILD, "ms", _references.fresh("-c", CHILD)),
    ]


def _first(backend: str, seconds: int) -> _references.Call:
    return _references.printed(__file__, FIRST, backend, str(seconds))


GROUPS: Final = (
    Group("spawn", open_actors, rounds=15),
    Group("first actor", open_first, rounds=5),
)

if __name__ == "__main__":
    if sys.argv[1:2] == [FIRST]:
        trio.run(first, sys.argv[2], float(sys.argv[3]))
    else:
        main(__doc__, GROUPS)

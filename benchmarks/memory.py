"""What an idle actor needs of the memory.

Of a process: what it shares with none (``private``), and its part of what it shares as
well (``pss``). Next to it a process that has imported trio and msgspec and waits in
`trio.run`. Of a sub-interpreter: how much the process grows for each, beside the idle
one that is kept ready; in a fresh process for each round, since they are used again.
"""

import os
import sys
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Final

import trio

import tractor
from benchmarks import _machine, _references, _served
from benchmarks._harness import Case, Group, Setting, Target, main
from benchmarks._ways import MODULES

BARE: Final = "a bare trio + msgspec process"
MAKER: Final = "tractor interpreter maker"  # name of threads that make one
GROWTH: Final = "--growth"  # MB per actor of this fresh process: spawn backend, actors
WHAT: Final = "private memory per idle actor"
LIMITS: Final = {
    "mp_forkserver": Target(WHAT, 5, backends=("mp_forkserver",)),
    "subint": Target(WHAT, 12, backends=("subint",)),
}


async def of_actor(which: str) -> list[float]:
    """MB of a new actor in a process."""
    async with tractor.open_nursery() as an:
        portal = await an.start_actor("idle", enable_modules=MODULES)
        await portal.run(_served.noop)
        assert portal.aid.pid is not None
        found = _machine.memory(portal.aid.pid)[which]
        await an.cancel()
    return [found]


async def of_bare(which: str) -> list[float]:
    """MB of a new bare process."""
    with _references.socket_to("idle") as (sock, process):
        await trio.to_thread.run_sync(sock.recv, 1)
        return [_machine.memory(process.pid)[which]]


async def growth(backend: str, count: int) -> None:
    """Print how much this process grows for each actor in it, in MB."""
    async with tractor.open_nursery(start_method=backend) as an:
        await an.start_actor("first", enable_modules=MODULES)
        await trio.to_thread.run_sync(join_makers)
        before = _machine.memory(os.getpid())["private"]
        for number in range(count):
            portal = await an.start_actor(f"{number}", enable_modules=MODULES)
            await portal.run(_served.noop)
        await trio.to_thread.run_sync(join_makers)
        after = _machine.memory(os.getpid())["private"]
        await an.cancel()
    print((after - before) / count)


def join_makers() -> None:
    """Wait for the interpreter that is kept ready: there is always one."""
    for thread in threading.enumerate():
        if thread.name.startswith(MAKER):
            thread.join()


@asynccontextmanager
async def open_memory(setting: Setting) -> AsyncIterator[Sequence[Case]]:
    """An actor for each measurement, or a process with actors in it."""
    async with AsyncExitStack() as stack:
        actor = await stack.enter_async_context(
            tractor.open_root_actor(start_method=setting.backend)
        )
        limit = LIMITS.get(
            setting.backend, Target(WHAT, 1.15, BARE, backends=("trio", "mp_spawn"))
        )
        bare = Case(BARE, "MB", partial(of_bare, "private"))
        async with tractor.open_nursery() as an:
            portal = await an.start_actor("where", enable_modules=MODULES)
            inside = portal.aid.pid == actor.aid.pid
            await an.cancel()
        if inside:
            argv = (__file__, GROWTH, setting.backend, f"{setting.size(6, 1)}")
            measure = _references.printed(*argv)
            yield [
                Case("an actor in this process", "MB", measure, BARE, (limit,)),
                bare,
            ]
            return
        yield [
            Case("an actor", "MB", partial(of_actor, "private"), BARE, (limit,)),
            Case("  its pss", "MB", partial(of_actor, "pss"), "  its pss, bare"),
            bare,
            Case("  its pss, bare", "MB", partial(of_bare, "pss")),
        ]


GROUPS: Final = (Group("memory", open_memory, rounds=5),)

if __name__ == "__main__":
    if sys.argv[1:2] == [GROWTH]:
        trio.run(growth, sys.argv[2], int(sys.argv[3]))
    else:
        main(__doc__, GROUPS)

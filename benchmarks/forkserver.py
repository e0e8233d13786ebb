"""What a process costs that is forked: ours next to `multiprocessing`'s own.

Both have a forkserver with the same preload, warmed up: from the start of a child to
its first reply. That of `multiprocessing` is measured twice, as the bare process that
echoes one message, and as one that does so in a `trio.run`, which an actor needs as
well.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from time import perf_counter
from typing import Final

import trio

import tractor
from benchmarks import _ends
from benchmarks._harness import Case, Group, Setting, main
from benchmarks._references import FORKSERVER
from tractor.spawn._mp import PRELOAD

BARE: Final = "multiprocessing: bare process"

# What is called: of a module that every actor has loaded, so that only the actor is
# measured and not what this program imports.
FUNCTION: Final = trio.lowlevel.checkpoint


def time_process(target: Callable[[_ends.Pipe], None]) -> list[float]:
    """Milliseconds to the first reply of a new process of `multiprocessing`."""
    ours, theirs = FORKSERVER.Pipe()
    process = FORKSERVER.Process(target=target, args=(theirs,))
    began = perf_counter()
    process.start()
    theirs.close()
    ours.send("hello")
    ours.recv()
    took = perf_counter() - began
    process.join()
    process.close()
    ours.close()
    return [took * 1e3]


async def time_actor() -> list[float]:
    """Milliseconds to the first reply of a new actor."""
    async with tractor.open_nursery() as an:
        began = perf_counter()
        portal = await an.start_actor("callee", enable_modules=[FUNCTION.__module__])
        await portal.run(FUNCTION)
        took = perf_counter() - began
        await an.cancel()
        return [took * 1e3]


@asynccontextmanager
async def open_forks(setting: Setting) -> AsyncIterator[Sequence[Case]]:
    """Both forkservers, which start in the warm-up."""
    in_thread = trio.to_thread.run_sync
    # With the program itself, as by default, so that no process imports it again.
    FORKSERVER.set_forkserver_preload(["__main__", "benchmarks._ends", *PRELOAD])
    async with tractor.open_root_actor(start_method=setting.backend):
        with_trio = partial(in_thread, time_process, _ends.echo_once_in_trio)
        yield [
            Case("actor: start to first reply", "ms", time_actor, BARE),
            Case(BARE, "ms", partial(in_thread, time_process, _ends.echo_once)),
            Case("multiprocessing: process with trio.run", "ms", with_trio, BARE),
        ]


GROUPS: Final = (Group("forks", open_forks, rounds=50, backends=("mp_forkserver",)),)

if __name__ == "__main__":
    main(__doc__, GROUPS)

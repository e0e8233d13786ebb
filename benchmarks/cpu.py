"""How much more several actors compute than one, in Python.

Next to processes of `multiprocessing` that do the same. Rounds are short and many,
because a machine that does other things, or puts two threads on one processor, spoils
some of them. Never pinned: children inherit that, and all would share a processor.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from time import perf_counter
from typing import Final

import trio

import tractor
from benchmarks import _ends, _references, _served
from benchmarks._harness import Case, Group, Setting, Target, main
from benchmarks._machine import cores
from benchmarks._ways import MODULES

ONE: Final = "1 actor"
ONE_PROCESS: Final = "1 process"
WORKERS: Final = (1, 2, 4, 8)  # those that there are processors for


async def compute(portals: list[tractor.Portal], steps: int) -> None:
    """Have all of them compute at once."""
    async with trio.open_nursery() as nursery:
        for portal in portals:
            nursery.start_soon(portal.run, _served.count, steps)


async def compute_by_pipes(pipes: list[_ends.Pipe], steps: int) -> None:
    """The same in processes."""
    for pipe in pipes:
        pipe.send(steps)
    for pipe in pipes:
        pipe.recv()


def rated(
    work: Callable[[], Awaitable[None]], steps: int
) -> Callable[[], Awaitable[list[float]]]:
    """A measurement: millions of steps per second."""

    async def measure() -> list[float]:
        began = perf_counter()
        await work()
        return [steps / (perf_counter() - began) / 1e6]

    return measure


@asynccontextmanager
async def open_workers(setting: Setting) -> AsyncIterator[Sequence[Case]]:
    """As many actors and processes as there are processors."""
    steps = setting.size(500_000, 50_000)
    counts = [count for count in WORKERS if count <= cores()]
    async with AsyncExitStack() as stack:
        an = await stack.enter_async_context(
            tractor.open_nursery(start_method=setting.backend)
        )
        portals, pipes = [], []
        for number in range(max(counts)):
            name = f"worker {number}"
            portals.append(await an.start_actor(name, enable_modules=MODULES))
            pipe = stack.enter_context(_references.pipe_to(_ends.count_pipe))
            pipes.append(pipe)
        cases = []
        for count in counts:
            ours = partial(compute, portals[:count], steps)
            theirs = partial(compute_by_pipes, pipes[:count], steps)
            target = Target(
                "computing on two actors", 1.7, ONE, stretch=1.9, at_least=True
            )
            targets = (target,) if count == 2 else ()
            names = (ONE, ONE_PROCESS)
            if count > 1:
                names = (f"{count} actors", f"{count} processes")
            cases += [
                Case(names[0], "M/s", rated(ours, count * steps), ONE, targets),
                Case(names[1], "M/s", rated(theirs, count * steps), ONE_PROCESS),
            ]
        yield cases
        await an.cancel()


GROUPS: Final = (Group("computing", open_workers, rounds=40),)

if __name__ == "__main__":
    main(__doc__, GROUPS)

"""What a process costs that is forked: ours next to `multiprocessing`'s own.

Both have a forkserver with the same preload, warmed up, and take turns: from the start
of a child to the first reply of it. That of `multiprocessing` is measured twice, as the
bare process that echoes one message, and as one that does so in a `trio.run`, which an
actor needs as well.
"""

import argparse
import json
import multiprocessing
import statistics
from multiprocessing.connection import Connection
from time import perf_counter
from typing import Any, Final

import trio

import tractor
from tractor.spawn._mp import PRELOAD

CONTEXT: Final = multiprocessing.get_context("forkserver")

# What is called: of a module that every actor has loaded, so that only the actor is
# measured and not what this program imports.
FUNCTION: Final = trio.lowlevel.checkpoint

type Pipe = Connection[Any, Any]


def echo(link: Pipe) -> None:
    """What a bare process does."""
    link.send(link.recv())


def echo_in_trio(link: Pipe) -> None:
    """What a process with an event loop does."""

    async def main() -> None:
        await trio.lowlevel.wait_readable(link.fileno())
        echo(link)

    trio.run(main)


def time_process(target: Any) -> float:
    """Milliseconds to the first reply of a new process of `multiprocessing`."""
    ours, theirs = CONTEXT.Pipe()
    process = CONTEXT.Process(target=target, args=(theirs,))
    began = perf_counter()
    process.start()
    theirs.close()
    ours.send("hello")
    ours.recv()
    took = perf_counter() - began
    process.join()
    process.close()
    ours.close()
    return took * 1e3


async def time_actor() -> float:
    """Milliseconds to the first reply of a new actor."""
    async with tractor.open_nursery() as an:
        began = perf_counter()
        portal = await an.start_actor("callee", enable_modules=[FUNCTION.__module__])
        await portal.run(FUNCTION)
        took = perf_counter() - began
        await an.cancel()
        return took * 1e3


async def measure(count: int) -> dict[str, float]:
    """Medians of `count` children of each kind."""
    times: dict[str, list[float]] = {"actor_ms": [], "process_ms": [], "trio_ms": []}
    async with tractor.open_root_actor(start_method="mp_forkserver"):
        for number in range(count + 1):
            found = (
                await time_actor(),
                await trio.to_thread.run_sync(time_process, echo),
                await trio.to_thread.run_sync(time_process, echo_in_trio),
            )
            if number == 0:  # both forkservers had to start
                continue
            for each, took in zip(times.values(), found, strict=True):
                each.append(took)
    return {name: statistics.median(took) for name, took in times.items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--children", type=int, default=50)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    # With the program itself, as by default, so that no process imports it again.
    multiprocessing.set_forkserver_preload(["__main__", *PRELOAD])
    found = trio.run(measure, options.children)
    if options.json:
        print(json.dumps(found))
        return
    print(f"{'actor: start to first reply':42}{found['actor_ms']:8.1f} ms")
    print(f"{'multiprocessing: bare process':42}{found['process_ms']:8.1f} ms")
    print(f"{'multiprocessing: process with trio.run':42}{found['trio_ms']:8.1f} ms")


if __name__ == "__main__":
    main()

"""What an actor in a sub-interpreter costs, and what two of them compute at once.

The first actor of a process is measured in fresh processes: cold, and after a second of
other work, in which an interpreter is made for it. Next to it, in turn, how long the
same imports take in a fresh process. All others run in interpreters that are used
again. Last, two actors that compute in Python, against one, and on processes as well:
in many short rounds by turns, each with a ratio of its own, because a machine that does
other things, or puts two threads on one processor, spoils some of them.
"""

import argparse
import json
import statistics
import subprocess
import sys
from time import perf_counter
from typing import Final

import trio

import tractor

# What is called: of a module that every actor has loaded, so that only the actor is
# measured and not what this program imports.
FUNCTION: Final = trio.lowlevel.checkpoint
IMPORTS: Final = """
from time import perf_counter
began = perf_counter()
import trio, msgspec, tractor
print((perf_counter() - began) * 1e3)
"""
FIRST: Final = "--first"  # the first actor of a fresh process, after so many seconds
STEPS: Final = 500_000
ROUNDS: Final = 60
PROCESSES: Final = "trio"  # the spawn backend to compare with


async def count(steps: int) -> int:
    """Compute in Python."""
    total = 0
    for step in range(steps):
        total += step & 7
    return total


async def time_first(start_method: str, seconds: float) -> float:
    """Milliseconds until the first actor is ready, after so much other work."""
    async with tractor.open_root_actor(start_method=start_method):
        if seconds:
            await trio.sleep(seconds)
        return (await time_actor())[0]


async def time_actor() -> tuple[float, float]:
    """Milliseconds until it is ready, and those of its end."""
    async with tractor.open_nursery() as an:
        began = perf_counter()
        await an.start_actor("callee", enable_modules=[FUNCTION.__module__])
        ready = perf_counter()
        await an.cancel()
        return (ready - began) * 1e3, (perf_counter() - ready) * 1e3


def run_fresh(*argv: str) -> float:
    """The number that a fresh Python prints."""
    done = subprocess.run(
        [sys.executable, *argv], check=True, stdout=subprocess.PIPE, text=True
    )
    return float(done.stdout)


def measure_first(start_method: str, times: int) -> dict[str, float]:
    """Medians of first actors, and of the imports."""
    found: dict[str, list[float]] = {"imports_ms": [], "cold_ms": [], "warm_ms": []}
    ratios = []
    for _ in range(times):
        found["imports_ms"].append(run_fresh("-c", IMPORTS))
        for name, seconds in (("cold_ms", "0"), ("warm_ms", "1")):
            took = run_fresh(__file__, FIRST, seconds, "--start-method", start_method)
            found[name].append(took)
        ratios.append(found["cold_ms"][-1] / found["imports_ms"][-1])
    medians = {name: statistics.median(each) for name, each in found.items()}
    return medians | spread("cold_to_imports", ratios)


async def measure_reuse(start_method: str, actors: int) -> dict[str, float]:
    """Medians of actors that are started one after the other."""
    ready, end = [], []
    async with tractor.open_root_actor(start_method=start_method):
        for number in range(actors + 3):
            first, last = await time_actor()
            if number >= 3:  # the first ones have interpreters made
                ready.append(first)
                end.append(last)
    return {"ready_ms": statistics.median(ready), "end_ms": statistics.median(end)}


async def time_computing(portals: list[tractor.Portal]) -> float:
    """Milliseconds until all of them have computed."""
    began = perf_counter()
    async with trio.open_nursery() as nursery:
        for portal in portals:
            nursery.start_soon(portal.run, count, STEPS)
    return (perf_counter() - began) * 1e3


async def measure_computing(start_method: str, rounds: int) -> dict[str, float]:
    """How much more two compute than one, here and on processes, in turn."""
    ratios: dict[str, list[float]] = {start_method: [], PROCESSES: []}
    both: dict[str, list[float]] = {start_method: [], PROCESSES: []}
    async with tractor.open_nursery() as an:
        pairs = {}
        for key in ratios:
            pairs[key] = [
                await an.start_actor(
                    f"{key} {number}", enable_modules=[__name__], start_method=key
                )
                for number in range(2)
            ]
        for number in range(rounds):
            for key, pair in pairs.items():
                alone = await time_computing([pair[number % 2]])
                both[key].append(await time_computing(pair))
                ratios[key].append(2 * alone / both[key][-1])
        await an.cancel()
    faster = [
        theirs / ours
        for ours, theirs in zip(both[start_method], both[PROCESSES], strict=True)
    ]
    return {
        **spread("speed_up", ratios[start_method]),
        **spread("processes_speed_up", ratios[PROCESSES]),
        **spread("against_processes", faster),
    }


def spread(name: str, values: list[float]) -> dict[str, float]:
    """Median and quartiles."""
    low, median, high = statistics.quantiles(values)
    return {f"{name}_low": low, name: median, f"{name}_high": high}


def measure(options: argparse.Namespace) -> dict[str, float]:
    """All of it."""
    key = options.start_method
    found = measure_first(key, options.processes)
    found |= trio.run(measure_reuse, key, options.actors)
    return found | trio.run(measure_computing, key, options.rounds)


ROWS: Final = (
    ("import trio, msgspec, tractor", "imports_ms", "ms"),
    ("first actor, cold", "cold_ms", "ms"),
    ("  as a multiple of the imports", "cold_to_imports", "×"),
    ("first actor, after 1 s", "warm_ms", "ms"),
    ("any other: start to ready", "ready_ms", "ms"),
    ("cancel to the end", "end_ms", "ms"),
    ("two that compute, against one", "speed_up", "×"),
    ("  the same on processes", "processes_speed_up", "×"),
    ("  how much faster than those", "against_processes", "×"),
)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--start-method", default="subint", help="of a spawn backend")
    parser.add_argument("--actors", type=int, default=100)
    parser.add_argument("--processes", type=int, default=15)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--json", action="store_true")
    parser.add_argument(FIRST, type=float, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.first is not None:
        print(trio.run(time_first, options.start_method, options.first))
        return
    found = measure(options)
    if options.json:
        print(json.dumps(found))
        return
    for text, name, unit in ROWS:
        line = f"{text:36}{found[name]:8.2f} {unit:4}"
        if f"{name}_low" in found:
            line += f"half of the rounds {found[f'{name}_low']:.2f}"
            line += f" to {found[f'{name}_high']:.2f}"
        print(line.rstrip())


if __name__ == "__main__":
    main()

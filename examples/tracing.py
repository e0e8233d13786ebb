"""A trace of three levels of actors, as an outline and as a picture for a browser.

Usage: tracing.py [FOLDER]. Without a folder no files are left.
"""

import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

import trio

import tractor
from tractor.tracing import (
    TraceLine,
    export_chrome,
    note,
    read_trace,
    span,
    tracing,
)


async def is_prime(number: int) -> bool:
    """The lowest level: by trial division."""
    with span("divide", number=number) as dividing:
        tried = 0
        for divisor in range(2, int(number**0.5) + 1):
            tried += 1
            if number % divisor == 0:
                break
        else:
            divisor = number
        dividing.add(tried=tried)
    return divisor == number


async def find_primes(numbers: list[int]) -> list[int]:
    """The level in the middle: hands its numbers to two actors of its own."""
    found: list[int] = []

    async def ask(portal: tractor.Portal, number: int) -> None:
        if await portal.run(is_prime, number):
            found.append(number)

    async with tractor.open_nursery() as an:
        names = ["left", "right"]
        portals = [await an.start_actor(n, enable_modules=[__name__]) for n in names]
        async with trio.open_nursery() as nursery:
            for at, number in enumerate(numbers):
                name, portal = names[at % 2], portals[at % 2]
                note("chosen", number=number, worker=name, why="by turns")
                nursery.start_soon(ask, portal, number)
        await an.cancel()
    return sorted(found)


async def main() -> list[int]:
    """The highest level."""
    async with tractor.open_nursery() as an:
        portal = await an.start_actor("finder", enable_modules=[__name__])
        with span("search"):
            found = await portal.run(find_primes, [97, 1_000_003, 1_000_005])
        await an.cancel()
    return found


def show(lines: Iterable[TraceLine]) -> None:
    """An outline: what was part of what, over all actors."""
    below: dict[str | None, list[TraceLine]] = {}
    for line in sorted(lines, key=lambda line: line.start_ns):
        if line.kind in ("call", "task", "span", "note"):
            below.setdefault(line.parent, []).append(line)

    def show_below(parent: str | None, depth: int) -> None:
        for line in below.get(parent, []):
            name = line.name.removeprefix("__main__.")
            print("  " * depth + f"{line.actor}: {line.kind} {name}", line.data or "")
            show_below(line.task_id, depth + 1)

    show_below(None, 0)


def run(folder: Path) -> None:
    """Trace the program to that folder, and look at it."""
    with tracing(folder / "trace.jsonl") as path:
        print("primes:", trio.run(main))
    show(read_trace(path))
    export_chrome(path, folder / "trace.json")
    print("for https://ui.perfetto.dev:", folder / "trace.json")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        run(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as folder:
            run(Path(folder))

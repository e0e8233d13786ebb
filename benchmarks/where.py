"""Where the microseconds go, in both actors: a table from a profile.

Of a call of a function that does nothing, one after the other, or of an item of a
stream from an actor. Both main threads are sampled; what a part costs is its part of
the samples, of the processor time that a call or an item takes.
"""

import argparse
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import trio

import tractor
from benchmarks import _sampled, _served

MODULES = (_served.__name__, _sampled.__name__)
SIZES = {"item": 0, "64KiB": 1 << 16, "4MiB": 1 << 22}  # bytes; 0 for an integer
TIMES = {"call": 200_000, "item": 1_000_000, "64KiB": 200_000, "4MiB": 3_000}
WARM_UP = 20  # of so many parts of them

type Work = Callable[[int], Awaitable[None]]
type Side = tuple[float, dict[str, int]]


@asynccontextmanager
async def open_work(portal: tractor.Portal, what: str) -> AsyncIterator[Work]:
    """What does it so many times."""
    if what == "call":

        async def call(times: int) -> None:
            for _ in range(times):
                await portal.run(_served.noop)

        yield call
        return
    async with (
        portal.open_context(_served.give, SIZES[what]) as (ctx, _),
        ctx.open_stream() as stream,
    ):

        async def read(times: int) -> None:
            await stream.send(times)
            for _ in range(times):
                await stream.receive()

        yield read


async def profile(what: str, times: int) -> tuple[float, list[Side]]:
    """Microseconds of each, and the profile of the caller and of the callee."""
    async with tractor.open_nursery(start_method="trio") as an:
        portal = await an.start_actor("callee", enable_modules=MODULES)
        async with open_work(portal, what) as work:
            await work(times // WARM_UP)
            await portal.run(_sampled.start)
            await _sampled.start()
            began = time.perf_counter()
            await work(times)
            took = time.perf_counter() - began
            sides = [await _sampled.stop(), await portal.run(_sampled.stop)]
        await an.cancel()
    return took * 1e6 / times, sides


def table(what: str, times: int, sides: list[Side]) -> list[str]:
    """In Markdown, as the documentation has it."""
    totals = [took / times for took, _ in sides]
    rows: list[tuple[str, ...]] = [
        (f"part of one {what}", "caller, µs", "callee, µs"),
        ("---", "---:", "---:"),
    ]
    parts = dict.fromkeys([part for part, *_ in _sampled.PARTS] + [_sampled.OTHER])
    for part in parts:
        each = [
            total * samples.get(part, 0) / max(1, sum(samples.values()))
            for total, (_, samples) in zip(totals, sides, strict=True)
        ]
        if any(figure >= 0.05 for figure in each):  # else both are 0.0
            rows.append((part, *(f"{figure:.1f}" for figure in each)))
    rows.append(("**all**", *(f"**{total:.1f}**" for total in totals)))
    return [f"| {' | '.join(row)} |" for row in rows]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=TIMES, nargs="?", default="call")
    parser.add_argument("--times", type=int, help="how often it is done")
    options = parser.parse_args()
    times = options.times or TIMES[options.what]
    each, sides = trio.run(profile, options.what, times)
    print("\n".join(table(options.what, times, sides)))
    samples = " and ".join(str(sum(found.values())) for _, found in sides)
    print(f"\n{each:.1f} µs from one to the next; {samples} samples")


if __name__ == "__main__":
    main()

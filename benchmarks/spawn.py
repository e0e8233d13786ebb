"""What an actor costs: from `start_actor` to its first reply, and back to nothing.

Next to it, in turn, a Python that only imports what a subprocess actor needs anyway.
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

BARE: Final = (sys.executable, "-c", "import trio, msgspec")

# What is called: of a module that every actor has loaded, so that only the actor is
# measured and not what this program imports.
FUNCTION: Final = trio.lowlevel.checkpoint


def time_bare() -> float:
    """Milliseconds of a Python that imports and ends."""
    began = perf_counter()
    subprocess.run(BARE, check=True)
    return (perf_counter() - began) * 1e3


async def time_actor() -> tuple[float, float]:
    """Milliseconds to the first reply of a new actor, and those of its end."""
    async with tractor.open_nursery() as an:
        began = perf_counter()
        portal = await an.start_actor("callee", enable_modules=[FUNCTION.__module__])
        await portal.run(FUNCTION)
        replied = perf_counter()
        await an.cancel()
        return (replied - began) * 1e3, (perf_counter() - replied) * 1e3


async def measure(start_method: str | None, count: int) -> dict[str, float]:
    """Medians of `count` actors, started one after the other."""
    bare, reply, end = [], [], []
    async with tractor.open_root_actor(start_method=start_method):
        await time_actor()  # warm up: caches of the file system, and of a backend
        for _ in range(count):
            bare.append(await trio.to_thread.run_sync(time_bare))
            first, last = await time_actor()
            reply.append(first)
            end.append(last)
    return {
        "bare_ms": statistics.median(bare),
        "reply_ms": statistics.median(reply),
        "end_ms": statistics.median(end),
        "reply_to_bare": statistics.median(reply) / statistics.median(bare),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--start-method", help="key of a spawn backend")
    parser.add_argument("--actors", type=int, default=20)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = trio.run(measure, options.start_method, options.actors)
    if options.json:
        print(json.dumps(found))
        return
    print(f"{'python -c "import trio, msgspec"':32}{found['bare_ms']:10.1f} ms")
    print(f"{'start_actor to the first reply':32}{found['reply_ms']:10.1f} ms")
    print(f"{'cancel to the end':32}{found['end_ms']:10.1f} ms")
    print(f"an actor takes {found['reply_to_bare']:.2f} × the bare Python")


if __name__ == "__main__":
    main()

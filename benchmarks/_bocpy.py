"""The same behaviours in bocpy, in a process of its own.

Each line that comes is ``what count``, and the answer is the seconds that it took.
"""

import sys
from time import perf_counter
from typing import Any

import bocpy  # type: ignore[import-not-found,unused-ignore]

CELLS = 64
LENGTH = 100_000


def add(cown: Any) -> None:
    """A tiny behaviour."""
    cown.value += 1


def change(cown: Any) -> None:
    """Touch a large value."""
    cown.value[0] += 1


def main() -> None:
    """Answer until there are no more lines."""
    bocpy.start(worker_count=int(sys.argv[1]))
    made = {
        "one": (add, [bocpy.Cown(0)]),
        "many": (add, [bocpy.Cown(0) for _ in range(CELLS)]),
        "list": (change, [bocpy.Cown(list(range(LENGTH)))]),
    }
    print("ready", flush=True)
    for line in sys.stdin:
        what, number = line.split()
        function, cowns = made[what]
        began = perf_counter()
        for turn in range(int(number)):
            bocpy.whencall(function, [cowns[turn % len(cowns)]], [])
        bocpy.quiesce()
        print(perf_counter() - began, flush=True)
    bocpy.wait()


if __name__ == "__main__":
    main()

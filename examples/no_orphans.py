"""SIGKILL the root of a tree: its children are gone at once, whatever they do.

The root has no chance to clean up, and the children cannot be asked: one waits, one
runs a busy loop, and one is deep in C code that does not let go of the interpreter.
This program runs the tree as a program of its own, kills it, and looks.
"""

import os
import subprocess
import sys
from time import perf_counter

import trio

import tractor
from tractor.testing import become_subreaper, wait_for_end


async def waits() -> None:
    """Idle."""
    print(os.getpid(), flush=True)
    await trio.sleep_forever()


async def is_busy() -> None:
    """Never gives its event loop another turn."""
    print(os.getpid(), flush=True)
    while True:
        pass


async def is_in_c_code() -> None:
    """Runs no Python for a long time, and no other thread can either."""
    print(os.getpid(), flush=True)
    pow(3, 10**9)


async def tree() -> None:
    """A root with three children."""
    async with tractor.open_nursery() as an:
        for fn in (waits, is_busy, is_in_c_code):
            await an.run_in_actor(fn)


def main() -> None:
    """Kill the root once all its children have told their pids."""
    become_subreaper()  # the orphans come to us, and we see what becomes of them
    command = [sys.executable, __file__, "tree"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as root:
        assert root.stdout is not None
        children = [int(root.stdout.readline()) for _ in range(3)]
        print(f"root {root.pid} has children {children}; killing the root")
        killed_at = perf_counter()
        root.kill()
        root.wait()
        left = wait_for_end(children, within=5)
        seconds = perf_counter() - killed_at
    if left:
        sys.exit(f"still there: {left}")
    print(f"all {len(children)} children were gone after {seconds * 1e3:.1f} ms")


if __name__ == "__main__":
    if "tree" in sys.argv:
        trio.run(tree)
    else:
        main()

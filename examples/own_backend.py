"""A spawn backend of one's own: processes that give way to others.

It is made of the default one. `check_spawn_backend` says whether it is a backend.
"""

import os

import trio

import tractor
from tractor.spawn import Child, ChildSpec, get_backend, use_backend
from tractor.testing import check_spawn_backend

LESS = 10  # of the priority that a process has, as `nice` says it

# Some; tests of a backend check them all.
SOME = ("a child boots", "an orderly end", "kill needs no cooperation")


class NiceBackend:
    """Starts subprocesses of low priority."""

    key = "nice"
    traits = get_backend("trio").traits

    def unavailable(self) -> str | None:
        """What is missing here, if anything."""
        return None if hasattr(os, "setpriority") else "os.setpriority"

    # Ctrl-C must not lose the child between its start and the return.
    @trio.lowlevel.enable_ki_protection
    async def start(self, spec: ChildSpec) -> Child:
        """Start a child, as the backend `trio` does."""
        child = await get_backend("trio").start(spec)
        assert child.pid is not None
        # Until somebody waits for it, the process keeps its number.
        os.setpriority(os.PRIO_PROCESS, child.pid, LESS)
        return child


backend = NiceBackend()


async def main() -> None:
    """Check it, and use it for one actor of a tree."""
    await check_spawn_backend(backend, promises=SOME)
    print("kept:", ", ".join(SOME))
    with use_backend(backend):
        async with tractor.open_nursery() as an:
            for key in ("trio", "nice"):
                portal = await an.start_actor(key, start_method=key)
                nice = os.getpriority(os.PRIO_PROCESS, portal.aid.pid or 0)
                print(f"niceness of the {key} one: {nice}")
            await an.cancel()


if __name__ == "__main__":
    trio.run(main)

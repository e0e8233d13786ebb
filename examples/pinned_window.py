"""A host owns the main thread, and actors change what it shows there.

The host is a loop that draws frames; a window system would do the same. It knows
nothing of trio, which runs in a thread beside it.
"""

import threading
from queue import SimpleQueue

import trio

import tractor
from tractor import pinned
from tractor.pinned import PinnedResource


class Screen:
    """What a window system gives: it may be touched in the main thread only."""

    def __init__(self) -> None:
        assert threading.current_thread() is threading.main_thread()
        self.bars: dict[str, int] = {}


# -- On the main thread ----------------------------------------------------------------


def set_bar(screen: Screen, name: str, value: int) -> int:
    """Change what is shown; how many bars there are."""
    assert threading.current_thread() is threading.main_thread()
    screen.bars[name] = value
    return len(screen.bars)


def where() -> str:
    """A function without any resource."""
    return threading.current_thread().name


# -- In actors -------------------------------------------------------------------------


async def count(screen: PinnedResource[Screen], name: str, upto: int) -> str:
    """Work, and show how far it is."""
    for value in range(1, upto + 1):
        await screen.call(set_bar, name, value)
    return await pinned.call(where)


async def run_tree(screen: PinnedResource[Screen]) -> None:
    """Two actors that share the screen; runs beside the host."""
    async with (
        tractor.open_nursery(enable_modules=[__name__]) as an,
        trio.open_nursery() as calls,
    ):
        for name, upto in (("apples", 20), ("pears", 30)):
            portal = await an.start_actor(name, enable_modules=[__name__])

            async def fill(portal: tractor.Portal, name: str, upto: int) -> None:
                thread = await portal.run(count, screen, name, upto)
                print(f"{name} were counted by an actor, and shown by {thread}")
                await portal.cancel_actor()

            calls.start_soon(fill, portal, name, upto)


# -- The host --------------------------------------------------------------------------


def main() -> None:
    """Sleep until there is something to do; draw at most so many calls at a time."""
    wake: SimpleQueue[bool] = SimpleQueue()  # True to go on, False to end
    pinned.set_pump_wakeup(lambda: wake.put(True))
    pinned.set_pump_watchdog(warn_after=5.0)

    screen = PinnedResource(Screen())

    def run_trio() -> None:
        try:
            trio.run(run_tree, screen)
        finally:
            wake.put(False)

    beside = threading.Thread(target=run_trio)
    beside.start()
    calls = 0
    while wake.get():
        calls += pinned.pump(deadline=1 / 60, max_items=10).executed
    beside.join()
    print("calls on the main thread:", calls)
    print("shown:", dict(sorted(screen.value.bars.items())))
    screen.close()


if __name__ == "__main__":
    main()

"""A tree to look at from outside: the program of the tests of the command line."""

import sys
from typing import Final

import trio

import tractor
from tests._helpers import QUICK
from tests._misbehaviours import ring

SERVED: Final = "tests._misbehaviours"


async def main(argv: list[str]) -> None:
    """Open a tree whose one actor misbehaves.

    Args:
        argv: The name of the root, which its child has with "-child"; what to do, from
            the catalogue of misbehaviour, or "root" for the root's own; the bell on
            which to say that; and "mute" for a tree that does not answer.
    """
    name, fn, bell, *words = argv
    enabled = "mute" not in words
    async with tractor.open_nursery(
        name=name, graces=QUICK, enable_stack_on_sig=enabled
    ) as an:
        if fn == "root":
            hold_the_loop(bell)
        portal = await an.start_actor(f"{name}-child", enable_modules=[SERVED])
        await portal.run_from_ns(SERVED, fn, bell=bell)


def hold_the_loop(bell: str) -> None:
    """For ever."""
    ring(bell)
    while True:
        pass


if __name__ == "__main__":
    trio.run(main, sys.argv[1:])

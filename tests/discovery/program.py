"""A program that meets others: ``NAME ADDRESS BELL [CHILD ...]``.

It rings when its children are there, and then serves until SIGTERM. With the name of a
pipe in `GATE`, it rings before, and opens its tree once something is in that pipe.
"""

import os
import sys

import trio

import tractor
from tests._misbehaviours import ring
from tests.discovery.actors import MODULES


async def main(*argv: str) -> None:
    name, address, bell, *children = argv
    if gate := os.environ.get("GATE"):
        ring(bell, "at the gate")
        await trio.lowlevel.wait_readable(os.open(gate, os.O_RDONLY | os.O_NONBLOCK))
    async with tractor.open_nursery(
        name=name, registry_addrs=[address], enable_modules=MODULES
    ) as an:
        for child in children:
            await an.start_actor(child, enable_modules=MODULES)
        ring(bell, name)
        await trio.sleep_forever()


if __name__ == "__main__":
    trio.run(main, *sys.argv[1:])

"""What actors hang in; the tests look for the names of these functions."""

import logging
import threading
from typing import Final

import trio

import tractor
from tests._misbehaviours import ring, waits
from tractor import devx

MISBEHAVE: Final = "tests._misbehaviours"
SERVED: Final = [MISBEHAVE, "tractor.devx.armed", __name__]

_never: Final = threading.Event()


@tractor.context
async def wants_to_hear_first(ctx: tractor.Context, bell: str) -> None:
    """Wait for an item before it sends any; so does the other side."""
    await ctx.started()
    async with ctx.open_stream() as stream:
        ring(bell)
        await stream.receive()


@tractor.context
async def sends_and_sends(ctx: tractor.Context) -> None:
    """Send to a reader that does not read."""
    await ctx.started()
    async with ctx.open_stream() as stream:
        while True:
            await stream.send("more")


async def wait_in_thread(bell: str) -> None:
    """Have a thread that never returns."""

    def stuck_in_c() -> None:
        ring(bell)
        _never.wait()

    await trio.to_thread.run_sync(stuck_in_c, abandon_on_cancel=True)


async def have_child_that(fn: str, bell: str) -> None:
    """Have an actor below that hangs."""
    async with tractor.open_nursery() as an:
        portal = await an.start_actor("below", enable_modules=SERVED)
        await portal.run_from_ns(__name__, fn, bell=bell)


async def dump_hang(path: str) -> None:
    """Make a dump of one's own."""
    with devx.dump_on_hang(0.01, path=path) as hang:
        await trio.to_thread.run_sync(hang.wait_dumped, 30)


async def have_child_that_waits(bell: str) -> None:
    """Have an actor below that waits, and say when a dump was made."""

    def note_dump(_record: logging.LogRecord) -> bool:
        ring(bell, "dumped")
        return True

    logging.getLogger("tractor.devx").addFilter(note_dump)
    async with tractor.open_nursery() as an:
        portal = await an.start_actor("below", enable_modules=SERVED)
        await portal.run(waits, bell)

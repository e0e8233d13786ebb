"""What the actors of `test_two_hosts` serve."""

import os

import trio

import tractor


async def whoami() -> tuple[str, int]:
    """Name and process of this actor."""
    return tractor.current_actor().name, os.getpid()


async def wait_for_ever() -> None:
    """A call that nobody answers."""
    await trio.sleep_forever()


async def seek(name: str) -> str:
    """What comes of a look-up in this actor."""
    try:
        async with tractor.find_actor(name) as portal:
            return "nobody" if portal is None else "found"
    except tractor.TransportClosed as exc:
        return type(exc).__name__


@tractor.context
async def count(ctx: tractor.Context[None, None, int, None]) -> None:
    """Numbers from 0 on, as fast as they are taken."""
    await ctx.started()
    async with ctx.open_stream() as stream:
        number = 0
        while True:
            await stream.send(number)
            number += 1

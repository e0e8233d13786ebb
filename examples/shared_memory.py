"""A camera and who looks at its pictures: memory that two actors share.

The camera writes pictures into two arrays by turns, and says which one is new. Nothing
of a picture is sent. At the end it hands over a poster, and the parent takes it.
"""

from contextlib import ExitStack

import trio

import tractor
from tractor.ipc.shm import (
    ShmArrayToken,
    ShmGone,
    ShmToken,
    attach_shm_array,
    attach_shm_buffer,
    open_shm_array,
    open_shm_buffer,
)

HEIGHT, WIDTH = 480, 640
SLOTS = 2  # one is looked at while the other one is written


@tractor.context
async def film(
    ctx: tractor.Context[list[ShmArrayToken], int, int], pictures: int
) -> None:
    """Write pictures, each of them as soon as somebody is done with an older one."""
    with ExitStack() as stack:
        arrays = [
            stack.enter_context(open_shm_array((HEIGHT, WIDTH), "uint8"))
            for _ in range(SLOTS)
        ]
        await ctx.started([array.token for array in arrays])
        async with ctx.open_stream() as stream:
            for number in range(pictures):
                slot = number if number < SLOTS else await stream.receive()
                picture = arrays[slot].view
                picture[number, number] = 100 + number
                await stream.send(slot)


async def print_poster(size: int) -> ShmToken:
    """Make something large, and give it to the caller."""
    poster = open_shm_buffer(size)
    poster.write(b"\xff" * size)
    return poster.hand_over()


async def main() -> None:
    """Look at the pictures, and take the poster."""
    async with tractor.open_nursery() as an:
        portal = await an.start_actor("camera", enable_modules=[__name__])
        async with (
            portal.open_context(film, 5) as (ctx, tokens),
            ctx.open_stream() as stream,
        ):
            with ExitStack() as stack:
                arrays = [
                    stack.enter_context(attach_shm_array(token, readonly=True))
                    for token in tokens
                ]
                number = 0
                async for slot in stream:
                    print(f"picture {number}: {arrays[slot].view[number, number]}")
                    number += 1
                    if number <= 5 - SLOTS:
                        await stream.send(slot)  # it may be written again

        token = await portal.run(print_poster, 4 << 20)
        with attach_shm_buffer(token) as poster:
            print(f"a poster of {poster.size} bytes, white: {poster.view[-1] == 255}")
        try:
            attach_shm_buffer(token)
        except ShmGone as error:
            print("not twice:", type(error).__name__)

        with open_shm_array(3, int) as shared:
            stale = shared.token
        try:
            attach_shm_array(stale)
        except ShmGone as error:
            print("closed:", type(error).__name__)
        await portal.cancel_actor()


if __name__ == "__main__":
    trio.run(main)

"""What the actors of tests of shared memory serve; little, since children import it."""

import os

import trio

import tractor
from tractor.ipc.shm import (
    ShmArrayToken,
    ShmBuffer,
    ShmListToken,
    ShmToken,
    attach_shm_array,
    attach_shm_buffer,
    attach_shm_list,
    open_shm_buffer,
)

HELD: list[ShmBuffer] = []


async def turn_around(token: ShmToken) -> int:
    """Reverse the bytes in place; the first of them."""
    with attach_shm_buffer(token) as buffer:
        buffer.view[:] = bytes(buffer.view)[::-1]
        return buffer.view[0]


async def total(token) -> int:  # type: ignore[no-untyped-def]  # noqa: ANN001
    """The sum of the bytes, by what arrives without an annotation."""
    with attach_shm_buffer(token, readonly=True) as buffer:
        return sum(buffer.view)


async def double(numbers: ShmArrayToken, words: ShmListToken) -> None:
    """All numbers, and the last word."""
    with attach_shm_array(numbers) as array, attach_shm_list(words) as items:
        view = array.view
        for row in range(array.shape[0]):
            for column in range(array.shape[1]):
                view[row, column] *= 2
        view.release()
        items[-1] = str(items[-1]) * 2


async def make(size: int, fill: int) -> ShmToken:
    """A new buffer, for the caller to take."""
    buffer = open_shm_buffer(size)
    buffer.write(bytes([fill]) * size)
    return buffer.hand_over()


async def make_and_hold(size: int) -> ShmToken:
    """One that is not closed."""
    HELD.append(buffer := open_shm_buffer(size))
    buffer.write(b"x" * size)
    return buffer.token


async def hold(token: ShmToken) -> int:
    """Keep it attached and mapped; the process."""
    HELD.append(buffer := attach_shm_buffer(token))
    assert buffer.view
    return os.getpid()


async def give_up() -> None:
    """Close what is held here."""
    while HELD:
        HELD.pop().close()


async def pass_on(token: ShmToken) -> ShmToken:
    """Take it, mark it, and hand it over to the caller."""
    buffer = attach_shm_buffer(token)
    buffer.view[0] += 1
    return buffer.hand_over()


@tractor.context
async def sums(ctx: tractor.Context) -> None:
    """The sum of each buffer that comes in."""
    await ctx.started()
    async with ctx.open_stream() as stream:
        async for token in stream:
            await stream.send(await total(token))


async def take_and_wait(token: ShmToken) -> None:
    """Take it, and be cancelled."""
    with attach_shm_buffer(token):
        await trio.sleep_forever()

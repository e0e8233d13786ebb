"""What actors do in tests of supervision and the like; children import this."""

import os
from collections.abc import AsyncIterator, Callable

import trio
import trio.lowlevel

import tractor
from tests._misbehaviours import fails, ring, waits
from tractor.experimental import msgpub

_calls: list[None] = []
_publishers: list[bool] = []  # for each that began, whether it runs


async def count_calls() -> int:
    """How often this actor was asked that."""
    _calls.append(None)
    return len(_calls)


async def fails_at_first(marks: str, times: int) -> int:
    """Fail that often, over all actors; then return the number of runs."""
    run = len(os.listdir(marks)) + 1
    os.mkdir(f"{marks}/{run}")
    if run <= times:
        raise ValueError(f"run {run}")
    return run


async def blocks_the_loop(gate: str, bell: str) -> None:
    """Give the loop no turn until the named pipe `gate` is opened for writing."""
    ring(bell)
    os.close(os.open(gate, os.O_RDONLY))


async def supervises(bell: str) -> None:
    """Keep an actor running that rings the bell, or fails if there is none."""
    async with tractor.open_supervisor() as supervisor:
        if bell:
            await supervisor.run_in_actor(waits, bell=bell)
        else:
            await supervisor.run_in_actor(fails)


async def rings_once(bell: str) -> None:
    """Return when that is done."""
    ring(bell)


async def stops_itself() -> None:
    """End in order."""
    tractor.current_actor().cancel_soon()


async def pid() -> int:
    """Of its process."""
    return os.getpid()


@msgpub
async def publishes(
    get_topics: Callable[[], set[str]],
) -> AsyncIterator[dict[str, int]]:
    """Count on each topic, for as long as somebody listens."""
    _publishers.append(True)
    try:
        number = 0
        while True:
            number += 1
            yield dict.fromkeys(get_topics(), number)
            await trio.lowlevel.checkpoint()
    finally:
        _publishers[_publishers.index(True)] = False


async def publishers() -> tuple[int, bool]:
    """How many run here, once they have had the time to end, and whether any ran."""
    for _ in range(100):
        await trio.lowlevel.checkpoint()
    return sum(_publishers), bool(_publishers)

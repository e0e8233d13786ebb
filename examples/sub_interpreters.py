"""Two actors that compute at the same time in one process, each with its own GIL."""

import os

import trio

import tractor


async def count_primes(below: int) -> int:
    """How many there are; pure Python, no pause."""
    return sum(
        all(number % divisor for divisor in range(2, int(number**0.5) + 1))
        for number in range(2, below)
    )


async def where() -> tuple[int, bool]:
    """The process, and whether Python runs in parallel with the rest of it."""
    return os.getpid(), tractor.current_actor().own_gil


async def main() -> None:
    """Start two, and let them work."""
    if "subint" not in tractor.available_backends():
        print("needs Python 3.14")
        return
    async with tractor.open_nursery() as an:
        first = await an.start_actor(
            "first", start_method="subint", enable_modules=[__name__]
        )
        second = await an.start_actor(
            "second", start_method="subint", enable_modules=[__name__]
        )
        for portal in (first, second):
            pid, own_gil = await portal.run(where)
            print("in this process:", pid == os.getpid(), "with its own GIL:", own_gil)

        async def work(portal: tractor.Portal) -> None:
            print("primes:", await portal.run(count_primes, 20_000))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(work, first)
            nursery.start_soon(work, second)
        await an.cancel()


if __name__ == "__main__":
    trio.run(main)

"""One function, one actor: `to_actor.run`, alone and several at once."""

from math import isqrt

import trio

import tractor


async def is_prime(number: int) -> bool:
    """By trial division, which keeps a processor busy for a while."""
    return all(number % divisor for divisor in range(2, isqrt(number) + 1))


async def main() -> None:
    """Ask about one number, then about three at the same time."""
    print("97 is prime:", await tractor.to_actor.run(is_prime, 97))

    async def show(number: int) -> None:
        print(f"{number} is prime:", await tractor.to_actor.run(is_prime, number))

    # One runtime for all three; each function still has an actor of its own.
    async with tractor.open_root_actor(), trio.open_nursery() as tasks:
        for number in (1_000_003, 1_000_003 * 1_000_033, 10_000_000_019):
            tasks.start_soon(show, number)


if __name__ == "__main__":
    trio.run(main)

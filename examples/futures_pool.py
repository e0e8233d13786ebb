"""A pool of an async program: results, a limit, a death, a cancellation."""

import os
import signal
import time

import trio

from tractor.futures import TaskTimeout, WorkerDied, open_pool


def count_primes(below: int) -> int:
    """How many there are."""
    return sum(all(n % d for d in range(2, int(n**0.5) + 1)) for n in range(2, below))


def die() -> None:
    """End the worker as a crash in C would."""
    os.kill(os.getpid(), signal.SIGKILL)


async def main() -> None:
    """Use it, and let things go wrong in it."""
    async with open_pool(flavor="processes", workers=2) as pool:
        print("decided:", pool.decision.resolved, "because of", pool.decision.reason)
        print("below 1000:", await pool.run(count_primes, 1000))
        print("several:", [n async for n in pool.map(count_primes, (10, 100, 500))])
        try:
            await pool.options(timeout=0.2).run(time.sleep, 60)
        except TaskTimeout:
            print("one task was too slow, and was stopped")
        try:
            await pool.run(die)
        except WorkerDied:
            print("one worker died, and with it its task")
        with trio.move_on_after(0.2):
            await pool.run(time.sleep, 60)
        print("one task was cancelled while it ran")
        print("below 100, after all that:", await pool.run(count_primes, 100))


if __name__ == "__main__":
    trio.run(main)

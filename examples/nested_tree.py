"""Three levels of actors: a root, two managers, and two workers below each of them.

Results and errors travel up. When a manager is killed, its workers do not outlive it:
nobody sends them anything, the kernel tells them.
"""

import os
import signal
from time import perf_counter

import trio

import tractor
from tractor.testing import become_subreaper, wait_for_end

pids: list[int] = []  # of this actor's children
ready = trio.Event()


async def square(number: int) -> int:
    """The work of a worker."""
    if number < 0:
        raise ValueError(f"{number} is not welcome")
    return number * number


async def manage(numbers: list[int]) -> int:
    """The work of a manager: one worker for each number; the sum of the results."""
    squares: list[int] = []

    async def collect(an: tractor.ActorNursery, number: int) -> None:
        worker = await an.start_actor(f"worker of {number}", enable_modules=[__name__])
        squares.append(await worker.run(square, number))

    async with tractor.open_nursery() as an:
        async with trio.open_nursery() as tasks:
            for number in numbers:
                tasks.start_soon(collect, an, number)
        await an.cancel()
    return sum(squares)


async def keep_workers() -> None:
    """The work of the manager that will be killed."""
    async with tractor.open_nursery() as an:
        for name in ("left", "right"):
            worker = await an.start_actor(name, enable_modules=[__name__])
            pids.append(worker.aid.pid or 0)
        ready.set()


async def pids_of_workers() -> list[int]:
    """Once `keep_workers` has them all."""
    await ready.wait()
    return pids


async def results_and_errors() -> None:
    """Up through three levels."""
    async with tractor.open_nursery() as an:
        managers = [
            await an.start_actor(name, enable_modules=[__name__])
            for name in ("manager a", "manager b")
        ]
        sums = [
            await manager.run(manage, [number, number + 1])
            for number, manager in enumerate(managers, 1)
        ]
        print("sums of squares:", sums)
        try:
            await managers[0].run(manage, [3, -4])
        except tractor.RemoteActorError as error:
            path = " > ".join(name for name, _ in error.relay_path)
            print(f"{error.src_type_str} came by way of {path}")
        await an.cancel()


async def no_orphans() -> None:
    """SIGKILL in the middle of the tree."""
    try:
        async with tractor.open_nursery() as an:
            manager = await an.run_in_actor(keep_workers)
            workers = await manager.run(pids_of_workers)
            killed_at = perf_counter()
            os.kill(manager.aid.pid or 0, signal.SIGKILL)
    except tractor.ActorDied as error:
        print("the root was told:", error)
    left = await trio.to_thread.run_sync(wait_for_end, workers)
    seconds = perf_counter() - killed_at
    print(f"of its {len(workers)} workers {len(left)} live after {seconds:.3f} s")


async def main() -> None:
    """Show both."""
    await results_and_errors()
    await no_orphans()


if __name__ == "__main__":
    become_subreaper()  # so that the workers of the dead manager can be looked at
    trio.run(main)

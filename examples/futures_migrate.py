"""The same work before and after: the standard library's pools, and actors."""

import asyncio
import concurrent.futures
import multiprocessing

import trio

from tractor.futures import Run, compat, open_pool


def square(number: int) -> int:
    """What is to be done for each."""
    return number * number


# -- concurrent.futures ----------------------------------------------------------------


def futures_before() -> list[int]:
    """With the executor of the standard library."""
    with concurrent.futures.ProcessPoolExecutor(2) as executor:
        return list(executor.map(square, range(5)))


def futures_after() -> list[int]:
    """With actors: another import."""
    with compat.ProcessPoolExecutor(2) as executor:
        return list(executor.map(square, range(5)))


# -- multiprocessing.Pool --------------------------------------------------------------


def pool_before() -> list[int]:
    """With the pool of `multiprocessing`."""
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        first = pool.apply_async(square, (7,))
        return [first.get(), *pool.starmap(square, [(1,), (2,)])]


async def pool_after() -> list[int]:
    """With a pool of an async program."""
    async with open_pool(flavor="processes", workers=2) as pool:
        first = pool.submit(square, 7)
        return [await first, *[n async for n in pool.map(square, (1, 2))]]


# -- asyncio ---------------------------------------------------------------------------


async def asyncio_before() -> list[int]:
    """A thread, and an executor, of the loop."""
    loop = asyncio.get_running_loop()
    with concurrent.futures.ProcessPoolExecutor(1) as executor:
        other = await loop.run_in_executor(executor, square, 3)
    return [await asyncio.to_thread(square, 2), other]


async def asyncio_after() -> list[int]:
    """Scopes whose end does not hold up the loop, and futures that can be awaited."""
    async with Run(flavor="threads") as threads:
        mine = await asyncio.wrap_future(threads.submit(square, 2))
    async with Run(flavor="processes", max_workers=1) as processes:
        loop = asyncio.get_running_loop()
        other = await loop.run_in_executor(processes, square, 3)
    return [mine, other]


def main() -> None:
    """Both ways give the same."""
    print("concurrent.futures:", futures_before(), futures_after())
    print("multiprocessing:", pool_before(), trio.run(pool_after))
    print("asyncio:", asyncio.run(asyncio_before()), asyncio.run(asyncio_after()))


if __name__ == "__main__":
    main()

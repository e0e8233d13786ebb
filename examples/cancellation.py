"""Cancellation reaches into other actors, and ends in bounded time in any case."""

import signal
from time import perf_counter

import trio

import tractor

# Each actor has its own: what a module holds is not shared between actors.
begun = trio.Event()
cleaned_up = trio.Event()


async def has_begun() -> None:
    """Return when a function below is under way in this actor."""
    await begun.wait()


async def work_and_clean_up() -> None:
    """Never end by itself; tidy up when cancelled."""
    try:
        begun.set()
        await trio.sleep_forever()
    finally:
        cleaned_up.set()


async def was_cleaned_up() -> bool:
    """Whether `work_and_clean_up` came to its end in this actor."""
    return cleaned_up.is_set()


async def ignore_everything() -> None:
    """Neither cancellation nor SIGTERM makes any difference."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    begun.set()
    with trio.CancelScope(shield=True):
        await trio.sleep_forever()


async def cancel_a_call(portal: tractor.Portal) -> None:
    """A cancelled caller cancels its call, and nothing else over there."""
    async with trio.open_nursery() as tasks:
        tasks.start_soon(portal.run, work_and_clean_up)
        await portal.run(has_begun)
        began = perf_counter()
        tasks.cancel_scope.cancel()
    print(f"the call was cancelled in {(perf_counter() - began) * 1e3:.1f} ms")
    print("its clean-up ran over there:", await portal.run(was_cleaned_up))


async def stop_the_unstoppable() -> None:
    """The kill ladder: asked for 1.5 s, then SIGTERM and 0.5 s, then SIGKILL."""
    async with tractor.open_nursery() as an:
        stubborn = await an.run_in_actor(ignore_everything)
        await stubborn.run(has_begun)
        began = perf_counter()
        await an.cancel()
    print(f"the stubborn actor was gone after {perf_counter() - began:.2f} s")


async def main() -> None:
    """Show both."""
    async with tractor.open_nursery() as an:
        portal = await an.start_actor("worker", enable_modules=[__name__])
        await cancel_a_call(portal)
        await portal.cancel_actor()
    await stop_the_unstoppable()


if __name__ == "__main__":
    trio.run(main)

"""The programs of the sessions: `python -m tests.debugger.programs NAME [ARGUMENT]`."""

import os
import signal
import sys
import threading
import time
from typing import Any, Final

import trio

import tractor
from tractor.devx import debug

# Enough for what is asked to end, and little for who waits for the bound.
GRACES: Final = tractor.Graces(ack=0.5, cancel=1.0, terminate=0.2, kill=0.3)
BACKEND: Final = os.environ.get("TEST_BACKEND", "trio")

# -- What actors do --------------------------------------------------------------------


async def stop(depth: int = 0) -> int:
    """Stop at a breakpoint, so many actors below this one."""
    if depth == 0:
        answer = 41
        breakpoint()
        answer = answer + 1
        return answer
    async with tractor.open_nursery() as an:
        portal = await an.run_in_actor(stop, name=f"level{depth}", depth=depth - 1)
        return int(await portal.wait_for_result())


async def stop_async() -> str:
    """Stop with `pause`, two times."""
    for count in range(2):
        word = f"word {count}"
        await tractor.pause()
    return word


async def crash(depth: int = 0) -> float:
    """Raise, so many actors below this one."""
    if depth == 0:
        divisor = 0
        return 1 / divisor
    async with tractor.open_nursery() as an:
        portal = await an.run_in_actor(crash, name=f"level{depth}", depth=depth - 1)
        return float(await portal.wait_for_result())


async def sleep() -> None:
    """Wait for ever, and say when that is cut short."""
    print("asleep", flush=True)
    try:
        await trio.sleep_forever()
    finally:
        print("woken", flush=True)


async def step_and_sleep() -> None:
    """Have something to wait for after a breakpoint."""
    breakpoint()
    print("stepped", flush=True)
    await sleep()


def stop_in_thread() -> str:
    """Stop in another thread than the loop's."""
    place = "a thread"
    breakpoint()
    return place


async def use_thread() -> str:
    """Call that."""
    return await trio.to_thread.run_sync(stop_in_thread)


async def name_after(seconds: float) -> str:
    """Stop in a loop that goes on while it waits for its turn."""
    await trio.sleep(seconds)
    tractor.pause_from_sync()
    return tractor.current_actor().name


# -- What roots do ---------------------------------------------------------------------


async def in_tree(depth: int) -> None:
    """A breakpoint at a depth."""
    print("result", await stop(depth))


async def crash_in_tree(depth: int) -> None:
    """A crash at a depth."""
    print("result", await crash(depth))


async def paused(_: int) -> None:
    """`pause` in a child."""
    async with tractor.open_nursery() as an:
        portal = await an.run_in_actor(stop_async)
        print("result", await portal.wait_for_result())


async def threaded(_: int) -> None:
    """A breakpoint in a thread of a child."""
    async with tractor.open_nursery() as an:
        portal = await an.run_in_actor(use_thread)
        print("result", await portal.wait_for_result())


async def two(_: int) -> None:
    """Two children that stop at the same time."""
    async with tractor.open_nursery() as an:
        for name in ("left", "right"):
            await an.run_in_actor(stop, name=name)
    print("both are done")


async def stop_while_stopped(_: int) -> None:
    """A root that stops while its child is at a breakpoint."""
    async with tractor.open_nursery() as an:
        await an.run_in_actor(stop, name="child")
        with trio.move_on_after(30):
            await trio.sleep(0.5)
            await tractor.pause()
    print("both are done")


async def time_out(_: int) -> None:
    """A root that gives its child far less time than a person takes."""
    async with tractor.open_nursery() as an:
        portal = await an.start_actor("slow", enable_modules=[__name__])
        with trio.move_on_after(0.5):
            await portal.run(stop)
        print("timed out", flush=True)
        began = time.monotonic()
        await an.cancel()
        print(f"down: {an.cancelled_caught} {time.monotonic() - began > 1}", flush=True)


async def asleep(_: int) -> None:
    """A child that sleeps."""
    async with tractor.open_nursery() as an:
        await an.run_in_actor(sleep)


async def stepping(_: int) -> None:
    """A child that stops and then sleeps."""
    async with tractor.open_nursery() as an:
        await an.run_in_actor(step_and_sleep, name="stepper")


async def root_beside_child(_: int) -> None:
    """A breakpoint in the root, with a child that sleeps."""
    async with tractor.open_nursery() as an:
        await an.run_in_actor(sleep)
        print("result", await stop(0))
        await an.cancel()


async def handled(_: int) -> None:
    """Errors that a crash handler sees, in the root."""
    with debug.open_crash_handler(raise_on_exit=False) as box:
        await crash()
    print(f"boxed {box.value!r}")
    try:
        await crash()
    except ZeroDivisionError:
        await tractor.post_mortem()
    print("went on")


async def beating(_: int) -> None:
    """A heartbeat to an actor that is at a breakpoint."""
    changes: list[bool] = []
    async with tractor.open_nursery() as an:
        portal = await an.start_actor("child", enable_modules=[__name__])
        beat = tractor.open_heartbeat(portal, interval=0.2, on_change=changes.append)
        async with beat:
            print("result", await portal.run(stop), changes)
        await portal.cancel_actor()


async def two_with_greenback(_: int) -> None:
    """Tasks of one actor that both stop, and a loop that goes on meanwhile."""
    async with tractor.open_nursery() as an:
        first = await an.start_actor("first", enable_modules=[__name__])
        second = await an.start_actor("second", enable_modules=[__name__])
        async with trio.open_nursery() as nursery:
            nursery.start_soon(first.run, name_after, 0)
            nursery.start_soon(second.run, name_after, 0.5)
            await trio.sleep(1)
            print("turns", await second.run(whoami), flush=True)
        await an.cancel()


async def whoami() -> str:
    """The name of the actor."""
    return tractor.current_actor().name


async def import_slowly(_: int) -> None:
    """A child that stops while it is imported, for longer than its boot may take."""
    from tests.debugger import stops_on_import  # local: it stops where none runs

    async with tractor.open_nursery() as an:
        module = stops_on_import.__name__
        portal = await an.start_actor("child", enable_modules=[module])
        print("result", await portal.run(stops_on_import.state))
        await portal.cancel_actor()


async def two_tasks(_: int) -> None:
    """Two tasks of one actor, while another one has the terminal."""
    async with tractor.open_nursery() as an:
        await an.run_in_actor(stop, name="other")
        portal = await an.start_actor("busy", enable_modules=[__name__])
        async with trio.open_nursery() as nursery:
            nursery.start_soon(portal.run, stop_async)
            nursery.start_soon(portal.run, stop_async)
        await portal.cancel_actor()


async def left_behind(_: int) -> None:
    """A thread that is at a breakpoint when the program ends, at a signal."""
    with trio.open_signal_receiver(signal.SIGUSR1) as signals:
        threading.Thread(target=stop_in_thread, daemon=True).start()
        async for _signal in signals:
            return


async def locked(_: int) -> None:
    """A root that has the terminal and opens no REPL."""
    async with debug.acquire_debug_lock(), debug.acquire_debug_lock():
        try:
            await tractor.pause()
        except debug.DebugRequestError as exc:
            print(f"refused: {exc}", flush=True)
        print("locked", flush=True)
        await trio.sleep_forever()


async def main(name: str, argument: int) -> None:
    """Run one of them in debug mode."""
    root: Any = globals()[name]
    async with tractor.open_root_actor(
        debug_mode=True,
        start_method=BACKEND,
        graces=GRACES,
        maybe_enable_greenback="greenback" in name,
        boot_timeout=1 if name == "import_slowly" else None,
    ):
        await root(argument)


if __name__ == "__main__":
    try:
        trio.run(main, sys.argv[1], int(sys.argv[2]))
    finally:
        print("hook restored:", sys.breakpointhook is sys.__breakpointhook__)

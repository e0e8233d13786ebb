"""One actor in a process of its own, and a call into it."""

import os

import trio

import tractor


async def add(a: int, b: int) -> str:
    """Say who adds, and what comes out."""
    me = tractor.current_actor()
    return f"{me.name} (pid {os.getpid()}) says {a} + {b} = {a + b}"


async def main() -> None:
    """Start an actor, call it, end it."""
    async with tractor.open_nursery() as an:
        portal = await an.start_actor("adder", enable_modules=[__name__])
        print(await portal.run(add, 2, b=3))
        await portal.cancel_actor()
    print(f"back in {os.getpid()}, and the adder is gone")


if __name__ == "__main__":
    trio.run(main)

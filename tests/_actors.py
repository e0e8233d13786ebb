"""What well-behaved actors in tests do; see `_misbehaviours` for the others.

Children import this, so it imports little: pytest alone takes them longer than all of
the rest of their start.
"""

import logging
import os
import sys

import trio

import tractor
from tests._misbehaviours import dies, dies_at_gate, ring, wait_for_gate
from tractor import SpawnError, to_actor

# -- Who and what they are -------------------------------------------------------------


async def who() -> tuple[str, str, int, int | None, bool]:
    """Name and uuid, process as the system and as the actor knows it, being root."""
    actor = tractor.current_actor()
    return (*actor.aid.uid, os.getpid(), actor.pid, tractor.is_root_process())


async def get_vars() -> dict[str, str]:
    """What the actor has of its parent."""
    return {key: repr(value) for key, value in tractor.get_runtime_vars().items()}


async def get_vars_below(loglevel: str | None = None) -> list[dict[str, str]]:
    """What the actor has, and a child of it."""
    async with tractor.open_nursery() as an:
        portal = await an.start_actor(
            "below", enable_modules=[__name__], loglevel=loglevel
        )
        found = [await get_vars(), await portal.run(get_vars)]
        await an.cancel()
    return found


async def log_level() -> int:
    """Of the logger of the runtime."""
    return logging.getLogger("tractor").level


async def is_loaded(name: str) -> bool:
    """Whether the module is imported."""
    return name in sys.modules


async def name_and_argv() -> tuple[str, list[bytes]]:
    """Of the actor."""
    return tractor.current_actor().name, [os.fsencode(arg) for arg in sys.argv]


async def describe(*args: int, **kwargs: str) -> tuple[str, list[int], dict[str, str]]:
    """Name of the actor, and its arguments."""
    return tractor.current_actor().name, [*args], kwargs


# -- What they do ----------------------------------------------------------------------


async def speak(out: str, err: str) -> None:
    """Print."""
    print(out, flush=True)
    print(err, file=sys.stderr, flush=True)


async def boot_again() -> None:
    """Open a root."""
    async with tractor.open_root_actor():
        pass


async def stop_myself() -> None:
    """End the actor."""
    tractor.current_actor().cancel_soon()


async def stop_the_parent() -> bool:
    """End the actor above."""
    return await tractor.current_actor().get_parent().cancel_actor()


NOTES: list[str] = []  # of each actor


async def note(word: str, *, stay: bool = False) -> list[str]:
    """Remember the word; all words so far."""
    NOTES.append(word)
    if stay:
        await trio.sleep_forever()
    return NOTES


async def succeed(gate: str) -> str:
    """Return once the gate is open."""
    await wait_for_gate(gate)
    return "success"


async def supervise_mortals(gate: str, bell: str) -> None:
    """Keep an actor running that dies whenever the gate is opened."""
    async with tractor.open_supervisor() as supervisor:
        await supervisor.run_in_actor(dies_at_gate, gate=gate, bell=bell)


async def die_below() -> None:
    """Have a child that dies."""
    async with tractor.open_nursery() as an:
        await an.run_in_actor(dies, number=9)


async def factorial(number: int) -> int:
    """Of that number, with an actor for each factor."""
    return number * await to_actor.run(factorial, number - 1) if number > 1 else 1


async def trace_the_end(bell: str) -> None:
    """Ring at each step of the actor's end."""

    def closed() -> None:
        ring(bell, f"stack of {tractor.current_actor().name}")

    tractor.current_actor().lifetime_stack.callback(closed)
    try:
        ring(bell)
        await trio.sleep_forever()
    finally:
        ring(bell, "task")


async def start_without_descriptors() -> tuple[list[str], int]:
    """Start an actor with too few descriptors left; how that failed, what it leaked."""
    import resource

    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    failures = set()
    async with tractor.open_nursery() as an:
        await an.start_actor("one that has all")
        free = _lowest_free_descriptor()
        for extra in range(8):
            resource.setrlimit(resource.RLIMIT_NOFILE, (free + extra, limits[1]))
            try:
                portal = await an.start_actor("one too many")
            except SpawnError as error:
                failures.add(f"{error.stage}: {error.__cause__}")
            else:  # there were just enough
                await portal.cancel_actor()
                await tractor.monitor(portal)
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        leaked = _lowest_free_descriptor() - free
        await an.start_actor("one that fits")
        await an.cancel()
    return sorted(failures), leaked


def _lowest_free_descriptor() -> int:
    fd = os.open(os.devnull, os.O_RDONLY)
    os.close(fd)
    return fd

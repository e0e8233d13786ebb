"""A module that stops at a breakpoint while an actor is about to be."""

from tractor.runtime import maybe_actor

STATE = "loading"
if maybe_actor() is None:  # not in the root, which imports it, too
    breakpoint()
STATE = "loaded"


async def state() -> str:
    """How far it is."""
    return STATE

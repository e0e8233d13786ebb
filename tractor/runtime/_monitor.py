"""News of an actor's end, for whoever wants to act on it and not wait for an error."""

from typing import Literal

from msgspec import Struct

from tractor._exceptions import ActorDied
from tractor._types import Aid
from tractor.runtime._portal import Portal

type Reason = Literal["ended", "died"]


class Down(Struct, frozen=True):
    """News of an actor's end.

    Attributes:
        aid: Who ended.
        reason: ``ended`` in order, or ``died``.
        error: What callers of it get.
    """

    aid: Aid
    reason: Reason
    error: Exception


async def monitor(portal: Portal) -> Down:
    """Wait for the end of an actor; at once when it has ended already.

    Each call gives the one `Down` of that actor.

    Cancellation: nothing happened.
    """
    error = await portal.wait_down()
    reason: Reason = "died" if isinstance(error, ActorDied) else "ended"
    return Down(portal.aid, reason, error)

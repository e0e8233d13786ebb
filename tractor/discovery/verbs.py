"""What actors ask one another to find somebody; served by the runtime of each.

Whoever has proved to be of the tree may call them.
"""

import trio

from tractor._exceptions import RuntimeFailure
from tractor._types import Aid, Uid
from tractor.discovery._registrar import Found, Registrar
from tractor.runtime import Context, context, current_actor

# -- of every actor --------------------------------------------------------------------


async def where() -> list[str]:
    """Where this actor can be reached; it listens from now on."""
    return [str(address) for address in current_actor().network.reachable_at()]


# -- of a registrar --------------------------------------------------------------------


async def is_registrar() -> bool:
    """Whether this actor answers the questions below."""
    return current_actor().is_registrar


async def find(name: str) -> list[Found]:
    """Those of that name, the newest first."""
    return await _registrar().find(name)


async def wait(name: str, but: Uid) -> None:
    """Return once there is one of that name beside `but`."""
    await _registrar().wait(name, but)


async def names() -> list[Aid]:
    """All who are registered, the newest first, and the registrar itself last."""
    members = _registrar().members()
    return [*(peer.aid for peer in members), current_actor().aid]


async def check(name: str, uuid: str) -> None:
    """Somebody cannot reach that one: make sure that it is still there."""
    await _registrar().check((name, uuid))


@context
async def hold(ctx: Context[None, None, None, None], name: str) -> None:
    """Keep a name for an actor that the caller is starting, while it does."""
    with _registrar().hold(name):
        await ctx.started()
        await trio.sleep_forever()


def _registrar() -> Registrar:
    actor = current_actor()
    if not actor.is_registrar:
        msg = f"actor {actor.aid.reprol()!r} is no registrar"
        raise RuntimeFailure(msg)
    return actor.part(Registrar)

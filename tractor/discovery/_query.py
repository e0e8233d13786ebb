"""Looking for actors: among those that this one talks with, and by registrars."""

from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final

from tractor._exceptions import ActorUnreachable, RuntimeFailure
from tractor.discovery._ask import RemoteRegistrar, find_registrars
from tractor.discovery._local import LocalPortal
from tractor.discovery._registrar import Found, Registrar
from tractor.ipc import Address, AnyAddress, by_preference, parse_address
from tractor.runtime import Actor, Peer, Portal, current_actor

ATTEMPTS: Final = 2  # to reach an actor; the second one without stale entries


@asynccontextmanager
async def find_actor(
    name: str,
    registry_addrs: Iterable[AnyAddress] | None = None,
    *,
    only_first: bool = True,
    raise_on_none: bool = False,
) -> AsyncIterator[Any]:
    """Connect with an actor, by its name.

    Actors that this one talks with already are found first. Of several with that name
    it is the one that was started last. An actor does not find itself.

    Args:
        name: Of the actor.
        registry_addrs: Registrars to ask; those of the tree by default.
        only_first: Whether one is enough.
        raise_on_none: Whether it is an error if there is none.

    Yields:
        A portal, or `None`; a list of portals, unless `only_first`. Connections that
        had to be made last until the block is left.

    Raises:
        RegistrarUnavailable: No registrar answers within 1 s.
        ActorUnreachable: One is registered, but none answers.
        AuthenticationFailed: Who answers there is of another tree.
        RuntimeFailure: There is none, and `raise_on_none`.

    Cancellation: connections that were made are closed.
    """
    actor = current_actor()
    async with AsyncExitStack() as stack:
        peers = _known(actor, name, stack)
        if not (peers and only_first):
            registrars = await find_registrars(actor, registry_addrs, stack)
            peers += await _look_up(
                actor, name, registrars, stack, known=peers, only_first=only_first
            )
        if not peers and raise_on_none:
            msg = f"no actor called {name!r} is registered"
            raise RuntimeFailure(msg)
        portals = [Portal(peer) for peer in peers]
        if only_first:
            yield portals[0] if portals else None
        else:
            yield portals


@asynccontextmanager
async def wait_for_actor(
    name: str, registry_addr: AnyAddress | None = None
) -> AsyncIterator[Portal]:
    """Connect with an actor, by its name, as soon as there is one.

    Args:
        name: Of the actor.
        registry_addr: Registrar to ask; those of the tree by default.

    Yields:
        A portal. A connection that had to be made lasts until the block is left.

    Raises:
        RegistrarUnavailable: No registrar answers within 1 s, or it ends meanwhile.
        ActorUnreachable: The actor is registered, and does not answer at its addresses.
        AuthenticationFailed: Who answers there is of another tree.

    Cancellation: nothing is left of it.
    """
    actor = current_actor()
    addresses = None if registry_addr is None else [registry_addr]
    async with AsyncExitStack() as stack:
        peers = _known(actor, name, stack)
        registrars = [] if peers else await find_registrars(actor, addresses, stack)
        while not peers:
            await registrars[0].wait(name, actor.aid.uid)
            peers = await _look_up(actor, name, registrars, stack)  # if it still lives
        yield Portal(peers[0])


@asynccontextmanager
async def query_actor(
    name: str, regaddr: AnyAddress | None = None
) -> AsyncIterator[tuple[Address | None, Portal | LocalPortal]]:
    """Ask where an actor listens, without connecting with it.

    Args:
        name: Of the actor.
        regaddr: Registrar to ask; one of the tree by default.

    Yields:
        The address, the nearest one if it has several, or `None` if there is no such
        actor; and a portal to the registrar that was asked.

    Raises:
        RegistrarUnavailable: The registrar does not answer within 1 s.
    """
    actor = current_actor()
    addresses = None if regaddr is None else [regaddr]
    async with AsyncExitStack() as stack:
        registrar = (await find_registrars(actor, addresses, stack))[0]
        found = await registrar.find(name)
        nearest = by_preference(_addresses(found[0])) if found else []
        yield (nearest[0] if nearest else None), _portal_of(registrar, actor)


@asynccontextmanager
async def get_registry(
    addr: AnyAddress | None = None,
) -> AsyncIterator[Portal | LocalPortal]:
    """Connect with a registrar.

    Args:
        addr: Where it is; by default it is one of the tree.

    Yields:
        A portal; in the registrar itself, a `LocalPortal`. A connection that had to be
        made lasts until the block is left.

    Raises:
        RegistrarUnavailable: It does not answer within 1 s.
    """
    actor = current_actor()
    addresses = None if addr is None else [addr]
    async with AsyncExitStack() as stack:
        registrar = (await find_registrars(actor, addresses, stack))[0]
        if isinstance(registrar, RemoteRegistrar):
            await registrar.reach()
        yield _portal_of(registrar, actor)


def _portal_of(
    registrar: Registrar | RemoteRegistrar, actor: Actor
) -> Portal | LocalPortal:
    if isinstance(registrar, RemoteRegistrar):
        return registrar.portal
    return LocalPortal(actor)


def _known(actor: Actor, name: str, stack: AsyncExitStack) -> list[Peer]:
    """Those of that name that this one talks with, the newest first.

    Connections that somebody else has dialled are kept by `stack`, too.
    """
    peers = [
        peer for peer in actor.peers[::-1] if peer.aid.name == name and peer.reliable
    ]
    for peer in peers:
        if not (peer.is_child or peer is actor.parent):
            stack.enter_context(actor.network.using(peer))
    return peers


async def _look_up(
    actor: Actor,
    name: str,
    registrars: Iterable[Registrar | RemoteRegistrar],
    stack: AsyncExitStack,
    *,
    known: Iterable[Peer] = (),
    only_first: bool = True,
) -> list[Peer]:
    """Those that were not known and can be reached.

    Raises:
        ActorUnreachable: There are some, none can be, and none was known.
    """
    skip = {actor.aid, *(peer.aid for peer in known)}
    connected: list[Peer] = []
    failure: ActorUnreachable | None = None
    for _ in range(ATTEMPTS):
        failure = None
        for registrar in registrars:
            for found in await registrar.find(name):
                if found.aid in skip:
                    continue
                try:
                    connected.append(await _connect(actor, found, stack))
                except ActorUnreachable as exc:
                    failure = exc
                    await registrar.check(found.aid.uid)
                    continue
                if only_first:
                    return connected
                skip.add(found.aid)
        if failure is None:
            break
    if failure is not None and not (connected or known):
        raise failure
    return connected


async def _connect(actor: Actor, found: Found, stack: AsyncExitStack) -> Peer:
    connection = actor.network.connection(found.aid.uid, _addresses(found))
    return await stack.enter_async_context(connection)


def _addresses(found: Found) -> list[Address]:
    return [parse_address(text) for text in found.addresses]

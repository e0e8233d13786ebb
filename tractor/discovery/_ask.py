"""Asking registrars, wherever they are."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager

import trio

from tractor._exceptions import (
    NameTaken,
    RegistrarUnavailable,
    RemoteActorError,
    TransportClosed,
)
from tractor._types import Uid
from tractor.discovery import verbs
from tractor.discovery._membership import LOOKUP_TIMEOUT, Membership
from tractor.discovery._registrar import Found, Registrar
from tractor.ipc import AnyAddress, parse_address
from tractor.runtime import Actor, Peer, Portal


class RemoteRegistrar:
    """Another actor's phone book, with the words of `Registrar`.

    Every question raises `RegistrarUnavailable` when the registrar is gone, and all
    but `wait` when it does not answer within 1 s.
    """

    def __init__(self, peer: Peer) -> None:
        self.portal = Portal(peer)

    async def find(self, name: str) -> list[Found]:
        """See `Registrar.find`."""
        return await self._soon(verbs.find, name)

    async def wait(self, name: str) -> Found:
        """See `Registrar.wait`."""
        try:
            return await self.portal.run(verbs.wait, name)
        except TransportClosed as exc:
            raise self._gone(exc) from exc

    async def check(self, uid: Uid) -> None:
        """See `Registrar.check`."""
        await self._soon(verbs.check, *uid)

    async def _soon[**P, T](
        self, fn: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        with trio.move_on_after(LOOKUP_TIMEOUT):
            try:
                return await self.portal.run(fn, *args, **kwargs)
            except TransportClosed as exc:
                raise self._gone(exc) from exc
        name = self.portal.aid.reprol()
        msg = f"registrar {name!r} does not answer within {LOOKUP_TIMEOUT} s"
        raise RegistrarUnavailable(msg)

    def _gone(self, exc: Exception) -> RegistrarUnavailable:
        name = self.portal.aid.reprol()
        return RegistrarUnavailable(f"registrar {name!r} is gone: {exc}")


async def find_registrars(
    actor: Actor, addresses: Iterable[AnyAddress] | None, stack: AsyncExitStack
) -> list[Registrar | RemoteRegistrar]:
    """Those at some addresses, or else those of the tree; at least one.

    Args:
        actor: Who asks.
        addresses: Where they are; those of the tree by default.
        stack: Takes the connections that have to be made.

    Raises:
        RegistrarUnavailable: None of them answers within 1 s.
    """
    if addresses is not None:
        return [await _dialled(actor, address, stack) for address in addresses]
    if actor.is_registrar:
        return [actor.part(Registrar)]
    return [RemoteRegistrar(peer) for peer in await actor.part(Membership).registrars()]


async def _dialled(
    actor: Actor, given: AnyAddress, stack: AsyncExitStack
) -> Registrar | RemoteRegistrar:
    address = parse_address(given)
    if actor.is_registrar and address in actor.addresses:
        return actor.part(Registrar)
    with trio.move_on_after(LOOKUP_TIMEOUT):
        try:
            peer = await actor.network.dial(address)
        except TransportClosed as exc:
            msg = f"no registrar answers at {address}: {exc}"
            raise RegistrarUnavailable(msg) from exc
        stack.enter_context(actor.network.using(peer))
        return RemoteRegistrar(peer)
    msg = f"no registrar answers at {address} within {LOOKUP_TIMEOUT} s"
    raise RegistrarUnavailable(msg)


@asynccontextmanager
async def hold_name(actor: Actor, name: str) -> AsyncIterator[None]:
    """Keep a name for an actor that is being started, in the whole tree.

    Raises:
        NameTaken: Another one has it, or will have.
        RegistrarUnavailable: Nobody can tell.
    """
    async with AsyncExitStack() as stack:
        for registrar in await find_registrars(actor, None, stack):
            if isinstance(registrar, Registrar):
                stack.enter_context(registrar.hold(name))
            else:
                await stack.enter_async_context(_held(registrar.portal, name))
        yield


@asynccontextmanager
async def _held(portal: Portal, name: str) -> AsyncIterator[None]:
    try:
        async with portal.open_context(verbs.hold, name) as (ctx, _):
            yield
            await ctx.cancel()
    except RemoteActorError as exc:
        if exc.boxed_type is NameTaken:
            raise NameTaken(str(exc.unwrap())) from exc
        raise

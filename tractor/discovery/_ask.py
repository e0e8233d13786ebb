"""Asking registrars, wherever they are."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager

import trio

from tractor._exceptions import (
    ContextCancelled,
    NameTaken,
    RegistrarUnavailable,
    RemoteActorError,
    TransportClosed,
)
from tractor._types import Uid
from tractor.discovery import verbs
from tractor.discovery._membership import LOOKUP_TIMEOUT, Membership
from tractor.discovery._registrar import Found, Registrar
from tractor.ipc import Address, AnyAddress, TcpAddress, parse_address
from tractor.runtime import Actor, Peer, Portal


class RemoteRegistrar:
    """Another actor's phone book, with the words of `Registrar`.

    Every question raises `RegistrarUnavailable` when the registrar is gone, or does not
    answer within 1 s. It is pinged before: a call to one that does not answer could not
    be given up at once.
    """

    def __init__(self, peer: Peer) -> None:
        self.portal = Portal(peer)

    async def find(self, name: str) -> list[Found]:
        """See `Registrar.find`."""
        return await self._soon(verbs.find, name)

    async def wait(self, name: str, but: Uid) -> None:
        """See `Registrar.wait`."""
        await self.reach()
        with self._translated():
            await self.portal.run(verbs.wait, name, but)

    async def check(self, uid: Uid) -> None:
        """See `Registrar.check`."""
        await self._soon(verbs.check, *uid)

    @asynccontextmanager
    async def hold(self, name: str) -> AsyncIterator[None]:
        """See `Registrar.hold`."""
        await self.reach()
        try:
            with self._translated():
                async with self.portal.open_context(verbs.hold, name) as (ctx, _):
                    yield
                    await ctx.cancel()
        except RemoteActorError as exc:
            if exc.boxed_type is NameTaken:
                raise NameTaken(str(exc.unwrap())) from exc
            raise

    async def reach(self) -> None:
        """Make sure that it answers."""
        await self._soon(verbs.is_registrar)

    async def _soon[**P, T](
        self, fn: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        with trio.move_on_after(LOOKUP_TIMEOUT), self._translated():
            await self.portal.ping().wait()
            return await self.portal.run(fn, *args, **kwargs)
        name = self.portal.aid.reprol()
        msg = f"registrar {name!r} does not answer within {LOOKUP_TIMEOUT} s"
        raise RegistrarUnavailable(msg)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (TransportClosed, ContextCancelled) as exc:  # the latter while it ends
            name = self.portal.aid.reprol()
            msg = f"registrar {name!r} is gone: {exc}"
            raise RegistrarUnavailable(msg) from exc


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
        RuntimeFailure: This actor has no connections but with parent and children.
    """
    # What follows may fail at once; who then tries again must not starve the loop,
    # and with it the task that would notice that a registrar has ended.
    await trio.lowlevel.checkpoint()
    if actor.network_vars is None:
        assert actor.network  # raises, and says why
    if addresses is not None:
        return await _dial_all(actor, [*map(parse_address, addresses)], stack)
    if actor.is_registrar:
        return [actor.part(Registrar)]
    return [RemoteRegistrar(peer) for peer in await actor.part(Membership).registrars()]


async def _dial_all(
    actor: Actor, addresses: list[Address], stack: AsyncExitStack
) -> list[Registrar | RemoteRegistrar]:
    found: dict[Address, Registrar | RemoteRegistrar] = {}
    errors: list[RegistrarUnavailable] = []

    async def dial(address: Address) -> None:
        try:
            found[address] = await _dialled(actor, address, stack)
        except RegistrarUnavailable as exc:
            errors.append(exc)

    async with trio.open_nursery() as attempts:
        for address in dict.fromkeys(addresses):
            if actor.is_registrar and _is_own(actor, address):
                found[address] = actor.part(Registrar)
            else:
                attempts.start_soon(dial, address)
    if not found:
        msg = "; ".join(map(str, errors)) or "no address of a registrar was given"
        raise RegistrarUnavailable(msg) from (errors[0] if errors else None)
    return [found[address] for address in addresses if address in found]


def _is_own(actor: Actor, address: Address) -> bool:
    """Whether this actor itself listens there."""
    places = [address]
    if isinstance(address, TcpAddress) and address.host == "localhost":
        places = [TcpAddress(host, address.port) for host in ("127.0.0.1", "::1")]
    return any(place in actor.addresses for place in places)


async def _dialled(
    actor: Actor, address: Address, stack: AsyncExitStack
) -> RemoteRegistrar:
    with trio.move_on_after(LOOKUP_TIMEOUT):
        try:
            peer = await actor.network.dial(address)
            stack.enter_context(actor.network.using(peer))
            registrar = RemoteRegistrar(peer)
            if await registrar.portal.run(verbs.is_registrar):
                return registrar
        except (TransportClosed, ContextCancelled) as exc:  # the latter while it ends
            msg = f"no registrar answers at {address}: {exc}"
            raise RegistrarUnavailable(msg) from exc
        name = peer.aid.reprol()
        msg = f"actor {name!r}, which listens at {address}, is no registrar"
        raise RegistrarUnavailable(msg)
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
                await stack.enter_async_context(registrar.hold(name))
        yield

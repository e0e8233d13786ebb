"""How an actor gets to be found: a root by opening a network, a child by joining it."""

import os
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import trio
from msgspec.structs import replace

from tractor._exceptions import (
    ActorUnreachable,
    AddressInUse,
    AuthenticationFailed,
    ContextCancelled,
    ForeignProtocol,
    RegistrarUnavailable,
    RuntimeFailure,
    TransportClosed,
)
from tractor.discovery import verbs
from tractor.discovery._membership import Membership
from tractor.discovery._options import NetworkOptions
from tractor.discovery._registrar import Registrar
from tractor.ipc import (
    Address,
    TcpAddress,
    UnixAddress,
    by_preference,
    parse_address,
)
from tractor.ipc.network import TreeDir, socket_path
from tractor.log import get_logger
from tractor.msg.types import NetworkVars
from tractor.runtime import Actor, Portal

log = get_logger("discovery")


class _Ending(ActorUnreachable):
    """A registrar answers, and is about to end."""


class _NoRegistrar(ActorUnreachable):
    """An actor answers that is no registrar; perhaps not yet."""


ATTEMPTS: Final = 5  # to join a registrar, or else to become it
SETTLE_TIMEOUT: Final = 1.0  # seconds, but for what is under way; reliability F4
ENDING_TIMEOUT: Final = 4.0  # seconds for another one to end; its bound is 3.5
TRUCE: Final = (0.01, 0.1)  # seconds between them, at random: another does the same
JOIN_TIMEOUT: Final = 1.0  # seconds of a child's boot for the registrar


# -- the root --------------------------------------------------------------------------


@asynccontextmanager
async def open_network(actor: Actor, options: NetworkOptions) -> AsyncIterator[None]:
    """Let a root be found, and be or find a registrar, during the block.

    Raises:
        RegistrarUnavailable: No registrar answers at the addresses that were given, and
            this machine cannot listen at them.
        AddressInUse: Something else does, or another program listens where this one
            was to.
        AuthenticationFailed: The registrar is of another tree.
        RuntimeFailure: There is a registrar, with `ensure_registry`; or there is no
            folder for sockets.
    """
    if not options.transports:
        yield
        return
    folder = TreeDir.create()
    try:
        secret = options.choose_secret()
        folder.write_secret(secret)
        actor.open_network(
            NetworkVars(secret.reveal(), os.fsencode(folder.path), None),
            client_tls=options.client_tls,
            server_tls=options.server_tls,
        )
        try:
            for address in (
                *_defaults(actor, options, folder.path),
                *options.bind_addrs,
            ):
                actor.network.listen(address)
            await _settle(actor, options)
            yield
        finally:
            with trio.CancelScope(shield=True):
                await actor.close_network()
    finally:
        folder.close()


def _defaults(actor: Actor, options: NetworkOptions, folder: Path) -> list[Address]:
    """Where a root listens in any case; children of its children look there."""
    found: list[Address] = []
    if "uds" in options.transports:
        found.append(UnixAddress(socket_path(folder, actor.aid.uuid)))
    if "tcp" in options.transports:
        found.append(TcpAddress("127.0.0.1", 0))
    return found


async def _settle(actor: Actor, options: NetworkOptions) -> None:
    """Become a member of a registrar, or the registrar."""
    addresses = options.registry_addrs
    listening: set[Address] = set()
    problems: dict[Address, TransportClosed] = {}
    now = trio.current_time()
    deadline, end_of_patience = now + SETTLE_TIMEOUT, now + ENDING_TIMEOUT
    attempt = 0
    while True:
        if await _is_there_one(actor, options, listening, problems):
            texts = tuple(map(str, addresses))
            actor.runtime_vars = replace(actor.runtime_vars, registry_addrs=texts)
            for address in addresses:
                await actor.part(Membership).begin(address)
            return
        now = trio.current_time()
        attempt += 1
        ending = any(isinstance(each, _Ending) for each in problems.values())
        if ending and now < end_of_patience:  # what counts begins when it is gone
            attempt, deadline = 0, now + SETTLE_TIMEOUT
        last = attempt >= ATTEMPTS or now > deadline
        if _listen(actor, problems, listening, last=last):
            break
        await trio.sleep(random.uniform(*TRUCE))
    actor.become_registrar(str(by_preference(actor.network.addresses)[0]))
    if "uds" in {address.transport for address in actor.network.addresses}:
        registrar = actor.part(Registrar)
        actor.spawn(registrar.keep_reachable, name="care for the registrar's files")


def _listen(
    actor: Actor,
    problems: dict[Address, TransportClosed],
    listening: set[Address],
    *,
    last: bool,
) -> bool:
    """Whether it worked where there is no registrar; `listening` is where it did.

    Raises:
        RegistrarUnavailable: This machine can never listen there.
        AddressInUse: Somebody else does, at the `last` attempt.
        RuntimeFailure: An actor does that is no registrar, likewise.
    """
    # All go through them in one order: who gets the first is not stopped at the next
    # by another who has got that, and waits for the first.
    for address in sorted({*problems} - listening, key=str):
        problem = problems[address]
        try:
            actor.network.listen(address)
        except (AddressInUse, OSError) as exc:
            # Perhaps by one that is about to become a registrar, or no longer to be it.
            passing = isinstance(problem, _Ending | _NoRegistrar)
            taken = isinstance(exc, AddressInUse)
            if (taken or passing) and not last:
                return False
            if isinstance(problem, _NoRegistrar):
                raise RuntimeFailure(str(problem)) from exc
            if taken:
                raise
            msg = f"no registrar: {problem}; and this machine cannot be it: {exc}"
            raise RegistrarUnavailable(msg) from exc
        listening.add(address)
    return True


async def _is_there_one(
    actor: Actor,
    options: NetworkOptions,
    listening: set[Address],
    problems: dict[Address, TransportClosed],
) -> bool:
    """Whether another registrar answers at one of the addresses; else the `problems`.

    Raises:
        RuntimeFailure: It does, and must not.
        AuthenticationFailed: It does not know our secret.
    """
    for address in options.registry_addrs:
        if address in listening:
            continue
        try:
            name = await _name_of_registrar(actor, address)
        except TransportClosed as exc:
            if isinstance(exc, AuthenticationFailed) and not (
                isinstance(exc, ForeignProtocol)  # it is no actor at all
            ):
                raise
            log.info("no registrar at %s yet: %s", address, exc)
            problems[address] = exc
            continue
        if options.ensure_registry:
            msg = f"ensure_registry: actor {name!r} is the registrar at {address}"
            raise RuntimeFailure(msg)
        return True
    return False


async def _name_of_registrar(actor: Actor, address: Address) -> str:
    with trio.move_on_after(SETTLE_TIMEOUT):
        peer = await actor.network.dial(address)
        with actor.network.using(peer):
            name = peer.aid.reprol()
            try:
                if await Portal(peer).run(verbs.is_registrar):
                    return name
            except ContextCancelled as exc:
                msg = f"registrar {name!r} at {address} is about to end"
                raise _Ending(msg) from exc
            msg = f"actor {name!r}, which listens at {address}, is no registrar"
            raise _NoRegistrar(msg)
    msg = f"nobody said hello at {address} within {SETTLE_TIMEOUT} s"
    raise ActorUnreachable(msg)


# -- a child ---------------------------------------------------------------------------


async def join_tree(actor: Actor) -> None:
    """Have a child listed by the registrar of its tree; waits for 1 s at most.

    If the registrar does not answer, the child goes on trying while it runs.
    """
    membership = actor.part(Membership)
    with trio.move_on_after(JOIN_TIMEOUT):
        async with trio.open_nursery() as attempts:
            for text in actor.runtime_vars.registry_addrs:
                attempts.start_soon(membership.begin, parse_address(text))

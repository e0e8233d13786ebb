"""An actor's connections with actors that are neither its parent nor its children.

It listens where it was told to, or once somebody asks where it can be found; it dials
others, proves to them that it is of the tree, and they do the same. What comes of both
is a `Peer` like any other. A connection that was dialled lasts while somebody here uses
it, one that was accepted while the other side does.
"""

import errno
import os
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import trio

from tractor._exceptions import (
    ActorUnreachable,
    AddressInUse,
    AuthenticationFailed,
    RuntimeFailure,
    TransportBroken,
    TransportClosed,
)
from tractor._types import Uid
from tractor.ipc import (
    Address,
    Channel,
    TcpAddress,
    Transport,
    UnixAddress,
    by_preference,
)
from tractor.ipc.network import (
    HELLO_TIMEOUT,
    BoundSocket,
    Guest,
    Listener,
    Secret,
    bind,
    connect,
    introduce,
    socket_path,
)
from tractor.log import get_logger
from tractor.msg import types as t
from tractor.runtime._peer import Peer

if TYPE_CHECKING:
    import ssl

    from tractor.runtime._actor import Actor

log = get_logger("network")

KEEPALIVE: Final = 10.0  # seconds between two signs of life from another machine


class Network:
    """The listeners and dialled connections of one actor.

    Args:
        actor: Whose.
        vars_: The secret of the tree, and the folder of its sockets.
        client_tls: For connections to other machines.
        server_tls: For connections from other machines.
    """

    def __init__(
        self,
        actor: "Actor",
        vars_: t.NetworkVars,
        *,
        client_tls: "ssl.SSLContext | None" = None,
        server_tls: "ssl.SSLContext | None" = None,
    ) -> None:
        self._folder = vars_.folder
        self._actor = actor
        self._secret = Secret(vars_.secret)
        self._client_tls = client_tls
        self._server_tls = server_tls
        self._born = time.time()
        self._listener = Listener(
            secret=self._secret,
            greet=self._greet,
            on_met=self._on_guest,
            server_tls=server_tls,
        )
        self._bound: list[BoundSocket] = []
        self._met: set[Peer] = set()  # all that are neither parent nor child
        self._users: dict[Peer, int] = {}  # of the connections that we have dialled

    # -- being found -------------------------------------------------------------------

    @property
    def addresses(self) -> list[Address]:
        """Where it listens."""
        return [bound.address for bound in self._bound]

    def listen(self, address: Address) -> list[Address]:
        """Accept connections there; where exactly, for port 0.

        Raises:
            AddressInUse: Somebody else does.
            OSError: It cannot be done; also if other machines could reach it, and there
                is no context to encrypt with.
        """
        if not address.is_local and self._server_tls is None:
            msg = (
                f"cannot listen at {address}: other machines could reach it, and that "
                "needs encryption: give ssl_context, with the certificate of this one"
            )
            raise OSError(errno.EACCES, msg)
        new = bind(address)
        for bound in new:
            self._bound.append(bound)
            name = f"listener at {bound.address}"
            self._actor.spawn(self._listener.serve, bound.sock, name=name)
        return [bound.address for bound in new]

    def reachable_at(self) -> list[Address]:
        """Where others of the tree find it; begins to listen if it does not yet.

        Raises:
            RuntimeFailure: The tree has no transports.
        """
        self.mend()
        if not (found := [each.address for each in self._bound if not each.lost]):
            for address in self._default_addresses():
                found += self.listen(address)
        if not found:
            msg = f"{self._actor!r} cannot be reached: enable_transports is empty"
            raise RuntimeFailure(msg)
        return found

    def mend(self) -> None:
        """Listen again where the file of a socket was removed, if that works."""
        for lost in [each for each in self._bound if each.lost]:
            try:
                self.listen(lost.address)
            except AddressInUse as exc:
                log.warning("the address is lost: %s", exc)
            except OSError as exc:
                log.info("cannot listen again at %s yet: %s", lost.address, exc)
                continue
            self._bound.remove(lost)
            self._listener.close(lost.sock)

    def _default_addresses(self) -> Iterator[Address]:
        for transport in self._actor.runtime_vars.enable_transports:
            if transport == "tcp":
                yield TcpAddress("127.0.0.1", 0)
            elif self._folder is not None:
                folder = Path(os.fsdecode(self._folder))
                yield UnixAddress(socket_path(folder, self._actor.aid.uuid))

    def _on_guest(self, guest: Guest) -> None:
        """Somebody of the tree has dialled us."""
        greet, pid = guest.greet, guest.pid
        if self._actor.ended:
            msg = "this actor has ended"
            raise TransportClosed(msg)
        known = [peer for peer in self._actor.peers if peer.aid == greet.aid]
        forged = greet.aid == self._actor.aid or any(
            None not in (pid, peer.aid.pid) and pid != peer.aid.pid for peer in known
        )
        if forged:
            msg = f"a connection that claims to be {greet.aid.reprol()!r}, and is not"
            raise TransportClosed(msg)
        peer = self._add(guest.transport, greet, opens_even=False, local=guest.local)
        peer.lasting = False
        if greet.member:
            peer.join(greet.born)

    # -- finding others ----------------------------------------------------------------

    @asynccontextmanager
    async def connection(
        self, uid: Uid, addresses: Iterable[Address]
    ) -> AsyncIterator[Peer]:
        """A connection with the actor of that uid, shared with others that use it.

        Raises:
            ActorUnreachable: Nobody answers at any of the addresses.
            AuthenticationFailed: Who answers has another secret.
        """
        peer = self._known(uid) or await self._dial_any(addresses, uid)
        with self.using(peer):
            yield peer

    def can_dial(self, address: Address) -> bool:
        """Whether it makes sense to try: only with encryption beyond this machine."""
        return address.is_local or self._client_tls is not None

    def _known(self, uid: Uid) -> Peer | None:
        found = (peer for peer in self._actor.peers if peer.aid.uid == uid)
        return next((peer for peer in found if peer.reliable), None)

    @contextmanager
    def using(self, peer: Peer) -> Iterator[None]:
        """Keep a connection during the block."""
        if peer not in self._users:  # it is not ours to end
            yield
            return
        self._users[peer] += 1
        try:
            yield
        finally:
            self._users[peer] -= 1
            self._drop_unused(peer)

    async def dial(self, address: Address, *, member: bool = False) -> Peer:
        """Connect to whoever listens there; to be used by `using` at once.

        Args:
            address: Where.
            member: Whether a registrar there is to list this actor while the
                connection lasts.

        Raises:
            ActorUnreachable: Nobody answers within 3 s.
            AuthenticationFailed: Who answers has another secret.
            TransportClosed: It hung up.
        """
        with trio.move_on_after(HELLO_TIMEOUT):
            transport = await connect(address, self._client_tls)
            try:
                greet = await introduce(transport, self._secret, self._greet(member))
            except TransportClosed as exc:
                exc.add_note(f"at {address}")
                raise
            problem = ""
            if greet.aid == self._actor.aid:
                problem = f"actor {greet.aid.reprol()!r} itself listens at {address}"
            elif self._actor.ended:  # meanwhile; whoever dials may be outside of it
                problem = f"{self._actor!r} has ended, and cannot reach {address}"
            if problem:
                transport.close()
                raise ActorUnreachable(problem)
            peer = self._add(transport, greet, opens_even=True, local=address.is_local)
            self._users[peer] = 0
            return peer
        msg = f"nobody said hello at {address} within {HELLO_TIMEOUT} s"
        raise ActorUnreachable(msg)

    async def _dial_any(self, addresses: Iterable[Address], uid: Uid) -> Peer:
        errors: list[str] = []
        refusal: AuthenticationFailed | None = None
        for address in by_preference(addresses):
            try:
                peer = await self.dial(address)
            except TransportClosed as exc:
                # Not the end: what is near for that actor may be somebody else's here.
                errors.append(str(exc))
                if isinstance(exc, AuthenticationFailed):
                    refusal = refusal or exc
                continue
            if peer.aid.uid == uid:
                return peer
            self._drop_unused(peer)
            errors.append(f"{peer.aid.reprol()!r} answers at {address}")
        if refusal is not None:
            raise refusal
        msg = f"actor {uid[0]!r} cannot be reached: {'; '.join(errors) or 'nowhere'}"
        raise ActorUnreachable(msg)

    def _drop_unused(self, peer: Peer) -> None:
        if not self._users[peer]:
            del self._users[peer]
            peer.lasting = False
            if not self._actor.ended:
                name = f"goodbye to {peer.aid.reprol()}"
                self._actor.spawn(self._hang_up, peer, name=name)

    # -- life of a connection ----------------------------------------------------------

    def _greet(self, member: bool = False) -> t.Greet:
        actor = self._actor
        max_frame = actor.runtime_vars.max_frame
        return t.Greet(actor.aid, self._born, max_frame, member)

    def _add(
        self, transport: Transport, greet: t.Greet, *, opens_even: bool, local: bool
    ) -> Peer:
        actor = self._actor
        max_frame = min(actor.runtime_vars.max_frame, greet.max_frame)
        peer = Peer(
            actor,
            greet.aid,
            Channel(transport, max_frame=max_frame),
            opens_even=opens_even,
            on_cancel_actor=actor.cancel_soon,
        )
        if actor.cancel_caller is not None:
            peer.server.close(actor.cancel_caller, actor.graces.cancel)
        self._met.add(peer)
        actor.add_peer(peer)
        actor.spawn(self._follow, peer, name=f"watch of {peer.aid.reprol()}")
        if not local:
            actor.spawn(_keep_alive, peer, name=f"keep-alive of {peer.aid.reprol()}")
        return peer

    async def _follow(self, peer: Peer) -> None:
        """Once it is gone, tell whoever waits on it, and forget it."""
        try:
            await peer.ended.wait()
        finally:
            # Also when this actor ends: tasks outside of it may wait, too.
            peer.fail(self._end_of(peer))
            self._met.discard(peer)
        self._actor.note_members()
        # Its functions are cancelled, and may take their time to end.
        await peer.server.wait_idle()
        self._actor.remove_peer(peer)

    def _end_of(self, peer: Peer) -> Callable[[], TransportClosed]:
        """What whoever waits for a peer gets once it is gone."""
        name = peer.aid.reprol()
        if peer.bye is not None:
            return partial(TransportClosed, f"actor {name!r} hung up")
        if not peer.ended.is_set():
            why = f"{self._actor!r} has ended, and its connection with {name!r}"
            return partial(TransportClosed, why)
        why = f"the connection with {name!r} broke: {peer.reason}"
        return partial(TransportBroken, why)

    async def _hang_up(self, peer: Peer) -> None:
        why = f"the connection with {peer.aid.reprol()!r} was closed on this side"
        try:
            peer.say_bye(None)
            with trio.move_on_after(self._actor.graces.ack):
                await peer.channel.drain()
        finally:
            peer.fail(partial(TransportClosed, why))

    async def close(self) -> None:
        """Listen no more, and say goodbye to everybody, within the ack grace."""
        while self._bound:
            bound = self._bound.pop()
            bound.unlink()  # first: the number of its file may soon be another's
            self._listener.close(bound.sock)
        async with trio.open_nursery() as goodbyes:
            for peer in list(self._met):
                goodbyes.start_soon(self._hang_up, peer)


async def _keep_alive(peer: Peer) -> None:
    """Notice that another machine says nothing any more, within 3 periods.

    Whatever arrives is a sign of life, and so is that it takes what we send: an answer
    to a ping may be far behind in the queue.
    """
    asked = False
    while True:
        signs = peer.channel.life_signs
        with trio.move_on_after(KEEPALIVE):
            await peer.ended.wait()
            return
        if peer.channel.life_signs != signs:
            asked = False
        elif asked:
            break
        else:
            with suppress(TransportClosed):  # then it has ended, or will at once
                peer.ping()
            asked = True
    silence = f"no sign of life from {peer.aid.reprol()!r} for {2 * KEEPALIVE} s"
    peer.fail(partial(TransportBroken, silence))

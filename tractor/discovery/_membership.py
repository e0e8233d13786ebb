"""An actor's connections with the registrars that its tree uses.

Such a connection is what keeps the actor in the registrar's list, and over it the actor
asks for others. When one breaks, it is made again: soon, and after a random time, since
everybody else has lost theirs in the same moment. The child of a registrar needs none;
it has its link.
"""

import random
from contextlib import suppress
from typing import Final

import trio

from tractor._exceptions import RegistrarUnavailable, TransportClosed
from tractor._types import Aid
from tractor.ipc import Address
from tractor.log import get_logger
from tractor.runtime import Actor, Peer

log = get_logger("membership")

RETRY: Final = (0.3, 1.5)  # seconds between two attempts, at random; reliability F2
LEAST_PAUSE: Final = 0.1  # seconds between them, however many wait for one
LOOKUP_TIMEOUT: Final = 1.0  # seconds for a registrar to answer; reliability F1


class Membership:
    """A part of an actor: what it has with registrars."""

    def __init__(self, actor: Actor) -> None:
        self._actor = actor
        self._registrars: dict[Address, Peer] = {}
        self._changed = trio.Event()
        self._wanted = trio.Event()
        self._out_of_reach: list[Address] = []
        self._attempts = 0

    async def begin(self, address: Address) -> None:
        """Become a member there, and stay one; returns after the first attempt.

        Only a root has what it needs for other machines; others do without.
        """
        if not self._actor.network.can_dial(address):
            self._out_of_reach.append(address)
            return
        self._attempts += 1
        tried = trio.Event()
        name = f"membership at {address}"
        self._actor.spawn(self._stay, address, tried, name=name)
        await tried.wait()

    async def registrars(self) -> list[Peer]:
        """Those that answer now.

        Raises:
            RegistrarUnavailable: None does within 1 s.
        """
        parent = self._actor.parent
        network_vars = self._actor.network_vars
        registrar = network_vars.registrar if network_vars is not None else None
        if parent is not None and parent.aid.uid == registrar:
            return [parent]
        if self._out_of_reach and not self._attempts:
            msg = (
                f"the registrar is on another machine, at {self._known()}, and only "
                "the root of a tree talks with those; look up there"
            )
            raise RegistrarUnavailable(msg)
        with trio.move_on_after(LOOKUP_TIMEOUT):
            while not (found := self._live()):
                changed = self._changed
                self._want()
                await changed.wait()
            return found
        msg = f"no registrar answers; tried {self._known()}"
        raise RegistrarUnavailable(msg)

    def _find(self, aid: Aid) -> Peer | None:
        return next((peer for peer in self._live() if peer.aid == aid), None)

    def _live(self) -> list[Peer]:
        peers = self._registrars.values()
        return [peer for peer in peers if not peer.ended.is_set()]

    def _known(self) -> str:
        return ", ".join(self._actor.runtime_vars.registry_addrs) or "none"

    async def _stay(self, address: Address, tried: trio.Event) -> None:
        while True:
            try:
                await self._belong(address, tried)
            finally:
                tried.set()  # whoever waits for it must not wait for ever
            wanted = self._wanted
            self._note()
            with trio.move_on_after(random.uniform(*RETRY)):
                await trio.sleep(LEAST_PAUSE)
                await wanted.wait()

    async def _belong(self, address: Address, tried: trio.Event) -> None:
        """Be a member there, if it can be, until that is over."""
        network = self._actor.network
        try:
            peer = await network.dial(address, member=True)
        except TransportClosed as exc:
            log.info("no registrar at %s: %s", address, exc)
            return
        known = self._find(peer.aid)
        with network.using(peer):
            if known is None:
                self._registrars[address] = peer
                try:
                    if await _listed(peer):
                        self._note()
                        tried.set()
                        await peer.wait_failed()
                finally:
                    del self._registrars[address]
                log.info("lost the registrar at %s: %s", address, peer.reason)
        if known is not None:  # by another of its addresses
            tried.set()
            await known.wait_failed()

    def _want(self) -> None:
        wanted, self._wanted = self._wanted, trio.Event()
        wanted.set()

    def _note(self) -> None:
        changed, self._changed = self._changed, trio.Event()
        changed.set()


async def _listed(peer: Peer) -> bool:
    """Wait until a registrar has us in its list: its hello is done before it has.

    It answers no ping before that, and if it answers none at all we try again.
    """
    with trio.move_on_after(LOOKUP_TIMEOUT), suppress(TransportClosed):
        await peer.ping().wait()
        return True
    return False

"""The phone book of a tree: names, and where their actors can be reached.

There is no list to be kept: who is registered is who has a channel to the registrar, as
its child or because it asked to be listed, and an entry lasts exactly as long as that
channel. Where an actor listens is asked when somebody wants to know, of the actor
itself; it begins to listen then.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import trio
from msgspec import Struct

from tractor._exceptions import (
    ContextCancelled,
    NameTaken,
    TractorError,
    TransportBroken,
)
from tractor._types import Aid, Uid
from tractor.ipc import parse_address
from tractor.log import get_logger
from tractor.msg import PayloadType
from tractor.runtime import Actor, Peer

log = get_logger("registrar")

ANSWER_TIMEOUT: Final = 0.5  # seconds for an actor to say where it is
MEND_PERIOD: Final = 1.0  # seconds between two looks at our own socket files
VERBS: Final = "tractor.discovery.verbs"

_TEXTS: Final[PayloadType[Any]] = PayloadType(list[str])


class Found(Struct, frozen=True, array_like=True):
    """Where an actor can be reached.

    Attributes:
        aid: Who it is.
        addresses: As multiaddr-style texts; empty if it does not answer.
    """

    aid: Aid
    addresses: list[str]


class _Question:
    """Where an actor is, asked for whoever wants to know meanwhile."""

    def __init__(self) -> None:
        self.addresses: list[str] = []
        self.answered = trio.Event()


class Registrar:
    """The phone book that one actor keeps; a part of it."""

    def __init__(self, actor: Actor) -> None:
        self._actor = actor
        self._held: set[str] = set()  # names of actors that are being started
        self._questions: dict[Peer, _Question] = {}  # one for each actor, if any
        self._ending: set[Peer] = set()  # they have said so

    def members(self, name: str | None = None) -> list[Peer]:
        """Those that are registered now, the newest first."""
        found = [
            peer
            for peer in self._actor.peers
            if peer.member_since is not None
            and not peer.ended.is_set()
            and name in (None, peer.aid.name)
        ]
        return sorted(found, key=lambda peer: peer.member_since or 0.0, reverse=True)

    async def find(self, name: str) -> list[Found]:
        """Those of that name, the newest first, and this actor itself last.

        Who is about to end is not among them.
        """
        located: dict[Peer, Found] = {}

        async def locate(peer: Peer) -> None:
            located[peer] = await self.locate(peer)

        async with trio.open_nursery() as questions:
            for peer in self._staying(name):
                questions.start_soon(locate, peer)
        found = [located[peer] for peer in self._staying(name) if peer in located]
        if self._actor.name == name:
            found.append(self.self_found())
        return found

    async def wait(self, name: str, but: Uid) -> None:
        """Wait until there is one of that name beside `but`."""
        me = self._actor.aid
        while not (me.name == name and me.uid != but):
            if any(peer.aid.uid != but for peer in self._staying(name)):
                return
            await self._actor.wait_members_changed()

    async def locate(self, peer: Peer) -> Found:
        """Where a registered actor listens.

        Cancellation: acts at once.
        """
        question = self._questions.get(peer)
        if question is None:
            question = self._questions[peer] = _Question()
            # In a task of its own: who makes a call cannot give it up at once.
            name = f"question to {peer.aid.reprol()}"
            self._actor.spawn(self._ask, peer, question, name=name)
        with trio.move_on_after(ANSWER_TIMEOUT):
            await question.answered.wait()
        return Found(peer.aid, question.addresses)

    def self_found(self) -> Found:
        """Where the registrar itself listens."""
        addresses = self._actor.network.reachable_at()
        return Found(self._actor.aid, [str(address) for address in addresses])

    async def check(self, uid: Uid) -> None:
        """Forget an actor that somebody cannot reach, if it does not answer us either.

        Its channel is closed, as if it had broken; not that of a child, whose end is
        known without it, nor one over which something is going on.
        """
        for peer in self.members():
            calls = len(peer.in_flight) - (peer in self._questions)
            busy = peer.is_child or peer.ends or calls
            if peer.aid.uid == uid and not busy:
                await _close_if_dead(peer)

    @contextmanager
    def hold(self, name: str) -> Iterator[None]:
        """Keep a name for an actor that is being started.

        Raises:
            NameTaken: Another one has it, or will have.
        """
        taken = name in self._held or name == self._actor.name
        if taken or self.members(name):
            msg = (
                f"an actor called {name!r} runs already; choose another name, or "
                "start it without unique=True"
            )
            raise NameTaken(msg)
        self._held.add(name)
        try:
            yield
        finally:
            self._held.discard(name)

    async def keep_reachable(self) -> None:
        """Listen again wherever the file of a socket of ours is removed; a service.

        Others learn of it when somebody asks where they are; of a registrar nobody
        asks that.
        """
        while True:
            await trio.sleep(MEND_PERIOD)
            self._actor.network.mend()

    def _staying(self, name: str) -> list[Peer]:
        return [peer for peer in self.members(name) if peer not in self._ending]

    async def _ask(self, peer: Peer, question: _Question) -> None:
        try:
            texts = await peer.call(VERBS, "where", (), {}, _TEXTS)
            question.addresses = [str(parse_address(text)) for text in texts]
        except ContextCancelled:
            self._ending = {each for each in self._ending if not each.ended.is_set()}
            self._ending.add(peer)
        except (TractorError, ValueError) as exc:
            log.info("%s does not say where it is: %s", peer.aid.reprol(), exc)
        finally:
            del self._questions[peer]
            question.answered.set()


async def _close_if_dead(peer: Peer) -> None:
    with trio.move_on_after(ANSWER_TIMEOUT):
        try:
            await peer.ping().wait()
        except TractorError:
            pass  # it knows already that it is closed
        else:
            return
    name = peer.aid.reprol()
    peer.fail(lambda: TransportBroken(f"{name!r} answers nobody any more"))

"""An actor: its peers, channels, calls and streams; and the whole report on it.

All of it is read from outside the event loop, which may be stuck, and may as well go
on meanwhile: so every dictionary is copied before it is walked.
"""

import os
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from tractor.devx._facts import ActorFacts, CallFacts, PeerFacts, Report
from tractor.devx._mailbox import current_interpreter
from tractor.devx._tasks import current_stacks, runs, threads
from tractor.runtime import Actor, Peer, StreamStatistics, maybe_actor, orphans


def take_report(here: FrameType | None = None) -> Report:
    """All that this interpreter knows of itself; a part that fails is named instead.

    Args:
        here: Where the calling thread is, for who calls from a signal handler.
    """
    missing: list[str] = []

    def part[T](name: str, make: Callable[[], T], otherwise: T) -> T:
        try:
            return make()
        except Exception as exc:  # noqa: BLE001 (the other parts are worth the more)
            missing.append(f"{name}: {type(exc).__name__}: {exc}")
            return otherwise

    stacks = current_stacks(here)
    return Report(
        pid=os.getpid(),
        interpreter=current_interpreter(),
        actor=part("actor", _current_actor, None),
        runs=part("tasks", lambda: runs(stacks), []),
        threads=part("threads", lambda: threads(stacks), []),
        interpreters=part("interpreters", _interpreters, []),
        missing=missing,
    )


def _interpreters() -> list[int]:
    module: Any = sys.modules.get("_interpreters")
    if module is None:  # then there are none
        return []
    return sorted(number for number, *_ in module.list_all() if number)


def _current_actor() -> ActorFacts | None:
    actor = maybe_actor()
    return _actor(actor) if actor is not None else None


def _actor(actor: Actor) -> ActorFacts:
    canceller = actor.cancel_caller
    return ActorFacts(
        aid=actor.aid,
        parent=actor.parent.aid if actor.parent is not None else None,
        state=f"asked to stop by {canceller[0]!r}" if canceller else "running",
        peers=[_peer(peer, actor.parent) for peer in list(actor.peers)],
        orphans=list(orphans()),
    )


def _peer(peer: Peer, parent: Peer | None) -> PeerFacts:
    relation = "parent" if peer is parent else "child" if peer.is_child else "peer"
    closed = peer.channel.closed
    return PeerFacts(
        aid=peer.aid,
        relation=relation,
        channel="open" if closed is None else f"closed: {closed}",
        queued=peer.channel.queued,
        calls=sorted(_calls(peer), key=lambda call: call.cid),
    )


def _calls(peer: Peer) -> Iterator[CallFacts]:
    for cid in peer.in_flight:
        yield CallFacts(cid, outgoing=True, path=None, state="")
    ends = dict(peer.ends)
    for cid, invocation in list(peer.server.invocations.items()):
        words, unread = [], None
        if invocation.canceller is not None:
            words.append(f"asked to end by {invocation.canceller[0]!r}")
        if (end := ends.pop(cid, None)) is not None:
            counts = end.statistics()
            unread = counts.unread
            words.append(_stream(counts, end.window))
        yield CallFacts(cid, False, invocation.path, "; ".join(words), unread)
    for cid, end in ends.items():
        counts = end.statistics()
        yield CallFacts(cid, True, None, _stream(counts, end.window), counts.unread)


def _stream(counts: StreamStatistics, window: int) -> str:
    words = [
        f"sent {counts.sent}, received {counts.received}",
        f"unread {counts.unread} of {window}, credit {counts.send_credit}",
    ]
    if counts.dropped:
        words.append(f"dropped {counts.dropped}")
    if counts.tasks_waiting_send:
        words.append(f"{counts.tasks_waiting_send} waiting to send")
    if counts.tasks_waiting_receive:
        words.append(f"{counts.tasks_waiting_receive} waiting to receive")
    return f"context: {'; '.join(words)}"

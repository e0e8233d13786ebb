"""Everything that goes on between this actor and one other.

A peer owns a channel and routes what arrives on it: outcomes to the calls that wait for
them, calls to the server, the rest to whoever supervises the connection. Nothing ever
waits on a dead peer: `fail` ends every wait at once, with the same news.

Life of a peer: *up* (the channel works) → *ended* (its reader is done, and `reason`
says why) → *failed* (`fail` told every waiter). Between the last two the owner of a
child may take a moment to learn how the child died, so that the news is complete.
"""

import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import trio

from tractor._exceptions import (
    ContextCancelled,
    FrameTooLarge,
    RemoteProtocolError,
    TransportClosed,
)
from tractor._instrument import hub
from tractor._types import Aid, ErrorInfo, Uid
from tractor.ipc import Channel
from tractor.log import get_logger
from tractor.msg import ANY, PayloadType, shorten, unbox
from tractor.msg import types as t
from tractor.runtime._calls import Call, Turns, argument_of, result_of
from tractor.runtime._pings import PingAnswers
from tractor.runtime._rpc import Host, Server
from tractor.runtime._state import current_invocation, granted_graces

if TYPE_CHECKING:
    from tractor.runtime._dialogue import DialogueEnd

log = get_logger("peer")

MAX_IN_FLIGHT: Final = 1024  # calls to one peer at once; see docs/adr/0009


type _OfDialogue = t.Started | t.Yield | t.Stop | t.Credit | t.Return | t.Error


class Peer:
    """One other actor, as seen from here.

    Attributes:
        aid: Who it is.
        server: What runs here for it.
        ends: Our ends of contexts with it, by ``cid``.
        ended: Set once it said goodbye, or the channel carries nothing any more.
        reason: Why the channel ended.
        bye: Its last record, when it ended in order.
        cancel_acked: Whether it acknowledged a request to stop.
        cancel_settled: Set once it did, or will never do.
        late: Dialogues whose function did not end in time when it was asked to.
        dropped: How many records arrived for dialogues that were over.
        lasting: Whether this side says how long the channel lasts. Else the other one
            does, who has dialled, and may hang up at any time.
        member_since: Unix time from which a registrar here lists it: a child that is
            ready, or who asked for that; `None` for others.
    """

    def __init__(
        self,
        host: Host,
        aid: Aid,
        channel: Channel,
        *,
        opens_even: bool,
        on_cancel_actor: Callable[[Uid, float], None],
        on_boot: Callable[[t.Stage | t.Ready | t.BootError], None] | None = None,
    ) -> None:
        self.aid = aid
        self.channel = channel
        self.host = host
        self.ends: dict[int, DialogueEnd] = {}
        self.server = Server(host, aid.uid, channel, self.ends)
        self.ended = trio.Event()
        self.reason: TransportClosed | None = None
        self.bye: t.Bye | None = None
        self.cancel_acked = False
        self.cancel_settled = trio.Event()
        self.late: set[int] = set()
        self.dropped = 0
        self.lasting = True
        self.member_since: float | None = None
        self._calls: dict[int, Call] = {}
        self._turns = Turns()
        self._pings: dict[int, trio.Event] = {}
        self._last_ping = 0
        self._next_cid = 0 if opens_even else 1
        self._on_cancel_actor = on_cancel_actor
        self._on_boot = on_boot
        self._failed = trio.Event()
        self._failure: Callable[[], TransportClosed] | None = None
        self._routes: dict[type[t.Record], Callable[[Any], None]] = {
            t.Start: self._on_start,
            t.Return: self._on_outcome,
            t.Error: self._on_outcome,
            t.Cancel: self.server.on_cancel,
            t.CancelAck: self._on_cancel_ack,
            t.CancelActor: self._on_cancel_request,
            t.Started: self._on_dialogue,
            t.Yield: self._on_dialogue,
            t.Stop: self._on_dialogue,
            t.Credit: self._on_dialogue,
            t.Ping: PingAnswers(channel, host.spawn).on_ping,
            t.Pong: self._on_pong,
            t.Bye: self._on_bye,
            t.Stage: self._on_boot_record,
            t.Ready: self._on_boot_record,
            t.BootError: self._on_boot_record,
        }

    # -- the connection ----------------------------------------------------------------

    async def serve(self) -> None:
        """Route what arrives until the channel ends; a task of the actor."""
        try:
            self.reason = await self.channel.run(self._dispatch)
            log.runtime("channel of %s ended: %s", self.aid.reprol(), self.reason)
        finally:
            self.ended.set()

    def fail(self, failure: Callable[[], TransportClosed]) -> None:
        """End every wait on this peer, now and later, with what `failure` makes."""
        if self._failure is not None:
            return
        self._failure = failure
        self.channel.close()
        for call in list(self._calls.values()):
            call.settle(t.EMPTY, failure())
        for end in list(self.ends.values()):
            end.fail(failure())
        self._turns.open()
        for answer in self._pings.values():
            answer.set()
        self.server.close(self.aid.uid, self.host.graces.cancel)
        self.cancel_settled.set()
        self._failed.set()

    @property
    def failure(self) -> TransportClosed | None:
        """What whoever waits on this peer gets; `None` while it is up."""
        return self._failure() if self._failure is not None else None

    async def wait_failed(self) -> None:
        """Wait until every waiter was told."""
        await self._failed.wait()

    def join(self, since: float) -> None:
        """Have it listed by a registrar here."""
        self.member_since = since
        self.host.note_members()

    # -- calling -----------------------------------------------------------------------

    async def call(
        self,
        ns: str,
        func: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        result_type: PayloadType[Any] = ANY,
    ) -> Any:
        """Run a function over there and return its result.

        No more than `MAX_IN_FLIGHT` calls are under way at once; others wait here for
        their turn, in order.

        Raises:
            MsgTypeError: An argument cannot be encoded; nothing was sent.
            RemoteActorError: The function raised.
            TransportClosed: The peer is gone, or `ActorDied` when it died.

        Cancellation: the function is cancelled, too, and its clean-up is awaited
        within the cancel grace.
        """
        params = ANY.encode((args, kwargs), argument_of(ns, func))
        await trio.lowlevel.checkpoint_if_cancelled()
        if self.channel.closed is not None or self._failure is not None:
            await self.ready_to_send()
        full = len(self._calls) >= MAX_IN_FLIGHT or self._turns.pending
        # A call made while serving a call waits for no turn: what has to end before
        # it could be waiting for this very one.
        if full and current_invocation.get() is None:
            await self._turns.wait()
            self._raise_if_failed()
        cid = self.new_cid()
        call = self._calls[cid] = Call()
        if self._turns.pending:
            self._admit()
        ok = False
        if hub.active:
            hub.emit("call_start", self.aid, ns=ns, func=func, cid=cid)
        try:
            await self._send(t.Start(cid, ns, func, params))
            try:
                result = await call.wait()
            except (trio.Cancelled, KeyboardInterrupt):
                await self._take_back(cid, call)
                raise
            ok = True
        finally:
            del self._calls[cid]
            if self._turns.pending:
                self._admit()
            if hub.active:
                hub.emit(
                    "call_end",
                    self.aid,
                    cid=cid,
                    ok=ok,
                    error=None if ok else sys.exception(),
                )
        return result_type.decode(result, result_of(ns, func))

    async def request_cancel(self, canceller: Uid, seconds: float) -> bool:
        """Ask the whole actor to stop within `seconds`; whether it acknowledged.

        Waits until it does or is gone; the caller bounds it.
        """
        try:
            # Never behind calls that wait until there is room to be sent.
            self.channel.send_nowait(t.CancelActor(canceller, seconds))
        except TransportClosed:
            return False
        await self.cancel_settled.wait()
        return self.cancel_acked

    def ping(self) -> trio.Event:
        """Ask for a sign of life; the event is set when it comes.

        Raises:
            TransportClosed: The channel is closed.
        """
        self._last_ping += 1
        self.channel.send_nowait(t.Ping(self._last_ping))
        answer = self._pings[self._last_ping] = trio.Event()
        return answer

    @property
    def overdue(self) -> bool:
        """Whether something there should have ended by now."""
        return bool(self.late)

    @property
    def is_child(self) -> bool:
        """Whether this actor started it."""
        return self._on_boot is not None

    @property
    def reliable(self) -> bool:
        """Whether anybody here may use it, and not only who opened the channel."""
        member = self.member_since is not None
        return (
            not self.ended.is_set()
            and (self.lasting or member)
            and (member or not self.is_child)
        )

    @property
    def in_flight(self) -> list[int]:
        """Numbers of our calls whose outcome is awaited, oldest first."""
        return list(self._calls)

    def say_bye(self, error: ErrorInfo | None) -> None:
        """Announce our own orderly end, and the error of our clean-up."""
        try:
            self._send_quietly(t.Bye(error))
        except FrameTooLarge:
            self._send_quietly(t.Bye(error and shorten(error)))

    def new_cid(self) -> int:
        """A number for a dialogue that we open."""
        cid = self._next_cid
        self._next_cid += 2
        return cid

    async def ready_to_send(self) -> None:
        """Raise at once for a dead peer; its fate is known in a moment, if not now."""
        await trio.lowlevel.checkpoint_if_cancelled()
        if self.channel.closed is not None:
            await self._failed.wait()
        self._raise_if_failed()

    def _admit(self) -> None:
        if len(self._calls) < MAX_IN_FLIGHT:
            self._turns.next()

    def _raise_if_failed(self) -> None:
        if self._failure is not None:
            raise self._failure()

    async def _send(self, record: t.Record) -> None:
        rush = len(self._calls) > 1  # else nobody could add to it
        try:
            if self.channel.crowded:
                await self.channel.send(record, relaxed=rush)
            else:
                self.channel.send_nowait(record, relaxed=rush)
        except TransportClosed:
            await self._failed.wait()
            assert self._failure is not None
            raise self._failure() from None

    async def _take_back(self, cid: int, call: Call) -> None:
        """Cancel a call over there and see its clean-up through, within the grace.

        Raises:
            RemoteActorError: The clean-up raised; an error outranks a cancellation.
        """
        grace = self.patience()
        with trio.move_on_after(grace, shield=True):
            with suppress(ContextCancelled, TransportClosed):
                self.channel.send_nowait(t.Cancel(cid, self.host.aid.uid, grace))
                await call.wait()
            return
        self.late.add(cid)
        log.cancel("%s did not end call %d within its grace", self.aid.reprol(), cid)

    def patience(self) -> float:
        """Seconds to wait for a function over there that was asked to end.

        None for a peer that has let such a wait run out and still does: the waits of
        one task would add up.
        """
        return 0.0 if self.overdue else granted_graces(self.host.graces).cancel

    # -- routing -----------------------------------------------------------------------

    def _dispatch(self, record: t.AnyRecord) -> None:
        handler = self._routes.get(type(record))
        if handler is None:
            msg = f"{type(record).__name__} has no place on a running channel"
            raise RemoteProtocolError(msg)
        handler(record)

    def _on_start(self, record: t.Start) -> None:
        if record.cid % 2 == self._next_cid % 2 or (
            record.cid in self.server.invocations
        ):
            msg = f"dialogue {record.cid} is not the peer's to open"
            raise RemoteProtocolError(msg)
        self.server.on_start(record)

    def _on_outcome(self, record: t.Return | t.Error) -> None:
        if (call := self._calls.get(record.cid)) is None:
            self._on_dialogue(record)
        elif isinstance(record, t.Return):
            call.settle(record.pld)
        else:
            call.settle(t.EMPTY, unbox(record.error))

    def _on_dialogue(self, record: _OfDialogue) -> None:
        if (end := self.ends.get(record.cid)) is not None:
            end.on_record(record)
            return
        if isinstance(record, t.Return | t.Error):
            self.late.discard(record.cid)
        self.dropped += 1
        if hub.active:
            hub.emit("dropped", self.aid, record=type(record).__name__)

    def _on_cancel_ack(self, record: t.CancelAck) -> None:
        if record.cid is None:
            self.cancel_acked = True
            self.cancel_settled.set()
        elif record.cid in self.ends:
            self.ends[record.cid].on_record(record)

    def _on_cancel_request(self, record: t.CancelActor) -> None:
        self._send_quietly(t.CancelAck(None))
        # At least 0, also where somebody sent NaN.
        self._on_cancel_actor(record.canceller, max(0.0, record.seconds))

    def _on_pong(self, record: t.Pong) -> None:
        for token in [each for each in self._pings if each <= record.token]:
            self._pings.pop(token).set()

    def _on_bye(self, record: t.Bye) -> None:
        self.bye = record
        self.ended.set()

    def _on_boot_record(self, record: t.Stage | t.Ready | t.BootError) -> None:
        if self._on_boot is None:
            msg = f"{type(record).__name__} from a peer that is not our child"
            raise RemoteProtocolError(msg)
        if isinstance(record, t.Ready):
            self.join(time.time())
        self._on_boot(record)

    def _send_quietly(self, record: t.Record) -> None:
        with suppress(TransportClosed):
            self.channel.send_nowait(record)

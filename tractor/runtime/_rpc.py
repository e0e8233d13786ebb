"""Serving: what happens in the callee between `Start` and the outcome.

Calls of one peer start in the order in which they arrive. trio runs the tasks of one
scheduling pass in either order, and so no task belongs to a call from the start: each
takes the one that is next when it begins.
"""

import math
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

import trio
from msgspec import Raw

from tractor._exceptions import (
    FrameTooLarge,
    Interrupted,
    RemoteProtocolError,
    TransportClosed,
)
from tractor._instrument import hub
from tractor._types import Aid, ErrorInfo, Graces, Uid
from tractor.ipc import Channel
from tractor.log import get_logger
from tractor.msg import ANY, Bulk, box, cancelled_info, shorten
from tractor.msg import types as t
from tractor.runtime._calls import argument_of, result_of
from tractor.runtime._dialogue import DialogueEnd
from tractor.runtime._exposure import Exposure
from tractor.runtime._linking import serve_context
from tractor.runtime._shields import lower_shields
from tractor.runtime._signature import call_types
from tractor.runtime._state import current_invocation
from tractor.runtime._workers import Job, KeptScope
from tractor.trionics import masked_error

if TYPE_CHECKING:
    from tractor.runtime._context import Context
    from tractor.runtime.hooks import Hooks

log = get_logger("rpc")


class Host(Protocol):
    """What serving needs of the actor that it serves."""

    @property
    def aid(self) -> Aid:
        """Its identity."""
        ...

    @property
    def stopper(self) -> Uid:
        """Who stops it from outside."""
        ...

    @property
    def exposure(self) -> Exposure:
        """The functions that it serves."""
        ...

    @property
    def graces(self) -> Graces:
        """Seconds for each rung of the ladder."""
        ...

    @property
    def hooks(self) -> "Hooks | None":
        """What is asked at certain points, if anything is."""
        ...

    def spawn(self, fn: Callable[..., Any], *args: Any, name: str) -> None:
        """Run `fn(*args)` as a task of the actor."""
        ...

    def serve(self, job: Job, *, name: str) -> None:
        """Run a job that serves a call as a task of the actor; see `Workers.run`."""
        ...

    def note_members(self) -> None:
        """Actors that a registrar here lists have come or gone."""
        ...


class Invocation:
    """One function running here for a peer.

    Attributes:
        scope: Cancelled when the caller, or whoever stops the actor, asks; `None` when
            it does not run, and then perhaps another one's already.
        canceller: Who asked; `None` while nobody has.
        deadline: trio time at which whoever asked cuts it off.
        context: Our end, when it is the callee of a context.
        task: Where it runs, once it does.
        body: Of a large result, what is not in its record.
    """

    __slots__ = ("body", "canceller", "context", "deadline", "scope", "start", "task")

    def __init__(self, start: t.Start) -> None:
        self.start = start
        self.scope: trio.CancelScope | None = None
        self.canceller: Uid | None = None
        self.deadline = float("inf")
        self.context: Context | None = None
        self.task: trio.lowlevel.Task | None = None
        self.body = b""

    def cancel(self, canceller: Uid, seconds: float) -> None:
        """Ask it to end within `seconds`; the first canceller stays on record."""
        if self.canceller is None:
            self.canceller = canceller
        self.deadline = min(self.deadline, trio.current_time() + seconds)
        self._cancel_scope()

    def begin(self, scope: trio.CancelScope) -> None:
        """It runs from now on, in this scope; it may have been cancelled before."""
        self.scope = scope
        if self.canceller is not None:
            self._cancel_scope()

    def _cancel_scope(self) -> None:
        if self.scope is not None and self.canceller is not None:
            self.scope.cancel(reason=f"asked by actor {self.canceller[0]!r}")

    @property
    def path(self) -> str:
        """``module.function``, for messages."""
        return f"{self.start.ns}.{self.start.func}"

    def arguments(self) -> tuple[list[Any], dict[str, Any]]:
        """What it was called with.

        Raises:
            MsgTypeError: They are not valid msgpack.
        """
        start = self.start
        args, kwargs = ANY.decode(start.params, argument_of(start.ns, start.func))
        return args, kwargs


class Server:
    """The functions that run here for one peer.

    Attributes:
        invocations: By ``cid``; gone from here once the outcome is sent.
        ends: Ends of contexts on this channel, by ``cid``; shared with the peer.
    """

    def __init__(
        self,
        host: Host,
        peer_uid: Uid,
        channel: Channel,
        ends: dict[int, DialogueEnd],
    ) -> None:
        self.invocations: dict[int, Invocation] = {}
        self.host = host
        self.peer_uid = peer_uid
        self.channel = channel
        self.ends = ends
        self._waiting: deque[Invocation] = deque()
        self._calls = 0  # invocations that are no contexts
        self._closed: Uid | None = None
        self._idle: trio.Event | None = None  # of who waits until nothing runs

    def on_start(self, record: t.Start) -> None:
        """A peer calls a function."""
        invocation = Invocation(record)
        if self._closed is not None:
            what = f"{invocation.path!r}, called while its actor stops,"
            info = cancelled_info(self.host.aid.uid, self._closed, what)
            self._answer_now(t.Error(record.cid, info))
            return
        self.invocations[record.cid] = invocation
        self._calls += record.kind == t.CALL
        self._waiting.append(invocation)
        self.host.serve(self._serve, name=invocation.path)

    def on_cancel(self, record: t.Cancel) -> None:
        """A peer takes a call back; one that has ended already is no matter."""
        if (invocation := self.invocations.get(record.cid)) is None:
            return
        if (end := self.ends.get(record.cid)) is not None:
            end.on_record(record)
        invocation.cancel(record.canceller, max(0.0, record.seconds))  # not NaN
        if end is not None:
            end.wake()  # after that, so only tasks that are shielded from it look
        self._answer_now(t.CancelAck(record.cid))

    def close(self, canceller: Uid, seconds: float) -> None:
        """Cancel everything that runs here and refuse what comes later."""
        if self._closed is None:
            self._closed = canceller
        for invocation in self.invocations.values():
            invocation.cancel(canceller, seconds)

    def lower_shields(self) -> None:
        """Let the cancellation reach what has shielded itself from it."""
        for invocation in self.invocations.values():
            if invocation.task is not None:
                lower_shields(invocation.task)

    async def wait_idle(self) -> None:
        """Wait until nothing runs here."""
        if self.invocations:
            if self._idle is None:
                self._idle = trio.Event()
            await self._idle.wait()

    def running(self) -> list[str]:
        """Names of the functions that run here."""
        return [invocation.path for invocation in self.invocations.values()]

    async def _serve(self, kept: KeptScope) -> None:
        invocation = self._waiting.popleft()
        current_invocation.set(invocation)
        invocation.task = trio.lowlevel.current_task()
        invocation.task.name = invocation.path
        cid = invocation.start.cid
        if hub.active:
            start = invocation.start
            hub.emit(
                "task_start",
                self.host.aid,
                ns=start.ns,
                func=start.func,
                cid=cid,
                caller=self.peer_uid,
            )
        try:
            record = await self._outcome(invocation, kept)
            if hub.active:  # so that a caller which has the outcome finds it noted
                error = record.error if isinstance(record, t.Error) else None
                hub.emit("task_end", self.host.aid, cid=cid, ok=not error, error=error)
            # In line with all that is sent: a flood of results stops no stream.
            await self._answer(record, invocation.body)
        finally:
            del self.invocations[cid]
            self._calls -= invocation.start.kind == t.CALL
            if (end := self.ends.pop(cid, None)) is not None:
                end.finish()
            if self._idle is not None and not self.invocations:
                self._idle.set()
                self._idle = None
            # No cycles: else each call would wait for the garbage collector.
            invocation.task = invocation.context = None

    async def _outcome(
        self, invocation: Invocation, kept: KeptScope
    ) -> t.Return | t.Error:
        cid = invocation.start.cid
        # The scope of a context is in the hands of its user, also when it is over.
        mine = kept if invocation.start.kind == t.CALL else trio.CancelScope()
        try:
            with mine as scope:
                invocation.begin(scope)
                try:
                    watched = self.host.hooks is not None
                    call = self._call_watched if watched else self._call
                    payload = await call(invocation, scope)
                    if isinstance(payload, Bulk):
                        payload, invocation.body = payload
                    return t.Return(cid, payload)
                except (trio.Cancelled, BaseExceptionGroup) as exc:
                    masked = masked_error(exc)
                    if masked is None or _is_interrupt(masked):
                        raise
                    return t.Error(cid, self._box(masked, invocation))
                finally:
                    invocation.scope = None
        except trio.Cancelled as exc:
            if trio.current_effective_deadline() == -math.inf:
                raise  # the actor's own end, not this call's
            return t.Error(cid, self._box(exc, invocation))  # one that got loose
        except BaseException as exc:  # noqa: BLE001 (the caller raises it)
            # Whatever it is, SystemExit and KeyboardInterrupt included, it is the
            # caller's to see: a function that is called never ends its actor.
            if not _is_interrupt(exc):
                return t.Error(cid, self._box(exc, invocation))
            if invocation.canceller is None:  # too busy to hear of it
                invocation.canceller = self.host.stopper
        if (broken := self._protocol_error(invocation)) is not None:
            return t.Error(cid, self._box(broken, invocation))
        what = f"{invocation.path!r}"
        info = cancelled_info(self.host.aid.uid, invocation.canceller, what)
        return t.Error(cid, info)

    async def _call(
        self, invocation: Invocation, scope: trio.CancelScope
    ) -> Raw | Bulk:
        start = invocation.start
        fn = self.host.exposure.resolve(start.ns, start.func, start.kind)
        if start.kind != t.CALL:
            return await serve_context(self, invocation, scope, fn)
        args, kwargs = invocation.arguments()
        types = call_types(fn)
        if types.params:
            args, kwargs = types.converted(args, kwargs, invocation.path)
        result = await fn(*args, **kwargs)
        if (bulk := ANY.as_bulk(result)) is not None:
            return bulk
        return ANY.encode(result, result_of(start.ns, start.func))

    async def _call_watched(
        self, invocation: Invocation, scope: trio.CancelScope
    ) -> Raw | Bulk:
        try:
            return await self._call(invocation, scope)
        except BaseException as exc:
            if self.host.hooks is not None:
                await self.host.hooks.on_crash(exc)
            raise

    def _protocol_error(self, invocation: Invocation) -> Exception | None:
        """Why a context was stopped, when its caller broke the protocol."""
        ctx = invocation.context
        error = ctx.maybe_error if ctx is not None else None
        return error if isinstance(error, RemoteProtocolError) else None

    def _box(self, exc: BaseException, invocation: Invocation) -> ErrorInfo:
        return box(exc, self.host.aid.uid, canceller=invocation.canceller)

    def _answer_now(self, record: t.Record) -> None:
        with suppress(TransportClosed):
            self.channel.send_nowait(record)

    async def _answer(self, record: t.Return | t.Error, body: bytes) -> None:
        try:
            rush = self._calls > 1  # else nobody could add to it
            if self.channel.crowded:
                await self.channel.send(record, body, relaxed=rush)
            else:
                self.channel.send_nowait(record, body, relaxed=rush)
        except TransportClosed:
            log.runtime("nobody is left to answer: %s", type(record).__name__)
        except FrameTooLarge as exc:
            # The outcome does not fit into a frame; that is an outcome, too.
            error = (
                record.error
                if isinstance(record, t.Error)
                else box(exc, self.host.aid.uid)
            )
            with suppress(TransportClosed):
                self.channel.send_nowait(t.Error(record.cid, shorten(error)))


def _is_interrupt(exc: BaseException) -> bool:
    """Whether it is how a call was ended that did not obey its cancellation."""
    # By `type`, since a hostile error may lie about all else.
    if not issubclass(type(exc), BaseExceptionGroup):
        return issubclass(type(exc), Interrupted)
    members = BaseExceptionGroup.exceptions.__get__(exc)
    return any(_is_interrupt(member) for member in members)

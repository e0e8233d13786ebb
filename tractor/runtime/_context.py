"""Contexts: a linked pair of tasks, one in each of two actors.

The pair behaves as if both were in one nursery: an error of one side ends the other,
leaving one side ends the other, and both ends know why. This module is the face that
users see; `_dialogue` has the mechanism and `_linking` the block of the caller.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, Literal, overload

import trio

from tractor._exceptions import ContextCancelled, InternalError, LocalProtocolError
from tractor._instrument import hub
from tractor._types import ErrorInfo, Uid
from tractor.msg import Role, current_limit
from tractor.msg import types as t
from tractor.runtime._dialogue import DialogueEnd
from tractor.runtime._endpoint import PayloadTypes
from tractor.runtime._flow import WINDOW
from tractor.runtime._state import current_invocation, granted_graces
from tractor.runtime._stream import MsgStream

if TYPE_CHECKING:
    from tractor.runtime._portal import Portal
    from tractor.runtime._rpc import Host, Invocation

CANCEL_TIMEOUT: Final = 0.5  # seconds for the acknowledgement; the ladder's ack grace


class Unresolved:
    """The outcome of a context that has none yet."""


class Context[StartedT = Any, InT = Any, OutT = Any, ResultT = Any]:
    """Our end of a context; got from `Portal.open_context`, or as an argument.

    The type parameters are those of the value given to `started`, of the items that
    this side receives, of those that it sends, and of the callee's result.

    Attributes:
        chan: The channel below.
        cid: Number of the dialogue on its channel.
        path: ``module.function`` of the callee.
        types: How values cross.
        portal: Through which it was opened; `None` in the callee.
        parent_task: The task that opened it, or in which the callee runs.
        cancel_called: Whether this side asked for the callee's end.
    """

    def __init__(  # noqa: PLR0913 (made in two places of the runtime)
        self,
        host: "Host",
        end: DialogueEnd,
        path: str,
        types: PayloadTypes,
        scope: trio.CancelScope,
        *,
        portal: "Portal | None" = None,
        invocation: "Invocation | None" = None,
    ) -> None:
        self.chan = end.channel
        self.cid = end.cid
        self.path = path
        self.types = types
        self.portal = portal
        self.parent_task = trio.lowlevel.current_task()
        self.cancel_called = False
        self.host = host
        self.end = end
        self.scope = scope
        self.patience = trio.CancelScope()  # around waits for the callee's end
        self._invocation = invocation

    # -- state -------------------------------------------------------------------------

    @property
    def side(self) -> Literal["parent", "child"]:
        """``parent`` for who opened it, ``child`` for the callee."""
        return "parent" if self.end.table.role is Role.CALLER else "child"

    @property
    def peer_side(self) -> Literal["parent", "child"]:
        """The other one."""
        return "child" if self.side == "parent" else "parent"

    @property
    def cancel_acked(self) -> bool:
        """Whether the callee was cancelled because `cancel` had asked for that."""
        return self.cancel_called and self.end.ended_as_asked

    @property
    def cancelled_caught(self) -> bool:
        """Whether a cancellation of this side's task ended in this context."""
        return self.scope.cancelled_caught

    @property
    def canceller(self) -> Uid | None:
        """uid of the actor that asked for the callee's end; `None` while none did."""
        if self._invocation is not None:
            return self._invocation.canceller
        error = self.end.error
        if isinstance(error, ContextCancelled):
            return error.canceller
        return self.end.asked_as

    @property
    def maybe_error(self) -> BaseException | None:
        """The other side's error, or `None`."""
        return self.end.error

    @property
    def has_outcome(self) -> bool:
        """Whether it ended, one way or the other."""
        return self.end.settled.is_set()

    @property
    def outcome(self) -> Any:
        """The error, else the callee's result, else the class `Unresolved`."""
        if self.maybe_error is not None:
            return self.maybe_error
        if self.end.result is None:
            return Unresolved
        return self._decode_result()

    @property
    def repr_state(self) -> str:
        """One word for people: ``pre-started``, ``started``, ``streaming``, …"""
        if isinstance(self.end.error, ContextCancelled):
            return "self-cancelled" if self.end.ended_as_asked else "peer-cancelled"
        if self.maybe_error is not None:
            return "errored"
        if self.end.settled.is_set():
            return "result-returned"
        if self.end.first_unsent:
            return "pre-started"
        return "streaming" if self.end.stream_opened else "started"

    def __repr__(self) -> str:
        return f"<Context {self.cid} {self.path} ({self.side}, {self.repr_state})>"

    # -- the callee's side -------------------------------------------------------------

    @overload
    async def started(
        self: "Context[None, InT, OutT, ResultT]",
        value: None = None,
        *,
        strict_pld_parity: bool = False,
    ) -> None: ...

    @overload
    async def started(
        self, value: StartedT, *, strict_pld_parity: bool = False
    ) -> None: ...

    async def started(
        self, value: Any = None, *, strict_pld_parity: bool = False
    ) -> None:
        """Tell the caller that the context has begun; once, and only in the callee.

        Args:
            value: What `Portal.open_context` gives as the second of its pair.
            strict_pld_parity: Whether a value that arrives different (a tuple as a
                list, for example) is an error.

        Raises:
            RuntimeError: Called twice, or by the caller.
            MsgTypeError: The value does not fit; nothing was sent.
            TransportClosed: The caller is gone.

        Cancellation: before it is sent, and then nothing was.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        pld_type = current_limit() or self.types.started
        what = f"the value that {self.path!r} started with"
        payload = pld_type.encode(value, what)
        if strict_pld_parity:
            pld_type.check_parity(value, payload, what)
        try:
            self.end.send(t.Started(self.cid, payload))
        except LocalProtocolError as exc:
            msg = f"started() is called once, and by the callee: {exc}"
            raise RuntimeError(msg) from None

    # -- both sides --------------------------------------------------------------------

    @asynccontextmanager
    async def open_stream(
        self, *, allow_overruns: bool = False, msg_buffer_size: int | None = None
    ) -> AsyncIterator[MsgStream[InT, OutT]]:
        """Exchange items inside the block; once per context and side.

        Args:
            allow_overruns: Never make the other side wait: keep the newest
                `msg_buffer_size` unread items and drop older ones (see
                `MsgStream.statistics`).
            msg_buffer_size: Items that may wait here unread, ≥ 1; 64 by default.

        Raises:
            RuntimeError: A second time, before `started`, or after `cancel`.
            ValueError: `msg_buffer_size` is out of range.

        Cancellation: this side is closed, the context goes on.
        """
        window = WINDOW if msg_buffer_size is None else msg_buffer_size
        if not window >= 1:
            msg = f"msg_buffer_size must be ≥ 1, not {window!r}"
            raise ValueError(msg)
        self._check_may_stream()
        self.maybe_raise()
        self.end.open_stream(window, overruns=allow_overruns)
        stream: MsgStream[InT, OutT] = MsgStream(self, self.end)
        if hub.active:
            hub.emit("stream_open", self.host.aid, func=self.path, cid=self.cid)
        ok = False
        try:
            yield stream
            ok = True
        except BaseException:
            self.end.close_stream(t.IN_DOUBT)
            raise
        finally:
            if hub.active:
                self._note_closed(ok)
        stream.close()

    def _note_closed(self, ok: bool) -> None:
        done = self.end.statistics()
        hub.emit(
            "stream_close",
            self.host.aid,
            cid=self.cid,
            ok=ok,
            sent=done.sent,
            received=done.received,
        )

    def _check_may_stream(self) -> None:
        problem = None
        if self.end.stream_opened:
            problem = "its stream was opened before; open another context"
        elif self.end.first_unsent:
            problem = "the callee has to call started() first"
        elif self.cancel_called:
            problem = "it was cancelled by this side"
        if problem is not None:
            msg = f"no stream for {self!r}: {problem}"
            raise RuntimeError(msg)

    async def cancel(self, timeout: float = CANCEL_TIMEOUT) -> None:  # noqa: ASYNC109
        """End the callee.

        From the caller: ask, and wait for the acknowledgement; the block here goes on.
        From the callee: cancel its own task.

        Args:
            timeout: Seconds to wait for the acknowledgement, ≥ 0.

        Cancellation: shielded; a cancelled caller waits at most `timeout` more.
        """
        self.cancel_called = True
        uid = self.host.aid.uid
        if self._invocation is not None:
            self._invocation.cancel(uid, granted_graces(self.host.graces).cancel)
            await trio.lowlevel.checkpoint_if_cancelled()
            return
        self.request_cancel(None)
        with trio.move_on_after(timeout, shield=True):
            await self.end.cancel_acked.wait()

    def request_cancel(self, error: ErrorInfo | None) -> None:
        """Send the request; from now on patience is limited (for the runtime)."""
        grace = granted_graces(self.host.graces).cancel
        deadline = trio.current_time() + grace
        self.patience.deadline = min(self.patience.deadline, deadline)
        self.end.request_cancel(self.host.aid.uid, grace, error)

    async def wait_for_result(self) -> ResultT:
        """The callee's result; only for the caller. Unread items are dropped.

        Returns:
            The result; the `ContextCancelled` itself when this side had asked for the
            callee's end and got it.

        Raises:
            RuntimeError: Called by the callee.
            RemoteActorError: The callee raised.
            ActorDied: Its actor died.

        Cancellation leaves the callee running.
        """
        if self.side == "child":
            msg = "wait_for_result() is the caller's; the callee returns its result"
            raise RuntimeError(msg)
        self.end.let_go()
        if self.end.error is None:  # else the scope around us is cancelled already
            await self.end.settled.wait()
        if self.cancel_acked:
            return self.end.error  # type: ignore[return-value]
        self.maybe_raise()
        return self._decode_result()

    def maybe_raise(self) -> None:
        """Raise the other side's error, unless it is the end that we asked for."""
        self.end.raise_if_failed()

    async def send_stop(self) -> None:
        """Tell the other side that no more items come from here; its own still may."""
        self.end.stop(t.HALF_CLOSED)
        await trio.lowlevel.checkpoint()

    def _decode_result(self) -> ResultT:
        if self.end.result is None:
            msg = f"{self!r} has no result"
            raise InternalError(msg)
        pld_type = current_limit() or self.types.result
        what = f"the result of {self.path!r}"
        result: ResultT = pld_type.decode(self.end.result, what)
        return result


def current_ipc_ctx(*, error_on_not_set: bool = False) -> Context | None:
    """The context in whose callee this task runs, if any.

    Raises:
        InternalError: There is none, with `error_on_not_set`.
    """
    invocation = current_invocation.get()
    ctx = invocation.context if invocation is not None else None
    if ctx is None and error_on_not_set:
        msg = "this task runs in no context"
        raise InternalError(msg)
    return ctx

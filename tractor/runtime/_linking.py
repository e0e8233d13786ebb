"""The life of a context at both of its ends: the caller's block, the callee's task.

Who raises what, in the caller's block:

1. The callee's error arrives while the block runs: the block's scope is cancelled, and
   the error is raised, whatever the block made of that.
2. The block raises first: the callee is told and cancelled, its clean-up is awaited
   within the grace, and the block's error is raised. What the clean-up raised becomes
   a note on it.
3. The block is cancelled from outside: likewise, except that an error of the clean-up
   is raised, since an error outranks a cancellation.
4. The block ends: the callee's result is awaited, and unread items are dropped.

A `ContextCancelled` that this side asked for itself is no error in any of these.
"""

import math
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

import trio
from msgspec import Raw

from tractor._exceptions import ContextCancelled, RemoteActorError, TransportClosed
from tractor._instrument import hub
from tractor.log import get_logger
from tractor.msg import ANY, Role, box, current_limit
from tractor.msg import types as t
from tractor.runtime._context import Context
from tractor.runtime._dialogue import DialogueEnd
from tractor.runtime._endpoint import PayloadTypes, endpoint_of
from tractor.runtime._signature import call_types
from tractor.trionics import is_cancellation

if TYPE_CHECKING:
    from tractor.runtime._peer import Peer
    from tractor.runtime._portal import Portal
    from tractor.runtime._rpc import Invocation, Server

log = get_logger("context")

NO_TYPES = PayloadTypes()

# A task that leaves several blocks at once, each with a callee that does not end, must
# not wait for each: the end of an actor would take longer than it may.
SAME_UNWINDING: Final = 0.1  # seconds between two blocks that are left together

_gave_up: Final[ContextVar[float]] = ContextVar("tractor_gave_up", default=-math.inf)
"""trio time at which this task last gave up on a callee."""


# -- the caller ------------------------------------------------------------------------


@asynccontextmanager
async def linked(
    portal: "Portal", peer: "Peer", start: t.Start, types: PayloadTypes
) -> AsyncIterator[tuple[Context, Any]]:
    """The caller's block; see `Portal.open_context`."""
    ctx = _enter(portal, peer, start, types)
    end, error = ctx.end, None
    if hub.active:
        hub.emit("call_start", peer.aid, ns=start.ns, func=start.func, cid=ctx.cid)
    try:
        first = await _begin(ctx, peer, start)
        with ctx.scope:
            yield ctx, first
            end.let_go()
            with ctx.patience:
                await end.settled.wait()
    except BaseException as exc:  # noqa: BLE001 (raised below, once the callee ended)
        error = exc
    early = None if end.ended_as_asked else end.error
    try:
        await _leave(ctx, peer, error)
    finally:
        del peer.ends[ctx.cid]
    final = _verdict(ctx, error, early)
    if hub.active:
        hub.emit("call_end", peer.aid, cid=ctx.cid, ok=final is None, error=final)
    if final is not None:
        raise final


def _enter(
    portal: "Portal", peer: "Peer", start: t.Start, types: PayloadTypes
) -> Context:
    scope = trio.CancelScope()
    end = DialogueEnd(start.cid, Role.CALLER, peer.channel, scope.cancel)
    peer.ends[start.cid] = end
    path = f"{start.ns}.{start.func}"
    return Context(peer.host, end, path, types, scope, portal=portal)


async def _begin(ctx: Context, peer: "Peer", start: t.Start) -> Any:
    """Call the callee and wait for the value that it starts with."""
    await peer.ready_to_send()
    if peer.channel.congested:
        await peer.channel.wait_uncongested()
    await ctx.end.deliver(start)
    await ctx.end.started.wait()
    ctx.end.raise_if_failed()
    if ctx.end.first is None:
        msg = f"{ctx.path!r} returned before it called ctx.started()"
        raise RuntimeError(msg)
    pld_type = current_limit() or ctx.types.started
    return pld_type.decode(ctx.end.first, f"the first value of {ctx.path!r}")


async def _leave(ctx: Context, peer: "Peer", error: BaseException | None) -> None:
    """Make sure that the callee ends, and see it end, within the grace."""
    if ctx.end.table.done or not ctx.end.opened:
        return
    info = None
    if error is not None and _is_error(error):
        info = box(error, ctx.host.aid.uid)
    ctx.request_cancel(info)
    ctx.end.discard_items()
    since = trio.current_time() - _gave_up.get()
    if peer.overdue or since < SAME_UNWINDING:
        return  # its time was spent on another wait; the ladder does the rest
    with trio.move_on_at(ctx.patience.deadline, shield=True) as patience:
        await ctx.end.settled.wait()
    if patience.cancelled_caught:
        _gave_up.set(trio.current_time())
        peer.late.add(ctx.cid)
        log.error("%r did not end within its grace", ctx)


def _is_error(error: BaseException) -> bool:
    """Not a cancellation, an interrupt, or the end of a generator around the block."""
    if isinstance(error, BaseExceptionGroup):
        return any(map(_is_error, error.exceptions))
    return isinstance(error, Exception)


def _verdict(
    ctx: Context, block: BaseException | None, early: Exception | None
) -> BaseException | None:
    """What the block raises; `early` is the callee's error if it came first."""
    late = None if ctx.end.ended_as_asked else ctx.end.error
    if early is not None or block is None:
        return early or late
    if late is None or late is block:
        return block
    if not is_cancellation(block):
        if not _is_echo(late, ctx):
            what = "while its context was being cancelled, the callee raised"
            block.add_note(f"{what}: {late}")
        return block
    # That the callee is gone, or was cancelled by others as well, is no news then.
    quiet = isinstance(late, ContextCancelled | TransportClosed)
    return block if quiet else late


def _is_echo(error: Exception, ctx: Context) -> bool:
    """Whether it is what the callee made of our own error, of which it was told."""
    return (
        isinstance(error, RemoteActorError)
        and error.is_inception()
        and error.src_uid == ctx.host.aid.uid
    )


# -- the callee ------------------------------------------------------------------------


async def serve_context(
    server: "Server", invocation: "Invocation", scope: trio.CancelScope, fn: Any
) -> Raw:
    """Run the far end of a context, or an async generator as one; its result."""
    start = invocation.start
    endpoint = endpoint_of(fn)
    types = endpoint.types if endpoint is not None else NO_TYPES

    def stop() -> None:
        invocation.cancel(server.peer_uid, server.host.graces.cancel)

    end = DialogueEnd(start.cid, Role.CALLEE, server.channel, stop)
    end.table.receive(t.Start)
    ctx = Context(
        server.host,
        end,
        invocation.path,
        types,
        scope,
        invocation=invocation,
    )
    invocation.context = ctx
    server.ends[start.cid] = end
    args, kwargs = invocation.arguments()
    if endpoint is not None:
        args, kwargs = endpoint.with_context(ctx, args, kwargs)
    args, kwargs = call_types(fn).converted(args, kwargs, ctx.path)
    if endpoint is None:
        await _stream_out(ctx, fn(*args, **kwargs))
        return t.EMPTY
    result = await fn(*args, **kwargs)
    if end.first_unsent:
        msg = f"{ctx.path!r} returned without having called ctx.started()"
        raise RuntimeError(msg)
    return types.result.encode(result, f"the result of {ctx.path!r}")


async def _stream_out(ctx: Context, generator: Any) -> None:
    """Send what an async generator yields, until the caller has had enough."""
    await ctx.started()
    async with aclosing(generator) as items, ctx.open_stream() as stream:
        async for item in items:
            try:
                await stream.send(item)
            except trio.BrokenResourceError:
                return


def params_of(args: tuple[Any, ...], kwargs: dict[str, Any], path: str) -> Raw:
    """Arguments of a call as a payload.

    Raises:
        MsgTypeError: One cannot be encoded.
    """
    return ANY.encode((args, kwargs), f"an argument of {path!r}")

"""`pause` and its kin: what programs call."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import FrameType, TracebackType

import trio

from tractor.devx.debug._debugger import current_debugger, stop_sync
from tractor.devx.debug._lease import Lease, locked, stood_still
from tractor.runtime import maybe_actor


async def pause(*, shield: bool = False, api_frame: FrameType | None = None) -> None:
    """Stop here and open a REPL, as soon as the terminal of the tree is free.

    The loop of this actor runs on until then, and stands still while the REPL is open.
    `q` raises `bdb.BdbQuit`.

    Args:
        shield: Whether it opens in a scope that is cancelled, too.
        api_frame: Where to stop; by default at the caller.

    Raises:
        DebugRequestError: The tree is not in debug mode, or there is no terminal.

    Cancellation: the REPL does not open, unless it has; then it is not noticed.
    """
    debugger = current_debugger()
    lease = debugger.leases.new()
    with trio.CancelScope(shield=shield):
        await lease.acquire_soon()
    debugger.stop_at(api_frame or sys._getframe(1), lease)


async def breakpoint(*, shield: bool = False) -> None:
    """The same as `pause`, under its old name."""
    await pause(shield=shield, api_frame=sys._getframe(1))


def pause_from_sync(*, api_frame: FrameType | None = None) -> None:
    """The same from sync code, in a task or in a thread of this actor.

    In a task, the loop stands still from the call on; with ``maybe_enable_greenback``
    of `open_root_actor` only while the REPL is open. In debug mode `breakpoint()` of
    Python does the same.

    Args:
        api_frame: Where to stop; by default at the caller.

    Raises:
        DebugRequestError: The tree is not in debug mode, or there is no terminal.
    """
    stop_sync(api_frame or sys._getframe(1))


async def post_mortem(
    error: BaseException | None = None,
    *,
    tb: TracebackType | None = None,
    shield: bool = False,
) -> None:
    """Open a REPL where an error was raised.

    Args:
        error: By default the one that is being handled.
        tb: A traceback of it, if not its own.
        shield: Whether it opens in a scope that is cancelled, too.

    Raises:
        RuntimeError: There is no error.
        DebugRequestError: The tree is not in debug mode, or there is no terminal.

    Cancellation: the REPL does not open, unless it has.
    """
    error = error if error is not None else sys.exception()
    if error is None:
        msg = "there is no error: call post_mortem() in an except block, or give it one"
        raise RuntimeError(msg)
    debugger = current_debugger()
    lease = debugger.leases.new()
    with trio.CancelScope(shield=shield):
        await lease.acquire_soon()
    debugger.post_mortem(error, lease, tb)


def debug_mode() -> bool:
    """Whether this actor is in debug mode: a crash opens a REPL."""
    actor = maybe_actor()
    return actor is not None and actor.runtime_vars.debug_mode


@asynccontextmanager
async def acquire_debug_lock() -> AsyncIterator[None]:
    """Have the terminal of the tree for the block, without a REPL.

    All clocks of the tree stand still meanwhile.

    Raises:
        DebugRequestError: The tree is not in debug mode, or there is no terminal.

    Cancellation: one's place in the line is given up.
    """
    actor = maybe_actor()
    name = actor.name if actor is not None else ""
    debugger = current_debugger()
    if (own := locked.get()) is not None and own.path is not None:
        yield  # it is had already
        return
    lease = Lease(debugger.address, name, locks=True)
    await lease.acquire_soon()
    token = locked.set(lease)
    try:
        yield
    finally:
        locked.reset(token)
        lease.release()


async def maybe_wait_for_debugger() -> bool:
    """Wait while somebody is in a REPL of this tree; whether somebody was.

    Cancellation: nothing happened.
    """
    actor = maybe_actor()
    if actor is None or not actor.runtime_vars.debug_desk:
        return False
    return await stood_still(actor.runtime_vars.debug_desk, float("inf"))

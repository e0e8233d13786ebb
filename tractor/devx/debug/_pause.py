"""`pause` and its kin: what programs call."""

import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import FrameType, TracebackType
from typing import TYPE_CHECKING

import trio

from tractor._types import Uid
from tractor.devx.debug._debugger import current_debugger, slot, stop_sync
from tractor.devx.debug._lease import Lease, locked, stood_still
from tractor.devx.debug._options import ReplFixture, make_options
from tractor.runtime import maybe_actor

if TYPE_CHECKING:
    import pdb


async def pause(
    *,
    shield: bool = False,
    hide_tb: bool | None = None,
    repl_fixture: ReplFixture | None = None,
    api_frame: FrameType | None = None,
) -> None:
    """Stop here and open a REPL, as soon as the terminal of the tree is free.

    The loop of this actor runs on until then, and stands still while the REPL is open.
    `q` raises `bdb.BdbQuit`.

    Args:
        shield: Whether it opens in a scope that is cancelled, too.
        hide_tb: Whether frames of ours and of trio's are left out of the stack; by
            default as `open_root_actor` was told, which does so by default.
        repl_fixture: Called with a `BoxedMaybeException`, which has the error that is
            shown, if any, it gives a context manager that is entered around the REPL.
            If that yields `False`, no REPL is opened.
        api_frame: Where to stop; by default at the caller.

    Raises:
        DebugRequestError: The tree is not in debug mode, or there is no terminal.

    Cancellation: the REPL does not open, unless it has; then it is not noticed.
    """
    debugger = current_debugger()
    options = make_options(hide_tb, repl_fixture, debugger.options)
    lease = debugger.new_lease()
    with trio.CancelScope(shield=shield):
        await lease.acquire_soon()
    debugger.stop_at(api_frame or sys._getframe(1), lease, options)


async def breakpoint(
    *,
    shield: bool = False,
    hide_tb: bool | None = None,
    repl_fixture: ReplFixture | None = None,
) -> None:
    """The same as `pause`, under its old name."""
    await pause(
        shield=shield,
        hide_tb=hide_tb,
        repl_fixture=repl_fixture,
        api_frame=sys._getframe(1),
    )


def pause_from_sync(
    *,
    hide_tb: bool | None = None,
    repl_fixture: ReplFixture | None = None,
    api_frame: FrameType | None = None,
) -> None:
    """The same from sync code, in a task or in a thread of this actor.

    In a task, the loop stands still from the call on; with ``maybe_enable_greenback``
    of `open_root_actor` only while the REPL is open. In debug mode `breakpoint()` of
    Python does the same.

    Args:
        hide_tb: As for `pause`.
        repl_fixture: As for `pause`.
        api_frame: Where to stop; by default at the caller.

    Raises:
        DebugRequestError: The tree is not in debug mode, or there is no terminal.
    """
    debugger = current_debugger()
    options = make_options(hide_tb, repl_fixture, debugger.options)
    stop_sync(debugger, api_frame or sys._getframe(1), options)


async def post_mortem(
    error: BaseException | None = None,
    *,
    tb: TracebackType | None = None,
    shield: bool = False,
    hide_tb: bool | None = None,
    repl_fixture: ReplFixture | None = None,
) -> None:
    """Open a REPL where an error was raised.

    Args:
        error: By default the one that is being handled.
        tb: A traceback of it, if not its own.
        shield: Whether it opens in a scope that is cancelled, too.
        hide_tb: As for `pause`.
        repl_fixture: As for `pause`.

    Raises:
        RuntimeError: There is no error, or nobody raised it.
        DebugRequestError: The tree is not in debug mode, or there is no terminal.

    Cancellation: the REPL does not open, unless it has.
    """
    error = error if error is not None else sys.exception()
    if error is None:
        msg = "there is no error: call post_mortem() in an except block, or give it one"
        raise RuntimeError(msg)
    if tb is None and error.__traceback__ is None:
        msg = f"nobody raised {error!r} yet, so there is no place of it to show"
        raise RuntimeError(msg)
    debugger = current_debugger()
    options = make_options(hide_tb, repl_fixture, debugger.options)
    lease = debugger.new_lease()
    with trio.CancelScope(shield=shield):
        await lease.acquire_soon()
    debugger.post_mortem(error, lease, options, tb)


def mk_pdb(
    *, hide_tb: bool | None = None, repl_fixture: ReplFixture | None = None
) -> "pdb.Pdb":
    """A debugger of one's own, to call `set_trace()` or `run()` of.

    In a tree in debug mode it waits for the terminal before each prompt, and gives it
    back after. Where no tree is, it is at the standard streams.

    Args:
        hide_tb: As for `pause`.
        repl_fixture: As for `pause`.

    Returns:
        One of pdbp where that works, or one of pdb.
    """
    if slot.debugger is not None:
        options = make_options(hide_tb, repl_fixture, slot.debugger.options)
        return slot.debugger.make_repl(options)  # type: ignore[no-any-return]
    from tractor.devx.debug._repl import Seat, make  # local: it takes long

    options = make_options(hide_tb, repl_fixture)
    return make(Seat(options=options))  # type: ignore[no-any-return]


async def maybe_init_greenback() -> bool:
    """Let sync code of this task wait for the terminal while its loop runs on.

    It is for one task what ``maybe_enable_greenback`` of `open_root_actor` is for all.

    Returns:
        Whether it can; not where greenback is not installed, nor in a sub-interpreter.
    """
    try:
        import greenback  # local: of the extra [debug]
    except ImportError:
        await trio.lowlevel.checkpoint()
        return False
    await greenback.ensure_portal()
    return True


def sigint_shield(signum: int, frame: FrameType | None, *_: object) -> None:
    """A handler for SIGINT: Ctrl-C is what it is elsewhere, but not beside a REPL.

    Roots in debug mode have it by themselves; it is for programs that handle SIGINT in
    their own way.

    Raises:
        KeyboardInterrupt: Nobody is in a REPL of the tree whose root is here.
    """
    if slot.debugger is None or not slot.debugger.swallows_interrupt():
        signal.default_int_handler(signum, frame)


def debug_mode() -> bool:
    """Whether this actor is in debug mode: a crash opens a REPL."""
    actor = maybe_actor()
    return actor is not None and actor.runtime_vars.debug_mode


@asynccontextmanager
async def acquire_debug_lock(subactor_uid: Uid | None = None) -> AsyncIterator[None]:
    """Have the terminal of the tree for the block, without a REPL.

    All clocks of the tree stand still meanwhile. A `pause` of another task waits for
    the end of the block; what would stop this loop, as `breakpoint()`, is refused.

    Args:
        subactor_uid: In whose name; by default in that of this actor.

    Raises:
        DebugRequestError: The tree is not in debug mode, or there is no terminal.

    Cancellation: one's place in the line is given up.
    """
    actor = maybe_actor()
    name = actor.name if actor is not None else ""
    if subactor_uid is not None:
        name = subactor_uid[0]
    debugger = current_debugger()
    if (own := locked.get()) is not None and own.path is not None:
        yield  # it is had already
        return
    lease = Lease(debugger.address, name)
    await lease.lock_soon()
    locked.set(lease)  # for good, since the block may be left in another context
    try:
        yield
    finally:
        lease.release()


async def maybe_wait_for_debugger() -> bool:
    """Wait while somebody is in a REPL of this tree; whether somebody was.

    Cancellation: nothing happened.
    """
    actor = maybe_actor()
    if actor is None or not actor.runtime_vars.debug_desk:
        return False
    return await stood_still(actor.runtime_vars.debug_desk, float("inf"))

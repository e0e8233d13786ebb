"""The debugger of one actor: it answers the runtime's hooks and opens REPLs."""

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from types import FrameType, TracebackType
from typing import Any, Final

import trio
from msgspec.structs import replace

from tractor._exceptions import ContextCancelled, Interrupted, RemoteActorError
from tractor._types import Aid
from tractor.devx.debug._desk import Desk
from tractor.devx.debug._errors import DebugRequestError
from tractor.devx.debug._frames import has_outside, waiting_frame, where
from tractor.devx.debug._lease import (
    Lease,
    refuse_in_lock,
    stood_still,
    stood_still_now,
)
from tractor.devx.debug._named import Named, name_of
from tractor.devx.debug._options import ReplFixture, ReplOptions, make_options
from tractor.devx.debug._terminal import find_terminal
from tractor.log import get_logger
from tractor.msg.types import RuntimeVars
from tractor.runtime import Actor, maybe_actor
from tractor.runtime.hooks import Hooks

log = get_logger("devx")

HOOK_VARIABLE: Final = "PYTHONBREAKPOINT"  # Python's own; whoever sets it has chosen

type Filter = Callable[[BaseException], bool]

# What nobody has to look at: it was meant to be.
QUIET: Final = (
    trio.Cancelled,
    KeyboardInterrupt,
    SystemExit,
    GeneratorExit,
    ContextCancelled,
    Interrupted,
)
# By name, since the module is not loaded before the first REPL.
QUIT: Final = "BdbQuit"
QUIET_NAMES: Final = frozenset({QUIT, *(cls.__name__ for cls in QUIET)})


def is_crash(error: BaseException) -> bool:
    """Whether it is worth a REPL: no cancellation, and no end that somebody wanted."""
    if isinstance(error, BaseExceptionGroup):
        return any(is_crash(member) for member in error.exceptions)
    if isinstance(error, RemoteActorError):
        return error.src_type_str not in QUIET_NAMES
    return not isinstance(error, QUIET) and type(error).__name__ != QUIT


class Debugger(Hooks):
    """Of one actor, from its boot to its end.

    Args:
        runtime_vars: What the actor was given.
        aid: Its identity.
        desk: Of the tree, if this is its root.
        debug_filter: Says which errors are worth a REPL, where it is known already.
        repl_fixture: Is entered around each REPL, likewise.
    """

    def __init__(
        self,
        runtime_vars: RuntimeVars,
        aid: Aid,
        desk: Desk | None = None,
        debug_filter: Filter | None = None,
        repl_fixture: ReplFixture | None = None,
    ) -> None:
        self.address = runtime_vars.debug_desk
        self.on = runtime_vars.debug_mode
        self._use_greenback = runtime_vars.debug_greenback
        self._aid = aid
        self._desk = desk
        self._filter = Named("debug_filter", runtime_vars.debug_filter, debug_filter)
        self._fixture = Named("repl_fixture", runtime_vars.repl_fixture, repl_fixture)
        self._hide_tb = runtime_vars.debug_hide_tb
        self._seen: BaseException | None = None
        self._hook_before: Callable[..., Any] | None = None
        self._portals: _Portals | None = None

    # -- hooks of the runtime ----------------------------------------------------------

    async def on_crash(self, error: BaseException) -> None:
        """Open a REPL where it was raised, unless it is not worth one."""
        if not self.on or error is self._seen or isinstance(error, GeneratorExit):
            return  # the last one is not to be waited in
        # What a nursery raises has no frame of the program's yet, but one waits for it.
        frame = None if has_outside(error.__traceback__) else waiting_frame()
        if frame is None and not has_outside(error.__traceback__):
            return  # a call of a function that is none, for one
        try:
            if (self._filter.get() or is_crash)(error):
                options = self.options
                lease = self.new_lease()
                await lease.acquire_soon()
                self.post_mortem(error, lease, options, frame=frame)
        except DebugRequestError as exc:
            log.devx("no REPL for %r: %s", error, exc)
        except trio.Cancelled:
            pass  # the error is what counts; who is in line does not hold up the end
        except Exception:
            log.exception("the debugger failed")

    def on_loop(self) -> None:
        """Let sync code in any task of this loop wait for the terminal."""
        if not self._use_greenback:
            return
        try:
            self._portals = _Portals()
        except ImportError:  # sub-interpreters cannot load what it needs
            return
        trio.lowlevel.add_instrument(self._portals)

    async def stood_still(self, since: float) -> bool:
        """Wait while somebody is in a REPL; whether somebody was, since then."""
        return await stood_still(self.address, since)

    def swallows_interrupt(self) -> bool:
        """Whether somebody is in a REPL, here or in an actor below."""
        if self._desk is None or not (holder := self._desk.holder):
            return False
        self._desk.say(f"Ctrl-C does nothing while {holder!r} is in the debugger")
        return True

    # -- REPLs -------------------------------------------------------------------------

    @property
    def options(self) -> ReplOptions:
        """How REPLs of this tree are opened, if nothing else is asked for."""
        return make_options(self._hide_tb, self._fixture.get())

    def new_lease(self) -> Lease:
        """Of the terminal, for whoever stops now.

        Raises:
            DebugRequestError: He has the terminal already, and would wait for himself.
        """
        from tractor.devx.debug._repl import repl_class  # local: it takes long

        refuse_in_lock()
        repl_class()  # before it is his turn, which does not last
        return Lease(self.address, self._aid.name)

    def make_repl(self, options: ReplOptions, lease: Lease | None = None) -> Any:
        """A REPL that is not open yet.

        Args:
            options: How it is to be opened.
            lease: Of the terminal, if there is one already.
        """
        from tractor.devx.debug._repl import Seat, make  # local: it takes long

        header = f"paused in actor {self._title()}"
        return make(Seat(self.new_lease, lease, header, options))

    def stop_at(self, frame: FrameType, lease: Lease, options: ReplOptions) -> None:
        """Open a REPL at the line that this frame is at, as soon as it goes on."""
        self.make_repl(options, lease).set_trace(frame)

    def post_mortem(
        self,
        error: BaseException,
        lease: Lease,
        options: ReplOptions,
        tb: TracebackType | None = None,
        frame: FrameType | None = None,
    ) -> None:
        """Show where it was raised; waits in this thread if it is not one's turn."""
        from tractor.devx.debug._repl import Seat, show  # local: it takes long

        self._seen = error
        header = f"crash in actor {self._title()}\n{type(error).__name__}: {error}"
        seat = Seat(self.new_lease, lease, header, options, error)
        show((frame, tb or error.__traceback__), seat)

    def _title(self) -> str:
        return f"{self._aid.name!r} (pid {os.getpid()}{where()})"

    # -- breakpoint() ------------------------------------------------------------------

    def arm(self) -> None:
        """Let `breakpoint()` be ours until `disarm`."""
        slot.debugger = self
        if self.on and not os.environ.get(HOOK_VARIABLE):
            self._hook_before = sys.breakpointhook
            sys.breakpointhook = on_breakpoint

    def booted(self) -> None:
        """What is not found from now on is not there."""
        self._filter.final = self._fixture.final = True

    def disarm(self) -> None:
        """Give it back."""
        if slot.debugger is self:
            slot.debugger = None
        if self._hook_before is not None and sys.breakpointhook is on_breakpoint:
            sys.breakpointhook = self._hook_before
        self._hook_before = None
        if self._portals is not None:
            with suppress(KeyError):  # it was dropped for an error
                trio.lowlevel.remove_instrument(self._portals)
        self._portals = None


class _Portals(trio.abc.Instrument):
    """Lets every task of this loop wait from sync code.

    Raises:
        ImportError: Here greenback cannot be loaded.
    """

    def __init__(self) -> None:
        from greenback import bestow_portal  # local: of the extra [debug]

        self._bestow = bestow_portal

    def task_spawned(self, task: trio.lowlevel.Task) -> None:
        self._bestow(task)


class _Slot:
    """As the actor, the debugger belongs to the interpreter; it is there from boot."""

    debugger: Debugger | None = None


slot: Final = _Slot()


def current_debugger() -> Debugger:
    """That of this actor.

    Raises:
        DebugRequestError: It has none.
    """
    if slot.debugger is None:
        actor = maybe_actor()
        who = f"the tree of actor {actor.aid.reprol()!r}" if actor else "no actor runs;"
        msg = f"{who} is not in debug mode: open_root_actor(debug_mode=True)"
        raise DebugRequestError(msg)
    return slot.debugger


def clocks_stood_still(since: float) -> bool:
    """Whether somebody is in a REPL of this tree, or was since then.

    Args:
        since: As `time.monotonic` says it.
    """
    debugger = slot.debugger
    return debugger is not None and stood_still_now(debugger.address, since)


def on_breakpoint(*_args: object, **_kwargs: object) -> None:
    """What `breakpoint()` calls in debug mode."""
    debugger = current_debugger()
    stop_sync(debugger, sys._getframe(1), debugger.options)


def stop_sync(debugger: Debugger, frame: FrameType, options: ReplOptions) -> None:
    """Stop at this frame, from sync code; the loop turns while one waits if it can."""
    lease = debugger.new_lease()
    if _has_portal():
        import greenback

        greenback.await_(lease.acquire_soon())
    else:
        lease.acquire()
    debugger.stop_at(frame, lease, options)


def _has_portal() -> bool:
    if (greenback := sys.modules.get("greenback")) is None:
        return False
    return trio.lowlevel.in_trio_task() and bool(greenback.has_portal())


# -- For the wiring --------------------------------------------------------------------


async def attach_root(
    actor: Actor,
    *,
    debug_filter: Filter | None,
    repl_fixture: ReplFixture | None,
    hide_tb: bool,
    use_greenback: bool,
) -> None:
    """Give a root that is about to run, and so its tree, a debugger (internal)."""
    desk = Desk(find_terminal())
    actor.lifetime_stack.callback(desk.close)
    actor.runtime_vars = replace(
        actor.runtime_vars,
        debug_mode=True,
        debug_desk=desk.address,
        debug_greenback=use_greenback and find_spec("greenback") is not None,
        debug_filter=name_of("debug_filter", debug_filter),
        repl_fixture=name_of("repl_fixture", repl_fixture),
        debug_hide_tb=hide_tb,
    )
    debugger = Debugger(actor.runtime_vars, actor.aid, desk, debug_filter, repl_fixture)
    debugger.arm()
    actor.lifetime_stack.callback(debugger.disarm)
    actor.hooks = debugger
    if actor.runtime_vars.debug_greenback:
        import greenback

        await greenback.ensure_portal()
        debugger.on_loop()


def make_child(runtime_vars: RuntimeVars, aid: Aid) -> Debugger:
    """The debugger of a child that boots (internal)."""
    debugger = Debugger(runtime_vars, aid)
    debugger.arm()
    return debugger


def attach_child(actor: Actor, debugger: Debugger) -> None:
    """Let a child that has booted use it (internal)."""
    debugger.booted()
    actor.hooks = debugger
    actor.lifetime_stack.callback(debugger.disarm)

"""Turning tracing on and off, here and in all actors below.

An actor tells its children over their links: those that run, when tracing begins, and
each later one as soon as it is ready, ahead of every other call. They tell theirs.
"""

import _interpreters
import atexit
import os
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Final

import trio

from tractor._exceptions import RemoteActorError, TransportClosed
from tractor._instrument import hub
from tractor.runtime import Actor, Peer, PostedCall, maybe_actor, post
from tractor.tracing._lines import TraceFile
from tractor.tracing._tracer import VERBS, Session, Tracer

TRACE_VARIABLE: Final = "TRACTOR_TRACE"
END_TIMEOUT: Final = 1.0  # seconds for the actors below to write what is open there


class _Slot:
    """As the hub, tracing belongs to the interpreter."""

    tracer: Tracer | None = None
    subscription: ExitStack = ExitStack()
    loop: trio.lowlevel.TrioToken | None = None  # of the actor, if it was seen


slot: Final = _Slot()


# -- For programs ----------------------------------------------------------------------


def enable_tracing(path: str | os.PathLike[str] | None = None) -> Path:
    """Trace this actor and all below it from now on, those that run already included.

    It may be called before there is an actor. In a running tree call it in the loop of
    the actor: in another thread, and where nothing was traced before, only actors that
    start later are traced; the others hear of it a moment later.

    Args:
        path: The file, which is made new; ``tractor-trace-PID.jsonl`` in the current
            folder by default. If this root is traced because the environment variable
            ``TRACTOR_TRACE`` asked for it, the file of that stays, and nothing changes.

    Returns:
        The file.

    Raises:
        RuntimeError: Tracing is on.
        OSError: The file cannot be written.
    """
    if slot.tracer is not None:
        known = Path(os.fsdecode(slot.tracer.session.path))
        if slot.tracer.pinned:
            return known
        msg = f"tracing is on, to {str(known)!r}; call disable_tracing() first"
        raise RuntimeError(msg)
    place = Path(path or f"tractor-trace-{os.getpid()}.jsonl").absolute()
    begin(Session.begin(str(place)), TraceFile(place, new=True))
    return place


def disable_tracing() -> None:
    """End it, here and in all actors below; without effect if it is off.

    What ended before is in the file when this returns: also what ran in other actors
    for calls whose outcome is known here. What goes on is there as ``open``; other
    actors may write such lines a moment later (leave ``async with tracing()`` to wait
    for that). Never waits.
    """
    if slot.tracer is not None and not slot.tracer.pinned:
        end()


def tracing(path: str | os.PathLike[str] | None = None) -> "Tracing":
    """Trace a block, with ``with`` or ``async with``.

    Args:
        path: As for `enable_tracing`.

    Raises:
        Exception: As for `enable_tracing`.
    """
    return Tracing(path)


class Tracing:
    """Tracing during a block; see `tracing`. Both forms give the path of the file.

    Left by ``async with`` it waits until the actors below have written what is open
    there, for at most one second. Cancellation: shielded for that time.
    """

    def __init__(self, path: str | os.PathLike[str] | None) -> None:
        self._path = path

    def __enter__(self) -> Path:
        return enable_tracing(self._path)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        disable_tracing()

    async def __aenter__(self) -> Path:
        return enable_tracing(self._path)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if slot.tracer is not None and not slot.tracer.pinned:
            await wait_ended(end(), END_TIMEOUT)


# -- For the wiring --------------------------------------------------------------------


def trace_root(actor: Actor) -> None:
    """Trace a root that is about to begin, to where the environment says (internal).

    Raises:
        OSError: The file cannot be written.
    """
    if slot.tracer is not None:
        return  # the program did so before
    path = Path(os.environ[TRACE_VARIABLE].replace("{pid}", str(os.getpid())))
    # Programs that this one starts inherit the variable: nobody empties the file.
    file = TraceFile(path.absolute(), new=False, may_begin=True)
    begin(Session.begin(str(path.absolute())), file, pinned=True)
    actor.lifetime_stack.callback(end)


def begin(session: Session, file: TraceFile, *, pinned: bool = False) -> None:
    """Subscribe, and tell the children that run."""

    def tell(child: Peer) -> None:
        _here()  # for the end, which may be in another thread
        post(child, VERBS, "follow", session.path, session.key, session.epoch)

    tracer = Tracer(session, file, pinned=pinned, on_ready=tell)
    slot.tracer = tracer
    slot.subscription.enter_context(hub.subscribed(tracer.on_event))
    atexit.register(end)

    def tell_all() -> None:
        for child in _children():
            tell(child)

    tell_all() if _here() else _in_loop(tell_all)


def end(seconds: float = END_TIMEOUT) -> list[PostedCall]:
    """Unsubscribe, tell the children, and write down what is open.

    Args:
        seconds: That they have for it.

    Returns:
        A call to each child, to wait for if there is time.
    """
    atexit.unregister(end)
    tracer, slot.tracer = slot.tracer, None
    if tracer is None:
        return []
    slot.subscription.close()
    key = tracer.session.key

    def tell_all() -> list[PostedCall]:
        return [post(child, VERBS, "stop", key, seconds) for child in _children()]

    told: list[PostedCall] = []
    if _here():
        told = tell_all()
    else:
        _in_loop(tell_all)
    with suppress(OSError):
        tracer.end()
    return told


async def wait_ended(told: list[PostedCall], seconds: float) -> None:
    """Wait until all of them, and all below them, have written what was open."""
    with trio.move_on_after(seconds, shield=True):
        for call in told:
            with suppress(RemoteActorError, TransportClosed):
                await call.wait()


def _here() -> bool:
    """Whether this is the loop of the actor, which is remembered for other threads."""
    actor = maybe_actor()
    if actor is None or not trio.lowlevel.in_trio_run() or not actor.runs_here:
        return False
    slot.loop = trio.lowlevel.current_trio_token()
    return True


def _in_loop(call: Callable[[], object]) -> None:
    """Have it called there soon, if it is known and runs."""
    if slot.loop is not None:
        try:
            slot.loop.run_sync_soon(call)
        except trio.RunFinishedError:
            slot.loop = None


def _forget() -> None:
    """This is the child of a fork: no actor of the tree, it writes nothing to a trace.

    Else what was open before would be written by both.
    """
    atexit.unregister(end)
    slot.tracer = slot.loop = None
    slot.subscription.close()


# For good, so not in sub-interpreters, which cannot fork and come and go.
if _interpreters.get_current()[0] == _interpreters.get_main()[0]:
    os.register_at_fork(after_in_child=_forget)


def _children() -> list[Peer]:
    """Of the actor whose loop this is, those that are ready."""
    actor = maybe_actor()
    if actor is None or not _here():
        return []
    return [
        peer
        for peer in actor.peers
        if peer.is_child and peer.member_since is not None and not peer.ended.is_set()
    ]

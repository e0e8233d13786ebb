"""Ambient look-ups: the actor of this interpreter, and the work of this task.

One interpreter runs one actor at a time, and threads and exit callbacks ask for it as
well as tasks do; so the actor lives in one slot of the interpreter and not in a
`trio.lowlevel.RunVar` (docs/adr/0005). Everything else hangs on the actor.
"""

import sys
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

import trio
from msgspec.structs import replace

from tractor._exceptions import NoRuntime, RuntimeFailure
from tractor._types import Aid, Graces
from tractor.msg.types import as_dict

if TYPE_CHECKING:
    from tractor.runtime._actor import Actor
    from tractor.runtime._rpc import Invocation
    from tractor.spawn import Traits


INTERRUPT: Final = 0.4  # seconds for an interrupt to work, at any depth; docs/adr/0011


class _Slot:
    """The one mutable thing that belongs to the interpreter."""

    actor: "Actor | None" = None
    replaying: str | None = None  # the main module, while a child imports it again
    orphans: tuple[Aid, ...] = ()  # actors that no rung could end


_slot: Final = _Slot()

current_invocation: Final[ContextVar["Invocation | None"]] = ContextVar(
    "tractor_invocation", default=None
)


def claim(actor: "Actor") -> None:
    """Make `actor` the one of this interpreter.

    Raises:
        RuntimeFailure: There is one already, or a child is re-importing the program.
    """
    if (main := _imported_again()) is not None:
        msg = (
            f"{main!r} starts actors while it is being imported, and a "
            "child imports it again to find its functions; put the part that starts "
            "them under `if __name__ == '__main__':`"
        )
        raise RuntimeFailure(msg)
    if _slot.actor is not None:
        msg = (
            f"actor {_slot.actor.aid.reprol()!r} already runs in this interpreter; "
            "use open_nursery() inside it instead of a second open_root_actor()"
        )
        raise RuntimeFailure(msg)
    _slot.actor = actor


def _imported_again() -> str | None:
    """The program, while this process is a child that imports its main module."""
    if _slot.replaying is not None:
        return _slot.replaying
    # A child that the program itself made with `multiprocessing`. Its name for that is
    # private, but what `multiprocessing` refuses a second start by.
    module = sys.modules.get("multiprocessing.process")
    if module is None or not getattr(module.current_process(), "_inheriting", False):
        return None
    return sys.argv[0]


def release() -> None:
    """There is no actor here any more."""
    _slot.actor = None


def set_replaying(main: str | None) -> None:
    """Note that a child imports the program's main module, or has done so."""
    _slot.replaying = main


def add_orphan(aid: Aid) -> None:
    """Remember an actor that could not be ended."""
    _slot.orphans = (*_slot.orphans, aid)


def orphans() -> tuple[Aid, ...]:
    """Actors that no rung of the ladder could end, oldest first."""
    return _slot.orphans


def maybe_actor() -> "Actor | None":
    """The actor of this interpreter, if one runs."""
    return _slot.actor


def current_actor() -> "Actor":
    """The actor of this interpreter.

    Raises:
        NoRuntime: None runs; open one with `open_root_actor` or `open_nursery`.
    """
    if _slot.actor is None:
        msg = "no actor runs here; open one with tractor.open_root_actor()"
        raise NoRuntime(msg)
    return _slot.actor


def is_root_process() -> bool:
    """Whether this interpreter runs the root of a tree; false where no actor runs."""
    return _slot.actor is not None and _slot.actor.is_root


def get_runtime_vars() -> dict[str, Any]:
    """A copy of what this actor hands on to its children, and whether it is the root.

    Raises:
        NoRuntime: No actor runs here.
    """
    actor = current_actor()
    return {"is_root": actor.is_root, **as_dict(actor.runtime_vars)}


def seconds_left() -> float:
    """Until whoever cancelled this task or this actor cuts it off; else infinite."""
    deadline = float("inf")
    if _slot.actor is not None:
        deadline = _slot.actor.deadline
    if (invocation := current_invocation.get()) is not None:
        deadline = min(deadline, invocation.deadline)
    return deadline - trio.current_time()


def granted_graces(graces: Graces) -> Graces:
    """`graces`, or as much of them as the time that is left allows."""
    return graces.within(seconds_left())


def graces_by(deadline: float, full: Graces, traits: "Traits") -> Graces:
    """Those of a ladder that is to be over by then.

    Args:
        deadline: trio time; the one of this task or actor may be earlier.
        full: Those of the tree.
        traits: Of the child's backend.
    """
    left = min(seconds_left(), deadline - trio.current_time())
    graces = full.within(left)
    if traits.can_kill:
        # What was killed will be dead, and only its notice may be late. To give up
        # on it early gains nothing: who waits for us cuts us off in time, and then
        # the lifeline sees to it.
        return replace(graces, kill=full.kill)
    if traits.can_interrupt:
        least = min(full.kill, INTERRUPT, max(0.0, left / 2))  # it takes its time
        return replace(graces, kill=max(graces.kill, least))
    return graces

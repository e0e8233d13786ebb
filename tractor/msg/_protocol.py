"""The dialogue between a caller and a callee, as a table; no I/O in it.

Rules of this file:

- Every transition is in the tables below. A record that they do not list is an error
  of whoever sent it, and changes nothing.
- Each side of a dialogue has a *half*: what it has said so far. A half moves only
  when its owner sends. An endpoint keeps both halves, its own and what it has
  heard of its peer's, and so checks what it sends and what it receives alike.
- Halves only move forward, and each condition on the other half holds in all of its
  later states, too: what was legal when it was sent still is when it arrives.
- A dialogue that is over sends nothing more; what was under way it still receives.

A plain call is the dialogue that uses `Start`, `Cancel`, `CancelAck` and one of
`Return` and `Error`; a context may use all of them.
"""

from enum import Enum
from typing import Final

from tractor._exceptions import LocalProtocolError, RemoteProtocolError
from tractor.msg import types as t


class Role(Enum):
    """Who opened the dialogue, and who serves it."""

    CALLER = "caller"
    CALLEE = "callee"

    @property
    def other(self) -> "Role":
        """The peer's role."""
        return Role.CALLEE if self is Role.CALLER else Role.CALLER


class Half(Enum):
    """What one side has said so far."""

    SILENT = "silent"  # nothing (a callee: nothing yet but acknowledgements)
    OPEN = "open"  # caller: Start sent; callee: Started sent
    STOPPED = "stopped"  # no more items from this side
    CANCELLING = "cancelling"  # caller only: asked the callee to end; no more items
    DONE = "done"  # callee only: outcome sent; the dialogue is over


type Kind = type[t.Record]
type Table = dict[Half, dict[Kind, Half]]

CALLER: Final[Table] = {
    Half.SILENT: {t.Start: Half.OPEN},
    Half.OPEN: {
        t.Yield: Half.OPEN,
        t.Credit: Half.OPEN,
        t.Stop: Half.STOPPED,
        t.Cancel: Half.CANCELLING,
    },
    Half.STOPPED: {
        t.Credit: Half.STOPPED,
        t.Stop: Half.STOPPED,
        t.Cancel: Half.CANCELLING,
    },
    Half.CANCELLING: {t.Credit: Half.CANCELLING, t.Cancel: Half.CANCELLING},
    Half.DONE: {},
}

CALLEE: Final[Table] = {
    Half.SILENT: {
        t.Started: Half.OPEN,
        t.CancelAck: Half.SILENT,
        t.Return: Half.DONE,
        t.Error: Half.DONE,
    },
    Half.OPEN: {
        t.Yield: Half.OPEN,
        t.Credit: Half.OPEN,
        t.Stop: Half.STOPPED,
        t.CancelAck: Half.OPEN,
        t.Return: Half.DONE,
        t.Error: Half.DONE,
    },
    Half.STOPPED: {
        t.Credit: Half.STOPPED,
        t.Stop: Half.STOPPED,
        t.CancelAck: Half.STOPPED,
        t.Return: Half.DONE,
        t.Error: Half.DONE,
    },
    Half.CANCELLING: {},
    Half.DONE: {},
}

TABLES: Final = {Role.CALLER: CALLER, Role.CALLEE: CALLEE}

_SPOKEN: Final = frozenset({Half.OPEN, Half.STOPPED, Half.CANCELLING})
_STARTED: Final = frozenset({Half.OPEN, Half.STOPPED, Half.DONE})

NEEDS: Final[dict[tuple[Role, Kind], frozenset[Half]]] = {
    # The caller streams once the callee has started it; the callee speaks when called.
    (Role.CALLER, t.Yield): _STARTED,
    (Role.CALLER, t.Stop): _STARTED,
    (Role.CALLER, t.Credit): _STARTED,
    (Role.CALLER, t.Start): frozenset(Half),
    (Role.CALLER, t.Cancel): frozenset(Half),
    (Role.CALLEE, t.Started): _SPOKEN,
    (Role.CALLEE, t.Yield): _SPOKEN,
    (Role.CALLEE, t.Stop): _SPOKEN,
    (Role.CALLEE, t.Credit): _SPOKEN,
    (Role.CALLEE, t.CancelAck): frozenset({Half.CANCELLING}),
    (Role.CALLEE, t.Return): _SPOKEN,
    (Role.CALLEE, t.Error): _SPOKEN,
}
"""In which states of the *other* half a role may send a record."""


class State:
    """Both halves, and where each record leads from here.

    Made once of the tables for every pair of halves, so that a record costs one look-up
    by its class.

    Attributes:
        caller: The half of the caller.
        callee: The half of the callee.
        by_caller: What the caller may send, and the state after it.
        by_callee: What the callee may send, likewise.
    """

    __slots__ = ("by_callee", "by_caller", "callee", "caller")

    def __init__(self, caller: Half, callee: Half) -> None:
        self.caller = caller
        self.callee = callee
        self.by_caller: dict[Kind, State] = {}
        self.by_callee: dict[Kind, State] = {}

    def half(self, role: Role) -> Half:
        """What that side has said so far."""
        return self.caller if role is Role.CALLER else self.callee


def _make_states() -> dict[tuple[Half, Half], State]:
    states = {
        (caller, callee): State(caller, callee) for caller in Half for callee in Half
    }
    for (caller, callee), state in states.items():
        for kind, following in CALLER[caller].items():
            if callee in NEEDS[Role.CALLER, kind]:
                state.by_caller[kind] = states[following, callee]
        for kind, following in CALLEE[callee].items():
            if caller in NEEDS[Role.CALLEE, kind]:
                state.by_callee[kind] = states[caller, following]
    return states


STATES: Final = _make_states()
START: Final = STATES[Half.SILENT, Half.SILENT]


class Dialogue:
    """Both halves of one dialogue, seen from the side of `role`.

    Attributes:
        role: Ours.
        state: What both sides have said so far.
    """

    __slots__ = ("role", "state")

    def __init__(self, role: Role) -> None:
        self.role = role
        self.state = START

    @property
    def done(self) -> bool:
        """Whether the outcome was sent or received."""
        return self.state.callee is Half.DONE

    @property
    def own_half(self) -> Half:
        """What this side has said so far."""
        state = self.state
        return state.caller if self.role is Role.CALLER else state.callee

    @property
    def peer_half(self) -> Half:
        """What the other side has said so far."""
        state = self.state
        return state.callee if self.role is Role.CALLER else state.caller

    def send(self, kind: Kind) -> None:
        """We are about to send a record of this kind.

        Raises:
            LocalProtocolError: Not in this state; nothing changes.
        """
        state = self.state
        moves = state.by_caller if self.role is Role.CALLER else state.by_callee
        following = moves.get(kind)
        if following is None or state.callee is Half.DONE:
            raise LocalProtocolError(self._refusal(self.role, kind))
        self.state = following

    def receive(self, kind: Kind) -> None:
        """A record of this kind arrived.

        Raises:
            RemoteProtocolError: The peer must not send it in this state; nothing
                changes.
        """
        state = self.state
        moves = state.by_callee if self.role is Role.CALLER else state.by_caller
        if (following := moves.get(kind)) is None:
            raise RemoteProtocolError(self._refusal(self.role.other, kind))
        self.state = following

    def _refusal(self, sender: Role, kind: Kind) -> str:
        mine, theirs = self.state.half(sender), self.state.half(sender.other)
        return (
            f"the {sender.value} cannot send {kind.__name__} while it is "
            f"{mine.value!r} and the {sender.other.value} is {theirs.value!r}"
        )

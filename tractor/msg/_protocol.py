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


class Dialogue:
    """Both halves of one dialogue, seen from the side of `role`."""

    __slots__ = ("halves", "role")

    def __init__(self, role: Role) -> None:
        self.role = role
        self.halves = {Role.CALLER: Half.SILENT, Role.CALLEE: Half.SILENT}

    @property
    def done(self) -> bool:
        """Whether the outcome was sent or received."""
        return self.halves[Role.CALLEE] is Half.DONE

    def send(self, kind: Kind) -> None:
        """We are about to send a record of this kind.

        Raises:
            LocalProtocolError: Not in this state; nothing changes.
        """
        following = None if self.done else self._next(self.role, kind)
        if following is None:
            raise LocalProtocolError(self._refusal(self.role, kind))
        self.halves[self.role] = following

    def receive(self, kind: Kind) -> None:
        """A record of this kind arrived.

        Raises:
            RemoteProtocolError: The peer must not send it in this state; nothing
                changes.
        """
        sender = self.role.other
        if (following := self._next(sender, kind)) is None:
            raise RemoteProtocolError(self._refusal(sender, kind))
        self.halves[sender] = following

    def _next(self, sender: Role, kind: Kind) -> Half | None:
        if self.halves[sender.other] not in NEEDS.get((sender, kind), ()):
            return None
        return TABLES[sender][self.halves[sender]].get(kind)

    def _refusal(self, sender: Role, kind: Kind) -> str:
        mine, theirs = self.halves[sender], self.halves[sender.other]
        return (
            f"the {sender.value} cannot send {kind.__name__} while it is "
            f"{mine.value!r} and the {sender.other.value} is {theirs.value!r}"
        )

"""The life of a task, as a table; pure.

=========  =========  ==================================================
state      next       when
=========  =========  ==================================================
queued     placed     a worker was chosen for it
queued     failed     it cannot be sent, or its pool is broken
queued     cancelled  somebody asked
placed     queued     its worker had not begun it, and another one shall
placed     done       its result is here
placed     failed     its error is here, its worker died, or its time is over
placed     cancelled  somebody asked; its worker is told to stop it
=========  =========  ==================================================

The other three are final: what arrives for a task after that is late, and ignored.
"""

from typing import Final, Literal

type State = Literal["queued", "placed", "done", "failed", "cancelled"]

NEXT: Final[dict[State, frozenset[State]]] = {
    "queued": frozenset({"placed", "failed", "cancelled"}),
    "placed": frozenset({"queued", "done", "failed", "cancelled"}),
    "done": frozenset(),
    "failed": frozenset(),
    "cancelled": frozenset(),
}

FINAL: Final[frozenset[State]] = frozenset(s for s, after in NEXT.items() if not after)


def may(state: State, after: State) -> bool:
    """Whether a task in `state` may be `after` next."""
    return after in NEXT[state]

"""Who is at the terminal, and who is next: the rules, without any I/O.

    free      nobody has it
    held      somebody is in a REPL: a person types, and all clocks stand still
    kept      it was held, and who had it runs on to its next stop (`n`, `s`): for a
              moment the terminal is still its own, and clocks run

    state   who      event     next                  and then
    free    anybody  want      held
    held    others   want      held                  they wait in line
    kept    holder   want      held                  ahead of the line
    kept    others   want      kept                  they wait in line
    held    holder   step      kept                  until `KEEP` has passed
    held    holder   leave     free                  the first in line gets it
    kept    holder   leave     free                  likewise
    kept             time      free                  likewise
    any     others   leave     the same              they are in line no more

To leave is to end one's connection, so it is also what a death does.
"""

import math
from typing import Final

KEEP: Final = 0.5  # seconds from one stop of a stepping person to the next

type Guest = object


class Line:
    """The line before one terminal.

    Attributes:
        holder: Who has it, if anybody.
        kept_until: When it is taken from who steps; infinite while it is held.
        released_at: When it was last held.
    """

    def __init__(self) -> None:
        self.holder: Guest | None = None
        self.kept_until = math.inf
        self.released_at = -math.inf
        self._waiting: list[Guest] = []

    @property
    def held(self) -> bool:
        """Whether somebody is in a REPL."""
        return self.holder is not None and self.kept_until == math.inf

    @property
    def waiting(self) -> int:
        """How many are in line."""
        return len(self._waiting)

    def want(self, guest: Guest) -> Guest | None:
        """Somebody asks for the terminal; who gets it now, if anybody."""
        if guest is self.holder:
            self.kept_until = math.inf
            return guest
        if guest not in self._waiting:
            self._waiting.append(guest)
        return self._next()

    def step(self, guest: Guest, now: float) -> None:
        """The holder runs on, to come back soon."""
        if guest is self.holder and self.held:
            self.released_at = now
            self.kept_until = now + KEEP

    def leave(self, guest: Guest, now: float) -> Guest | None:
        """Somebody is gone, or has done; who gets the terminal now, if anybody."""
        if guest in self._waiting:
            self._waiting.remove(guest)
        if guest is not self.holder:
            return None
        return self._free(now)

    def expire(self, now: float) -> Guest | None:
        """Time went by; who gets the terminal now, if anybody."""
        if self.holder is None or now < self.kept_until:
            return None
        return self._free(self.released_at)

    def _free(self, now: float) -> Guest | None:
        if self.held:
            self.released_at = now
        self.holder, self.kept_until = None, math.inf
        return self._next()

    def _next(self) -> Guest | None:
        if self.holder is not None or not self._waiting:
            return None
        self.holder = self._waiting.pop(0)
        return self.holder

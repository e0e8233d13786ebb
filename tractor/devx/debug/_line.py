"""Who is at the terminal, and who is next: the rules, without any I/O.

    free      nobody has it
    offered   it is somebody's turn, and he has not begun yet
    held      somebody has begun: a person types, and all clocks stand still
    kept      it is somebody's, who has nothing open: he confirmed an offer, or runs on
              to his next stop (`n`, `s`)

    state     who      event     next                  and then
    free      anybody  want      offered
    offered   holder   open      held
    kept      holder   open      held
    offered   holder   step      kept                  until `KEEP` has passed
    held      holder   step      kept                  likewise
    kept      holder   want      offered               ahead of the line
    kept      mates    want      offered               to the mate
    offered   mates    block     offered               to the mate
    held      mates    block     held                  they are refused
    else      others   want      the same              they wait in line
    any       holder   leave     free                  the first in line gets it
    offered            time      free                  likewise
    kept               time      free                  likewise
    any       others   leave     the same              they are in line no more
    free      anybody  open      held                  he was late, but nobody minds
    free      anybody  step      kept                  likewise
    else      others   open      the same              they are told that they are late
    else      others   step      the same              likewise

What is offered or kept is so until `KEEP` has passed, and clocks run. Mates are guests
in one thread of an actor. Who blocks stops that thread, so nothing of theirs goes on
before he has it: he wants, and goes ahead of them. To leave is to end one's connection,
so it is also what a death does.
"""

import math
from collections.abc import Collection
from typing import Final

KEEP: Final = 0.5  # seconds that it is somebody's who has nothing open

type Guest = object


class Line:
    """The line before one terminal.

    Attributes:
        holder: Whose turn it is, if anybody's.
        until: When it is taken from who has nothing open; infinite while it is held.
        released_at: When it was last held.
    """

    def __init__(self) -> None:
        self.holder: Guest | None = None
        self.until = math.inf
        self.released_at = -math.inf
        self._kept = False
        self._waiting: list[Guest] = []

    @property
    def held(self) -> bool:
        """Whether somebody has begun, and has not finished."""
        return self.holder is not None and self.until == math.inf

    @property
    def waiting(self) -> int:
        """How many are in line."""
        return len(self._waiting)

    def refuses(self, mates: Collection[Guest]) -> bool:
        """Whether a guest who blocks would wait for himself.

        Args:
            mates: Those of his thread.
        """
        return self.held and self.holder in mates

    def want(
        self,
        guest: Guest,
        now: float,
        mates: Collection[Guest] = (),
        *,
        blocks: bool = False,
    ) -> Guest | None:
        """Somebody asks for the terminal; whose turn it is now, if that is news.

        Args:
            guest: Who asks.
            now: As `time.monotonic` says it.
            mates: Those of his thread.
            blocks: Whether that thread does nothing else until he has it.
        """
        if guest is self.holder:
            return self._offer(guest, now)
        if self.holder in mates and not self.held and (self._kept or blocks):
            return self._offer(guest, now)
        if guest not in self._waiting:
            ahead_of = mates if blocks else ()
            places = (at for at, one in enumerate(self._waiting) if one in ahead_of)
            self._waiting.insert(next(places, len(self._waiting)), guest)
        return self._next(now)

    def open(self, guest: Guest) -> bool:
        """Somebody begins; whether it is his turn."""
        if not self._is_for(guest):
            return False
        self.until = math.inf
        return True

    def step(self, guest: Guest, now: float) -> bool:
        """Somebody has nothing open, but will soon; whether it is his turn."""
        if not self._is_for(guest):
            return False
        if self.held:
            self.released_at = now
        self.until, self._kept = now + KEEP, True
        return True

    def leave(self, guest: Guest, now: float) -> Guest | None:
        """Somebody is gone, or has done; whose turn it is now, if that is news."""
        if guest in self._waiting:
            self._waiting.remove(guest)
        if guest is not self.holder:
            return None
        if self.held:
            self.released_at = now
        self.holder = None
        return self._next(now)

    def expire(self, now: float) -> Guest | None:
        """Time went by; whose turn it is now, if that is news."""
        if self.holder is None or now < self.until:
            return None
        self.holder = None
        return self._next(now)

    def _is_for(self, guest: Guest) -> bool:
        if self.holder is None:  # or a loop that is always slow would have no turn
            self.holder, self.until = guest, -math.inf
        return guest is self.holder

    def _next(self, now: float) -> Guest | None:
        if self.holder is not None:
            return None
        if not self._waiting:
            self.until = math.inf
            return None
        return self._offer(self._waiting.pop(0), now)

    def _offer(self, guest: Guest, now: float) -> Guest:
        if guest in self._waiting:
            self._waiting.remove(guest)
        self.holder, self.until, self._kept = guest, now + KEEP, False
        return guest

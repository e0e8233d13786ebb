"""What a worker says, kept where its sudden death does not reach it.

A file that both sides have mapped: the number of the behaviour that was begun last, and
the last records, in a ring. Each record is in it before the next behaviour begins.
After a death the scope reads those that it has not heard of. So it knows what has run,
what was running, and what nobody had begun.

The ring has more slots than a worker can have unheard records, as a rule; where it says
more, it waits. What is too large for a slot has to be sent before it goes on, too.
"""

import struct
from typing import Final

from tractor.futures.parts import make_shared, map_shared

SLOTS: Final = 4096  # records
SLOT: Final = 256  # bytes of each
QUOTA: Final = 768  # behaviours that a worker may have, a few records each

ROOM: Final = SLOT - 18  # bytes of a record

_NUMBER: Final = struct.Struct("=q")
# The place of the record, 0 for none; its bytes; the record; its place again.
_SLOT: Final = struct.Struct(f"=qH{ROOM}sq")
_START: Final = 64  # where the ring begins
_SIZE: Final = _START + SLOTS * SLOT


class Log:
    """One side of it.

    Attributes:
        written: How many records there were.

    Args:
        path: Of a file that `make` has made; both sides map it.
    """

    def __init__(self, path: str) -> None:
        self._map = map_shared(path, _SIZE)
        self.written = 0

    def begin(self, order: int) -> None:
        """The worker begins this one."""
        _NUMBER.pack_into(self._map, 0, order)

    def put(self, record: bytes) -> bool:
        """One more record; false if it is too large to be kept."""
        at = _START + self.written % SLOTS * SLOT
        self.written += 1
        size = len(record)
        if size > ROOM:
            return False
        # Written from front to back: one in which the places differ was cut short.
        _SLOT.pack_into(self._map, at, self.written, size, record, self.written)
        return True

    def last_begun(self) -> int:
        """What was begun last; 0 before the first."""
        return int(_NUMBER.unpack_from(self._map)[0])

    def after(self, heard: int) -> list[bytes]:
        """Records after the first `heard` ones, in order."""
        found: dict[int, bytes] = {}
        for at in range(_START, _SIZE, SLOT):
            place, size, record, again = _SLOT.unpack_from(self._map, at)
            if place > heard and place == again:
                found[place] = record[:size]
        return [found[place] for place in sorted(found)]

    def close(self) -> None:
        """Give the memory back."""
        self._map.close()


def make() -> str:
    """Path of a new file for it; whoever made it removes it."""
    return make_shared("tractor-cowns-", _SIZE)

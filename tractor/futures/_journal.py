"""What a worker has begun and done, told in a way that survives its sudden death.

A file that both sides have mapped: the number of the task that was begun last, and the
last outcomes, in a ring. A store costs a fraction of a microsecond and needs nobody to
read it. After a crash the pool looks: so the task that ran fails, and no other one,
neither what was waiting for its turn nor what was done and not yet sent.

The ring has a slot for each task that a worker may have at once, so none is written
again before the pool has heard of its outcome. What is too large for a slot has to be
sent before the next task begins.
"""

import struct
from collections.abc import Iterator
from typing import Final

from tractor.futures._parcels import KINDS, Kind
from tractor.futures._shared_file import make_shared, map_shared

SLOTS: Final = 32  # tasks that a worker may have at once
SLOT: Final = 512  # bytes of each

_NUMBER: Final = struct.Struct("=q")
_HEAD: Final = struct.Struct("=BH")  # kind, bytes of data
_START: Final = 64  # where the ring begins
_SIZE: Final = _START + SLOTS * SLOT
ROOM: Final = SLOT - _NUMBER.size - _HEAD.size  # bytes of an outcome in it


class Journal:
    """One side of it.

    Args:
        path: Of a file that `make` has made; both sides map it.
    """

    def __init__(self, path: str) -> None:
        self._map = map_shared(path, _SIZE)
        self._written = 0

    def begin(self, number: int) -> None:
        """The worker begins this task."""
        _NUMBER.pack_into(self._map, 0, number)

    def end(self, number: int, kind: Kind, data: bytes) -> bool:
        """It has ended; false if its outcome is too large to be noted."""
        if len(data) > ROOM:
            return False
        at = _START + self._written % SLOTS * SLOT
        self._written += 1
        # The number comes last: without it the rest does not count.
        _NUMBER.pack_into(self._map, at, 0)
        start = at + _NUMBER.size + _HEAD.size
        self._map[start : start + len(data)] = data
        _HEAD.pack_into(self._map, at + _NUMBER.size, KINDS.index(kind), len(data))
        _NUMBER.pack_into(self._map, at, number)
        return True

    def last_begun(self) -> int:
        """The task that was begun last; 0 before the first."""
        return int(_NUMBER.unpack_from(self._map)[0])

    def outcomes(self) -> Iterator[tuple[int, Kind, bytes]]:
        """The last outcomes, in no order."""
        for at in range(_START, _SIZE, SLOT):
            (number,) = _NUMBER.unpack_from(self._map, at)
            if number:
                kind, size = _HEAD.unpack_from(self._map, at + _NUMBER.size)
                start = at + _NUMBER.size + _HEAD.size
                yield number, KINDS[kind], bytes(self._map[start : start + size])

    def close(self) -> None:
        """Give the memory back."""
        self._map.close()


def make() -> str:
    """Path of a new file for it; whoever made it removes it."""
    return make_shared("tractor-journal-", _SIZE)

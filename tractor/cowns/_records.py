"""What workers and scopes tell one another, as arrays of msgpack.

Records go from a worker to its scope, each packed for itself so that the log can have
it, in an order that counts. Orders go the other way.

=======  ===========================================================================
record   is
=======  ===========================================================================
DONE     order, failed, data, states, unsaved numbers, numbers of dropped handles;
         `BROKEN` as failed: it did not run, since a value that it wants was lost
STATES   states
NEST     number of the result, job, is async, numbers
MADE     number of a new cown, data
EXPORT   numbers of handles that are in what comes next
NOTICE   what, key, data, path
=======  ===========================================================================

A state is ``number, failed, data``. `BROKEN` instead of `failed` means that the value
is lost, and that the data is the error, as ``failed, data``.
"""

from collections.abc import Iterator
from typing import Any, Final

import msgspec

DONE: Final = 0
STATES: Final = 1
NEST: Final = 2
MADE: Final = 3
EXPORT: Final = 4
NOTICE: Final = 5

BROKEN: Final = 9

BATCH: Final = 256 * 1024  # bytes that are sent together

OVERHEAD: Final = 32  # bytes of a state beside its data, at most

type State = tuple[int, int, bytes]

pack: Final = msgspec.msgpack.Encoder().encode
unpack: Final = msgspec.msgpack.Decoder(list[Any]).decode


def batch_size(max_frame: int) -> int:
    """Bytes that are sent together in a tree with such frames."""
    return min(BATCH, max_frame // 2)


def in_parts(states: list[State], size: int) -> Iterator[list[State]]:
    """Groups of at most so many bytes, or of one that is larger."""
    part: list[State] = []
    used = 0
    for state in states:
        if part and used + len(state[2]) > size:
            yield part
            part, used = [], 0
        part.append(state)
        used += len(state[2]) + OVERHEAD
    if part:
        yield part

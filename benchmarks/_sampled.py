"""Where a thread spends its processor time, by samples; runs in actors, too.

The kernel sends a signal after some milliseconds of processor time. It is noticed
between two bytecodes, so what C code takes is on the line that calls it.
"""

import linecache
import os
import signal
import time
from collections import Counter
from types import FrameType
from typing import Final

INTERVAL: Final = 1e-3  # seconds of processor time; the kernel rounds it up

# Parts of one call, each with the places that belong to it: the end of a file's path,
# and what is in the line. The first one that fits counts.
PARTS: Final = (
    ("kernel: send", "ipc/_transport.py", "_sock.send"),
    ("kernel: receive", "ipc/_transport.py", "take("),
    ("kernel: wait for bytes", "_io_epoll.py", "_epoll.poll("),
    ("kernel: say what to wait for", "_io_epoll.py", "_epoll.modify("),
    ("kernel: say what to wait for", "_io_epoll.py", "_epoll.register("),
    ("msgspec: to bytes and back", "msg/_codec.py", "encode_into("),
    ("msgspec: to bytes and back", "msg/_codec.py", ".decode("),
    ("msgspec: to bytes and back", "msg/_payload.py", "self._encode("),
    ("msgspec: to bytes and back", "msg/_payload.py", "self._decode("),
    ("trio: its loop, and switching tasks", "trio/", ""),
    ("trio: its loop, and switching tasks", "outcome/", ""),
    ("tractor: frames and the channel", "tractor/ipc/", ""),
    ("tractor: records and payloads", "tractor/msg/", ""),
    ("tractor: calls", "tractor/runtime/", ""),
    ("the program", "benchmarks/", ""),
)
OTHER: Final = "all else"

_places: Counter[tuple[str, int]] = Counter()
_began: list[float] = []


def _note(_: int, frame: FrameType | None) -> None:
    if frame is not None:
        _places[frame.f_code.co_filename, frame.f_lineno] += 1


async def start() -> None:
    """Begin to sample this thread, which must be the main one."""
    _places.clear()
    signal.signal(signal.SIGPROF, _note)
    _began.append(processor_time())
    signal.setitimer(signal.ITIMER_PROF, INTERVAL, INTERVAL)


async def stop() -> tuple[float, dict[str, int]]:
    """Microseconds of processor time since then, and samples of each part."""
    signal.setitimer(signal.ITIMER_PROF, 0)
    took = processor_time() - _began.pop()
    found: Counter[str] = Counter()
    for (path, number), count in _places.items():
        found[part_of(path, linecache.getline(path, number))] += count
    return took * 1e6, dict(found)


def part_of(path: str, line: str) -> str:
    """The part of a call that a place in the code belongs to."""
    path = path.replace(os.sep, "/")
    for part, where, what in PARTS:
        if (where in path if where.endswith("/") else path.endswith(where)) and (
            what in line
        ):
            return part
    return OTHER


def processor_time() -> float:
    """Seconds of this thread so far."""
    return time.clock_gettime(time.CLOCK_THREAD_CPUTIME_ID)

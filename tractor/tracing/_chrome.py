"""A trace as Perfetto and Chrome show it: a row for each actor, arrows for calls.

The format is that of the "Trace Event Format" document: complete events (``X``) for
what took time, instants (``i``) for moments, a pair of flow events (``s``, ``f``) for
each call that reached another actor, and metadata (``M``) for names.

What a viewer puts on one line has to nest, and what tasks of one actor do overlaps. So
an actor is a process to the viewer and has as many lines, threads to it, as it takes: a
span is drawn in its parent if that is still on top there, or on a line that is free.
"""

import json
import os
from collections import defaultdict
from collections.abc import Iterable
from typing import Any, Final

from msgspec import Struct

from tractor.tracing._lines import MODE, TraceLine, read_trace

_COLOURS: Final = {"failed": "terrible", "cancelled": "bad"}  # names of the format's

type Place = tuple[int, int]  # process and thread, of the viewer's
type Event = dict[str, Any]


class Lane(Struct):
    """One line of an actor.

    Attributes:
        number: From 1 on.
        stack: What is open on it at the moment: where each ends, and what it is.
    """

    number: int
    stack: list[tuple[int, str]]


def export_chrome(
    source: str | os.PathLike[str], target: str | os.PathLike[str]
) -> None:
    """Write what `chrome_trace` makes of a trace to a file.

    Args:
        source: The trace, as `enable_tracing` writes it.
        target: For https://ui.perfetto.dev or ``chrome://tracing``.

    Raises:
        OSError: One of them cannot be opened.
        msgspec.DecodeError: `source` is no trace.
    """
    made = chrome_trace(read_trace(source))
    fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, MODE)
    with open(fd, "w", encoding="utf-8") as file:
        json.dump(made, file)


def chrome_trace(lines: Iterable[TraceLine]) -> dict[str, Any]:
    """The same trace in the JSON object form of the Trace Event Format."""
    found = sorted(lines, key=lambda line: (line.start_ns, -(line.duration_ns or 0)))
    epoch = found[0].start_ns if found else 0
    rows = _rows(found)
    places: dict[int, Place] = _places(found, rows)  # by position in `found`
    events = _names(found, rows, places)
    for at, line in enumerate(found):
        events.append(_event(line, places[at], epoch))
    events += _flows(found, places, epoch)
    return {
        "traceEvents": events,
        "displayTimeUnit": "ns",
        "otherData": {"epoch_ns": epoch},  # what `ts` counts from
    }


def _row_of(line: TraceLine) -> str:
    return line.uuid or f"process {line.pid}"


def _rows(found: list[TraceLine]) -> dict[str, int]:
    """Number of each actor, in the order in which they are first seen."""
    rows: dict[str, int] = {}
    for line in found:
        rows.setdefault(_row_of(line), len(rows) + 1)
    return rows


def _places(found: list[TraceLine], rows: dict[str, int]) -> dict[int, Place]:
    lanes: defaultdict[int, list[Lane]] = defaultdict(list)
    places: dict[int, Place] = {}
    for at, line in enumerate(found):
        row = rows[_row_of(line)]
        lane = _lane_for(line, lanes[row])
        places[at] = (row, lane.number)
    return places


def _lane_for(line: TraceLine, lanes: list[Lane]) -> Lane:
    """Where it is drawn; it is put there, if it takes time."""
    end = line.start_ns + (line.duration_ns or 0)
    free = None
    for lane in lanes:
        while lane.stack and lane.stack[-1][0] <= line.start_ns:
            lane.stack.pop()
        if not lane.stack:
            free = free or lane
        elif lane.stack[-1][1] == line.parent and end <= lane.stack[-1][0]:
            free = lane
            break
    if free is None:
        free = Lane(len(lanes) + 1, [])
        lanes.append(free)
    if line.duration_ns is not None:
        free.stack.append((end, line.task_id))
    return free


def _names(
    found: list[TraceLine], rows: dict[str, int], places: dict[int, Place]
) -> list[Event]:
    events: list[Event] = []

    def name(what: str, place: Place, **args: object) -> None:
        row, lane = place
        fields = {"ph": "M", "name": what, "pid": row, "tid": lane, "args": args}
        events.append(fields)

    seen = set()
    for line in found:
        row = rows[_row_of(line)]
        if row not in seen:
            seen.add(row)
            title = f"{line.actor or 'no actor'} (pid {line.pid})"
            name("process_name", (row, 0), name=title)
            name("process_sort_index", (row, 0), sort_index=row)
    for row, lane in sorted({*places.values()}):
        name("thread_name", (row, lane), name=f"line {lane}")
        name("thread_sort_index", (row, lane), sort_index=lane)
    return events


def _event(line: TraceLine, place: Place, epoch: int) -> Event:
    args: dict[str, Any] = {
        "task_id": line.task_id,
        "parent": line.parent,
        "outcome": line.outcome,
        "thread": line.worker_thread_id,
        **line.data,
    }
    event: Event = {
        "name": line.name,
        "cat": line.kind,
        "pid": place[0],
        "tid": place[1],
        "ts": (line.start_ns - epoch) / 1000,  # microseconds, as all times of it
        "args": args,
    }
    if line.duration_ns is None:
        return event | {"ph": "i", "s": "t"}
    if line.outcome in _COLOURS:
        event["cname"] = _COLOURS[line.outcome]
    return event | {"ph": "X", "dur": line.duration_ns / 1000}


def _flows(found: list[TraceLine], places: dict[int, Place], epoch: int) -> list[Event]:
    """An arrow from each call to what ran for it."""
    calls: defaultdict[str, list[int]] = defaultdict(list)
    for at, line in enumerate(found):
        if line.kind == "call":
            calls[line.task_id].append(at)
    events: list[Event] = []
    for at, line in enumerate(found):
        candidates = calls.get(line.parent or "", [])
        if line.kind == "task" and candidates:
            caller = _latest_before(line, [(each, found[each]) for each in candidates])
            common = {"name": line.name, "cat": "call", "id": len(events) // 2 + 1}
            for phase, end in (("s", caller), ("f", at)):
                row, lane = places[end]
                when = (found[end].start_ns - epoch) / 1000
                event = common | {"ph": phase, "pid": row, "tid": lane, "ts": when}
                events.append(event)
            events[-1]["bp"] = "e"  # the slice that begins there, not the next one
    return events


def _latest_before(line: TraceLine, calls: list[tuple[int, TraceLine]]) -> int:
    """Which of them it ran for.

    There are several where a connection was made again: its calls are numbered anew.
    """
    before = [at for at, call in calls if call.start_ns <= line.start_ns]
    return before[-1] if before else calls[0][0]

"""What viewers get is what the Trace Event Format asks for."""

import json
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
import trio

import tractor
from tests._helpers import SAFETY
from tests.tracing import traced
from tractor.tracing import (
    TraceLine,
    chrome_trace,
    export_chrome,
    note,
    read_trace,
    span,
    tracing,
)

type Event = dict[str, Any]

HERE: Final = traced.__name__
METADATA: Final = {
    "process_name": "name",
    "process_sort_index": "sort_index",
    "thread_name": "name",
    "thread_sort_index": "sort_index",
}
NUMBERS: Final = count(1)


# -- The format ------------------------------------------------------------------------


def problems(trace: Any) -> list[str]:
    """What is wrong with a trace in the JSON object form; pure."""
    if not isinstance(trace, dict) or not isinstance(trace.get("traceEvents"), list):
        return ["no object with a list of traceEvents"]
    found = []
    if trace.get("displayTimeUnit") not in ("ms", "ns"):
        found.append("displayTimeUnit is neither ms nor ns")
    for event in trace["traceEvents"]:
        found += [f"without {problem}: {event}" for problem in wrong_in(event)]
    if found:
        return found
    slices = by_place(trace["traceEvents"])
    for place, spans in slices.items():
        found += [f"{one} does not nest at {place}" for one in not_nested(spans)]
    return found + wrong_flows(trace["traceEvents"], slices)


def wrong_in(event: Event) -> list[str]:
    """What one event alone lacks."""
    places = all(isinstance(event.get(key), int) for key in ("pid", "tid"))
    found = [] if places and isinstance(event.get("name"), str) else ["who or where"]
    phase = event.get("ph")
    if phase == "M":
        wanted = METADATA.get(event["name"])
        return found if wanted in event.get("args", {}) else [*found, "what it means"]
    if not isinstance(event.get("ts"), int | float) or event["ts"] < 0:
        found.append("when")
    if not isinstance(event.get("cat"), str):
        found.append("a category")
    fits = {
        "X": event.get("dur", -1) >= 0,
        "i": event.get("s") in ("g", "p", "t"),
        "s": "id" in event,
        "f": "id" in event,
    }
    return found if fits.get(str(phase), False) else [*found, "what its phase needs"]


def by_place(events: list[Event]) -> dict[tuple[int, int], list[tuple[float, float]]]:
    """Begin and end of what takes time, on each line of the viewer."""
    places: defaultdict[tuple[int, int], list[tuple[float, float]]] = defaultdict(list)
    for event in events:
        if event["ph"] == "X":
            place = event["pid"], event["tid"]
            places[place].append((event["ts"], event["ts"] + event["dur"]))
    return places


def not_nested(spans: list[tuple[float, float]]) -> Iterator[tuple[float, float]]:
    """Those that begin in another one and end after it."""
    stack: list[float] = []
    for begin, end in sorted(spans, key=lambda one: (one[0], -one[1])):
        while stack and stack[-1] <= begin + ROUNDING:
            stack.pop()
        if stack and end > stack[-1] + ROUNDING:
            yield begin, end
        stack.append(end)


ROUNDING: Final = 0.002  # microseconds: times are floats


def wrong_flows(
    events: list[Event], slices: dict[tuple[int, int], list[tuple[float, float]]]
) -> list[str]:
    """Arrows without an end, back in time, or from nowhere."""
    flows: defaultdict[Any, list[Event]] = defaultdict(list)
    for event in events:
        if event["ph"] in ("s", "f"):
            flows[event["id"]].append(event)
    found = []
    for number, ends in flows.items():
        if [end["ph"] for end in ends] != ["s", "f"]:
            found.append(f"flow {number} has not two ends")
            continue
        if len({(end["name"], end["cat"]) for end in ends}) != 1:
            found.append(f"the ends of flow {number} have different names")
        if ends[0]["ts"] > ends[1]["ts"] + ROUNDING:
            found.append(f"flow {number} goes back in time")
        for end in ends:
            place = slices.get((end["pid"], end["tid"]), [])
            if not any(begin <= end["ts"] <= until for begin, until in place):
                found.append(f"flow {number} ends at nothing")
    return found


def rows(trace: dict[str, Any]) -> dict[str, int]:
    """Number of each process, by what it is called up to its process id."""
    return {
        event["args"]["name"].partition(" (pid")[0]: event["pid"]
        for event in trace["traceEvents"]
        if event["name"] == "process_name"
    }


# -- Real trees ------------------------------------------------------------------------


def test_a_tree_as_a_picture(start_method: str, tmp_path: Path) -> None:
    """One row for each actor, and one arrow for each call, from its row to another."""

    async def main() -> None:
        async with tractor.open_nursery(start_method=start_method) as an:
            portal = await an.start_actor("middle", enable_modules=[HERE])
            await portal.run(traced.call_leaves, 120, 2)
            with span("a stream"):
                async with portal.open_stream_from(traced.count_to, 5) as stream:
                    assert [item async for item in stream] == [*range(5)]
            note("that was it", why="nothing is left")
            await an.cancel()

    with tracing(tmp_path / "trace") as path:
        trio.run(main)
    export_chrome(path, tmp_path / "chrome.json")
    trace = json.loads((tmp_path / "chrome.json").read_text())
    assert problems(trace) == []
    row = rows(trace)
    assert row.keys() == {"root", "middle", "leaf-0", "leaf-1"}
    assert len({*row.values()}) == 4
    lines = list(read_trace(path))
    drawn = [event for event in trace["traceEvents"] if event["ph"] in ("X", "i")]
    assert len(drawn) == len(lines)
    arrows = [event for event in trace["traceEvents"] if event["ph"] in ("s", "f")]
    assert len(arrows) == 2 * len([line for line in lines if line.kind == "task"])
    ends = [
        (begin["pid"], end["pid"])
        for begin, end in zip(arrows[::2], arrows[1::2], strict=True)
        if begin["name"] == f"{HERE}.leaf"
    ]
    assert {*ends} == {(row["middle"], row[f"leaf-{at}"]) for at in (0, 1)}


# -- Made-up lines ---------------------------------------------------------------------


def line(begin: int, end: int | None, **fields: Any) -> TraceLine:
    """A line of an actor; times in microseconds."""
    made: dict[str, Any] = {
        "name": "made up",
        "kind": "span",
        "task_id": f"made-{next(NUMBERS)}",
        "parent": None,
        "actor": "a",
        "uuid": "a" * 32,
        "pid": 1,
        "worker_thread_id": 1,
        "start_ns": begin * 1000,
        "duration_ns": None if end is None else (end - begin) * 1000,
        "outcome": "ok",
    }
    return TraceLine(**made | fields)


def lanes(lines: list[TraceLine]) -> list[int]:
    """On which line of its actor each is drawn."""
    trace = chrome_trace(lines)
    assert problems(trace) == []
    at = {
        event["args"]["task_id"]: event["tid"]
        for event in trace["traceEvents"]
        if event["ph"] in ("X", "i")
    }
    return [at[each.task_id] for each in lines]


def test_what_is_part_of_something_is_drawn_in_it() -> None:
    """On the same line, and what follows it as well."""
    lines = [
        line(0, 10, task_id="p"),
        line(1, 3, parent="p"),
        line(3, 9, parent="p"),
        line(5, None, parent="p"),
        line(10, 12),
    ]
    assert lanes(lines) == [1, 1, 1, 2, 1]


def test_what_overlaps_is_drawn_on_several_lines() -> None:
    """Tasks of one actor, and a part that outlives the whole."""
    lines = [
        line(0, 10, task_id="p"),
        line(1, 5, parent="p"),
        line(2, 6, parent="p"),
        line(4, 11, parent="p"),
        line(5, 6, uuid="b" * 32),
        line(7, 8),
    ]
    assert lanes(lines) == [1, 1, 2, 3, 1, 2]


def test_the_order_of_lines_does_not_matter() -> None:
    """They are written when they end, and by several actors."""
    lines = [line(5, 6), line(0, 10), line(1, 2, uuid="b" * 32)]
    assert chrome_trace(lines) == chrome_trace(reversed(lines))


def test_arrows_go_to_the_call_of_the_same_connection() -> None:
    """Where one was made again calls are numbered anew; the times tell them apart."""
    lines = [
        line(0, 5, kind="call", task_id="a>b:0"),
        line(10, 15, kind="call", task_id="a>b:0"),
        line(11, 12, kind="task", parent="a>b:0", uuid="b" * 32),
        line(1, 2, kind="task", parent="a>b:0", uuid="b" * 32),
        line(1, 2, kind="task", parent="of an actor that was killed"),
    ]
    events = chrome_trace(lines)["traceEvents"]
    arrows = [(event["ph"], event["ts"]) for event in events if "id" in event]
    assert arrows == [("s", 0), ("f", 1), ("s", 10), ("f", 11)]


def test_outcomes_can_be_seen() -> None:
    """By colour, and in words."""
    lines = [line(0, 1), line(0, 1, outcome="failed"), line(0, 1, outcome="cancelled")]
    drawn = [e for e in chrome_trace(lines)["traceEvents"] if e["ph"] == "X"]
    assert len({event.get("cname") for event in drawn}) == 3
    assert {event["args"]["outcome"] for event in drawn} == {
        "ok",
        "failed",
        "cancelled",
    }


def test_an_empty_trace_is_one_too() -> None:
    """As a program that did nothing makes it."""
    assert problems(chrome_trace([])) == []


@pytest.mark.parametrize(
    "broken",
    [
        [],
        {"traceEvents": [{"ph": "X", "name": "x", "pid": 1, "tid": 1, "cat": "c"}]},
        {"traceEvents": [{"ph": "B", "name": "x", "pid": 1, "tid": 1, "ts": 0}]},
        {"traceEvents": [{"ph": "M", "name": "x", "pid": 1, "tid": 1}]},
    ],
)
def test_the_check_can_fail(broken: Any) -> None:
    """Neither an event without times nor another form passes."""
    assert problems(broken) != []


def test_overlaps_and_loose_ends_are_found() -> None:
    """What a viewer would draw wrongly."""
    assert list(not_nested([(0, 5), (2, 6)])) == [(2, 6)]
    common = {"name": "x", "cat": "c", "pid": 1, "tid": 1, "id": 1}
    loose = [common | {"ph": "s", "ts": 0}]
    assert list(wrong_flows(loose, {})) == ["flow 1 has not two ends"]
    back = [common | {"ph": "s", "ts": 2}, common | {"ph": "f", "ts": 1}]
    assert "flow 1 goes back in time" in wrong_flows(back, {})


# -- The command -----------------------------------------------------------------------


def run(*args: str | Path) -> "subprocess.CompletedProcess[str]":
    """`python -m tractor.tracing`."""
    return subprocess.run(
        [sys.executable, "-m", "tractor.tracing", *map(str, args)],
        capture_output=True,
        check=False,
        text=True,
        timeout=SAFETY,
    )


def test_the_command_exports(tmp_path: Path) -> None:
    """What it writes is for this user alone, as the trace is."""
    with tracing(tmp_path / "trace") as path, span("something"):
        pass
    target = tmp_path / "chrome.json"
    done = run(path, "--chrome", target)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert problems(json.loads(target.read_text())) == []
    assert {os.stat(each).st_mode & 0o777 for each in (path, target)} == {0o600}


def test_the_command_says_what_is_wrong(tmp_path: Path) -> None:
    """A file that is not there, and one that is no trace."""
    (tmp_path / "other").write_text("hello\n")
    for name in ("none", "other"):
        done = run(tmp_path / name, "--chrome", tmp_path / "chrome.json")
        assert done.returncode == 1
        assert done.stderr.startswith("tractor.tracing: ")
        assert done.stderr.count("\n") == 1


def test_a_last_line_that_was_cut_is_left_out(tmp_path: Path) -> None:
    """As on a disk that was full; in the middle it is an error."""
    with tracing(tmp_path / "trace") as path:
        for name in ("one", "two"):
            note(name)
    whole = path.read_bytes()
    path.write_bytes(whole[:-10])
    assert [each.name for each in read_trace(path)] == ["one"]
    path.write_bytes(whole[:20] + b"\n" + whole)
    with pytest.raises(msgspec.DecodeError):
        list(read_trace(path))

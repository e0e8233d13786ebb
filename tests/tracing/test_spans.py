"""Spans and notes of the program's own, and how lines hold what they are given.

Tests that begin with ``test_rt`` or ``test_progress`` are rows of the contract, by its
numbers: see docs/adr/0015.
"""

import functools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

import tractor
from tests._helpers import open_tree
from tests.tracing import traced
from tractor import _instrument
from tractor.tracing import (
    TraceLine,
    disable_tracing,
    enable_tracing,
    note,
    read_trace,
    span,
    tracing,
)
from tractor.tracing._lines import TraceFile

AID = tractor.Aid("a", "1" * 32)


class Recorder:
    """A trace that is on."""

    def __init__(self, path: Path) -> None:
        self.path = enable_tracing(path)

    def lines(self) -> dict[str, TraceLine]:
        """What was written up to now, by name."""
        return {line.name: line for line in read_trace(self.path)}


@pytest.fixture
def trace(tmp_path: Path) -> Iterator[Recorder]:
    """A trace of the test."""
    yield Recorder(tmp_path / "trace.jsonl")
    disable_tracing()


def test_spans_nest(trace: Recorder) -> None:
    """Each has the one around it for its parent, and times within it."""
    with span("outer", size=3) as outer:
        with span("inner"):
            note("moment", why="because")
        outer.add(found=4)
    with span("next"):
        pass
    lines = trace.lines()
    assert [*lines] == ["moment", "inner", "outer", "next"]
    assert lines["moment"].parent == lines["inner"].task_id
    assert lines["inner"].parent == lines["outer"].task_id
    assert lines["outer"].parent is lines["next"].parent is None
    assert lines["outer"].data == {"size": 3, "found": 4}
    assert (lines["moment"].duration_ns, lines["moment"].data) == (
        None,
        {"why": "because"},
    )
    assert ended(lines["inner"]) <= ended(lines["outer"]) <= lines["next"].start_ns


def ended(line: TraceLine) -> int:
    """When it did."""
    assert line.duration_ns is not None
    return line.start_ns + line.duration_ns


async def test_tasks_and_threads_inherit_their_parent(trace: Recorder) -> None:
    """Also those that outlive it; siblings do not see one another."""

    async def work(name: str) -> None:
        with span(name):
            await trio.to_thread.run_sync(note, f"{name}'s thread")

    async with trio.open_nursery() as nursery:
        with span("parent"):
            nursery.start_soon(work, "one")
            nursery.start_soon(work, "two")
    lines = trace.lines()
    for name in ("one", "two"):
        assert lines[name].parent == lines["parent"].task_id
        assert lines[f"{name}'s thread"].parent == lines[name].task_id
        thread = lines[f"{name}'s thread"].worker_thread_id
        assert thread != lines[name].worker_thread_id


async def test_outcomes_of_spans(trace: Recorder) -> None:
    """An error goes on as it came, and is in the line."""
    with pytest.raises(KeyError), span("failed"):
        raise KeyError("x" * 1000)
    with trio.CancelScope() as scope, span("cancelled"):
        scope.cancel()
        await trio.lowlevel.checkpoint()
    lines = trace.lines()
    assert {name: line.outcome for name, line in lines.items()} == {
        "failed": "failed",
        "cancelled": "cancelled",
    }
    assert lines["failed"].data["error"].startswith("KeyError: 'xxx")
    assert len(lines["failed"].data["error"]) == 200


def test_a_span_may_outlive_its_trace(trace: Recorder) -> None:
    """It is written once, as open; what comes later is not written at all."""
    with span("outer"):
        disable_tracing()
        note("later")
    [line] = trace.lines().values()
    assert (line.name, line.outcome) == ("outer", "open")


class Hostile:
    """Has no text."""

    def __repr__(self) -> str:
        raise ValueError("no")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Path("/x"), repr(Path("/x"))),
        (Hostile(), "<Hostile, whose repr raises ValueError>"),
        ("\udc80", "\\udc80"),
        ({(1, 2): 3}, "{'(1, 2)': 3}"),
        (2**100, str(2**100)),
    ],
    ids=["an object", "a hostile one", "a surrogate", "keys", "a large number"],
)
def test_what_json_has_not_is_there_as_text(
    trace: Recorder, value: object, text: str
) -> None:
    """A span never fails for what is said of it."""
    with span("given", value=value, other=1):
        pass
    note("\udc80", value=value)
    lines = trace.lines()
    assert str(lines["given"].data["value"]) == text
    assert "\\udc80" in lines


def test_a_full_disk_ends_the_trace_and_not_the_program(
    trace: Recorder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged once."""
    note("one")

    def fail(self: TraceFile, line: TraceLine) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(TraceFile, "write", fail)
        with span("two"):
            _instrument.hub.emit("unresponsive", AID)
    [first, *_] = caplog.messages
    assert "No space left on device" in first
    with span("three"):
        pass
    assert [*trace.lines()] == ["one"]


def test_events_of_any_kind_are_moments(trace: Recorder) -> None:
    """Also decisions of pools, with their reasons, and kinds that are yet to come."""
    emit: Any = _instrument.hub.emit
    emit("placement_decided", AID, decision={"flavor": "threads", "why": ["no GIL"]})
    emit("something new", AID, thing=Path("/x"))
    lines = trace.lines()
    decided = lines["placement_decided"]
    assert (decided.kind, decided.duration_ns) == ("placement_decided", None)
    assert decided.data["decision"] == {"flavor": "threads", "why": ["no GIL"]}
    assert lines["something new"].data == {"of": "a", "thing": repr(Path("/x"))}


# -- Rows of the contract --------------------------------------------------------------


def test_progress_tasks_of_a_pool_have_state_and_durations(trace: Recorder) -> None:
    """§2: a line from its queueing to its end, with the time that it waited."""
    emit = _instrument.hub.emit
    outer = span("submits")
    with outer:
        for number, outcome in enumerate(["done", "failed", "cancelled"]):
            emit("task_queued", AID, task_id=number, name=outcome)
    for number, outcome in enumerate(["done", "failed", "cancelled"]):
        where = {"task_id": number, "name": outcome}
        emit("task_placed", AID, **where, worker=f"w{number}")
        emit("task_finished", AID, **where, outcome=outcome, seconds=0.0)
    lines = trace.lines()
    assert [lines[n].outcome for n in ("done", "failed", "cancelled")] == [
        "ok",
        "failed",
        "cancelled",
    ]
    for line in (lines["done"], lines["failed"]):
        assert line.kind == "pool"
        assert line.parent == lines["submits"].task_id
        assert line.duration_ns is not None
        assert 0 <= line.data["queued_ns"] <= line.duration_ns
    assert lines["failed"].data["worker"] == "w1"


def test_progress_lines_are_plain_json(trace: Recorder) -> None:
    """§2: every key is in every line, and the lines know nothing of Python."""
    with span("one", size=1):
        note("two")
    _instrument.hub.emit("cancel", AID, canceller=AID.uid)
    read = [json.loads(line) for line in trace.path.read_text().splitlines()]
    assert len(read) == 3
    for line in read:
        assert line.keys() == {*TraceLine.__struct_fields__}


async def test_progress_subtasks_are_a_tree(start_method: str, tmp_path: Path) -> None:
    """§2: `parent` is the tree of tasks that start tasks, across actors."""
    async with open_tree(start_method) as an:
        async with tracing(tmp_path / "trace") as path:
            portal = await an.start_actor("worker", enable_modules=[traced.__name__])
            with span("root of it"):
                await portal.run(traced.in_spans, ["a", "b", "c"])
        await an.cancel()
    lines = {line.name.rpartition(".")[2]: line for line in read_trace(path)}
    chain = [line.task_id for line in map(lines.__getitem__, ["a", "b"])]
    assert [lines["b"].parent, lines["c"].parent] == chain
    assert lines["a"].data == {"left": 2}


async def test_rt4_tasks_are_named_after_their_function(
    start_method: str, tmp_path: Path
) -> None:
    """RT4: ``module.function`` where nobody named it, else the name that was given."""
    async with open_tree(start_method) as an:
        async with tracing(tmp_path / "trace") as path:
            portal = await an.start_actor("worker", enable_modules=[traced.__name__])
            with span("given"):
                await portal.run(traced.leaf, 1)
        await an.cancel()
    names = {line.kind: line.name for line in read_trace(path)}
    path_of_leaf = f"{traced.__name__}.leaf"
    assert names["call"] == names["task"] == path_of_leaf
    assert names["span"] == "given"


def test_rt18_threads_may_write_at_once(trace: Recorder) -> None:
    """RT18: 20 threads, and every line is whole."""

    async def main() -> None:
        limiter = trio.CapacityLimiter(20)
        async with trio.open_nursery() as nursery:
            for thread in range(20):
                work = functools.partial(write, thread)
                nursery.start_soon(
                    functools.partial(trio.to_thread.run_sync, work, limiter=limiter)
                )

    def write(thread: int) -> None:
        for number in range(100):
            note(f"{thread}.{number}", text="x" * thread * 100)

    trio.run(main)
    assert len(trace.lines()) == 2000
    assert len({line.task_id for line in trace.lines().values()}) == 2000

"""Traces of whole trees: every line is there, and knows its parent."""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

import tractor
from tests._helpers import Bell, open_tree, raises, strike
from tests.tracing import traced
from tractor.tracing import (
    TraceLine,
    disable_tracing,
    enable_tracing,
    read_trace,
    span,
    tracing,
)

HERE = traced.__name__


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    """Where a trace goes; afterwards tracing is off."""
    yield tmp_path / "trace.jsonl"
    disable_tracing()


def of_kind(lines: list[TraceLine], kind: str) -> list[TraceLine]:
    """Those of that kind."""
    return [line for line in lines if line.kind == kind]


def by_id(lines: list[TraceLine]) -> dict[str, TraceLine]:
    """Each of them; no two have one id."""
    found = {line.task_id: line for line in lines}
    assert len(found) == len(lines)
    return found


def ancestors(line: TraceLine, known: dict[str, TraceLine]) -> list[str]:
    """``kind actor`` of what it was part of, the nearest first."""
    found = []
    while line.parent is not None:
        line = known[line.parent]
        found.append(f"{line.kind} {line.actor}")
    return found


@pytest.mark.parametrize(
    "calls", [200, pytest.param(10_000, marks=pytest.mark.slow)], ids=str
)
def test_t3_a_tree_of_three_levels(calls: int, start_method: str, path: Path) -> None:
    """Every call has a line at both ends, and each line leads up to the root's span.

    `disable_tracing` does not wait for anything, and yet they are all there.
    """

    async def main() -> int:
        async with tractor.open_nursery(start_method=start_method) as an:
            with span("all of it"):
                portal = await an.start_actor("middle", enable_modules=[HERE])
                total = await portal.run(traced.call_leaves, calls, 2)
            await an.cancel()
        return total

    enable_tracing(path)
    assert trio.run(main) == sum(range(calls))
    disable_tracing()
    lines = list(read_trace(path))
    known = by_id(lines)
    counts = Counter((line.kind, line.name.rpartition(".")[2]) for line in lines)
    assert counts["call", "leaf"] == counts["task", "leaf"] == calls
    assert {line.outcome for line in lines} == {"ok"}
    way = ["call middle", "task middle", "call root", "span root"]
    for line in of_kind(lines, "task"):
        if line.name == f"{HERE}.leaf":
            assert ancestors(line, known) == way
    assert [ancestors(each, known)[-1] for each in of_kind(lines, "spawn")] == [
        "span root"
    ] * 3
    assert {line.actor for line in lines} == {"root", "middle", "leaf-0", "leaf-1"}


async def test_times_and_places(start_method: str, path: Path) -> None:
    """What runs for a call runs within it, by one clock, in the actor's process."""
    async with open_tree(start_method) as an:
        with tracing(path):
            portal = await an.start_actor("worker", enable_modules=[HERE])
            await portal.run(traced.leaf, 1)
        await an.cancel()
    lines = list(read_trace(path))
    [call], [task] = of_kind(lines, "call"), of_kind(lines, "task")
    assert task.parent == call.task_id
    assert call.duration_ns is not None
    assert task.duration_ns is not None
    assert call.start_ns <= task.start_ns
    assert task.start_ns + task.duration_ns <= call.start_ns + call.duration_ns
    assert call.pid == os.getpid() == call.worker_thread_id
    assert task.pid == portal.aid.pid
    assert (task.uuid, call.uuid) == (portal.aid.uuid, an._actor.aid.uuid)


async def test_actors_that_run_already_are_traced_too(
    start_method: str, path: Path
) -> None:
    """On and off as often as one likes, at every level; each trace is complete."""
    async with open_tree(start_method) as an:
        portal = await an.start_actor("worker", enable_modules=[HERE])
        await portal.run(traced.leaf, 0)
        assert not await portal.run(traced.is_loaded, "tractor.tracing")
        for number in range(5):
            enable_tracing(path.with_suffix(f".{number}"))
            assert await portal.run(traced.leaf, number) == number
            disable_tracing()
        await portal.run(traced.leaf, 0)
        await an.cancel()
    for number in range(5):
        lines = list(read_trace(path.with_suffix(f".{number}")))
        assert [line.kind for line in lines] == ["task", "call"]


async def test_what_goes_on_is_open(start_method: str, path: Path) -> None:
    """Left by `async with`, the trace has what other actors are in the middle of."""
    with Bell() as bell:
        async with open_tree(start_method) as an:
            portal = await an.start_actor("worker", enable_modules=[HERE])
            async with trio.open_nursery() as nursery:
                async with tracing(path):
                    nursery.start_soon(portal.run, traced.spans_and_waits, bell.path)
                    await bell.heard()
                lines = list(read_trace(path))
                nursery.cancel_scope.cancel()
            await an.cancel()
    found = {(line.kind, line.name.rpartition(".")[2], line.outcome) for line in lines}
    assert found == {
        ("span", "over", "ok"),
        ("span", "going on", "open"),
        ("task", "spans_and_waits", "open"),
        ("call", "spans_and_waits", "open"),
    }
    assert list(read_trace(path)) == lines


async def test_t6_lines_of_a_killed_actor_stay(start_method: str, path: Path) -> None:
    """What ended before is there, and its caller's line says how it went on."""
    with Bell() as bell, tracing(path), raises(tractor.ActorDied):
        async with open_tree(start_method) as an:
            portal = await an.start_actor("mortal", enable_modules=[HERE])
            await portal.run(traced.in_spans, ["a", "b"])
            async with trio.open_nursery() as nursery:
                nursery.start_soon(portal.run, traced.spans_and_waits, bell.path)
                await bell.heard()
                strike(portal)
    lines = list(read_trace(path))
    spans = {line.name: line for line in of_kind(lines, "span")}
    assert {"a", "b", "over"} <= spans.keys()
    assert spans["b"].parent == spans["a"].task_id
    calls = [line for line in of_kind(lines, "call") if line.outcome != "ok"]
    assert [call.outcome for call in calls] == ["failed"]
    assert calls[0].data["error"].startswith("ActorDied")
    [gone] = of_kind(lines, "exit")
    assert gone.data["of"] == "mortal"


async def test_outcomes(start_method: str, path: Path) -> None:
    """An error and a cancellation are told apart, at both ends."""
    with Bell() as bell:
        async with open_tree(start_method) as an:
            with tracing(path):
                portal = await an.start_actor("worker", enable_modules=[HERE])
                with pytest.raises(tractor.RemoteActorError):
                    await portal.run(traced.fail)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(portal.run, traced.spans_and_waits, bell.path)
                    await bell.heard()
                    nursery.cancel_scope.cancel()
            await an.cancel()
    lines = list(read_trace(path))
    by_name = {(line.kind, line.name.rpartition(".")[2]): line for line in lines}
    for kind in ("call", "task"):
        assert by_name[kind, "fail"].outcome == "failed"
        assert "nothing here" in by_name[kind, "fail"].data["error"]
        assert by_name[kind, "spans_and_waits"].outcome == "cancelled"
    assert by_name["span", "going on"].outcome == "cancelled"


async def test_streams(start_method: str, path: Path) -> None:
    """Both sides have a line, with what went through, and the context is a call."""
    async with open_tree(start_method) as an:
        portal = await an.start_actor("worker", enable_modules=[HERE])
        counted = portal.open_stream_from(traced.count_to, 10)
        async with tracing(path), counted as stream:
            assert [item async for item in stream] == [*range(10)]
        await an.cancel()
    lines = list(read_trace(path))
    [call], [task] = of_kind(lines, "call"), of_kind(lines, "task")
    assert (task.parent, call.name) == (call.task_id, f"{HERE}.count_to")
    streams = {line.actor: line for line in of_kind(lines, "stream")}
    assert streams["root"].data == {"sent": 0, "received": 10}
    assert streams["worker"].data == {"sent": 10, "received": 0}
    assert streams["worker"].parent == task.task_id


async def test_main_tasks_belong_to_the_start_of_their_actor(
    start_method: str, path: Path
) -> None:
    """The function of `run_in_actor` is called by no task of the program."""
    async with open_tree(start_method) as an:
        with tracing(path):
            portal = await an.start_actor("middle", enable_modules=[HERE])
            await portal.run(traced.run_below)
        await an.cancel()
    lines = list(read_trace(path))
    [task] = [line for line in of_kind(lines, "task") if line.actor == "below"]
    way = ["call middle", "spawn middle", "task middle", "call root"]
    assert ancestors(task, by_id(lines)) == way


async def test_a_trace_is_forgotten_by_what_outlives_it(path: Path) -> None:
    """A span of one trace is no parent in the next."""
    enable_tracing(path)
    with span("outer"):
        disable_tracing()
        enable_tracing(path)
        with span("inner"):
            pass
    disable_tracing()
    [line] = read_trace(path)
    assert (line.name, line.parent) == ("inner", None)


async def test_nobody_but_a_parent_may_have_an_actor_traced(
    start_method: str, tmp_path: Path
) -> None:
    """Or whoever may call an actor could have it write files."""
    async with open_tree(start_method) as an:
        await an.start_actor("victim", enable_modules=[HERE])
        rogue = await an.start_actor("rogue", enable_modules=[HERE])
        victim = tmp_path / "victim"
        victim.touch()
        with pytest.raises(tractor.RemoteActorError) as caught:
            await rogue.run(traced.follow_me, "victim", str(victim))
        await an.cancel()
    assert caught.value.src_type is PermissionError
    assert victim.read_bytes() == b""

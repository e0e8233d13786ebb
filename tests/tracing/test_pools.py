"""Tasks of pools in a trace; many of their programs have no loop of their own.

Tests that begin with ``test_t`` are rows of the contract: see docs/adr/0015.
"""

import functools
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

import tractor
from tests._helpers import ROOT, SAFETY
from tests.futures import _tasks as do
from tests.tracing import traced
from tractor.futures import Executor
from tractor.tracing import (
    TraceLine,
    disable_tracing,
    enable_tracing,
    read_trace,
    span,
    tracing,
)

FLAVORS = ("threads", "processes", "interpreters")


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    """Where a trace goes; afterwards tracing is off."""
    yield tmp_path / "trace.jsonl"
    disable_tracing()


def pool_lines(path: Path) -> list[TraceLine]:
    """Those of tasks."""
    return [line for line in read_trace(path) if line.kind == "pool"]


@pytest.mark.parametrize("flavor", FLAVORS)
def test_t2_one_object_per_line(flavor: str, path: Path) -> None:
    """Each of them JSON by itself, with who, where, when, and for how long."""
    with Executor(1, flavor=flavor) as executor, tracing(path):
        for number in range(3):
            executor.submit(do.add, number).result(SAFETY)
    read = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    tasks = [line for line in read if line["kind"] == "pool"]
    assert len(tasks) == 3
    for line in tasks:
        assert line["name"] == f"{do.__name__}.add"
        assert line["worker_thread_id"] >= 0
        assert line["start_ns"] > 0
        assert line["duration_ns"] > 0
        assert line["outcome"] == "ok"


@pytest.mark.parametrize("flavor", FLAVORS)
def test_t3_all_lines_are_there_at_the_end(flavor: str, path: Path) -> None:
    """Nothing comes between the last outcome and the end of the trace."""
    with Executor(2, flavor=flavor) as executor:
        executor.submit(do.nothing).result(SAFETY)
        for count in (1, 10, 300):
            enable_tracing(path)
            futures = [executor.submit(do.add, number) for number in range(count)]
            assert [one.result(SAFETY) for one in futures] == [*range(1, count + 1)]
            disable_tracing()
            lines = pool_lines(path)
            assert [line.outcome for line in lines] == ["ok"] * count
            assert len({line.task_id for line in lines}) == count


def test_t4_names(path: Path) -> None:
    """Of a function, a method, a lambda, a part of a function, and of an object."""

    class Thing:
        def method(self) -> None:
            pass

        def __call__(self) -> None:
            pass

    calls: list[Any] = [do.nothing, Thing().method, lambda: 1, Thing()]
    calls.append(functools.partial(do.add, 1))
    with Executor(1, flavor="threads") as executor, tracing(path):
        for call in calls:
            executor.submit(call).result(SAFETY)
        executor.options(name="mine").submit(do.nothing).result(SAFETY)
    names = [line.name for line in pool_lines(path)]
    words = ["_tasks.nothing", "Thing.method", "<lambda>", "Thing", "add", "mine"]
    assert all(word in name for word, name in zip(words, names, strict=True))


def test_no_line_is_lost_in_the_hurry(path: Path) -> None:
    """Also of tasks that end before their submitter has drawn breath."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with Executor(4, flavor="threads") as executor, tracing(path):
            futures = [executor.submit(do.nothing) for _ in range(2000)]
            for future in futures:
                future.result(SAFETY)
    finally:
        sys.setswitchinterval(interval)
    assert [line.outcome for line in pool_lines(path)] == ["ok"] * 2000


def test_a_task_outlives_an_actor(path: Path) -> None:
    """It is one task, whatever actor there is when it begins and when it ends."""
    gate = threading.Event()

    async def main() -> None:
        async with tractor.open_nursery():
            gate.set()
            await future

    with Executor(1, flavor="threads") as executor, tracing(path):
        future = executor.submit(gate.wait, SAFETY)
        trio.run(main)
    assert [line.outcome for line in pool_lines(path)] == ["ok"]


def test_workers_follow_from_one_trace_to_the_next(tmp_path: Path) -> None:
    """Also where another thread than that of their pool turns it on and off."""
    paths = [tmp_path / str(number) for number in range(3)]
    with Executor(1, flavor="processes") as executor:
        for path in paths:
            with tracing(path):
                for _ in range(5):  # it hears of it a moment after the first
                    executor.submit(traced.spanned, path.name).result(SAFETY)
        executor.submit(traced.spanned, "after").result(SAFETY)
        executor.submit(traced.spanned, "after").result(SAFETY)
    for path in paths:
        spans = [line.name for line in read_trace(path) if line.kind == "span"]
        own = [name for name in spans if name == path.name]
        assert len(own) >= 4
        assert len(spans) - len(own) <= 1


FORKS = """
import os, sys
from tractor.tracing import note, span, tracing

with tracing(sys.argv[1]), span("outer"):
    pid = os.fork()
    with span("inner"):
        note("moment")
    if pid == 0:
        sys.exit(0)
    os.waitpid(pid, 0)
"""


def test_the_child_of_a_fork_writes_nothing(path: Path) -> None:
    """It is no actor; what is open is written once, by whose it is."""
    subprocess.run(
        [sys.executable, "-c", FORKS, path], check=True, cwd=ROOT, timeout=SAFETY
    )
    names = [(line.name, line.outcome) for line in read_trace(path)]
    assert names == [("moment", "ok"), ("inner", "ok"), ("outer", "ok")]


def test_spans_of_the_caller_have_its_tasks(path: Path) -> None:
    """Where a task was submitted is what it is part of."""
    with Executor(1, flavor="threads") as executor, tracing(path), span("around"):
        executor.submit(do.nothing).result(SAFETY)
    lines = {line.kind: line for line in read_trace(path)}
    assert lines["pool"].parent == lines["span"].task_id

"""Watching: names, failures, limits, progress (RT1–RT18 and §2 of the contract)."""

import functools
import io
import json
import sys
import threading
import time
from typing import Any

import pytest
import trio

from tests.futures import _tasks as do
from tests.futures._tasks import SAFETY
from tractor.futures import (
    Executor,
    Future,
    TasksFailed,
    TaskTimeout,
    open_pool,
    progress_bar,
)
from tractor.futures._watch import seconds_of

KEYS = {"total", "completed", "failed", "cancelled", "running", "queued"}


def test_rt1_sizes() -> None:
    """From the machine by default; a wrong one is refused."""
    with Executor(flavor="threads") as executor:
        assert executor.max_workers > 0
    with pytest.raises(ValueError, match="greater than 0"):
        Executor(-1)


def test_rt2_submit() -> None:
    """At once, with what was given; what is no callable is a TypeError."""
    with Executor(1, flavor="threads") as executor:
        assert executor.submit(do.echo, 1, a=2).result(SAFETY) == [[1], {"a": 2}]
        assert executor.submit(do.nothing).result(SAFETY) is None
        with pytest.raises(TypeError, match="something to call"):
            executor.submit(42)  # type: ignore[arg-type]


def test_rt4_names() -> None:
    """Explicit, or those of the function."""

    class Thing:
        def method(self) -> None:
            pass

    with Executor(flavor="none") as executor:
        assert executor.submit(do.nothing).name == "tests.futures._tasks.nothing"
        assert "Thing.method" in executor.submit(Thing().method).name
        assert "<lambda>" in executor.submit(lambda: 1).name
        part = functools.partial(do.add, 1)
        assert "add" in executor.submit(part).name
        assert executor.options(name="mine").submit(do.nothing).name == "mine"
        ids = {executor.submit(do.nothing).task_id for _ in range(3)}
        assert len(ids) == 3


def test_rt5_rt6_wait_all() -> None:
    """All have ended, errors or not; again and again; nothing is no wait."""
    with Executor(2, flavor="threads") as executor:
        executor.wait_all()
        for _ in range(2):
            futures = [
                executor.submit(time.sleep, 0.02),
                executor.submit(do.boom),
                executor.submit(time.sleep, 0.02),
            ]
            executor.wait_all()
            assert all(one.done() for one in futures)


def test_rt7_wait_all_raises() -> None:
    """All names and errors are in its text, and the errors in it."""
    with Executor(2, flavor="threads") as executor:
        executor.options(name="one").submit(do.boom, "first")
        executor.options(name="two").submit(do.boom, "second")
        with pytest.raises(TasksFailed) as caught:
            executor.wait_all(raise_on_error=True)
    lines = str(caught.value).splitlines()
    assert lines[0] == "2 task(s) failed:"
    assert sorted(line.partition(":")[0] for line in lines[1:]) == ["one", "two"]
    assert [type(one) for one in caught.value.exceptions] == [ValueError] * 2


def test_rt8_rt9_failed() -> None:
    """Since the last clearing, as a copy."""
    with Executor(1, flavor="threads") as executor:
        futures = [executor.submit(do.boom) for _ in range(2)]
        executor.wait_all()
        assert executor.failed() == futures
        executor.failed().clear()
        assert len(executor.failed()) == 2
        executor.clear_failed()
        assert executor.failed() == []


def test_rt10_on_error() -> None:
    """Once for each failure, with the error; its own error harms nobody."""
    told: list[tuple[str, str]] = []
    event = threading.Event()

    def tell(future: Future[Any], error: BaseException) -> None:
        told.append((future.name, str(error)))
        event.set()
        raise ValueError("in the callback")

    with Executor(1, flavor="threads") as executor:
        executor.on_error(tell)
        executor.options(name="bad").submit(do.leave)
        assert event.wait(SAFETY)
        executor.wait_all()
        executor.on_error(None)
        executor.submit(do.boom)
        executor.wait_all()
    assert told == [("bad", "3")]


def test_rt11_progress() -> None:
    """The numbers add up at every look; it is plain data, and a copy."""
    gates = [threading.Event() for _ in range(2)]
    begun = [threading.Event() for _ in range(2)]

    def work(number: int) -> None:
        begun[number].set()
        gates[number].wait(SAFETY)

    with Executor(2, flavor="threads") as executor:
        empty = executor.progress()
        assert {key: empty[key] for key in KEYS} == dict.fromkeys(KEYS, 0)
        busy = [executor.options(name=f"w{n}").submit(work, n) for n in range(2)]
        for event in begun:
            assert event.wait(SAFETY)
        queued = [executor.submit(do.add, n) for n in range(3)]
        queued[0].cancel()
        seen = executor.progress()
        assert (seen["running"], seen["queued"], seen["cancelled"]) == (2, 2, 1)
        assert {one["task"] for one in seen["workers"]} == {"w0", "w1"}
        assert [one["state"] for one in seen["tasks"]] == [
            *["running"] * 2,
            *["queued"] * 2,
        ]
        assert json.loads(json.dumps(seen)) == seen
        for gate in gates:
            gate.set()
        executor.submit(do.boom)
        every: list[Future[Any]] = [*busy, *queued]
        while not all(one.done() for one in every):
            look = executor.progress()
            assert look["total"] == sum(look[key] for key in KEYS - {"total"})
        executor.wait_all()
        last = executor.progress()
        assert (last["completed"], last["failed"], last["running"]) == (4, 1, 0)
        assert last["errors"][0]["message"].startswith("ValueError: ")
        assert seen["running"] == 2


def test_rt12_is_responsive() -> None:
    """Not when all workers are stuck, and not when it is shut down."""
    gate = threading.Event()
    with Executor(1, flavor="threads") as executor:
        assert executor.is_responsive()
        stuck = executor.submit(gate.wait, SAFETY)
        while not stuck.running():
            assert executor.is_responsive()
        deadline = time.monotonic() + SAFETY
        while executor.is_responsive(0.01):
            assert time.monotonic() < deadline
        assert executor.is_responsive(SAFETY)
        gate.set()
    assert not executor.is_responsive()


@pytest.mark.parametrize("flavor", ["threads", "processes"])
async def test_rt14_a_limit(flavor: str) -> None:
    """Its own limit ends a task, and the others go on; for async ones, too."""
    with trio.fail_after(SAFETY):
        async with open_pool(flavor=flavor, workers=1) as pool:
            await pool.run(do.nothing)
            with pytest.raises(TaskTimeout, match=r"'nap' ran for longer .* 0.05 s"):
                await pool.options(name="nap", timeout="50ms").run(trio.sleep_forever)
            assert await pool.run(do.add, 1) == 2


@pytest.mark.parametrize(
    ("given", "expected"),
    [(30, 30), ("30", 30), ("30s", 30), ("5m", 300), ("200ms", 0.2), ("1h", 3600)],
)
def test_rt15_durations(given: float | str, expected: float) -> None:
    """Numbers, and texts with a unit."""
    assert seconds_of(given) == pytest.approx(expected)


@pytest.mark.parametrize("given", [0, -1, "x", "", "s", "0s", "5d"])
def test_rt15_wrong_durations(given: float | str) -> None:
    """Anything else is refused."""
    with pytest.raises(ValueError, match="a duration is"):
        seconds_of(given)


def test_rt16_rt17_shutdown() -> None:
    """Once is enough, and the block does it."""
    with Executor(1, flavor="threads") as executor:
        future = executor.submit(time.sleep, 0.02)
    assert future.done()
    executor.shutdown()
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.submit(do.nothing)


def test_progress_bar_as_text() -> None:
    """One line at the end, where nobody looks."""
    file = io.StringIO()
    with (
        Executor(1, flavor="threads") as executor,
        progress_bar(executor, file=file),
    ):
        executor.submit(do.boom)
        executor.submit(do.nothing)
        executor.wait_all()
    assert file.getvalue() == f"[{'#' * 30}] 2/2, 1 failed\n"


@pytest.mark.parametrize("rich", [True, False])
def test_progress_bar_in_a_terminal(
    monkeypatch: pytest.MonkeyPatch, rich: bool
) -> None:
    """It is drawn again as it goes on: by `rich` where that is, or as text."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    if rich:
        pytest.importorskip("rich", reason="rich is not installed")
    else:
        monkeypatch.setitem(sys.modules, "rich.console", None)
    monkeypatch.delenv("NO_COLOR", raising=False)
    file = Terminal()
    with (
        Executor(1, flavor="threads") as executor,
        progress_bar(executor, file=file),
    ):
        executor.submit(time.sleep, 0.15)
        executor.wait_all()
    assert ("100%" if rich else "\r[") in file.getvalue()

"""How far pools of actors are, in numbers and as a bar (§2 of the contract)."""

import io
import json
import time
from pathlib import Path

import pytest
import trio

from tests._helpers import raises
from tests.futures import _tasks as do
from tests.futures._tasks import SAFETY
from tractor.futures import Executor, detect_capabilities, open_pool, progress_bar

FLAVORS = [
    "processes",
    pytest.param(
        "interpreters",
        marks=pytest.mark.skipif(
            not detect_capabilities().interpreters, reason="needs Python 3.14"
        ),
    ),
]


@pytest.mark.parametrize("flavor", FLAVORS)
def test_progress_of_actors(flavor: str, tmp_path: Path) -> None:
    """What runs where, what waits, and what came of it."""
    gate = tmp_path / "gate"
    with Executor(2, flavor=flavor, name="crew") as executor:
        for number in range(2):
            named = executor.options(name=f"w{number}")
            named.submit(do.wait_for, str(gate))
        executor.submit(do.boom)
        deadline = time.monotonic() + SAFETY
        while executor.progress()["running"] < 2:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        seen = executor.progress()
        assert json.loads(json.dumps(seen)) == seen
        assert (seen["total"], seen["completed"], seen["failed"]) == (3, 0, 0)
        assert {one["id"] for one in seen["workers"]} == {"crew-1", "crew-2"}
        assert {one["task"] for one in seen["workers"]} == {"w0", "w1"}
        assert seen["running"] + seen["queued"] == 3
        gate.touch()
        executor.wait_all()
        last = executor.progress()
    assert (last["completed"], last["failed"], last["running"]) == (2, 1, 0)
    assert all(one["idle"] for one in last["workers"])
    (error,) = last["errors"]
    assert error["message"].startswith("ValueError: ('on purpose'")
    assert seen["completed"] == 0


async def test_progress_bar_of_an_async_program() -> None:
    """The same bar, around a block that waits in its loop."""
    file = io.StringIO()
    with trio.fail_after(SAFETY):
        async with open_pool(flavor="processes", workers=1) as pool:
            with progress_bar(pool, file=file):
                pool.submit(do.nothing)
                pool.submit(do.boom)
                await pool.wait_all()
            assert pool.progress()["completed"] == 1
    assert file.getvalue() == f"[{'#' * 30}] 2/2, 1 failed\n"


def test_progress_bar_of_a_block_that_fails() -> None:
    """It says how far it was, and the error goes on."""
    file = io.StringIO()
    with (
        Executor(flavor="none") as executor,
        raises(LookupError),
        progress_bar(executor, file=file),
    ):
        executor.submit(do.nothing)
        raise LookupError
    assert file.getvalue() == f"[{'#' * 30}] 1/1\n"

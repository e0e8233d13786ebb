"""CPython's own tests of executors pass on ours (E1 of the contract)."""

import json
import os
import signal
import subprocess
import sys
from importlib.util import find_spec
from typing import Any, Final

import pytest

from tests.futures._cpython import GROUPS, MARK, ROOT
from tractor.spawn import available_backends

TIMEOUT: Final = 110  # seconds for a group

needs_cpython: Final = pytest.mark.skipif(
    find_spec("test") is None or find_spec("test.test_concurrent_futures") is None,
    reason="CPython's own tests are not installed",
)
# Events do not cross interpreters, and the standard library skips these there, too.
NO_EVENTS: Final = "no event crosses interpreters"


def cases() -> list[Any]:
    """Each group for each flavor that it is about."""
    found = []
    for flavor in ("threads", "processes", "interpreters"):
        for group in GROUPS:
            if (flavor, group) == ("threads", "deadlock"):
                continue  # of workers that die, which threads cannot
            marks = []
            if flavor == "interpreters" and "subint" not in available_backends():
                marks.append(pytest.mark.skip(reason="needs Python 3.14"))
            found.append(pytest.param(flavor, group, marks=marks))
    return found


@pytest.mark.slow
@needs_cpython
@pytest.mark.parametrize(("flavor", "group"), cases())
def test_e1_cpython_bodies(flavor: str, group: str) -> None:
    """Every body passes, and leaves no thread and no child behind."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.futures._cpython", flavor, group],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        pytest.fail(f"it did not end within {TIMEOUT} s:\n{output}")
    lines = [line.partition(MARK)[2] for line in output.splitlines() if MARK in line]
    reports = [json.loads(line) for line in lines]
    assert process.returncode == 0, output
    assert reports, output
    problems = {one["name"]: one["problem"] for one in reports if one["problem"]}
    assert problems == {}, output
    skipped = {why for one in reports for why in one["skipped"]}
    assert skipped <= ({NO_EVENTS} if flavor == "interpreters" else set())

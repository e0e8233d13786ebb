"""What one call costs, counted: the same figures on a slow machine and on a fast one.

No timer is here, and so no noise; `benchmarks/` has those.

To change a bound: `.venv/bin/python -m tests._costs` prints the present figures, and
`.venv/bin/python -m tests._costs call` the functions that run for a call. When a change
makes something cheaper, put the new figure here, and a little more where it varies;
when one makes it dearer, say in its commit what for. The frames of trio are among them,
so a new trio or Python may move those as well.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests import _costs

ROOT: Final = Path(__file__).parents[1]
TIMEOUT: Final = 90  # seconds; a safety net

# For one operation, and what each actor may take for it: a `call` is `Portal.run` of a
# no-op, a `context` is opened and closed, an `item` goes there and comes back.
BOUNDS: Final[dict[str, dict[str, float]]] = {
    "call": {
        "frames, caller": 108,
        "frames of tractor, caller": 36,
        "frames, callee": 108,
        "frames of tractor, callee": 42,
        "tasks, caller": 0,
        "tasks, callee": 0,
        "turns, caller": 2.1,
        "turns, callee": 2.1,
        "bytes at most, caller": 66_500,  # Python 3.13 takes 400 more than 3.14
        "bytes at most, callee": 66_000,
        "blocks in cycles, caller": 0.3,
        "blocks in cycles, callee": 0.3,
    },
    "context": {
        # Its records may come in one read, or each in one of its own, which takes more
        # turns of the loop: these six have room for that.
        "frames, caller": 380,
        "frames of tractor, caller": 104,
        "frames, callee": 260,
        "frames of tractor, callee": 80,
        "tasks, caller": 0,
        "tasks, callee": 0,
        "turns, caller": 5.1,
        "turns, callee": 4.1,
        "bytes at most, caller": 73_000,
        "bytes at most, callee": 69_000,
        "blocks in cycles, caller": 0.3,
        "blocks in cycles, callee": 0.3,
    },
    "item": {
        "frames, caller": 142,
        "frames of tractor, caller": 58,
        "frames, callee": 142,
        "frames of tractor, callee": 65,
        "tasks, caller": 0,
        "tasks, callee": 0,
        "turns, caller": 2.2,
        "turns, callee": 2.2,
        "bytes at most, caller": 68_000,
        "bytes at most, callee": 66_000,
        "blocks in cycles, caller": 0.3,
        "blocks in cycles, callee": 0.4,
    },
    # Beyond what `import trio, msgspec` loads.
    "child": {"modules of tractor": 58, "other modules": 11},
}

# Of both actors together, where `strace` can tell; the names of the functions included.
KERNEL_BOUNDS: Final[dict[str, dict[str, float]]] = {
    "call": {"system calls": 10.5, "bytes on the wire": 43},
    "context": {"system calls": 24, "bytes on the wire": 67},
    "item": {"system calls": 10.8, "bytes on the wire": 17},
}

# What every operation leaves behind, and what it does for watchers that are not there.
NOTHING: Final = {
    "blocks left, caller": 0.1,
    "blocks left, callee": 0.1,
    "frames of events and logs, caller": 0.0,
    "frames of events and logs, callee": 0.0,
}

type Figures = dict[str, dict[str, float]]


def cases(bounds: Figures) -> Iterator[Any]:
    """Each bound, with a name."""
    for operation, figures in bounds.items():
        for what, bound in figures.items():
            yield pytest.param(operation, what, bound, id=f"{operation}: {what}")


@pytest.fixture(scope="module")
def figures() -> Figures:
    """What there is now, without any instrument of these tests."""
    done = subprocess.run(
        [sys.executable, "-m", _costs.PROGRAM],
        capture_output=True,
        check=True,
        cwd=ROOT,
        env=plain_environment(),
        timeout=TIMEOUT,
    )
    found: Figures = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Figures:
    """What the kernel sees, where somebody may look."""
    probe = ["strace", "-f", "-qq", "-o", os.devnull, "true"]
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    if subprocess.run(probe, capture_output=True, check=False).returncode:
        pytest.skip("strace must not trace here")
    return _costs.trace(tmp_path_factory.mktemp("trace"), plain_environment())


def plain_environment() -> dict[str, str]:
    """Without settings of this run of tests that would show in the figures."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("TRACTOR_", "COVERAGE_", "COV_"))
    }


@pytest.mark.parametrize(("operation", "what", "bound"), list(cases(BOUNDS)))
def test_costs_stay_within_their_bounds(
    figures: Figures, operation: str, what: str, bound: float
) -> None:
    """No operation takes more than it did."""
    assert figures[operation][what] <= bound


@pytest.mark.parametrize(("operation", "what", "bound"), list(cases(KERNEL_BOUNDS)))
def test_the_kernel_sees_no_more_than_before(
    traced: Figures, operation: str, what: str, bound: float
) -> None:
    """No operation makes more system calls, or sends more bytes, than it did."""
    assert traced[operation][what] <= bound


@pytest.mark.parametrize("operation", sorted(BOUNDS.keys() - {"child"}))
def test_nothing_is_left_and_nobody_is_told(figures: Figures, operation: str) -> None:
    """No memory stays, and with nobody subscribed no event and no log record is made.

    A test of one attribute is all that an event costs then.
    """
    found = {what: figures[operation][what] for what in NOTHING}
    assert all(found[what] <= bound for what, bound in NOTHING.items()), found


def test_every_figure_has_a_bound(figures: Figures) -> None:
    """A figure that is new in `tests/_costs.py` gets a row in the table here."""
    bounds = {
        operation: rows.keys() | (NOTHING.keys() if operation != "child" else set())
        for operation, rows in BOUNDS.items()
    }
    assert {operation: rows.keys() for operation, rows in figures.items()} == bounds


def test_what_is_counted_is_there(figures: Figures) -> None:
    """The counters do count: each side has turns, and runs frames of trio and ours."""
    call = figures["call"]
    assert min(call["turns, caller"], call["turns, callee"]) >= 1
    assert min(call["frames of tractor, caller"], call["frames, callee"]) > 10

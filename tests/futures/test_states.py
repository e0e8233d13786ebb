"""The life of a task."""

import itertools

import pytest

from tractor.futures._states import FINAL, NEXT, State, may


@pytest.mark.parametrize(("state", "after"), list(itertools.product(NEXT, NEXT)))
def test_each_pair(state: State, after: State) -> None:
    """A task goes forward, back to the queue before it has begun, and never on."""
    forward = {
        ("queued", "placed"),
        ("queued", "failed"),
        ("queued", "cancelled"),
        ("placed", "queued"),
        ("placed", "done"),
        ("placed", "failed"),
        ("placed", "cancelled"),
    }
    assert may(state, after) is ((state, after) in forward)


def test_final_states() -> None:
    """Three are final."""
    assert {"done", "failed", "cancelled"} == FINAL

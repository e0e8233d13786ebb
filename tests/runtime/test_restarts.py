"""Deciding about restarts, by tables and numbers alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tractor.runtime._restarts import (
    FIRST_BACKOFF,
    MAX_BACKOFF,
    Intensity,
    Restart,
    Strategy,
    affected,
    check_choice,
    wants_restart,
)


@pytest.mark.parametrize(
    ("restart", "when_failed", "when_done"),
    [
        ("permanent", True, True),
        ("transient", True, False),
        ("temporary", False, False),
    ],
)
def test_who_is_started_again(
    restart: Restart, *, when_failed: bool, when_done: bool
) -> None:
    """The kind of a child says which ends are followed by a start (semantics §3.5)."""
    assert wants_restart(restart, failed=True) is when_failed
    assert wants_restart(restart, failed=False) is when_done


@pytest.mark.parametrize(
    ("strategy", "concerned"),
    [("one_for_one", "b"), ("one_for_all", "abc"), ("rest_for_one", "bc")],
)
def test_who_is_concerned(strategy: Strategy, concerned: str) -> None:
    """The strategy says who is started again with `b`, in order (semantics §3.5)."""
    assert "".join(affected(strategy, "abc", "b")) == concerned
    assert affected(strategy, "b", "b") == ["b"]


def test_unknown_words_are_refused() -> None:
    """A misspelt choice is an error that lists the right ones."""
    check_choice(Strategy, "rest_for_one")
    check_choice(Restart, "temporary")
    with pytest.raises(ValueError, match=r"strategy is one of one_for_one, .*'one_f'"):
        check_choice(Strategy, "one_f")
    with pytest.raises(ValueError, match="restart is one of permanent, "):
        check_choice(Restart, "always")


def test_restarts_within_the_limit_are_allowed() -> None:
    """One more than the limit, within the period, is one too many (semantics §3.5)."""
    intensity = Intensity(3, 5.0)
    assert [intensity.allow(now) for now in (0.0, 1.0, 2.0, 4.9)] == [
        *[True] * 3,
        False,
    ]


def test_old_restarts_do_not_count() -> None:
    """A restart is forgotten when it is a period old, and not before."""
    intensity = Intensity(1, 5.0)
    assert intensity.allow(0.0)
    assert intensity.allow(5.0)
    assert not intensity.allow(9.9)


def test_a_limit_of_none() -> None:
    """With a limit of 0 the first failure is one too many."""
    assert not Intensity(0, 5.0).allow(0.0)


@given(
    st.integers(0, 5),
    st.floats(0.1, 10),
    st.lists(st.floats(0.001, 5), max_size=30),
)
def test_no_period_has_too_many_restarts(
    limit: int, period: float, waits: list[float]
) -> None:
    """Whenever they come, no more than the limit are allowed in any one period."""
    intensity = Intensity(limit, period)
    now, allowed = 0.0, []
    for wait in waits:
        now += wait
        if intensity.allow(now):
            allowed.append(now)
    for start in allowed:
        assert sum(start <= when < start + period for when in allowed) <= limit


def test_the_wait_before_a_restart_grows() -> None:
    """The first is at once; those that follow wait twice as long each, to a limit."""
    intensity = Intensity(10_000, 1.0)
    waits = []
    for _ in range(10_000):
        intensity.allow(0.0)
        waits.append(intensity.backoff())
    assert waits[:4] == [0.0, FIRST_BACKOFF, 2 * FIRST_BACKOFF, 4 * FIRST_BACKOFF]
    assert waits == sorted(waits)
    assert waits[-1] == MAX_BACKOFF


def test_the_wait_starts_over_after_a_quiet_period() -> None:
    """A failure after a long time is like the first one."""
    intensity = Intensity(10, 1.0)
    for now in (0.0, 0.1, 0.2):
        intensity.allow(now)
    intensity.allow(2.0)
    assert intensity.backoff() == 0.0


def test_before_any_restart() -> None:
    """There is nothing to wait for."""
    assert Intensity(1, 1.0).backoff() == 0.0


@given(st.integers(0, 60), st.floats(0.1, 100))
def test_the_waits_hide_no_crash_loop(limit: int, period: float) -> None:
    """What dies at once is given up after the limit, however long the waits are."""
    intensity, now, restarts = Intensity(limit, period), 0.0, 0
    while intensity.allow(now):
        restarts += 1
        now += intensity.backoff()
    assert restarts == limit

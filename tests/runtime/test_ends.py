"""What the end of a child means, by tables alone."""

import signal

import pytest

from tractor import ActorAbandoned
from tractor._types import Aid, ExitReport, ExitStatus, Outcome, Rung
from tractor.runtime._ends import as_one, crashed_when_asked, left_behind

AID = Aid("x", "0" * 32)
FINE = ExitStatus(exit_code=0)
ABORTED = ExitStatus(signal=signal.SIGABRT)


def report(rung: Rung, outcome: Outcome = "killed") -> ExitReport:
    return ExitReport(outcome, rung, 0.1, None)


@pytest.mark.parametrize(
    ("rung", "status", "crashed"),
    [
        (None, ABORTED, True),
        ("cancel", ABORTED, True),
        ("cancel", ExitStatus(exit_code=3), True),
        ("cancel", FINE, False),
        ("cancel", ExitStatus(), False),
        (None, None, False),
        ("terminate", ExitStatus(signal=signal.SIGTERM), False),
        ("kill", ExitStatus(signal=signal.SIGKILL), False),
    ],
)
def test_a_crash_of_one_that_was_asked(
    rung: Rung | None, status: ExitStatus | None, *, crashed: bool
) -> None:
    """What nobody did to it, it did itself."""
    seen = report(rung) if rung is not None else None
    assert crashed_when_asked(seen, status) is crashed


def test_who_is_left_behind() -> None:
    """Only who was abandoned."""
    assert left_behind(AID, None) is None
    assert left_behind(AID, report("kill")) is None
    error = left_behind(AID, report("abandon", "abandoned"))
    assert isinstance(error, ActorAbandoned)


def test_errors_of_one_child_are_one() -> None:
    """None is none, one is bare, and several are a group."""
    first, second = KeyError(), ValueError()
    assert as_one(AID, [None, None]) is None
    assert as_one(AID, [None, first]) is first
    group = as_one(AID, [first, None, second])
    assert isinstance(group, ExceptionGroup)
    assert group.exceptions == (first, second)

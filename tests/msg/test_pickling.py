"""Errors survive pickling, with their data and their text."""

import copy
import inspect
import pickle
from typing import Any, Final

import pytest

from tractor import _exceptions
from tractor._exceptions import (
    ActorDied,
    Interrupted,
    RemoteTraceback,
    TractorError,
)
from tractor._types import Aid, ExitReport, ExitStatus
from tractor.msg import box

AID: Final = Aid("worker", "0" * 32, 1)
KILLED: Final = ExitStatus(signal=9)
INFO: Final = box(ValueError("no"), AID.uid)

# Of the parameters that a constructor asks for; a text for any other.
ARGUMENTS: Final[dict[str, Any]] = {
    "aid": AID,
    "info": INFO,
    "boxed_type": ValueError,
    "src_type": None,
    "report": ExitReport("abandoned", "abandon", 1.0, None),
    "status": KILLED,
    "size": 2,
    "limit": 1,
}
CLASSES: Final = [
    cls
    for cls in vars(_exceptions).values()
    if isinstance(cls, type) and issubclass(cls, BaseException)
]


def made(cls: type[BaseException]) -> BaseException:
    """One of them, with all that its constructor takes."""
    if not inspect.isfunction(cls.__init__):
        return cls("text")
    _, *names = inspect.signature(cls.__init__).parameters
    return cls(**{name: ARGUMENTS.get(name, "text") for name in names})


@pytest.mark.parametrize("cls", CLASSES)
def test_every_error_survives_pickling(cls: type[BaseException]) -> None:
    """Class, text, arguments and data are the same (docs/how-to/contribute.md)."""
    error = made(cls)
    error.add_note("a hint")
    for same in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(same) is cls
        assert str(same) == str(error)
        assert repr(same) == repr(error)
        assert same.args == error.args
        assert vars(same).keys() == vars(error).keys()


@pytest.mark.parametrize("cls", CLASSES)
def test_every_error_is_one_of_ours(cls: type[BaseException]) -> None:
    """`except TractorError` catches them all, and no `except` at all an interrupt."""
    assert issubclass(cls, TractorError) or cls in {RemoteTraceback, Interrupted}


def test_a_death_tells_how() -> None:
    """`ActorDied` answers with the pid, and the signal or the exit code."""
    killed = ActorDied(aid=AID, status=KILLED, stderr_tail="words\n")
    assert (killed.pid, killed.signal, killed.exit_code) == (1, 9, None)
    assert str(killed).startswith("actor 'worker@1' died unexpectedly: signal SIGKILL")
    assert str(killed).endswith("words")
    unseen = ActorDied(aid=AID)
    assert (unseen.signal, unseen.exit_code) == (None, None)
    assert "its link closed" in str(unseen)

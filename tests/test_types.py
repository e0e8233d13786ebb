"""The frozen records that every layer shares."""

import math
import signal
from typing import Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tractor._types import NESTED_RESERVE, Aid, ExitStatus, Graces

SECONDS: Final = st.floats(0, 100)
GRACES: Final = st.builds(
    Graces, ack=SECONDS, cancel=SECONDS, terminate=SECONDS, kill=SECONDS
)
EPSILON: Final = 1e-9  # seconds; of rounding


# -- Aid -------------------------------------------------------------------------------


def test_an_actor_is_its_name_and_uuid() -> None:
    """The process may be unknown to one and known to another (semantics §1.2)."""
    aid = Aid("a", "1" * 32)
    assert aid.uid == ("a", "1" * 32)
    same = Aid("a", "1" * 32, 7)
    assert aid == same
    assert hash(aid) == hash(same)
    assert aid != Aid("a", "2" * 32)
    assert aid != Aid("b", "1" * 32)
    assert aid != aid.uid


def test_an_actor_is_shown_by_its_process() -> None:
    """Or by the begin of its uuid, while there is none."""
    assert Aid("a", "1" * 32, 7).reprol() == "a@7"
    assert Aid("a", "123456789").reprol() == "a[123456]"


def test_records_cannot_be_changed() -> None:
    """They are shared freely, between actors and threads."""
    for record, name in [(Aid("a", "1"), "name"), (Graces(), "kill")]:
        with pytest.raises(AttributeError):
            setattr(record, name, 1)


# -- ExitStatus ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("returncode", "status", "text"),
    [
        (0, ExitStatus(exit_code=0), "exit code 0"),
        (3, ExitStatus(exit_code=3), "exit code 3"),
        (-signal.SIGKILL, ExitStatus(signal=9), "signal SIGKILL"),
        (-63, ExitStatus(signal=63), "signal 63"),
    ],
)
def test_exit_status_of_a_process(
    returncode: int, status: ExitStatus, text: str
) -> None:
    """A negative code is a signal, by its name where it has one."""
    assert ExitStatus.from_returncode(returncode) == status
    assert str(status) == text


def test_exit_status_may_be_unknown() -> None:
    """A child hosted by a thread has none."""
    assert str(ExitStatus()) == "no exit status"


# -- Graces ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", Graces.__struct_fields__)
@pytest.mark.parametrize("value", [-0.001, -math.inf, math.nan])
def test_graces_are_not_negative(name: str, value: float) -> None:
    """Neither in a program nor on the wire."""
    with pytest.raises(ValueError, match=f"grace '{name}' must be ≥ 0"):
        Graces(**{name: value})
    packed = msgspec.msgpack.encode({name: value})
    with pytest.raises(msgspec.ValidationError):
        msgspec.msgpack.decode(packed, type=Graces)


def test_the_default_graces_keep_the_promise() -> None:
    """The stop of a whole tree takes at most 3.5 s (architecture §7)."""
    assert Graces().bound == 3.0
    assert Graces().bound + 2 * NESTED_RESERVE <= 3.5


@given(GRACES, st.floats(0, 1000))
def test_graces_within_a_time_fit_into_it(graces: Graces, seconds: float) -> None:
    """A parent's bound exceeds its children's; no rung gets more than it had."""
    nested = graces.within(seconds)
    if nested is graces:
        assert graces.bound + NESTED_RESERVE <= seconds
    else:
        reserve = min(NESTED_RESERVE, seconds / 4)
        assert nested.bound <= seconds - reserve + EPSILON
    assert nested.ack <= graces.ack
    assert nested.cancel <= graces.cancel
    assert nested.terminate <= graces.terminate
    assert nested.kill <= graces.kill


@given(GRACES, st.one_of(st.floats(max_value=0), st.just(-math.inf)))
def test_no_time_is_no_grace(graces: Graces, seconds: float) -> None:
    """Where the time is over, every rung is taken at once."""
    assert graces.within(seconds).bound == 0


def test_without_a_limit_graces_stay() -> None:
    """The ladder of a root is nobody's."""
    assert Graces().within(math.inf) is not None
    assert Graces().within(math.inf) == Graces()


@given(SECONDS)
def test_a_deep_tree_has_time_on_every_level(seconds: float) -> None:
    """Each level leaves something to the one below, and less than it has."""
    for _ in range(20):
        nested = Graces().within(seconds)
        assert nested.cancel <= seconds
        assert (nested.cancel > 0) == (seconds > 0)
        seconds = nested.cancel

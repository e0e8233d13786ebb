"""What a nursery raises, given how its body and its children ended; no trio needed."""

import itertools
from collections.abc import Iterator
from typing import Final

import pytest
import trio

from tractor import ActorDied, Aid
from tractor._types import ExitStatus
from tractor.runtime._nursery import _verdict

CANCELLED: Final = trio.Cancelled._create(source="explicit")
VALUE: Final = ValueError("of the body")
MAIN: Final = KeyError("of a main task, waited for in the body as well")
OTHER: Final = OSError("of another child")
ONE: Final = Aid("one", "1" * 32)
TWO: Final = Aid("two", "2" * 32)


def died(aid: Aid) -> ActorDied:
    """A death; each who waits for it gets a new object."""
    return ActorDied(aid=aid, status=ExitStatus(signal=9))


def news(error: BaseException) -> object:
    """What tells errors apart: deaths by their actor, others by themselves."""
    if isinstance(error, ActorDied):
        return error.aid
    return KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else id(error)


def leaves(error: BaseException | None) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for member in error.exceptions:
            yield from leaves(member)
    elif error is not None:
        yield error


def bodies() -> Iterator[BaseException | None]:
    """Nothing; each error; each group of up to three of them, flat and nested."""
    errors = [CANCELLED, VALUE, MAIN, died(ONE), KeyboardInterrupt()]
    yield None
    yield from errors
    for count in (1, 2, 3):
        for members in itertools.combinations(errors, count):
            yield BaseExceptionGroup("body", members)
            inner = BaseExceptionGroup("inner", members[1:] or members)
            yield BaseExceptionGroup("outer", [*members[:1], inner][-count:])


def children() -> Iterator[list[BaseException]]:
    """Every choice of what children, or an impatient user, ended with."""
    errors = [MAIN, OTHER, died(ONE), died(TWO), KeyboardInterrupt()]
    for count in range(len(errors) + 1):
        for chosen in itertools.combinations(errors, count):
            yield list(chosen)


ALL: Final = list(itertools.product(bodies(), children()))


def real(*errors: BaseException | None) -> list[object]:
    """The news in them that is not a mere cancellation."""
    found = [leaf for error in errors for leaf in leaves(error)]
    return [news(leaf) for leaf in found if leaf is not CANCELLED]


def test_all_news_is_raised_and_each_once() -> None:
    """What the body heard of a child is one error with the child's own (§3.2)."""
    for body, others in ALL:
        told = real(_verdict(body, others))
        assert len(told) == len(set(told))
        assert set(told) == set(real(body, *others))


def test_nothing_is_raised_when_nothing_happened() -> None:
    """And something whenever anything did."""
    for body, others in ALL:
        assert (_verdict(body, others) is None) == (body is None and not others)


def test_one_error_is_bare() -> None:
    """A lone error is not wrapped, nor is a cancellation beside it (§3.2)."""
    for body, others in ALL:
        if len(set(real(body, *others))) != 1:
            continue
        verdict = _verdict(body, others)
        alone = CANCELLED not in list(leaves(body)) or real(*others)
        assert isinstance(verdict, BaseExceptionGroup) != alone, (body, others)


def test_several_errors_are_one_group() -> None:
    """An `ExceptionGroup`, unless one of them is not an `Exception` (§3.2)."""
    for body, others in ALL:
        told = set(real(body, *others))
        if len(told) > 1:
            verdict = _verdict(body, others)
            base = KeyboardInterrupt in told or CANCELLED in list(leaves(verdict))
            assert isinstance(verdict, BaseExceptionGroup)
            assert isinstance(verdict, ExceptionGroup) != base


def test_a_cancellation_is_raised_only_when_there_is_no_error() -> None:
    """The cancelled body of a nursery is not what went wrong in it (§3.2)."""
    for body, others in ALL:
        only = list(leaves(body)) == [CANCELLED]
        if only and others:
            assert CANCELLED not in list(leaves(_verdict(body, others)))
        elif only:
            assert list(leaves(_verdict(body, others))) == [CANCELLED]


def test_the_error_of_the_body_is_the_one_that_stays() -> None:
    """It says where in the body the news was heard."""
    heard = died(ONE)
    assert _verdict(heard, [died(ONE)]) is heard
    assert _verdict(MAIN, [MAIN]) is MAIN


@pytest.mark.parametrize("body", [VALUE, ExceptionGroup("g", [VALUE, OTHER])])
def test_an_error_of_the_body_alone_is_left_as_it_is(body: Exception) -> None:
    """A group that the body raised is not taken apart."""
    assert _verdict(body, []) is body

"""Exception groups: collapsing, cancellations, and replacing members."""

import pytest
import trio

from tractor.trionics import (
    collapse_eg,
    get_collapsed_eg,
    is_cancellation,
    is_multi_cancelled,
)
from tractor.trionics._groups import replace_members
from tractor.trionics._reraise import reraise


class Boom(Exception):
    """Nobody else raises it."""


def nested(exc: BaseException, depth: int = 1) -> BaseExceptionGroup[BaseException]:
    group = BaseExceptionGroup("g1", [exc])
    for level in range(2, depth + 1):
        group = BaseExceptionGroup(f"g{level}", [group])
    return group


async def cancelled_group(*others: BaseException) -> BaseExceptionGroup[BaseException]:
    """A group with a real `Cancelled` in it, and `others`."""
    with trio.CancelScope() as scope:
        scope.cancel()
        try:
            await trio.lowlevel.checkpoint()
        except trio.Cancelled as exc:
            return BaseExceptionGroup("", [BaseExceptionGroup("", [exc]), *others])
    raise AssertionError


# -- get_collapsed_eg ------------------------------------------------------------------


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_the_lone_exception_is_found(depth: int) -> None:
    """At any depth."""
    error = Boom()
    assert get_collapsed_eg(nested(error, depth)) is error


@pytest.mark.parametrize("depth", [1, 3])
def test_of_several_exceptions_none_is_found(depth: int) -> None:
    """Also if they are deep inside."""
    pair = ExceptionGroup("", [ValueError(), KeyError()])
    assert get_collapsed_eg(nested(pair, depth)) is None


# -- collapse_eg -----------------------------------------------------------------------


@pytest.mark.parametrize("depth", [1, 3])
async def test_a_lone_exception_is_raised_bare(depth: int) -> None:
    """It is the same object, with a note of its group."""
    error = Boom("x")
    with pytest.raises(Boom) as info:
        async with collapse_eg():
            raise nested(error, depth)
    assert info.value is error
    assert error.__notes__ == [f"(the only exception of the group 'g{depth}')"]


async def test_a_task_error_comes_out_of_a_nursery_bare() -> None:
    """The use that it is for."""

    async def fail() -> None:
        raise KeyError

    with pytest.raises(KeyError):
        async with collapse_eg(), trio.open_nursery() as nursery:
            nursery.start_soon(fail)


async def test_context_and_cause_stay() -> None:
    """The group, which is no reason for its member, does not become its context."""
    error, context, cause = Boom(), KeyError(), OSError()
    error.__context__, error.__cause__ = context, cause
    with pytest.raises(Boom):
        async with collapse_eg():
            raise nested(error)
    assert (error.__context__, error.__cause__) == (context, cause)


async def test_the_note_is_optional() -> None:
    """Without `add_notes` there is none."""
    error = Boom()
    with pytest.raises(Boom):
        async with collapse_eg(add_notes=False):
            raise nested(error)
    assert not hasattr(error, "__notes__")


async def test_ignored_classes_stay_in_their_group() -> None:
    """So does a subclass of one."""
    group = nested(KeyError())
    with pytest.raises(ExceptionGroup) as info:
        async with collapse_eg(ignore={LookupError}):
            raise group
    assert info.value is group


async def test_several_exceptions_stay_in_their_group() -> None:
    """The group is the same object, without a note."""
    group = ExceptionGroup("", [ValueError(), KeyError()])
    with pytest.raises(ExceptionGroup) as info:
        async with collapse_eg():
            raise group
    assert info.value is group
    assert not hasattr(group, "__notes__")


async def test_other_exceptions_pass() -> None:
    """What is no group is left alone."""
    error = Boom()
    with pytest.raises(Boom) as info:
        async with collapse_eg():
            raise error
    assert info.value is error


async def test_an_error_beside_cancellations_is_lone() -> None:
    """Their scope is cancelled without them."""
    error = Boom()
    with trio.CancelScope() as scope:
        with pytest.raises(Boom) as info:
            async with collapse_eg():
                raise await cancelled_group(nested(error))
        assert info.value is error
        scope.cancel()
        await trio.lowlevel.checkpoint()
    assert scope.cancelled_caught


async def test_errors_beside_cancellations_stay_with_them() -> None:
    """Two are a group, and nothing is taken from it."""
    group = await cancelled_group(KeyError(), Boom())
    with pytest.raises(BaseExceptionGroup) as info:
        async with collapse_eg():
            raise group
    assert info.value is group


async def test_a_lone_cancellation_still_cancels() -> None:
    """Its scope catches it, bare as it is."""
    with trio.CancelScope() as scope:
        async with collapse_eg():
            scope.cancel()
            raise await cancelled_group()
    assert scope.cancelled_caught


# -- Cancellations ---------------------------------------------------------------------


async def test_a_group_of_cancellations_is_multi_cancelled() -> None:
    """At any depth; what is returned is the group."""
    group = await cancelled_group()
    assert is_multi_cancelled(group) is group
    assert is_cancellation(group)
    assert is_cancellation(group.exceptions[0])


async def test_one_error_among_cancellations_counts() -> None:
    """Then it is not just cancelled."""
    group = await cancelled_group(ValueError())
    assert is_multi_cancelled(group) is False
    assert not is_cancellation(group)
    assert not is_cancellation(ValueError())


async def test_further_classes_can_count_as_cancellation() -> None:
    """Beside `Cancelled`, or alone; nothing is remembered from call to call."""
    group = await cancelled_group(ValueError())
    assert is_multi_cancelled(group, {ValueError}) is group
    assert is_multi_cancelled(group) is False
    assert is_multi_cancelled(nested(KeyError()), {LookupError})


# -- replace_members -------------------------------------------------------------------


def test_unchanged_members_leave_the_group_as_it_is() -> None:
    """It is the same object."""
    group = nested(ValueError(), 3)
    assert replace_members(group, lambda exc: exc) is group


def test_members_are_replaced_at_any_depth() -> None:
    """Everything else about the groups stays."""
    inner = ExceptionGroup("inner", [ValueError("a")])
    group = ExceptionGroup("outer", [inner, KeyError("b")])
    for each, name in ((inner, "i"), (group, "o")):
        each.add_note(name)
        each.__cause__, each.__context__ = OSError(), LookupError()
        each.__suppress_context__ = each is inner
        with pytest.raises(ExceptionGroup):
            raise each

    new = replace_members(group, lambda exc: TypeError(*exc.args))

    assert repr(new) == repr(
        ExceptionGroup(
            "outer", [ExceptionGroup("inner", [TypeError("a")]), TypeError("b")]
        )
    )
    for new_one, old in ((new, group), (new.exceptions[0], inner)):
        for name in ("cause", "context", "suppress_context", "traceback", "notes"):
            dunder = f"__{name}__"
            assert getattr(new_one, dunder) == getattr(old, dunder)


# -- reraise ---------------------------------------------------------------------------


@pytest.mark.parametrize("context", [None, KeyError()])
def test_reraise_leaves_the_context(context: BaseException | None) -> None:
    """What is being handled does not replace it."""
    error = Boom()
    error.__context__ = context
    try:
        raise OSError
    except OSError:
        with pytest.raises(Boom):
            reraise(error)
    assert error.__context__ is context

"""`unboxed`: errors of other actors by the class that they had there."""

import pytest
import trio

from tractor._exceptions import ContextCancelled, RemoteActorError
from tractor.msg import box, cancelled_info, unbox
from tractor.trionics import unboxed

THERE = ("there", "a" * 32)
BETWEEN = ("between", "b" * 32)


class Unknown(Exception):
    """Of a class that is not registered."""


def boxed(exc: BaseException) -> RemoteActorError:
    """`exc` as it arrives from another actor."""
    try:
        raise exc
    except BaseException as raised:  # noqa: BLE001 (it comes back in a box)
        return unbox(box(raised, THERE))


async def real_cancelled() -> trio.Cancelled:
    with trio.CancelScope() as scope:
        scope.cancel()
        try:
            await trio.lowlevel.checkpoint()
        except trio.Cancelled as exc:
            return exc
    raise AssertionError


def test_the_original_is_raised() -> None:
    """With its arguments; the `RemoteActorError` is its cause, and no context."""
    error = boxed(KeyError("x", 1))
    with pytest.raises(KeyError) as info, unboxed():
        raise error
    assert info.value.args == ("x", 1)
    assert info.value.__cause__ is error
    assert info.value.__context__ is None
    assert "KeyError" in str(error.__cause__)


def test_except_star_matches_it() -> None:
    """As the documentation has it."""
    found: list[BaseException] = []
    try:
        with unboxed():
            raise boxed(ZeroDivisionError())
    except* ZeroDivisionError as group:
        found += group.exceptions
    assert [type(each) for each in found] == [ZeroDivisionError]


def test_a_relayed_error_is_the_first_one() -> None:
    """However many actors it came through."""
    error = unbox(box(boxed(KeyError("x")), BETWEEN))
    with pytest.raises(KeyError) as info, unboxed():
        raise error
    assert info.value.__cause__ is error


def test_members_of_groups_are_unboxed() -> None:
    """At any depth; the others stay, and so does the group's note."""
    remote, local = boxed(KeyError("x")), ValueError()
    group = ExceptionGroup("g", [ExceptionGroup("", [remote]), local])
    group.add_note("note")
    with pytest.raises(ExceptionGroup) as info, unboxed():
        raise group
    (inner, other) = info.value.exceptions
    assert isinstance(inner, ExceptionGroup)
    assert isinstance(inner.exceptions[0], KeyError)
    assert inner.exceptions[0].__cause__ is remote
    assert other is local
    assert info.value.__notes__ == ["note"]
    assert info.value.__context__ is None


def test_a_group_from_there_is_a_group_here() -> None:
    """With its members as they were, those from further away included."""
    group = ExceptionGroup("g", [KeyError("x"), boxed(OSError(2, "y"))])
    with pytest.raises(ExceptionGroup) as info, unboxed():
        raise boxed(group)
    assert [type(each) for each in info.value.exceptions] == [
        KeyError,
        FileNotFoundError,
    ]


def test_an_unknown_class_stays_boxed() -> None:
    """Bare and in a group, which stays the same object."""
    error = boxed(Unknown())
    with pytest.raises(RemoteActorError) as info, unboxed():
        raise error
    assert info.value is error
    group = ExceptionGroup("", [error, ValueError()])
    with pytest.raises(ExceptionGroup) as info2, unboxed():
        raise group
    assert info2.value is group


def test_a_remote_cancellation_stays_boxed() -> None:
    """`ContextCancelled` is all that there is to know about it."""
    error = unbox(cancelled_info(THERE, None, "it"))
    with pytest.raises(ContextCancelled) as info, unboxed():
        raise error
    assert info.value is error


async def test_cancelled_from_there_never_cancels_here() -> None:
    """It would look like a cancellation of our own."""
    cancelled = await real_cancelled()
    for alone in (cancelled, BaseExceptionGroup("", [cancelled])):
        assert isinstance(unboxed_from(boxed(alone)), RemoteActorError)
    group = unboxed_from(boxed(BaseExceptionGroup("", [cancelled, KeyError()])))
    assert isinstance(group, ExceptionGroup)
    assert [type(each) for each in group.exceptions] == [KeyError]


def unboxed_from(error: Exception) -> BaseException:
    """What comes out; `pytest.raises` would let a `Cancelled` pass unseen."""
    try:
        with unboxed():
            raise error
    except BaseException as found:  # noqa: BLE001 (whatever it is)
        return found


@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt()])
def test_local_errors_pass(error: BaseException) -> None:
    """They are left alone."""
    with pytest.raises(type(error)) as info, unboxed():
        raise error
    assert info.value is error


def test_a_block_without_error_is_just_that() -> None:
    """Nothing is raised."""
    with unboxed():
        pass


def test_it_decorates_functions_too() -> None:
    """As any context manager of the standard library does."""

    @unboxed()
    def call() -> None:
        raise boxed(KeyError())

    with pytest.raises(KeyError):
        call()

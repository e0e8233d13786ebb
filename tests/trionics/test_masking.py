"""Errors that a cancellation hides, and those that it does not."""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest
import trio

from tests.trionics.conftest import Logged
from tractor.trionics import Unmasked, masked_error, maybe_raise_from_masking_exc

type Body = Callable[[], Awaitable[object]]


class Boom(Exception):
    """What is hidden."""


class Handled(Exception):
    """What is not, as it is dealt with."""


async def wait() -> None:
    """A checkpoint; in these tests, always cancelled."""
    await trio.sleep(1)


# -- Bodies that hide an error ---------------------------------------------------------


async def in_finally() -> None:
    try:
        raise Boom
    finally:
        await wait()


class WaitsAtExit:
    async def __aenter__(self) -> None:
        pass

    async def __aexit__(self, *args: object) -> None:
        await wait()


async def in_exit() -> None:
    async with WaitsAtExit():
        raise Boom


@asynccontextmanager
async def waits_at_exit() -> AsyncIterator[None]:
    try:
        yield
    finally:
        await wait()


async def in_exit_of_generator() -> None:
    async with waits_at_exit():
        raise Boom


async def twice() -> None:
    try:
        async with waits_at_exit():
            raise Boom
    finally:
        await wait()


async def behind_control_flow() -> None:
    """As trio's locks do it, which wait in an ``except WouldBlock``."""

    async def acquire() -> None:
        try:
            raise trio.WouldBlock
        except trio.WouldBlock:
            await wait()

    try:
        raise Boom
    finally:
        await acquire()


async def with_a_context_of_its_own() -> None:
    def fail() -> None:
        try:
            raise Handled
        except Handled:
            raise Boom  # noqa: B904 (the context is the case)

    try:
        fail()
    finally:
        await wait()


async def handled_inside_hidden_outside() -> None:
    async def retry() -> None:
        try:
            with_cause()
        except Handled:
            await wait()

    def with_cause() -> None:
        try:
            raise KeyError
        except KeyError:
            raise Handled  # noqa: B904 (the context is the case)

    try:
        raise Boom
    finally:
        await retry()


async def handled_inside_one_function() -> None:
    try:
        raise Boom
    finally:
        try:
            raise Handled
        except Handled:
            await wait()


async def while_another_is_handled() -> None:
    try:
        raise Handled
    except Handled:
        try:
            raise Boom
        finally:
            await wait()


async def in_a_task() -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(in_finally)
        nursery.start_soon(wait)


async def behind_a_group() -> None:
    """A group of cancellations is replaced by yet another one."""
    try:
        await in_a_task()
    finally:
        await wait()


HIDING = [
    in_finally,
    in_exit,
    in_exit_of_generator,
    twice,
    behind_control_flow,
    with_a_context_of_its_own,
    handled_inside_hidden_outside,
    handled_inside_one_function,
    while_another_is_handled,
    in_a_task,
    behind_a_group,
]

# -- Bodies that do not ----------------------------------------------------------------


async def nothing() -> None:
    await wait()


async def handled() -> None:
    try:
        raise Handled
    except Handled:
        await wait()


async def handled_by_a_manager() -> None:
    """Whose error has a context, but one that is nobody's business."""

    @asynccontextmanager
    async def retries() -> AsyncIterator[None]:
        try:
            yield
        except Handled:
            await wait()

    async with retries():
        try:
            raise KeyError
        except KeyError:
            raise Handled  # noqa: B904 (the context is the case)


async def handled_in_passing() -> None:
    try:
        await handled()
    finally:
        await wait()


async def closing_a_generator() -> None:
    async def generate() -> AsyncGenerator[int]:
        try:
            yield 1
        finally:
            await wait()

    async with aclosing(generate()) as numbers:
        await anext(numbers)


async def no_error_before() -> None:
    try:
        pass
    finally:
        await wait()


NOT_HIDING = [
    nothing,
    handled,
    handled_by_a_manager,
    handled_in_passing,
    closing_a_generator,
    no_error_before,
]


async def end_of(body: Body) -> BaseException:
    """What a cancelled `body` ends with."""
    with trio.CancelScope() as scope:
        scope.cancel()
        try:
            await body()
        except BaseException as error:  # noqa: BLE001 (it is what we are after)
            return error
    raise AssertionError


# -- masked_error ----------------------------------------------------------------------


@pytest.mark.parametrize("body", HIDING)
async def test_the_error_is_found(body: Body) -> None:
    """Wherever it is hidden."""
    assert isinstance(masked_error(await end_of(body)), Boom)


@pytest.mark.parametrize("body", NOT_HIDING)
async def test_no_error_is_found(body: Body) -> None:
    """Where none was on its way out."""
    assert masked_error(await end_of(body)) is None


async def test_only_cancellations_hide() -> None:
    """Neither an error nor a group with one in it."""

    async def fail() -> None:
        try:
            raise Boom
        finally:
            raise Handled

    error = await end_of(fail)
    assert masked_error(error) is None
    cancelled = await end_of(in_finally)
    assert masked_error(BaseExceptionGroup("", [cancelled, error])) is None


async def test_a_hidden_group_has_its_cancellations_taken_out() -> None:
    """What is left is the errors."""

    async def fail() -> None:
        raise Boom

    async def body() -> None:
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(fail)
                nursery.start_soon(wait)
        finally:
            await wait()

    error = masked_error(await end_of(body))
    assert isinstance(error, ExceptionGroup)
    assert [type(each) for each in error.exceptions] == [Boom]


@pytest.mark.parametrize("hidden", [KeyboardInterrupt, SystemExit])
async def test_what_is_no_exception_is_no_masked_error(
    hidden: type[BaseException],
) -> None:
    """It is not for those who handle errors."""

    async def body() -> None:
        try:
            raise hidden
        finally:
            await wait()

    assert masked_error(await end_of(body)) is None


# -- maybe_raise_from_masking_exc ------------------------------------------------------


def unmasking(body: Body, **options: Any) -> Body:
    """`body` in a block that unmasks."""

    async def unmasked() -> None:
        async with maybe_raise_from_masking_exc(**options):
            await body()

    return unmasked


def leaves(error: BaseException) -> list[type[BaseException]]:
    """Classes of the exceptions in it."""
    if isinstance(error, BaseExceptionGroup):
        return [cls for each in error.exceptions for cls in leaves(each)]
    return [type(error)]


@pytest.mark.parametrize("body", HIDING)
async def test_the_error_is_raised(body: Body) -> None:
    """In place of what hid it; the rest of a group stays."""
    found = leaves(await end_of(unmasking(body)))
    others = [trio.Cancelled] * (body is in_a_task)
    assert sorted(found, key=repr) == [Boom, *others]


@pytest.mark.parametrize("body", NOT_HIDING)
async def test_a_cancellation_stays_one(body: Body) -> None:
    """Where it hides nothing, it passes."""
    assert isinstance(await end_of(unmasking(body)), trio.Cancelled)


async def test_what_was_handled_before_is_not_hidden() -> None:
    """Neither in an ``except`` nor in a ``finally:`` around the block."""

    async def inside_finally() -> None:
        try:
            raise Handled
        finally:
            await unmasking(nothing)()

    async def inside_same_function() -> None:
        try:
            raise Handled
        finally:
            async with maybe_raise_from_masking_exc():
                await wait()

    for body in (inside_finally, inside_same_function):
        assert isinstance(await end_of(body), trio.Cancelled)


async def test_the_error_keeps_its_context_and_gets_a_note() -> None:
    """The note says what hid it, and where."""
    error = await end_of(unmasking(in_finally, extra_note=" (more)"))
    assert error.__context__ is None
    (note,) = error.__notes__
    assert note.startswith("(hidden by Cancelled")
    assert note.endswith("in wait) (more)")
    assert f"raised at {__file__}:" in note
    error = await end_of(unmasking(with_a_context_of_its_own))
    assert isinstance(error.__context__, Handled)


async def test_the_box_has_what_was_found() -> None:
    """Also if it is not to be raised."""

    boxes: list[Unmasked] = []

    async def body() -> None:
        async with maybe_raise_from_masking_exc(raise_unmasked=False) as box:
            boxes.append(box)
            await in_finally()

    async with maybe_raise_from_masking_exc() as empty:
        pass
    assert empty.value is None
    assert isinstance(await end_of(body), trio.Cancelled)
    assert isinstance(boxes[0].value, Boom)


async def test_other_exceptions_pass() -> None:
    """They hide nothing, whatever their context is."""

    async def body() -> None:
        try:
            raise Handled
        finally:
            raise Boom

    error = await end_of(unmasking(body))
    assert isinstance(error, Boom)
    assert isinstance(error.__context__, Handled)


async def test_other_exceptions_can_hide() -> None:
    """Those in `unmask_from`, with their subclasses; then the default does not."""

    async def body() -> None:
        try:
            raise Boom
        finally:
            raise IndexError

    assert isinstance(await end_of(unmasking(body, unmask_from=(LookupError,))), Boom)
    assert isinstance(
        await end_of(unmasking(in_finally, unmask_from=(LookupError,))), trio.Cancelled
    )


async def test_unmask_from_must_be_a_tuple() -> None:
    """As for `isinstance`, but more than one class is the rule."""
    with pytest.raises(ValueError, match="must be a tuple"):
        await unmasking(nothing, unmask_from=trio.Cancelled)()


# -- Warnings --------------------------------------------------------------------------


async def interrupted() -> None:
    try:
        raise KeyboardInterrupt
    finally:
        await wait()


@pytest.mark.parametrize(
    ("body", "options", "count"),
    [
        (in_finally, {}, 1),
        (in_finally, {"raise_unmasked": False}, 1),
        (in_finally, {"always_warn_on": ()}, 0),
        (in_finally, {"always_warn_on": (KeyError,)}, 0),
        (in_finally, {"never_warn_on": {Boom: trio.Cancelled}}, 0),
        (in_finally, {"never_warn_on": {Boom: KeyError}}, 1),
        (interrupted, {}, 0),
        (interrupted, {"never_warn_on": {}}, 1),
        (handled, {}, 0),
    ],
)
async def test_a_warning_is_logged(
    body: Body, options: dict[str, Any], count: int, logged: Logged
) -> None:
    """For the classes that are asked for, and not for the pairs that are excused."""
    await end_of(unmasking(body, **options))
    assert [record.levelname for record in logged.records] == ["WARNING"] * count
    assert all(line.endswith("; shield clean-up") for line in logged.lines)


async def test_ctrl_c_is_unmasked_without_a_warning() -> None:
    """It is raised all the same."""
    with pytest.raises(KeyboardInterrupt):
        raise await end_of(unmasking(interrupted))

"""In which handlers a raise took place, as the bytecode tells."""

from collections.abc import Callable
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest

from tractor.trionics._handlers import active_handlers


class Inner(Exception):
    """Raised in the handler."""


def fail() -> None:
    raise Inner


def in_body() -> None:
    try:
        fail()
    except KeyError:
        pass
    finally:
        pass


def in_else() -> None:
    try:
        pass
    except KeyError:
        pass
    else:
        fail()


def in_finally_without_error() -> None:
    try:
        pass
    finally:
        fail()


def in_body_of_with() -> None:
    with nullcontext():
        fail()


def in_finally() -> None:
    try:
        raise KeyError
    finally:
        fail()


def in_finally_after_except() -> None:
    try:
        raise KeyError
    except ValueError:
        pass
    finally:
        fail()


def in_loop_in_finally() -> None:
    try:
        raise KeyError
    finally:
        for _ in range(2):
            if _ == 0:
                while True:
                    fail()


def in_try_in_finally() -> None:
    try:
        raise KeyError
    finally:
        try:  # noqa: SIM105 (that is the case)
            fail()
        except KeyError:
            pass


def in_with_in_finally() -> None:
    try:
        raise KeyError
    finally:
        with nullcontext():
            fail()


class FailsAtExit:
    def __enter__(self) -> None:
        pass

    def __exit__(self, *args: object) -> None:
        fail()


def in_exit() -> None:
    with FailsAtExit():
        raise KeyError


@contextmanager
def fails_at_exit() -> Any:
    try:
        yield
    finally:
        fail()


def in_exit_of_generator() -> None:
    with fails_at_exit():
        raise KeyError


def in_except() -> None:
    try:
        raise KeyError
    except KeyError:
        fail()


def in_named_except() -> None:
    try:
        raise KeyError
    except (ValueError, KeyError) as error:
        str(error)
        fail()


def in_bare_except() -> None:
    try:
        raise KeyError
    except:  # noqa: E722 (that is the case)
        fail()


def in_except_star() -> None:
    try:
        raise ExceptionGroup("", [KeyError()])
    except* KeyError:
        raise Inner  # noqa: B904


def in_except_with_finally() -> None:
    try:
        raise KeyError
    except KeyError:
        fail()
    finally:
        pass


def in_finally_in_except() -> None:
    try:
        raise KeyError
    except KeyError:
        try:
            raise OSError
        finally:
            fail()


def in_except_in_finally() -> None:
    try:
        raise KeyError
    finally:
        try:
            raise OSError
        except OSError:
            fail()


def in_except_of_callee() -> None:
    try:
        raise KeyError
    finally:
        in_except()


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        (fail, []),
        (in_body, []),
        (in_else, []),
        (in_finally_without_error, []),
        (in_body_of_with, []),
        (in_finally, ["finally"]),
        (in_finally_after_except, ["finally"]),
        (in_loop_in_finally, ["finally"]),
        (in_try_in_finally, ["finally"]),
        (in_with_in_finally, ["finally"]),
        (in_exit, ["finally"]),
        (in_exit_of_generator, ["finally", "finally"]),
        (in_except, ["except"]),
        (in_named_except, ["except"]),
        (in_bare_except, ["except"]),
        (in_except_star, ["except"]),
        (in_except_with_finally, ["except"]),
        (in_finally_in_except, ["finally", "except"]),
        (in_except_in_finally, ["except", "finally"]),
        (in_except_of_callee, ["except", "finally"]),
    ],
)
def test_the_handlers_are_found(case: Callable[[], None], expected: list[str]) -> None:
    """All that are active, the innermost first, and no others."""
    try:
        case()
    except* Inner as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
    traceback = error.__traceback__
    assert traceback is not None
    while traceback.tb_frame.f_code is not case.__code__:
        assert traceback.tb_next is not None
        traceback = traceback.tb_next
    assert [kind for _, kind in active_handlers(traceback)] == expected


def test_no_traceback_has_no_handlers() -> None:
    """As that of an exception that was never raised."""
    assert active_handlers(None) == []

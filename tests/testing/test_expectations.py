"""`expect_ctxc`, `tractor_test` and `HangWatch`: what they refuse and let through."""

import pytest

from tractor import ContextCancelled
from tractor._types import ErrorInfo
from tractor.testing import HangWatch, expect_ctxc, tractor_test


def cancelled() -> ContextCancelled:
    """One."""
    info = ErrorInfo("tractor:ContextCancelled", "ended", "", "", ("root", "0"), [])
    return ContextCancelled(info, boxed_type=None, src_type=None)


async def test_what_is_expected_ends_there() -> None:
    """The block after it goes on."""
    async with expect_ctxc():
        raise cancelled()


async def test_what_is_expected_can_go_on() -> None:
    """For a test that looks at it."""
    with pytest.raises(ContextCancelled):
        async with expect_ctxc(reraise=True):
            raise cancelled()


async def test_what_does_not_come_is_an_error() -> None:
    """The block ended in another way."""
    with pytest.raises(AssertionError, match="without a ContextCancelled"):
        async with expect_ctxc():
            pass


async def test_nothing_needs_to_be_expected() -> None:
    """For a test of which only some cases end so."""
    async with expect_ctxc(expected=False):
        pass
    with pytest.raises(ContextCancelled):
        async with expect_ctxc(expected=False):
            raise cancelled()


def test_only_async_functions_are_tests_of_actors() -> None:
    """Another one is refused when it is decorated."""
    with pytest.raises(TypeError, match="for async functions"):
        tractor_test(cancelled)  # type: ignore[arg-type]


@pytest.mark.parametrize("seconds", [0, -1, float("nan")])
def test_a_bound_is_positive(seconds: float) -> None:
    """Else the block would have hung before it began."""
    with pytest.raises(ValueError, match="seconds must be > 0"):
        HangWatch("a block", seconds)

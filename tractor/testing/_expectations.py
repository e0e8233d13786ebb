"""Small things that tests of actors say often."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from tractor._exceptions import BackendUnavailable, ContextCancelled
from tractor.spawn import get_backend


@asynccontextmanager
async def expect_ctxc(
    expected: bool = True, *, reraise: bool = False
) -> AsyncIterator[None]:
    """Fail unless the block is ended by `ContextCancelled`.

    Args:
        expected: If not, nothing is expected and everything is let through.
        reraise: Whether the error goes on, or ends here.

    Raises:
        AssertionError: The block ended without it.
    """
    try:
        yield
    except ContextCancelled:
        if reraise or not expected:
            raise
        return
    if expected:
        msg = "the block ended without a ContextCancelled"
        raise AssertionError(msg)


def check_backend_keys(keys: Iterable[str]) -> None:
    """Check that there are spawn backends of these names, here or elsewhere.

    Raises:
        ValueError: There is none of one of the names.
    """
    for key in keys:
        try:
            get_backend(key)
        except BackendUnavailable:
            continue  # it is known, and needs what is missing here

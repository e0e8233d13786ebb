"""Scopes for tests, on the backend that a test is for."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import pytest
import trio

from tests.cowns._bodies import SAFETY
from tractor.cowns import Scope, open_cowns
from tractor.spawn import available_backends

BACKENDS: Final = [
    key for key in ("trio", "mp_forkserver", "subint") if key in available_backends()
]
FAST: Final = "mp_forkserver"  # of those whose workers can be killed


@asynccontextmanager
async def scoped(backend: str = FAST, **options: Any) -> AsyncIterator[Scope]:
    """A scope whose workers are on this backend, within the time of a test."""
    flavor = "interpreters" if backend == "subint" else "processes"
    with pytest.MonkeyPatch.context() as patch, trio.fail_after(SAFETY):
        patch.setenv("TRACTOR_SPAWN_METHOD", backend)
        options.setdefault("workers", 1)
        async with open_cowns(flavor=flavor, **options) as scope:
            yield scope

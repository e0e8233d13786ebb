"""What several tests of the runtime need."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import pytest
import trio

import tractor
from tests.runtime import rpc_functions
from tractor import Portal, RemoteActorError

FUNCTIONS: Final = rpc_functions.__name__
PATIENCE: Final = 30.0  # seconds; a safety net, never what is tested


@asynccontextmanager
async def an_actor(start_method: str, **options: Any) -> AsyncIterator[Portal]:
    """An actor that serves `rpc_functions`, in a tree of its own.

    Args:
        start_method: Key of a spawn backend.
        **options: For `open_root_actor`.
    """
    with trio.fail_after(PATIENCE):
        async with tractor.open_nursery(start_method=start_method, **options) as an:
            yield await an.start_actor("callee", enable_modules=[FUNCTIONS])
            await an.cancel()


async def error_of(portal: Portal, name: str, /, **kwargs: Any) -> RemoteActorError:
    """What a call raises; afterwards the actor still serves."""
    with pytest.raises(RemoteActorError) as caught:
        await portal.run_from_ns(FUNCTIONS, name, **kwargs)
    assert await portal.run(rpc_functions.add, 1, b=2) == 3
    return caught.value


class CallInBackground:
    """A call in a task of its own that can be cancelled."""

    def __init__(self) -> None:
        self.scope = trio.CancelScope()
        self.over = trio.Event()
        self.result: Any = None
        self.error: Exception | None = None

    async def run(self, portal: Portal, name: str, kwargs: dict[str, Any]) -> None:
        try:
            with self.scope:
                self.result = await portal.run_from_ns(FUNCTIONS, name, **kwargs)
        except Exception as exc:  # noqa: BLE001 (for the test to look at)
            self.error = exc
        self.over.set()


def call_soon(
    nursery: trio.Nursery, portal: Portal, name: str, /, **kwargs: Any
) -> CallInBackground:
    """Start a call without waiting for it."""
    call = CallInBackground()
    nursery.start_soon(call.run, portal, name, kwargs)
    return call

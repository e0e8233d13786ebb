"""`Hosted`, as far as its users do not show it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
from trio.testing import wait_all_tasks_blocked

from tractor.trionics._hosted import Hosted


@asynccontextmanager
async def manager() -> AsyncIterator[None]:
    yield


async def test_a_user_that_is_gone_is_forgotten() -> None:
    """The value may be used for long, by many."""
    hosted = Hosted(manager)
    async with trio.open_nursery() as nursery:
        hosted.start(nursery, "host")
        assert await hosted.join("first")
        async with hosted.block():
            for _ in range(3):
                assert await hosted.join("another")
                async with hosted.block():
                    assert len(hosted._blocks) == 2
            assert len(hosted._blocks) == 1


async def test_the_host_gives_a_cancellation_back() -> None:
    """Its scope gets what it sent."""
    hosted = Hosted(manager)
    async with trio.open_nursery() as nursery:
        hosted.start(nursery, "host")
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True):
            await hosted.gone.wait()
            nursery.cancel_scope.shield = True  # no checkpoint of ours is cancelled
    assert nursery.cancel_scope.cancelled_caught

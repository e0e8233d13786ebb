"""Errors that a cancellation would hide from the caller (semantics §5.5)."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import pytest
import trio
from trio.testing import MockClock

import tractor
from tests._helpers import open_tree, raises
from tests.runtime.memory import World, open_world
from tractor import Context, ContextCancelled, RemoteActorError

HERE: Final = __name__


@asynccontextmanager
async def slow_to_close() -> AsyncIterator[None]:
    """Awaits on its way out, which a cancelled task cannot."""
    try:
        yield
    finally:
        await trio.sleep(1)


async def fail_in_finally() -> None:
    try:
        await trio.sleep_forever()
    finally:
        try:
            raise KeyError("hidden")
        finally:
            await trio.sleep(1)


async def fail_in_a_manager() -> None:
    try:
        await trio.sleep_forever()
    finally:
        async with slow_to_close():
            raise KeyError("hidden")


async def fail_in_a_task() -> None:
    async with trio.open_nursery() as tasks:
        tasks.start_soon(trio.sleep_forever)
        await fail_in_finally()


async def fail_before() -> None:
    """Not because of the cancellation, but just before it."""
    try:
        raise KeyError("hidden")
    finally:
        await trio.sleep_forever()


async def deal_with_it() -> None:
    """Nothing is hidden: this error is handled, again and again."""
    while True:
        try:
            raise KeyError("handled")
        except KeyError:
            await trio.sleep(1)


async def sleep() -> None:
    await trio.sleep_forever()


async def close_managers() -> None:
    async with trio.open_nursery() as tasks:
        tasks.start_soon(trio.sleep_forever)
        async with slow_to_close():
            await trio.sleep_forever()


HIDING: Final = [
    "fail_in_finally",
    "fail_in_a_manager",
    "fail_in_a_task",
    "fail_before",
]
HIDING_NOTHING: Final = ["sleep", "deal_with_it", "close_managers"]


@tractor.context
async def does(ctx: Context, what: str) -> None:
    await ctx.started()
    await globals()[what]()


async def does_in_a_call(what: str) -> None:
    await globals()[what]()


@asynccontextmanager
async def cancelled(world: World, what: str) -> AsyncIterator[Context]:
    """A callee that is cancelled after a while; the context after its end."""
    async with world.parent.portal.open_context(does, what) as (ctx, _):
        await trio.sleep(2.5)
        await ctx.cancel()
    yield ctx


@pytest.mark.parametrize("what", HIDING)
async def test_a_hidden_error_is_raised(what: str, autojump_clock: MockClock) -> None:
    """An error that a `Cancelled` masks is what the caller gets (semantics §5.5)."""
    async with open_world(HERE) as world:
        with raises(RemoteActorError, match="hidden") as caught:
            async with cancelled(world, what):
                pass
        assert caught.value.boxed_type is KeyError
        assert "KeyError: 'hidden'" in caught.value.tb_str


@pytest.mark.parametrize("what", HIDING_NOTHING)
async def test_an_error_that_was_handled_is_not(
    what: str, autojump_clock: MockClock
) -> None:
    """The callee ended as it was asked to, so nothing is raised."""
    async with open_world(HERE) as world, cancelled(world, what) as ctx:
        assert isinstance(ctx.outcome, ContextCancelled)


@pytest.mark.parametrize("what", HIDING)
async def test_the_caller_of_a_call_is_told_as_well(
    what: str, autojump_clock: MockClock
) -> None:
    """An error outranks the cancellation of whoever waits for the call."""
    async with open_world(HERE) as world:
        with raises(RemoteActorError, match="hidden"), trio.move_on_after(2.5):
            await world.parent.portal.run(does_in_a_call, what)


async def test_it_is_so_between_real_actors(start_method: str) -> None:
    """Contexts and calls alike (semantics §5.5)."""
    async with open_tree(start_method) as an:
        portal = await an.start_actor("child", enable_modules=[HERE])
        with raises(RemoteActorError, match="hidden"):
            async with portal.open_context(does, "fail_in_finally") as (ctx, _):
                await ctx.cancel()
        with raises(RemoteActorError, match="hidden"), trio.CancelScope() as scope:
            async with portal.open_context(does, "fail_in_a_manager"):
                scope.cancel()
                await trio.sleep_forever()
        await an.cancel()

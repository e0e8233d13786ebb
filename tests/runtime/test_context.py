"""Contexts between real actors: what `semantics.md` §5 promises, sentence by sentence.

Who sees what when a context ends is in `test_context_cancel`, for every state.
"""

import os
import signal
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import tractor
from tests._helpers import T_DETECT, open_tree, pid_of, raises, within
from tests.runtime import callees
from tests.runtime.helpers import FUNCTIONS
from tests.runtime.memory import open_world
from tests.runtime.rpc_functions import add, note, noted, wait_noted
from tractor import ActorDied, ContextCancelled, Portal, RemoteActorError
from tractor.msg import types as t
from tractor.runtime import Peer, Unresolved

CALLEES = callees.__name__


@asynccontextmanager
async def a_child(start_method: str, **options: Any) -> AsyncIterator[Portal]:
    """An actor that serves `callees`, in a tree of its own."""
    async with open_tree(start_method, **options) as an:
        yield await an.start_actor("child", enable_modules=[CALLEES, FUNCTIONS])
        await an.cancel()


# -- Starting --------------------------------------------------------------------------


async def test_the_block_begins_when_the_callee_has_started(start_method: str) -> None:
    """Entering waits for `started`, and gives its value (semantics §5.1)."""
    async with a_child(start_method) as portal, trio.open_nursery() as tasks:

        async def open_it() -> None:
            async with portal.open_context(callees.never_starts, "sleep"):
                pytest.fail("it has not started")

        tasks.start_soon(open_it)
        await portal.run(wait_noted, "waits")
        async with portal.open_context(callees.echo, value={"a": [1]}) as (ctx, first):
            assert first == {"a": [1]}
            assert ctx.side == "parent"
        tasks.cancel_scope.cancel()


async def test_started_is_called_once_and_by_the_callee(start_method: str) -> None:
    """Anything else is a `RuntimeError`, and the context goes on (semantics §5.1)."""
    async with (
        a_child(start_method) as portal,
        portal.open_context(callees.starts_twice) as (ctx, first),
    ):
        assert first == 1
        with pytest.raises(RuntimeError, match="once, and by the callee"):
            await ctx.started()
        assert "once" in await ctx.wait_for_result()


@pytest.mark.parametrize(
    ("how", "cls", "text"),
    [
        ("raise", RemoteActorError, "early"),
        ("cancel", ContextCancelled, "cancelled by its own actor"),
        ("return", RemoteActorError, r"without having called ctx.started\(\)"),
    ],
)
async def test_an_end_before_started_is_raised_from_enter(
    start_method: str, how: str, cls: type[RemoteActorError], text: str
) -> None:
    """An error, a cancellation, a return: the block never begins (semantics §5.1)."""
    async with a_child(start_method) as portal:
        manager = portal.open_context(callees.never_starts, how)
        with pytest.raises(cls, match=text):
            await manager.__aenter__()
        assert await portal.run(add, 1) == 1


async def test_what_is_not_a_context_is_refused_at_once(start_method: str) -> None:
    """A plain function and a generator are a `TypeError` here (semantics §5.1)."""
    async with a_child(start_method) as portal:
        functions: list[Any] = [add, callees.numbers]
        for fn in functions:
            wrong = portal.open_context(fn)
            with pytest.raises(TypeError, match=r"use (run|open_stream_from)\(\)"):
                await wrong.__aenter__()
        context: Any = callees.sleeper
        with pytest.raises(TypeError, match="use open_context"):
            await portal.run(context)
        with pytest.raises(TypeError, match="use open_context"):
            await portal.open_stream_from(context).__aenter__()


async def test_a_context_to_oneself_is_refused(autojump_clock: MockClock) -> None:
    """It leads to another actor, or is a `RuntimeError` (semantics §5.5)."""
    async with open_world(CALLEES) as world:
        side = world.parent
        mirror = Peer(
            side,
            side.aid,
            side.peer.channel,
            opens_even=True,
            on_cancel_actor=side.stop,
        )
        with pytest.raises(RuntimeError, match="this portal leads to this one"):
            await Portal(mirror).open_context(callees.sleeper).__aenter__()


# -- Leaving ---------------------------------------------------------------------------


async def test_leaving_waits_for_the_result(start_method: str) -> None:
    """Or one gets it earlier; it stays what it was (semantics §5.2)."""
    async with a_child(start_method) as portal:
        async with portal.open_context(callees.returns, [1, "two"]) as (ctx, _):
            pass
        assert ctx.has_outcome
        assert ctx.outcome == await ctx.wait_for_result() == [1, "two"]
        async with portal.open_context(callees.returns, None) as (ctx, _):
            assert await ctx.wait_for_result() is None
            assert ctx.repr_state == "result-returned"


async def test_unread_items_are_discarded(start_method: str) -> None:
    """Who leaves, or asks for the result, does not hold up the callee (§5.2)."""
    async with a_child(start_method) as portal:
        async with portal.open_context(callees.counts, 1000) as (ctx, _):
            pass
        assert ctx.outcome == 1000
        async with (
            portal.open_context(callees.counts, 1000) as (ctx, _),
            ctx.open_stream() as stream,
        ):
            assert await stream.receive() == 0
            assert await ctx.wait_for_result() == 1000


async def test_leaving_by_an_error_cancels_the_callee(start_method: str) -> None:
    """Its clean-up is seen to its end, and the original is raised (semantics §5.2)."""
    async with a_child(start_method) as portal, trio.open_nursery() as tasks:

        async def fail() -> None:
            with raises(ZeroDivisionError) as caught:
                async with portal.open_context(callees.cleans_up) as (ctx, _):
                    await portal.run(note, "begun")
                    raise ZeroDivisionError
            assert not hasattr(caught.value, "__notes__")
            assert ctx.canceller == ctx.host.aid.uid
            assert await portal.run(noted) == ["begun", "go on", "cleaned"]

        tasks.start_soon(fail)
        await portal.run(wait_noted, "begun")
        await portal.run(note, "go on")


async def test_only_the_caller_waits_for_the_result(start_method: str) -> None:
    """In the callee `wait_for_result` is a `RuntimeError` (api §1.4)."""
    async with a_child(start_method) as portal:
        with raises(RemoteActorError, match="the callee returns its result") as caught:
            async with portal.open_context(callees.waits_for_result):
                pass
        assert caught.value.boxed_type is RuntimeError


# -- Errors ----------------------------------------------------------------------------


async def test_an_error_of_the_callee_ends_the_block(start_method: str) -> None:
    """Whatever the block does then, that error is raised, and bare (semantics §5.3)."""
    async with a_child(start_method) as portal:
        for reaction in ("none", "sleep", "raise", "nursery"):
            with raises(RemoteActorError, match="told to") as caught:
                async with (
                    portal.open_context(callees.fails) as (ctx, _),
                    ctx.open_stream() as stream,
                ):
                    await stream.send("now")
                    await react(reaction)
            assert caught.value.boxed_type is KeyError
            assert caught.value is ctx.maybe_error is ctx.outcome
            assert ctx.repr_state == "errored"


async def react(how: str) -> None:
    """To being cancelled."""
    match how:
        case "sleep":
            await trio.sleep_forever()
        case "raise":
            try:
                await trio.sleep_forever()
            finally:
                raise ValueError
        case "nursery":
            async with trio.open_nursery() as tasks:
                tasks.start_soon(trio.sleep_forever)


async def test_an_error_of_the_caller_ends_the_callee(start_method: str) -> None:
    """There a pending receive raises it; back here it is no news (semantics §5.3)."""
    async with a_child(start_method) as portal:
        with raises(ValueError, match="mine") as caught:
            async with (
                portal.open_context(callees.hears) as (ctx, _),
                ctx.open_stream(),
            ):
                raise ValueError("mine")
        assert not hasattr(caught.value, "__notes__")
        error = "ValueError: mine [from actor root]"
        assert await portal.run(noted) == [["ValueError", "root", error]]


async def test_the_first_error_stays(start_method: str) -> None:
    """What the callee's clean-up raises is a note on the block's error (§5.3)."""
    async with a_child(start_method) as portal:
        await portal.run(note, "go on")
        with raises(ZeroDivisionError) as caught:
            async with portal.open_context(callees.cleans_up, "late"):
                raise ZeroDivisionError
        assert any("KeyError: 'late'" in text for text in caught.value.__notes__)


async def test_an_error_outranks_a_cancellation(start_method: str) -> None:
    """A block that is cancelled raises what the callee's clean-up raised (§5.3)."""
    async with a_child(start_method) as portal:
        await portal.run(note, "go on")
        with raises(RemoteActorError, match="late"), trio.CancelScope() as scope:
            async with portal.open_context(callees.cleans_up, "late"):
                scope.cancel()
                await trio.sleep_forever()


# -- Cancellation ----------------------------------------------------------------------


async def test_cancel_ends_the_callee_and_not_the_block(start_method: str) -> None:
    """The caller asked for that end, so it is no error (semantics §5.4)."""
    async with a_child(start_method) as portal:
        async with portal.open_context(callees.sleeper) as (ctx, _):
            assert (ctx.cancel_called, ctx.canceller) == (False, None)
            assert (ctx.has_outcome, ctx.outcome) == (False, Unresolved)
            await ctx.cancel()
            ended: object = await ctx.wait_for_result()
            await trio.lowlevel.checkpoint()  # is not cancelled
            assert isinstance(ended, ContextCancelled)
            assert ended.canceller == ctx.canceller == tractor.current_actor().aid.uid
            assert (ctx.cancel_called, ctx.cancel_acked) == (True, True)
            assert ctx.maybe_error is ctx.outcome is ended
            assert ctx.repr_state == "self-cancelled"
            with pytest.raises(RuntimeError, match="cancelled by this side"):
                await ctx.open_stream().__aenter__()
        assert not ctx.cancelled_caught
        assert await portal.run(noted) == [["sleeper", "Cancelled", "root"]]


async def test_a_callee_may_cancel_itself(start_method: str) -> None:
    """The caller did not ask for that, so it is raised (semantics §5.4)."""
    async with a_child(start_method) as portal:
        with raises(ContextCancelled) as caught:
            async with (
                portal.open_context(callees.fails, "cancel") as (ctx, _),
                ctx.open_stream() as stream,
            ):
                await stream.send("now")
                await trio.sleep_forever()
        assert caught.value.canceller == ctx.canceller == portal.aid.uid
        assert (ctx.cancel_called, ctx.cancelled_caught) == (False, True)
        assert ctx.repr_state == "peer-cancelled"


async def test_what_a_callee_sees_of_itself(start_method: str) -> None:
    """The members of `Context` report on that side, too (semantics §5.4)."""
    async with a_child(start_method) as portal:
        async with portal.open_context(callees.reports) as (ctx, _):
            await portal.run(wait_noted, True)
            await ctx.cancel()
        assert await portal.run(noted) == [
            ["child", "parent", True, "started"],
            True,
            [False, "root"],
        ]
    assert tractor.current_ipc_ctx() is None
    with pytest.raises(tractor.InternalError):
        tractor.current_ipc_ctx(error_on_not_set=True)


async def test_the_actor_of_the_callee_is_cancelled_by_a_third(
    start_method: str,
) -> None:
    """`canceller` names who asked; that was not the caller (semantics §5.4)."""
    third = ("third", "uuid of third")
    async with a_child(start_method) as portal:
        with raises(ContextCancelled) as caught:
            async with portal.open_context(callees.sleeper) as (ctx, _):
                portal.chan.send_nowait(t.CancelActor(third, 1.0))
                await trio.sleep_forever()
        assert caught.value.canceller == ctx.canceller == third


async def test_cancelling_the_actor_is_not_cancelling_the_context(
    start_method: str,
) -> None:
    """Only `Context.cancel` absorbs the end; by `cancel_actor` it is raised (§5.4)."""
    async with a_child(start_method) as portal:
        with raises(ContextCancelled) as caught:
            async with portal.open_context(callees.sleeper) as (ctx, _):
                assert await portal.cancel_actor()
                await trio.sleep_forever()
        assert caught.value.canceller == tractor.current_actor().aid.uid
        assert not ctx.cancel_acked


async def test_a_canceller_is_named_over_three_actors(start_method: str) -> None:
    """leaf cancels the actor mid; root, which is linked with it, hears of it (§5.4)."""
    async with a_child(start_method) as portal:
        with raises(ContextCancelled) as caught:
            async with portal.open_context(callees.passes_on, "cancels_actor_above"):
                await trio.sleep_forever()
        assert caught.value.canceller is not None
        assert caught.value.canceller[0] == "leaf"


async def test_a_cancellation_is_relayed_with_its_canceller(start_method: str) -> None:
    """leaf cancels itself; mid raises that, and so does root (§5.4, §7.2)."""
    async with a_child(start_method) as portal:
        with raises(ContextCancelled) as caught:
            async with portal.open_context(callees.passes_on, "cancels_itself"):
                await trio.sleep_forever()
        error = caught.value
        assert error.canceller == error.src_uid
        assert [name for name, _ in error.relay_path] == ["leaf", "child"]


async def test_a_cancel_goes_down_the_tree(start_method: str) -> None:
    """root asks mid, mid asks leaf, and each absorbs what it asked for (§5.4)."""
    async with a_child(start_method) as portal:
        async with portal.open_context(callees.passes_on, "sleeper") as (ctx, _):
            await ctx.cancel()
        assert ctx.cancel_acked
        assert isinstance(ctx.outcome, ContextCancelled)
        assert not ctx.outcome.is_inception()


async def test_an_error_is_relayed_up_the_tree(start_method: str) -> None:
    """leaf raises, so mid and root do; `boxed_type` tells it was relayed (§7.2)."""
    async with a_child(start_method) as portal:
        with raises(RemoteActorError) as caught:
            async with portal.open_context(callees.passes_on, "waits_for_result"):
                await trio.sleep_forever()
        error = caught.value
        assert (error.boxed_type, error.src_type) == (RemoteActorError, RuntimeError)
        assert [name for name, _ in error.relay_path] == ["leaf", "child"]


# -- What else ends a block ------------------------------------------------------------


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
async def test_an_interrupt_in_the_block_is_plain_cancellation(
    kind: type[BaseException], autojump_clock: MockClock
) -> None:
    """The callee is cancelled, and told of no error (semantics §3.2, §5.2)."""
    async with open_world(CALLEES) as world:
        with raises(kind):
            async with world.parent.portal.open_context(callees.sleeper):
                raise kind
        (request,) = (r for r in world.parent.sent if isinstance(r, t.Cancel))
        assert request.error is None


async def test_a_generator_around_the_block_may_be_closed(
    autojump_clock: MockClock,
) -> None:
    """Its callee is cancelled, and told of no error."""
    async with open_world(CALLEES) as world:

        async def items() -> AsyncGenerator[Any]:
            portal = world.parent.portal
            async with (
                portal.open_context(callees.counts, 1000) as (ctx, _),
                ctx.open_stream() as stream,
            ):
                async for item in stream:
                    yield item

        async with aclosing(items()) as generator:
            async for item in generator:
                if item == 100:
                    break
        await wait_all_tasks_blocked()
        (request,) = (r for r in world.parent.sent if isinstance(r, t.Cancel))
        assert request.error is None
        assert not world.child.peer.server.invocations


# -- Several ---------------------------------------------------------------------------


async def test_contexts_of_one_channel_do_not_mix(start_method: str) -> None:
    """Nested or side by side, each has its own items and its own end."""

    async def use(number: int) -> None:
        async with (
            portal.open_context(callees.echo, number) as (ctx, first),
            ctx.open_stream() as stream,
        ):
            for item in range(number):
                await stream.send([number, item])
                assert await stream.receive() == [number, item]
        assert (first, ctx.outcome) == (number, number)

    async with (
        a_child(start_method) as portal,
        portal.open_context(callees.sleeper) as (outer, _),
    ):
        with raises(RemoteActorError, match="told to"):
            async with (
                portal.open_context(callees.fails) as (inner, _),
                inner.open_stream() as stream,
            ):
                await stream.send("now")
                await trio.sleep_forever()
        async with trio.open_nursery() as tasks:
            for number in range(20):
                tasks.start_soon(use, number)
        assert not outer.has_outcome
        await outer.cancel()


async def test_a_callee_opens_a_context_with_its_caller(start_method: str) -> None:
    """The link between two actors carries contexts both ways."""
    async with open_tree(start_method, enable_modules=[CALLEES]) as an:
        portal = await an.start_actor("child", enable_modules=[CALLEES])
        async with portal.open_context(callees.opens_above) as (ctx, first):
            assert first == "above"
        assert ctx.outcome == 1
        await an.cancel()


# -- Death -----------------------------------------------------------------------------


@pytest.mark.requires_trait("own_process")
@pytest.mark.parametrize("how", ["receive", "send", "wait", "sleep", "open"])
async def test_death_is_seen_by_whoever_waits(start_method: str, how: str) -> None:
    """SIGKILL: what arrived can be read, and then comes `ActorDied` (§6.5, A2)."""
    with raises(ActorDied):
        async with open_tree(start_method) as an:
            portal = await an.start_actor("child", enable_modules=[CALLEES, FUNCTIONS])
            with raises(ActorDied), within(T_DETECT):
                await be_killed(portal, how)


async def be_killed(portal: Portal, how: str) -> None:
    """Wait in some way for an actor that dies, with 50 items from it unread."""
    async with (
        portal.open_context(callees.counts_and_waits, 50) as (ctx, _),
        ctx.open_stream() as stream,
    ):
        await portal.run(wait_noted, "all sent")
        os.kill(pid_of(portal), signal.SIGKILL)
        match how:
            case "receive":
                for number in range(50):
                    assert await stream.receive() == number
                with pytest.raises(ActorDied) as caught:
                    await stream.receive()
                assert caught.value.signal == signal.SIGKILL
            case "send":
                with raises(ActorDied):
                    for number in range(1000):
                        await stream.send(number)
            case "wait":
                with pytest.raises(ActorDied):
                    await ctx.wait_for_result()
            case "open":
                with trio.CancelScope(shield=True), pytest.raises(ActorDied):
                    await portal.open_context(callees.sleeper).__aenter__()
            case "sleep":
                await trio.sleep_forever()


# -- Generators ------------------------------------------------------------------------


async def test_a_generator_is_iterated_over(start_method: str) -> None:
    """`open_stream_from` gives what it yields, or its error (api §1.3)."""
    async with a_child(start_method) as portal:
        async with portal.open_stream_from(callees.numbers, 100) as stream:
            assert [item async for item in stream] == list(range(100))
        with raises(RemoteActorError, match="midway"):
            async with portal.open_stream_from(callees.fails_midway) as stream:
                assert await stream.receive() == 1
                await stream.receive()
        wrong: Any = portal.open_stream_from(add, 1)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match=r"use run\(\) for it"):
            await wrong.__aenter__()


@pytest.mark.parametrize("count", [1, 1000])
async def test_a_generator_that_is_left_early_is_closed(
    start_method: str, count: int
) -> None:
    """Whether it goes on yielding, or would not yield for a long time."""
    async with a_child(start_method) as portal:
        fn = portal.open_stream_from(callees.one_and_no_more)
        if count > 1:
            fn = portal.open_stream_from(callees.numbers, 10**9)
        async with fn as stream:
            for _ in range(count):
                await stream.receive()
        assert await portal.run(noted) == ["generator closed"]

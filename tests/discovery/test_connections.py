"""Connections between actors that are neither parent nor child, once they are made."""

from contextlib import suppress
from functools import partial
from typing import Any

import pytest
import trio

import tractor
from tests._helpers import (
    QUICK,
    T_DETECT,
    T_DOWN,
    T_GRACE,
    Bell,
    open_tree,
    raises,
    strike,
    within,
)
from tests._misbehaviours import ignores_cancel
from tests.discovery import actors as do
from tests.discovery.actors import MODULES
from tests.discovery.helpers import opened, start, uid
from tests.runtime import rpc_functions
from tractor import TransportBroken
from tractor.ipc import Address, parse_address
from tractor.runtime import Portal, _network
from tractor.testing import faults

# -- What goes over them ---------------------------------------------------------------


async def test_contexts_and_streams(start_method: str) -> None:
    """A dialogue with an actor that was found is as one with a child."""
    async with open_tree(start_method) as an:
        one, _ = await start(an, "one", "other")
        assert await one.run(do.talks, "other") == ["first", True, 100]
        await an.cancel()


async def test_errors(start_method: str) -> None:
    """They cross, and harm nothing else."""
    async with open_tree(start_method) as an:
        one, _ = await start(an, "one", "other")
        assert await one.run(do.sees_error, "other") == [
            ["ValueError", "other"],
            ["KeyError", "other"],
        ]
        await an.cancel()


async def test_cancellation(start_method: str) -> None:
    """It crosses: what a caller gives up is cancelled over there."""
    async with open_tree(start_method) as an:
        one, _ = await start(an, "one", "other")
        assert await one.run(do.cancels, "other") == [
            "call",
            "-call",
            ["sleeper", "Cancelled", "one"],
        ]
        await an.cancel()


async def test_who_hangs_up_ends_its_calls(start_method: str) -> None:
    """A caller that is cancelled leaves nothing running at the callee."""
    async with open_tree(start_method) as an:
        one, other = await start(an, "one", "other")
        with trio.CancelScope() as scope:
            async with opened(one, do.stays_connected, "other"):
                scope.cancel()
        await other.run(rpc_functions.wait_noted, "-forever")
        await an.cancel()


async def test_heartbeat(start_method: str) -> None:
    """An actor that was found can be pinged."""
    async with open_tree(start_method) as an:
        one, _ = await start(an, "one", "other")
        assert await one.run(do.beats, "other") is True
        await an.cancel()


async def test_an_actor_is_stopped_by_another(start_method: str) -> None:
    """`cancel_actor` works over a found connection; the nursery takes it as an end."""
    async with open_tree(start_method) as an:
        one, other = await start(an, "one", "other")
        seen = await one.run(do.cancels_actor, "other")
        assert seen == [True, "ended", "TransportClosed"]
        await tractor.monitor(other)
        assert await one.run(do.found, "other") == []
        await an.cancel()


# -- Their life ------------------------------------------------------------------------


async def test_a_connection_is_shared_until_its_last_user(start_method: str) -> None:
    """Who looks twice gets one channel, which closes when nobody uses it any more."""
    async with open_tree(start_method) as an:
        one, _ = await start(an, "one", "other")
        assert await one.run(do.shares, "other") == [True, True, True]
        await an.cancel()


async def test_a_connection_leaves_nothing(start_method: str) -> None:
    """No task, descriptor or peer of it remains, on either side."""
    async with open_tree(start_method) as an:
        one, other = await start(an, "one", "other")
        await one.run(do.found, "other")  # now it listens, and all is imported
        before = await other.run(do.settled_state)
        for _ in range(3):
            here, after, _ = await one.run(do.states_around, "other")
            assert here == after
        assert await other.run(do.settled_state) == before
        await an.cancel()


async def test_both_dial_each_other(start_method: str) -> None:
    """Neither disturbs the other, however often they meet."""
    async with open_tree(start_method) as an:
        one, other = await start(an, "one", "other")
        met: dict[str, Any] = {}

        async def meet(portal: Portal, name: str) -> None:
            met[name] = await portal.run(do.meet, name, 20)

        async with trio.open_nursery() as meetings:
            meetings.start_soon(meet, one, "other")
            meetings.start_soon(meet, other, "one")
        assert met == {"other": [uid(other)], "one": [uid(one)]}
        await an.cancel()


async def test_each_calls_the_other_at_once(start_method: str) -> None:
    """Calls that last, both ways, over two connections."""
    async with open_tree(start_method) as an:
        one, other = await start(an, "one", "other")
        async with (
            opened(one, do.keeps_talking, "other") as ctx,
            opened(other, do.keeps_talking, "one") as counter,
            ctx.open_stream() as to_other,
            counter.open_stream() as to_one,
        ):
            for number in range(10):
                await to_other.send(number)
                await to_one.send(-number)
                assert await to_other.receive() == number
                assert await to_one.receive() == -number
        await an.cancel()


# -- Their ends ------------------------------------------------------------------------


async def test_the_callee_ends(start_method: str) -> None:
    """Who used it is told at once, and by whom its calls were cancelled."""
    async with open_tree(start_method) as an:
        one, other = await start(an, "one", "other")
        async with one.open_context(do.loses, "other") as (ctx, _):
            with within(T_DETECT + QUICK.ack):
                await other.cancel_actor()
                errors = await ctx.wait_for_result()
        assert sorted(errors) == [*["ContextCancelled"] * 2, "TransportClosed"]
        await an.cancel()


@pytest.mark.requires_trait("can_kill")
async def test_the_callee_is_killed(start_method: str) -> None:
    """Who used it gets `TransportBroken` within T_detect (reliability A2, F8)."""
    errors: list[str] = []
    with raises(tractor.ActorDied):
        async with open_tree(start_method) as an:
            one, other = await start(an, "one", "other")
            async with tractor.open_nursery() as apart:
                (seeker,) = await start(apart, "seeker")
                async with seeker.open_context(do.loses, "other") as (ctx, _):
                    with trio.CancelScope(shield=True), within(T_DETECT):
                        strike(other)
                        errors += await ctx.wait_for_result()
                await apart.cancel()
    assert errors == ["TransportBroken"] * 3
    del one


async def test_a_broken_connection_is_made_again(start_method: str) -> None:
    """The next look-up finds the actor anew."""
    async with open_tree(start_method) as an:
        one, other = await start(an, "one", "other")
        async with one.open_context(do.loses, "other") as (ctx, _):
            await one.run(do.cuts, "other")
            assert await ctx.wait_for_result() == ["TransportBroken"] * 3
        assert await one.run(do.found, "other") == [uid(other)]
        await an.cancel()


async def test_a_half_open_peer_is_noticed(
    start_method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Silence from another machine is a break after 3 periods (reliability F7)."""
    period = 0.2
    monkeypatch.setattr(_network, "KEEPALIVE", period)
    async with open_tree(start_method) as an:
        (other,) = await start(an, "other")
        network = tractor.current_actor().network
        address = await address_of("other")
        peer = await network.dial(address)
        with network.using(peer):
            portal = Portal(peer)
            root = tractor.current_actor()
            root.spawn(_network._keep_alive, peer, name="keep-alive, as if far away")
            link = await faults.interpose(portal)
            assert await portal.run(do.me) == uid(other)
            await wait_for_answers(portal, 2)
            with within(3 * period), raises(TransportBroken, match="no sign of life"):
                link.go_half_open()
                await portal.run(do.me)
            link.cut()
        assert await other.run(do.me) == uid(other)
        await an.cancel()


async def wait_for_answers(portal: Portal, count: int) -> None:
    """Of the other side's loop."""
    for _ in range(count):
        await portal.ping().wait()


async def address_of(name: str) -> Address:
    """Where that actor listens."""
    async with tractor.query_actor(name) as (address, _):
        assert address is not None
        return parse_address(address)


# -- Teardown --------------------------------------------------------------------------


async def test_connections_do_not_delay_the_end(start_method: str) -> None:
    """A tree whose actors use each other ends as fast as any (reliability T_down)."""
    async with open_tree(start_method) as an:
        portals = await start(an, "a", "b", "c", "d")
        names = [portal.aid.name for portal in portals]
        async with trio.open_nursery() as users:
            for portal, name in zip(portals, [*names[1:], names[0]], strict=True):
                ready = trio.Event()
                users.start_soon(stay_connected, portal, name, ready)
                await ready.wait()
            with within(T_GRACE):
                await an.cancel()


async def stay_connected(portal: Portal, name: str, ready: trio.Event) -> None:
    """Until either actor is stopped."""
    with suppress(tractor.ContextCancelled, tractor.TransportClosed):
        async with portal.open_context(do.stays_connected, name) as (ctx, _):
            ready.set()
            await ctx.wait_for_result()


async def test_stubborn_users_do_not_delay_the_end(
    start_method: str, bell: Bell
) -> None:
    """Nor do actors that ignore it, with connections (reliability T_down)."""
    async with open_tree(start_method) as an:
        modules = [*MODULES, ignores_cancel.__module__]
        one, other = [
            await an.start_actor(name, enable_modules=modules)
            for name in ("one", "other")
        ]
        async with trio.open_nursery() as users:
            ready = trio.Event()
            users.start_soon(stay_connected, one, "other", ready)
            await ready.wait()
            users.start_soon(partial(ignored, other, bell.path))
            await bell.heard()
            with within(T_DOWN, slack=1.5):
                await an.cancel()


async def ignored(portal: Portal, bell: str) -> None:
    """Until the actor is stopped."""
    with raises((tractor.TransportClosed, tractor.ContextCancelled)):
        await portal.run(ignores_cancel, bell)

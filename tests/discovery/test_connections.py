"""Connections between actors that are neither parent nor child, once they are made."""

import os
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from functools import partial
from typing import Any
from uuid import uuid4

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import tractor
from tests._helpers import (
    QUICK,
    SAFETY,
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
from tests.security.helpers import SECRET
from tractor import ActorUnreachable, TransportBroken
from tractor.ipc import (
    Address,
    Channel,
    SocketTransport,
    Transport,
    UnixAddress,
    parse_address,
)
from tractor.ipc._channel import HIGH_WATER
from tractor.ipc._handshake import meet_dialer
from tractor.ipc.network import BoundSocket, Hello, bind
from tractor.msg import types as t
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


class Far:
    """What the keep-alive sees of a peer."""

    def __init__(self) -> None:
        self.aid = tractor.Aid("far", "f" * 32, 1)
        self.ended = trio.Event()
        self.channel = self
        self.life_signs = 0
        self.asked: list[float] = []
        self.failed: list[float] = []

    def ping(self) -> None:
        self.asked.append(trio.current_time())

    def fail(self, failure: Callable[[], TransportBroken]) -> None:
        assert "no sign of life" in str(failure())
        self.failed.append(trio.current_time())


async def test_silence_is_asked_about_once(autojump_clock: trio.abc.Clock) -> None:
    """And is a break a period later."""
    peer: Any = Far()
    await _network._keep_alive(peer)
    period = _network.KEEPALIVE
    assert (peer.asked, peer.failed) == ([period], [2 * period])


async def test_a_large_message_is_no_silence(autojump_clock: trio.abc.Clock) -> None:
    """The answer to a ping may be far behind it; what moves is a sign of life (F7)."""
    peer: Any = Far()
    period = _network.KEEPALIVE
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_network._keep_alive, peer)
        for _ in range(10):
            await trio.sleep(1.5 * period)
            assert not peer.failed
            peer.life_signs += 1
        assert peer.asked
        peer.ended.set()


async def wait_for_answers(portal: Portal, count: int) -> None:
    """Of the other side's loop."""
    for _ in range(count):
        await portal.ping().wait()


async def address_of(name: str) -> Address:
    """Where that actor listens."""
    async with tractor.query_actor(name) as (address, _):
        assert address is not None
        return parse_address(address)


# -- With somebody who stays -----------------------------------------------------------


class Somebody:
    """An actor that does nothing, and that no tree ends.

    Attributes:
        address: Where it listens.
        door: Set while it greets those who connect.
        met: Set once somebody was greeted.
        transport: The connection with the last of them.
    """

    def __init__(self, bound: BoundSocket) -> None:
        self.address = bound.address
        self.door = trio.Event()
        self.door.set()
        self.knocked = trio.Event()
        self.met = trio.Event()
        self.transport: Transport | None = None
        self._sock = bound.sock
        self._aid = tractor.Aid("somebody", "5" * 32, os.getpid())

    async def serve(self) -> None:
        while True:
            await trio.lowlevel.wait_readable(self._sock)
            transport = SocketTransport(self._sock.accept()[0])
            self.knocked.set()
            try:
                await self.door.wait()
                greet = t.Greet(self._aid, 0.0, 1 << 20)
                await meet_dialer(transport, Hello("listener", SECRET), greet)
                if self.transport is not None:
                    self.transport.close()
                self.transport = transport
                self.met.set()
            except BaseException:
                transport.close()
                raise


@pytest.fixture
async def somebody(runtime_dir: str) -> AsyncIterator[Somebody]:
    """Who listens."""
    (bound,) = bind(UnixAddress(f"{runtime_dir}/{uuid4().hex[:8]}.sock"))
    found = Somebody(bound)
    with trio.fail_after(SAFETY):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(found.serve)
            yield found
            nursery.cancel_scope.cancel()
    if found.transport is not None:
        found.transport.close()
    bound.unlink()
    bound.sock.close()


def open_root() -> Any:
    """A root that knows the secret of somebody."""
    return tractor.open_root_actor(secret=SECRET.reveal(), enable_transports=["uds"])


async def test_who_waits_outside_of_a_tree_is_told_of_its_end(
    somebody: Somebody,
) -> None:
    """Neither a call under way nor a later one waits for ever (reliability A)."""
    outcomes: list[str] = []

    async def use(portal: Portal) -> None:
        try:
            await portal.run_from_ns("m", "f")
        except tractor.TransportClosed as exc:
            outcomes.append(type(exc).__name__)

    with within(T_DOWN):
        async with trio.open_nursery() as outside:
            async with open_root() as root:
                portal = Portal(await root.network.dial(somebody.address))
                outside.start_soon(use, portal)
                await wait_all_tasks_blocked()
            await use(portal)
    assert outcomes == ["TransportClosed"] * 2


async def test_services_that_are_cut_off_tell_who_waits(somebody: Somebody) -> None:
    """What tells of the end of a connection does so at its own end, too."""
    async with open_root() as root:
        network = root.network
        with network.using(peer := await network.dial(somebody.address)):
            with trio.CancelScope() as scope:
                scope.cancel()
                await network._follow(peer)
            with raises(tractor.TransportClosed, match="has ended, and its connection"):
                await Portal(peer).run_from_ns("m", "f")


async def test_a_dial_that_outlasts_its_actor(somebody: Somebody) -> None:
    """It is in vain, is said to be so, and leaves nothing (the census sees it)."""
    somebody.door = trio.Event()
    outcomes: list[str] = []

    async def dial(network: _network.Network) -> None:
        with raises(ActorUnreachable, match="has ended") as caught:
            await network.dial(somebody.address)
        outcomes.append(str(caught.value))

    async with trio.open_nursery() as outside:
        async with open_root() as root:
            outside.start_soon(dial, root.network)
            await somebody.knocked.wait()
        somebody.door.set()
    assert len(outcomes) == 1
    assert root.peers == []


async def test_after_we_hung_up(somebody: Somebody) -> None:
    """A portal that is used too late says that this side has closed it."""
    async with open_root() as root:
        network = root.network
        with network.using(peer := await network.dial(somebody.address)):
            pass
        await peer.wait_failed()
        with raises(tractor.TransportClosed, match="closed on this side") as caught:
            await Portal(peer).run_from_ns("m", "f")
        assert type(caught.value) is tractor.TransportClosed


async def test_pings_without_end(somebody: Somebody) -> None:
    """Who pings and does not read costs no more than others (reliability E)."""
    count = 100_000
    async with open_root() as root:
        network = root.network
        with network.using(peer := await network.dial(somebody.address)):
            await somebody.met.wait()
            assert somebody.transport is not None
            far = Channel(somebody.transport, max_frame=1 << 20)
            queued, last = 0, trio.Event()

            def on_answer(record: t.AnyRecord) -> None:
                if record == t.Pong(count):
                    last.set()

            for number in range(1, count + 1):
                far.send_nowait(t.Ping(number))
                if not number % 1000:
                    await wait_all_tasks_blocked()
                    queued = max(queued, peer.channel.queued)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(far.run, on_answer)
                await last.wait()
                far.close()
    assert HIGH_WATER < queued < HIGH_WATER + 1000


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

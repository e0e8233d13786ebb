"""The fault library: its faults are those that it names, and come when told to."""

import math
import os
import socket
from collections.abc import Callable, Iterator
from functools import partial

import pytest
import trio

import tractor
from tests._helpers import QUICK, Bell, events, is_gone, open_tree, pid_of, raises
from tests._misbehaviours import behaves, waits
from tests.ipc.fakes import LIMIT, FakeTransport, frames
from tractor import ActorDied, SpawnError, TransportBroken
from tractor._types import Aid
from tractor.ipc import Channel, SocketTransport, Transport
from tractor.msg import types as t
from tractor.spawn import Traits
from tractor.testing import faults
from tractor.testing.faults import FaultyTransport, Point

processes = pytest.mark.requires_trait("own_process", "can_kill")

# -- Processes -------------------------------------------------------------------------


@processes
async def test_an_actor_is_stopped_and_goes_on(start_method: str) -> None:
    """`stop` freezes its process, `resume` thaws it; a number does as well."""
    async with open_tree(start_method) as an:
        portal = await an.start_actor("x", enable_modules=[behaves.__module__])
        for target in (portal, portal.aid, pid_of(portal)):
            faults.stop(target)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(portal.run, behaves)
                await trio.testing.wait_all_tasks_blocked(0.05)
                assert len(nursery.child_tasks) == 1
                faults.resume(target)
        await an.cancel()


@processes
async def test_an_actor_is_killed(start_method: str) -> None:
    """`kill` is the death that its callers hear of."""
    with raises(ActorDied, match="SIGKILL"):
        async with open_tree(start_method) as an:
            portal = await an.start_actor("x")
            faults.kill(portal)
            await trio.sleep_forever()


def test_an_actor_without_a_process() -> None:
    """It cannot be killed, and the error says whom that is about."""
    with pytest.raises(ValueError, match=r"'x\[abcdef\]' has no process"):
        faults.kill(Aid("x", "abcdef00"))


@pytest.mark.parametrize("fault", [faults.kill, faults.stop, faults.resume])
def test_an_actor_in_this_process(fault: Callable[[Aid], None]) -> None:
    """The signal would be for whoever sends it, so it is not sent."""
    with pytest.raises(ValueError, match=r"'x@\d+' has no process of its own"):
        fault(Aid("x", "abcdef00", os.getpid()))


# -- Boot ------------------------------------------------------------------------------

POINTS: tuple[Point, ...] = ("import", "ready")


async def test_a_child_is_held_before_its_python_begins() -> None:
    """Where the backend takes a program (`hold_at`)."""
    await check_release("trio", "connect")
    await check_stage("trio", "connect")


@pytest.mark.parametrize("point", POINTS)
async def test_a_child_is_held_until_it_is_released(
    start_method: str, point: Point
) -> None:
    """It is not ready before, and is itself and well after."""
    await check_release(start_method, point)


async def check_release(start_method: str, point: Point) -> None:
    portals: list[tractor.Portal] = []

    async def start() -> None:
        portals.append(await an.start_actor("x", **held.options))

    with faults.hold_at(point, [behaves.__module__]) as held:
        async with open_tree(start_method) as an:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(start)
                pid = await held.wait_reached()
                assert portals == []
                held.release()
            assert pid_of(portals[0]) == pid
            await portals[0].run(behaves)
            await an.start_actor("another", **held.options)  # is not held
            await an.cancel()


@pytest.mark.parametrize("point", POINTS)
async def test_a_held_child_is_at_that_stage(
    start_method: str, traits: Traits, point: Point
) -> None:
    """What happens to it there is told with the name of the stage."""
    await check_stage(start_method, point, killed=traits.can_kill)


async def check_stage(start_method: str, point: Point, *, killed: bool = True) -> None:
    async def start(an: tractor.ActorNursery) -> None:
        with pytest.raises(SpawnError) as caught:
            await an.start_actor("x", **held.options)
        assert caught.value.stage == point
        if killed:
            assert caught.value.status == tractor.ExitStatus(signal=9)

    with faults.hold_at(point) as held:
        async with open_tree(start_method):
            for _ in range(2):
                async with tractor.open_nursery() as an, trio.open_nursery() as nursery:
                    nursery.start_soon(start, an)
                    pid = await held.wait_reached()
                    if killed:
                        faults.kill(pid)
                    else:
                        # Until our side has heard of the stage as well.
                        await trio.testing.wait_all_tasks_blocked(0.05)
                        await an.cancel()
                held.release()
                held.hold()


async def test_held_children_do_not_outlive_the_block(
    start_method: str, traits: Traits
) -> None:
    """Those that nobody released go on then."""
    async with open_tree(start_method) as an, trio.open_nursery() as nursery:
        with faults.hold_at("import") as held:
            for name in "ab":
                nursery.start_soon(partial(an.start_actor, name, **held.options))
            first, second = [await held.wait_reached() for _ in "ab"]
            assert (first != second) is traits.own_process
        with events("ready") as ready:
            while len(ready) < 2:
                await trio.testing.wait_all_tasks_blocked()
        await an.cancel()


def test_an_unknown_point() -> None:
    """It is refused, with the ones that there are."""
    with (
        pytest.raises(ValueError, match="point is connect, import or ready"),
        faults.hold_at("exec"),  # type: ignore[arg-type]
    ):
        pass


# -- Links, in memory ------------------------------------------------------------------


@pytest.fixture
def below() -> FakeTransport:
    return FakeTransport()


@pytest.fixture
def faulty(below: FakeTransport) -> FaultyTransport:
    return FaultyTransport(below)


def meets_the_protocol(transport: FaultyTransport) -> Transport:
    return transport


async def receive_all(transport: Transport) -> bytes:
    """What comes until the end."""
    received = b""
    while data := await transport.receive_some():
        received += data
    return received


async def test_without_a_fault_all_passes(
    below: FakeTransport, faulty: FaultyTransport
) -> None:
    """Bytes, ends, errors and shortage of room are those of the transport below."""
    below.give_room(-math.inf)
    below = FakeTransport(room=3)
    faulty = FaultyTransport(below)
    assert faulty.send_nowait(b"abcdef") == 3
    assert faulty.send_nowait(b"def") == 0
    below.give_room()
    await faulty.send_ready()
    assert faulty.send_nowait(memoryview(b"def")) == 3
    assert below.sent == b"abcdef"
    below.feed(b"12", b"3", b"")
    assert await faulty.receive_some() == b"12"
    assert await receive_all(faulty) == b"3"
    below.fail_sending("reset")
    with pytest.raises(TransportBroken, match="reset"):
        faulty.send_nowait(b"x")


async def test_what_is_held_is_late(
    below: FakeTransport, faulty: FaultyTransport
) -> None:
    """Nothing passes before `resume`, and nothing is missing after it."""
    got: list[bytes] = []

    async def receive() -> None:
        got.append(await faulty.receive_some())

    faulty.sending.hold()
    faulty.receiving.hold()
    assert faulty.send_nowait(b"abc") == 0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive)
        nursery.start_soon(faulty.send_ready)
        below.feed(b"123")
        await trio.testing.wait_all_tasks_blocked()
        assert got == []
        assert below.sent == b""
        assert len(nursery.child_tasks) == 2
        faulty.sending.resume()
        faulty.receiving.resume()
    assert got == [b"123"]
    assert faulty.send_nowait(b"abc") == 3


async def test_a_wait_for_what_is_held_loses_nothing(
    below: FakeTransport, faulty: FaultyTransport
) -> None:
    """It can be cancelled, also when bytes came meanwhile."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(faulty.receive_some)
        await trio.testing.wait_all_tasks_blocked()
        faulty.receiving.hold()
        below.feed(b"123")
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    faulty.receiving.resume()
    assert await faulty.receive_some() == b"123"


async def test_what_is_dropped_is_missing(
    below: FakeTransport, faulty: FaultyTransport
) -> None:
    """Just that many bytes, and the sender takes them for sent."""
    faulty.sending.drop(4)
    assert faulty.send_nowait(b"ab") == 2
    await faulty.send_ready()
    assert faulty.send_nowait(b"cdef") == 4
    assert below.sent == b"ef"
    faulty.receiving.drop(4)
    below.feed(b"123", b"456", b"")
    assert await receive_all(faulty) == b"56"


async def test_sending_is_truncated(
    below: FakeTransport, faulty: FaultyTransport
) -> None:
    """That many bytes still pass, then the connection is broken."""
    faulty.sending.truncate(after=3)
    assert faulty.send_nowait(b"ab") == 2
    assert faulty.send_nowait(b"cdef") == 1
    assert below.sent == b"abc"
    assert below.closed
    with pytest.raises(TransportBroken):
        await faulty.send_ready()
    with pytest.raises(TransportBroken):
        faulty.send_nowait(b"def")


async def test_receiving_is_truncated(
    below: FakeTransport, faulty: FaultyTransport
) -> None:
    """That many bytes still come, then the end."""
    faulty.receiving.truncate(after=4)
    below.feed(b"123", b"456")
    assert await receive_all(faulty) == b"1234"
    assert below.closed
    with pytest.raises(ValueError, match=r"or cut\(\) it now"):
        faulty.receiving.truncate(after=0)


async def test_a_cut_ends_both_ways(
    below: FakeTransport, faulty: FaultyTransport
) -> None:
    """It comes at once, also for those that wait already."""
    del below
    async with trio.open_nursery() as nursery:

        async def receive() -> None:
            with pytest.raises(TransportBroken):
                await faulty.receive_some()

        nursery.start_soon(receive)
        await trio.testing.wait_all_tasks_blocked()
        faulty.cut()
        with pytest.raises(TransportBroken):
            faulty.send_nowait(b"x")


async def test_half_open(below: FakeTransport, faulty: FaultyTransport) -> None:
    """All vanishes, the end too, until the transport is closed on this side."""
    faulty.go_half_open()
    assert faulty.send_nowait(b"abc") == 3
    assert below.sent == b""
    below.feed(b"123", b"")
    async with trio.open_nursery() as nursery:

        async def receive() -> None:
            with pytest.raises(TransportBroken):
                await faulty.receive_some()

        nursery.start_soon(receive)
        await trio.testing.wait_all_tasks_blocked()
        assert len(nursery.child_tasks) == 1
        faulty.close()
    assert below.closed


@pytest.mark.parametrize("wait", ["send_ready", "receive_some"])
async def test_closing_ends_every_wait(faulty: FaultyTransport, wait: str) -> None:
    """Also the wait for what is held."""
    faulty.sending.hold()
    faulty.receiving.hold()

    async def run() -> None:
        with pytest.raises(TransportBroken):
            await getattr(faulty, wait)()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        await trio.testing.wait_all_tasks_blocked()
        faulty.close()
    with pytest.raises(TransportBroken):
        faulty.send_nowait(b"x")


# -- Links, below a channel ------------------------------------------------------------


@pytest.fixture
def pair() -> Iterator[tuple[FaultyTransport, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield FaultyTransport(SocketTransport(ours)), theirs


async def test_a_channel_over_a_slow_link(
    pair: tuple[FaultyTransport, socket.socket],
) -> None:
    """It queues what cannot be sent, and sends it in order."""
    faulty, theirs = pair
    channel = Channel(faulty, max_frame=LIMIT)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(channel.run, lambda _: None)
        faulty.sending.hold()
        for number in range(3):
            channel.send_nowait(t.Ping(number))
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(BlockingIOError):
            theirs.recv(100, socket.MSG_DONTWAIT)
        faulty.sending.resume()
        await channel.drain()
        assert theirs.recv(100) == frames(*map(t.Ping, range(3)))
        channel.close()


async def test_a_frame_that_is_cut_on_its_way(
    pair: tuple[FaultyTransport, socket.socket],
) -> None:
    """Each side sees the connection end in the middle of it."""
    faulty, theirs = pair
    channel = Channel(faulty, max_frame=LIMIT)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(channel.run, lambda _: None)
        await trio.testing.wait_all_tasks_blocked()
        frame = frames(t.Ping(1))
        faulty.sending.truncate(after=len(frame) - 1)
        channel.send_nowait(t.Ping(1))
    assert theirs.recv(100) + theirs.recv(100) == frame[:-1]
    assert isinstance(channel.closed, TransportBroken)


# -- Links, below an actor -------------------------------------------------------------


@pytest.mark.parametrize("fault", ["cut", "truncate"])
async def test_a_link_that_breaks_is_a_death(start_method: str, fault: str) -> None:
    """Calls end with `ActorDied`, and the child is gone (reliability F8)."""
    with raises(ActorDied), Bell() as bell:
        async with open_tree(start_method, graces=QUICK) as an:
            portal = await an.start_actor("x", enable_modules=[behaves.__module__])
            link = await faults.interpose(portal)
            await portal.run(behaves)
            if fault == "truncate":
                link.receiving.truncate(after=3)
                await portal.run(behaves)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(portal.run, waits, bell.path)
                await bell.heard()
                link.cut()
    assert is_gone(portal)


async def test_a_slow_link_is_only_slow(start_method: str) -> None:
    """A call over it takes as long as it is held, and then works."""
    async with open_tree(start_method) as an:
        portal = await an.start_actor("x", enable_modules=[behaves.__module__])
        link = await faults.interpose(portal)
        for lane in (link.sending, link.receiving):
            lane.hold()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(portal.run, behaves)
                await trio.testing.wait_all_tasks_blocked(0.05)
                assert len(nursery.child_tasks) == 1
                lane.resume()
        await an.cancel()
        assert an.cancelled_caught


async def test_a_half_open_link_does_not_keep_anybody(start_method: str) -> None:
    """Who cannot be asked to stop is stopped by the ladder all the same."""
    with events("rung") as rungs:
        async with open_tree(start_method, graces=QUICK) as an:
            portal = await an.start_actor("x")
            link = await faults.interpose(portal)
            link.go_half_open()
            await an.cancel()
    assert [event.data["rung"] for event in rungs][:2] == ["cancel", "terminate"]
    assert is_gone(portal)

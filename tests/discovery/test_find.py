"""Looking for actors in one tree: by name, by waiting, by asking the registrar."""

from contextlib import suppress
from typing import Any

import pytest
import trio

import tractor
from tests import _misbehaviours
from tests._helpers import T_DETECT, Bell, open_tree, raises, strike, within
from tests.discovery import actors as do
from tests.discovery.actors import MODULES
from tests.discovery.helpers import opened, start, uid, uid_of_root
from tractor import Portal
from tractor.discovery import LocalPortal, verbs
from tractor.msg import ANY
from tractor.runtime import Peer

# -- find_actor ------------------------------------------------------------------------


async def test_who_is_known_is_found_first(start_method: str) -> None:
    """A live peer is found without a question or a connection (semantics §9.1)."""
    async with open_tree(start_method, enable_modules=MODULES) as an:
        (child,) = await start(an, "child")
        async with tractor.find_actor("child") as portal:
            assert portal.chan is child.chan
        assert await child.run(do.found, "root") == [uid_of_root()]
        assert await child.run(do.addresses) == []
        await an.cancel()


async def test_siblings_find_each_other(start_method: str, tpt_proto: str) -> None:
    """An actor is found by the registrar, and listens only then (semantics §9.1)."""
    async with open_tree(start_method) as an:
        one, other = await start(an, "one", "other")
        assert await other.run(do.addresses) == []
        assert await one.run(do.found, "other") == [uid(other)]
        (address,) = await other.run(do.addresses)
        assert address.startswith("/unix/" if tpt_proto == "uds" else "/ip4/127.0.0.1/")
        assert await other.run(do.found, "one") == [uid(one)]
        await an.cancel()


async def test_nobody_is_found(start_method: str) -> None:
    """There is `None`, an empty list, or an error, as the caller wants it."""
    async with open_tree(start_method) as an:
        (child,) = await start(an, "child")
        async with tractor.find_actor("ghost") as portal:
            assert portal is None
        async with tractor.find_actor("ghost", only_first=False) as portals:
            assert portals == []
        with raises(tractor.RuntimeFailure, match="no actor called 'ghost'"):
            async with tractor.find_actor("ghost", raise_on_none=True):
                pass
        assert await child.run(do.found, "ghost") == []
        with raises(tractor.RemoteActorError, match="no actor called 'ghost'") as info:
            await child.run(do.found, "ghost", raise_on_none=True)
        assert info.value.boxed_type is tractor.RuntimeFailure
        await an.cancel()


async def test_an_actor_does_not_find_itself(start_method: str) -> None:
    """It may ask where it is, though, and finds others of its name."""
    async with open_tree(start_method, name="twin", enable_modules=MODULES) as an:
        async with tractor.find_actor("twin") as portal:
            assert portal is None
        one, other = await start(an, "x", "x")
        assert await one.run(do.found, "x", only_first=False) == [uid(other)]
        address, *_ = await one.run(do.queried, "x")
        assert [address] == await other.run(do.addresses)
        await other.cancel_actor()
        await tractor.monitor(other)
        assert await one.run(do.found, "x") == []
        address, *_ = await one.run(do.queried, "x")
        assert [address] == await one.run(do.addresses)
        await an.cancel()


async def test_of_duplicates_the_newest_is_found(start_method: str) -> None:
    """All are kept, the newest live one is found, or all are (reliability F3)."""
    async with open_tree(start_method) as an:
        seeker, oldest, older, newest = await start(an, "seeker", "x", "x", "x")
        ages = [newest, older, oldest]
        everybody = await seeker.run(do.found, "x", only_first=False)
        assert everybody == [uid(each) for each in ages]
        async with tractor.find_actor("x", only_first=False) as portals:
            assert [portal.aid for portal in portals] == [each.aid for each in ages]
        for portal in ages:
            assert await seeker.run(do.found, "x") == [uid(portal)]
            async with tractor.find_actor("x") as found:
                assert found.aid == portal.aid
            await portal.cancel_actor()
            await tractor.monitor(portal)
        assert await seeker.run(do.found, "x") == []
        await an.cancel()


async def test_eight_of_one_name_start_at_once(start_method: str) -> None:
    """None of them is lost (reliability F3)."""
    async with open_tree(start_method) as an:
        portals: list[Portal] = []

        async def start_one() -> None:
            portals.extend(await start(an, "x"))

        async with trio.open_nursery() as starters:
            for _ in range(8):
                starters.start_soon(start_one)
        uids = sorted(uid(portal) for portal in portals)
        found = await portals[0].run(do.found, "x", only_first=False)
        assert sorted([uid(portals[0]), *found]) == uids
        async with tractor.find_actor("x", only_first=False) as all_found:
            assert sorted(uid(portal) for portal in all_found) == uids
        await an.cancel()


async def test_actors_far_below_find_each_other(start_method: str) -> None:
    """The registrar knows every actor of the tree, at any depth (semantics §9.1)."""
    async with open_tree(start_method, enable_modules=MODULES) as an:
        left, right = await start(an, "left", "right")
        async with (
            opened(left, do.has_line, "l2", "l3"),
            opened(right, do.has_line, "r2", "r3"),
            tractor.find_actor("l3") as l3,
            tractor.find_actor("r3") as r3,
        ):
            assert await l3.run(do.found, "r3") == [uid(r3)]
            assert await r3.run(do.found, "l3") == [uid(l3)]
            assert await r3.run(do.found, "left") == [uid(left)]
            assert await left.run(do.found, "r3") == [uid(r3)]
            assert await r3.run(do.found, "root") == [uid_of_root()]
        await an.cancel()


# -- wait_for_actor, query_actor, get_registry -----------------------------------------


async def test_an_actor_is_waited_for(start_method: str, bell: Bell) -> None:
    """The wait ends when the actor is ready, or at once (semantics §9.1)."""
    async with open_tree(start_method) as an:
        (seeker,) = await start(an, "seeker")
        found: list[Any] = []

        async def seek_from_below() -> None:
            found.append(await seeker.run(do.found_by_waiting, "late", bell.path))

        async def seek_here() -> None:
            async with tractor.wait_for_actor("late") as portal:
                found.append(await portal.run(do.me))

        async with trio.open_nursery() as seekers:
            seekers.start_soon(seek_from_below)
            seekers.start_soon(seek_here)
            await bell.heard()
            (late,) = await start(an, "late")
        assert found == [uid(late)] * 2
        assert await seeker.run(do.found_by_waiting, "late") == uid(late)
        await an.cancel()


async def test_who_waits_for_its_own_name_gets_another(
    start_method: str, bell: Bell
) -> None:
    """An actor does not find itself by waiting, either."""
    async with open_tree(start_method) as an:
        (one,) = await start(an, "x")
        found: list[Any] = []

        async def seek() -> None:
            found.append(await one.run(do.found_by_waiting, "x", bell.path))

        async with trio.open_nursery() as seekers:
            seekers.start_soon(seek)
            await bell.heard()
            (other,) = await start(an, "x")
        assert found == [uid(other)]
        await an.cancel()


async def test_a_wait_can_be_given_up(start_method: str) -> None:
    """Nothing is left of it."""
    async with open_tree(start_method) as an:
        (seeker,) = await start(an, "seeker")
        with trio.move_on_after(0.1) as scope:
            await seeker.run(do.found_by_waiting, "nobody")
        assert scope.cancelled_caught
        with trio.move_on_after(0.1) as scope:
            async with tractor.wait_for_actor("nobody"):
                pass
        assert scope.cancelled_caught
        assert await seeker.run(do.found, "seeker") == []
        await an.cancel()


async def test_where_an_actor_is(start_method: str) -> None:
    """`query_actor` gives the address, and connects with nobody (semantics §9.1)."""
    async with open_tree(start_method) as an:
        one, other = await start(an, "one", "other")
        before = await one.run(do.state)
        address, asked, kind = await one.run(do.queried, "other")
        assert [address] == await other.run(do.addresses)
        assert (asked, kind) == ("root", "Portal")
        assert (await one.run(do.state))[2] == before[2]
        assert await one.run(do.queried, "ghost") == [None, "root", "Portal"]
        async with tractor.query_actor("other") as (here, portal):
            assert str(here) == address
            assert isinstance(portal, LocalPortal)
        await an.cancel()


async def test_the_registry_of_a_tree(start_method: str) -> None:
    """The root keeps it, and every actor may look into it (semantics §9.1)."""
    async with open_tree(start_method, enable_modules=MODULES) as an:
        (child,) = await start(an, "child")
        async with (
            opened(child, do.has_children, "below"),
            tractor.find_actor("below") as below,
        ):
            names = ["below", "child", "root"]
            assert await child.run(do.registry) == ["root", "Portal", names]
            assert await below.run(do.registry) == ["root", "Portal", names]
            async with tractor.get_registry() as here:
                assert isinstance(here, LocalPortal)
                aids = await here.run(verbs.names)
                assert sorted(aid.name for aid in aids) == names
                assert await here.run_from_ns(MODULES[0], "me") == uid_of_root()
                with raises(tractor.ModuleNotExposed):
                    await here.run_from_ns("os", "getpid")
        await an.cancel()


async def test_who_ends_is_waited_for_no_more(start_method: str, bell: Bell) -> None:
    """During a restart it is the next one that is found (issue 7)."""
    async with open_tree(start_method) as an:
        (seeker,) = await start(an, "seeker")
        old = await an.start_actor("x", enable_modules=[_misbehaviours.__name__])
        found: list[Any] = []

        async def clean_up() -> None:
            with suppress(tractor.ContextCancelled, tractor.TransportClosed):
                await old.run(_misbehaviours.cleans_up_slowly, bell.path)

        async def seek() -> None:
            found.append(await seeker.run(do.found_by_waiting, "x", bell.path))

        async with trio.open_nursery() as tasks:
            tasks.start_soon(clean_up)
            await bell.heard()
            await old.cancel_actor()
            assert await seeker.run(do.found, "x") == []
            tasks.start_soon(seek)
            await bell.heard()
            (new,) = await start(an, "x")
        assert found == [uid(new)]
        await an.cancel()


# -- Members that misbehave ------------------------------------------------------------


async def test_a_member_that_does_not_say_where_it_is(
    start_method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It costs a look-up 0.5 s, and a cancelled one nothing (issue 7)."""
    call, answer = Peer.call, trio.Event()

    async def hold_back(peer: Peer, ns: str, func: str, *args: Any) -> Any:
        if func == "where":
            with trio.CancelScope(shield=True):
                await answer.wait()
        return await call(peer, ns, func, *args)

    async with open_tree(start_method) as an:
        seeker, other = await start(an, "seeker", "x")
        monkeypatch.setattr(Peer, "call", hold_back)
        with within(0.1), trio.move_on_after(0.01):
            async with tractor.query_actor("x"):
                pass
        with within(1), raises(tractor.RemoteActorError) as info:
            await seeker.run(do.found, "x")
        assert info.value.boxed_type is tractor.ActorUnreachable
        answer.set()
        assert await seeker.run(do.found, "x") == [uid(other)]
        await an.cancel()


@pytest.mark.parametrize("lie", [7, None, ["nonsense"], [["/unix/x"]], [None]])
async def test_a_member_that_lies(
    start_method: str, monkeypatch: pytest.MonkeyPatch, lie: Any
) -> None:
    """Others of its name are found all the same (issue 7)."""
    call = Peer.call

    async def answer(peer: Peer, ns: str, func: str, *args: Any) -> Any:
        if func == "where" and peer.aid == liar.aid:
            *_, result_type = args
            return result_type.decode(ANY.encode(lie, "a lie"), "a lie")
        return await call(peer, ns, func, *args)

    async with open_tree(start_method) as an:
        seeker, honest, liar = await start(an, "seeker", "x", "x")
        monkeypatch.setattr(Peer, "call", answer)
        assert await seeker.run(do.found, "x") == [uid(honest)]
        assert await seeker.run(do.found, "x", only_first=False) == [uid(honest)]
        await an.cancel()


# -- unique=True -----------------------------------------------------------------------


async def test_of_eight_that_want_a_name_one_gets_it(start_method: str) -> None:
    """The registrar decides, wherever in the tree they are started (semantics §9.2)."""
    async with open_tree(start_method) as an:
        one, other = await start(an, "one", "other")
        outcomes: list[str] = []

        async def race(portal: Portal, done: trio.Event) -> None:
            async with portal.open_context(do.starts_unique, "x", 4) as (_, seen):
                outcomes.extend(seen)
                done.set()
                await trio.sleep_forever()

        async with trio.open_nursery() as racers:
            events = [trio.Event(), trio.Event()]
            for portal, event in zip((one, other), events, strict=True):
                racers.start_soon(race, portal, event)
            for event in events:
                await event.wait()
            assert sorted(outcomes) == ["started", *["taken"] * 7]
            assert len(await other.run(do.registry)) == 3
            with raises(tractor.NameTaken, match="'x' runs already"):
                await an.start_actor("x", unique=True)
            racers.cancel_scope.cancel()
        await an.cancel()


async def test_a_unique_name_is_free_again(start_method: str) -> None:
    """After its actor has ended, and after a start that failed (semantics §9.2)."""
    async with open_tree(start_method) as an:
        for _ in range(2):
            portal = await an.start_actor("x", unique=True)
            for name in ("x", "root"):
                with raises(tractor.NameTaken):
                    await an.start_actor(name, unique=True)
            await portal.cancel_actor()
            await tractor.monitor(portal)
        with raises(ModuleNotFoundError):
            await an.start_actor("x", unique=True, enable_modules=["no.such"])
        with trio.CancelScope() as scope:
            scope.cancel()
            await an.start_actor("x", unique=True)
        await an.start_actor("x", unique=True)
        await an.cancel()


# -- Entries end with their actors -----------------------------------------------------


async def test_who_ended_is_not_found(start_method: str) -> None:
    """An entry lasts as long as its actor (semantics §9.2)."""
    async with open_tree(start_method) as an:
        # Not the parent of "below", whose link to it ends a moment later.
        parent, seeker, mortal = await start(an, "parent", "seeker", "mortal")
        async with opened(parent, do.has_children, "below"):
            for name in ("mortal", "below"):
                assert len(await seeker.run(do.found, name)) == 1
                async with tractor.find_actor(name) as portal:
                    assert await portal.cancel_actor()
                    await tractor.monitor(portal)
                assert await seeker.run(do.found, name) == []
                async with tractor.find_actor(name) as nobody:
                    assert nobody is None
        assert mortal.chan.closed is not None
        await an.cancel()


async def test_who_died_is_not_found(start_method: str) -> None:
    """The entry of a killed actor, or of one that broke off, ends at once."""
    seeker_seen: list[Any] = []
    with raises(tractor.ActorDied):
        async with open_tree(start_method) as an:
            (mortal,) = await start(an, "mortal")
            with trio.CancelScope(shield=True):
                with within(T_DETECT):
                    strike(mortal)
                    await tractor.monitor(mortal)
                async with tractor.find_actor("mortal") as portal:
                    seeker_seen.append(portal)
            await an.cancel()
    assert seeker_seen == [None]

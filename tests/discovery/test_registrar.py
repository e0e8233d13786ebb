"""The registrar dies, freezes and comes back; actors freeze, and lose their files."""

import os
import signal
from contextlib import suppress
from typing import Any

import pytest
import trio

import tractor
from tests._helpers import Bell, Stopwatch, open_tree, raises, within
from tests.discovery import actors as do
from tests.discovery.actors import MODULES
from tests.discovery.helpers import opened, running, start, uid
from tractor import ActorUnreachable, RegistrarUnavailable
from tractor.discovery import verbs
from tractor.ipc import Address, parse_address
from tractor.runtime import Peer
from tractor.testing import faults

LOOKUP = 1.0  # seconds; reliability F1
RETURN = 3.0  # seconds; reliability F2
NOBODY = ("", "")


async def test_the_registrar_dies(
    start_method: str, address: Address, bell: Bell
) -> None:
    """Connections go on; look-ups say that it is gone, within 1 s (reliability F1)."""
    async with (
        running(start_method, "registry", address, bell) as registry,
        open_tree(start_method, registry_addrs=[address]) as an,
    ):
        one, _ = await start(an, "one", "other")
        async with (
            opened(one, do.keeps_talking, "other") as ctx,
            ctx.open_stream() as stream,
        ):
            await stream.send("before")
            assert await stream.receive() == "before"
            await registry.end(signal.SIGKILL)
            await check_unavailable(an)
            with within(LOOKUP), raises(tractor.RemoteActorError) as info:
                await one.run(do.found, "nobody")
            assert info.value.boxed_type is RegistrarUnavailable
            await stream.send("after")
            assert await stream.receive() == "after"
        async with tractor.find_actor("other") as known:
            assert known is not None
        await an.cancel()


async def check_unavailable(an: tractor.ActorNursery) -> None:
    """Every question says that there is no registrar, and nothing is started."""
    questions: list[Any] = [
        lambda: tractor.find_actor("nobody"),
        lambda: tractor.wait_for_actor("nobody"),
        lambda: tractor.query_actor("nobody"),
        tractor.get_registry,
    ]
    for question in questions:
        with within(LOOKUP), raises(RegistrarUnavailable):
            async with question():
                pass
    with within(LOOKUP), raises(RegistrarUnavailable):
        await an.start_actor("late", unique=True)


async def test_the_registrar_freezes(
    start_method: str, address: Address, bell: Bell
) -> None:
    """Whoever asks is told within 1 s, and may ask again later (reliability F1)."""
    async with (
        running(start_method, "registry", address, bell) as registry,
        open_tree(start_method, registry_addrs=[address]) as an,
    ):
        await start(an, "child")
        faults.stop(registry.process.pid)
        await check_unavailable(an)
        faults.resume(registry.process.pid)
        async with tractor.find_actor("registry") as portal:
            assert (await portal.run(do.me))[0] == "registry"
        await an.start_actor("late", unique=True)
        await an.cancel()


async def test_a_wait_ends_with_the_registrar(
    start_method: str, address: Address, bell: Bell
) -> None:
    """Who waits for an actor is not left waiting (reliability F1)."""
    async with (
        running(start_method, "registry", address, bell) as registry,
        open_tree(start_method, registry_addrs=[address]) as an,
    ):
        (seeker,) = await start(an, "seeker")
        errors: list[tractor.RemoteActorError] = []

        async def wait() -> None:
            with pytest.raises(tractor.RemoteActorError) as info:
                await seeker.run(do.found_by_waiting, "nobody", bell.path)
            errors.append(info.value)

        async with trio.open_nursery() as waits:
            waits.start_soon(wait)
            await bell.heard()
            await registry.end(signal.SIGKILL)
        assert errors[0].boxed_type is RegistrarUnavailable
        await an.cancel()


async def test_the_registrar_comes_back(
    start_method: str, address: Address, bell: Bell
) -> None:
    """All register anew within 3 s, and nobody does it twice (reliability F2)."""
    async with (
        running(start_method, "registry", address, bell) as registry,
        open_tree(
            start_method, name="top", registry_addrs=[address], enable_modules=MODULES
        ) as an,
    ):
        one, other = await start(an, "one", "other")
        async with opened(one, do.has_children, "below"):
            await registry.end(signal.SIGKILL)
            async with running(start_method, "registry", address, bell):
                with within(RETURN, slack=1.5):
                    await check_members("top", "one", "other", "below")
                assert await other.run(do.found, "one") == [uid(one)]
        await an.cancel()


async def test_a_registrar_that_answers_no_ping(
    start_method: str, address: Address, bell: Bell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A root does not wait for it for ever, and asks it once it does (issue 7)."""
    async with running(start_method, "registry", address, bell):
        ping = Peer.ping
        monkeypatch.setattr(Peer, "ping", lambda _: trio.Event())
        watch = Stopwatch()
        async with open_tree(start_method, name="top", registry_addrs=[address]):
            watch.check(LOOKUP)
            monkeypatch.setattr(Peer, "ping", ping)
            with within(RETURN, slack=1.5):
                await check_members("top")


async def test_who_looks_up_in_vain_does_not_dial_all_the_time(
    start_method: str, address: Address, bell: Bell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is a pause between two attempts, however many want one (issue 7)."""
    dialled: list[Address] = []
    async with (
        running(start_method, "registry", address, bell) as registry,
        open_tree(start_method, registry_addrs=[address]),
    ):
        await registry.end(signal.SIGKILL)
        network = tractor.current_actor().network
        dial = network.dial

        async def count(where: Address, **options: Any) -> Peer:
            dialled.append(where)
            return await dial(where, **options)

        monkeypatch.setattr(network, "dial", count)
        while len(dialled) < 2:  # before its end was noticed, nobody dials
            with raises(RegistrarUnavailable):
                async with tractor.find_actor("nobody"):
                    pass
    assert len(dialled) <= 25


async def test_who_looks_up_in_vain_lets_others_run(
    start_method: str, address: Address, bell: Bell
) -> None:
    """Also where it is told at once, or nobody would notice that the registrar ended.

    Between the end of a channel and the moment when that was noticed.
    """
    async with (
        running(start_method, "registry", address, bell),
        open_tree(start_method, registry_addrs=[address]),
        tractor.get_registry() as portal,
    ):
        peers = tractor.current_actor().peers
        (registry,) = [peer for peer in peers if peer.aid == portal.aid]
        registry.channel.close()
        asked = 0
        while not registry.ended.is_set():
            asked += 1
            assert asked < 1000
            with suppress(RegistrarUnavailable):
                async with tractor.find_actor("nobody"):
                    pass


async def check_members(*names: str) -> None:
    """Wait until they are registered, and see that nobody else is."""
    async with tractor.get_registry() as portal:
        for name in names:
            await portal.run(verbs.wait, name, NOBODY)
        aids = await portal.run(verbs.names)
        assert sorted(aid.name for aid in aids) == sorted([*names, "registry"])


# -- Actors that cannot be reached -----------------------------------------------------


@pytest.mark.requires_trait("own_process")
async def test_an_actor_freezes(start_method: str) -> None:
    """It is not found; another of its name is; and later it is again."""
    async with open_tree(start_method) as an:
        seeker, older, frozen = await start(an, "seeker", "x", "x")
        faults.stop(frozen)
        with within(2):
            assert await seeker.run(do.found, "x") == [uid(older)]
        with within(2):
            found = await seeker.run(do.found, "x", only_first=False)
        assert found == [uid(older)]
        await older.cancel_actor()
        await tractor.monitor(older)
        with within(2), raises(tractor.RemoteActorError) as info:
            await seeker.run(do.found, "x")
        assert info.value.boxed_type is ActorUnreachable
        faults.resume(frozen)
        assert await seeker.run(do.found, "x") == [uid(frozen)]
        await an.cancel()


@pytest.mark.no_tpt("tcp", reason="a port has no file")
async def test_the_file_of_a_socket_is_removed(start_method: str) -> None:
    """Connections go on; who dials is told; who asks anew finds it (reliability F6)."""
    async with open_tree(start_method) as an:
        one, other = await start(an, "one", "other")
        async with (
            opened(one, do.keeps_talking, "other") as ctx,
            ctx.open_stream() as stream,
        ):
            (text,) = await other.run(do.addresses)
            os.unlink(text.removeprefix("/unix"))
            await stream.send(1)
            assert await stream.receive() == 1
            network = tractor.current_actor().network
            with within(1), raises(ActorUnreachable, match="nobody answers"):
                await network.dial(parse_address(text))
            (seeker,) = await start(an, "seeker")
            assert await seeker.run(do.found, "other") == [uid(other)]
            await stream.send(2)
            assert await stream.receive() == 2
        assert len(await other.run(do.addresses)) == 1
        await an.cancel()


@pytest.mark.no_tpt("tcp", reason="a port has no file")
async def test_the_file_of_the_registrar_is_removed(start_method: str) -> None:
    """It listens there again, so that others can still register (issue 7)."""
    async with open_tree(start_method) as an:
        (address,) = tractor.current_actor().addresses
        parent, other = await start(an, "parent", "other")
        os.unlink(str(address).removeprefix("/unix"))
        async with opened(parent, do.has_children, "below"):
            with within(RETURN):
                async with tractor.wait_for_actor("below") as below:
                    assert await below.run(do.found, "other") == [uid(other)]
        assert tractor.current_actor().addresses == [address]
        await an.cancel()


async def test_an_entry_that_leads_nowhere_goes(
    start_method: str, address: Address, bell: Bell
) -> None:
    """A program that was killed is not found any more, nor are its actors."""
    async with (
        running(start_method, "registry", address, bell),
        running(start_method, "mortal", address, bell, "below") as mortal,
        open_tree(start_method, registry_addrs=[address]) as an,
    ):
        async with tractor.find_actor("below") as portal:
            assert (await portal.run(do.me))[0] == "below"
            await mortal.end(signal.SIGKILL)
            with within(1):
                await tractor.monitor(portal)
        for name in ("mortal", "below"):
            async with tractor.find_actor(name) as nobody:
                assert nobody is None
        await an.cancel()

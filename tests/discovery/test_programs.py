"""Programs that were started apart, and meet at the address of a registrar."""

import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import trio

import tractor
from tests._helpers import SAFETY, Bell, open_tree, raises
from tests.discovery import actors as do
from tests.discovery.actors import MODULES
from tests.discovery.helpers import Program, running, start, uid, uid_of_root
from tests.runtime import rpc_functions
from tractor import Portal
from tractor.discovery import verbs
from tractor.discovery._join import ATTEMPTS
from tractor.ipc import Address, parse_address
from tractor.msg import cancelled_info, unbox
from tractor.runtime._network import Network
from tractor.testing import private_address


async def test_two_programs_become_one_tree_to_look_into(
    start_method: str, address: Address, bell: Bell
) -> None:
    """Each finds the other's root and children, whoever came first (semantics §9.1)."""
    async with (
        running(start_method, "far", address, bell, "far child"),
        open_tree(
            start_method, name="near", registry_addrs=[address], enable_modules=MODULES
        ) as an,
    ):
        (near_child,) = await start(an, "near child")
        assert not tractor.current_actor().is_registrar
        assert await near_child.run(do.registry) == [
            "far",
            "Portal",
            ["far", "far child", "near", "near child"],
        ]
        for name in ("far", "far child"):
            async with tractor.find_actor(name) as portal:
                assert (await portal.run(do.me))[0] == name
                assert await portal.run(do.found, "near") == [uid_of_root()]
                assert await portal.run(do.found, "near child") == [uid(near_child)]
                assert await near_child.run(do.found, name) == [uid(portal)]
                assert await near_child.run(do.talks, name) == ["first", True, 100]
        await an.cancel()


async def test_programs_that_start_at_once_agree(
    start_method: str,
    address: Address,
    bell: Bell,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One of them becomes the registrar, and the others members (semantics §9.1)."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    fd = os.open(gate, os.O_RDWR)  # nobody empties it, so all who come find it open
    monkeypatch.setenv("GATE", str(gate))
    names = ["a", "b", "c"]
    with trio.fail_after(SAFETY):
        programs = [Program(start_method, name, address, bell) for name in names]
        try:
            for _ in names:
                assert await bell.heard() == "at the gate"
            os.write(fd, b"go")
            assert sorted([await bell.heard() for _ in names]) == names
            async with open_tree(start_method, registry_addrs=[address]):
                async with tractor.get_registry() as portal:
                    assert portal.aid.name in names
                    aids = await portal.run(verbs.names)
                assert sorted(aid.name for aid in aids) == [*names, "root"]
                for name in names:
                    async with tractor.find_actor(name) as found:
                        for other in {*names} - {name}:
                            assert len(await found.run(do.found, other)) == 1
            for program in programs:
                await program.end()
        finally:
            os.close(fd)
            for program in programs:
                await program.discard()


async def test_the_registrar_is_about_to_end(
    start_method: str, address: Address, bell: Bell
) -> None:
    """Look-ups say so, as if it had ended (issue 7)."""
    async with (
        running(start_method, "far", address, bell) as far,
        open_tree(start_method, registry_addrs=[address]),
        tractor.get_registry() as portal,
        trio.open_nursery() as tasks,
    ):
        assert isinstance(portal, Portal)
        tasks.start_soon(clean_up, portal)
        await portal.run(rpc_functions.wait_noted, "cleaning")
        far.process.send_signal(signal.SIGTERM)
        with raises(tractor.ContextCancelled):
            while True:
                await portal.run(rpc_functions.pid)
        for where in (None, [address]):
            with raises(tractor.RegistrarUnavailable):
                async with tractor.find_actor("nobody", where):
                    pass
        await far.end(signal.SIGKILL)


async def clean_up(portal: tractor.Portal) -> None:
    """Have an actor take its time to end."""
    with suppress(tractor.ContextCancelled, tractor.TransportClosed):
        await portal.run(rpc_functions.forever_cleaning)


@pytest.mark.parametrize(
    "answers",
    [["no registrar"], ["about to end"] * 2 * ATTEMPTS],
    ids=["not yet", "ends"],
)
async def test_a_registrar_is_asked_again(
    start_method: str,
    address: Address,
    bell: Bell,
    monkeypatch: pytest.MonkeyPatch,
    answers: list[str],
) -> None:
    """One that is not ready yet, or has to end before this one takes its place."""
    asked: list[str] = []
    run = Portal.run

    async def put_off(portal: Portal, fn: Any, *args: Any) -> Any:
        asked.append(fn.__name__)
        if len(asked) > len(answers):
            return await run(portal, fn, *args)
        if answers[len(asked) - 1] == "about to end":
            uid = portal.aid.uid
            raise unbox(cancelled_info(uid, uid, "a call"))
        return False

    async with running(start_method, "far", address, bell):
        monkeypatch.setattr(Portal, "run", put_off)
        async with open_tree(start_method, registry_addrs=[address]):
            assert asked == ["is_registrar"] * (len(answers) + 1)
            assert not tractor.current_actor().is_registrar


async def test_all_take_several_addresses_in_one_order(
    start_method: str,
    address: Address,
    runtime_dir: str,
    tpt_proto: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two starters cannot each get one of two addresses (issue 7)."""
    both = [address, parse_address(private_address(tpt_proto, runtime_dir))]
    taken: list[Address] = []
    listen = Network.listen

    def note(network: Network, where: Address) -> list[Address]:
        if where in both:
            taken.append(where)
        return listen(network, where)

    monkeypatch.setattr(Network, "listen", note)
    for given in (both, both[::-1]):
        async with open_tree(start_method, registry_addrs=given):
            assert tractor.current_actor().is_registrar
    assert taken[:2] == taken[2:]
    assert {*taken} == {*both}


async def test_a_name_is_unique_over_programs(
    start_method: str, address: Address, bell: Bell
) -> None:
    """Trees with one registrar have one space of names (semantics §9.2)."""
    async with (
        running(start_method, "far", address, bell, "taken"),
        open_tree(start_method, registry_addrs=[address]) as an,
    ):
        for name in ("taken", "far"):
            with raises(tractor.NameTaken, match=f"{name!r} runs already"):
                await an.start_actor(name, unique=True)
        await an.start_actor("free", unique=True)
        with raises(tractor.NameTaken):
            await an.start_actor("free", unique=True)
        await an.cancel()


async def test_a_registrar_elsewhere_can_be_asked(
    start_method: str, address: Address, bell: Bell
) -> None:
    """A tree with its own registrar may look into that of others, if it may enter."""
    secret = await secret_of_user()
    async with (
        running(start_method, "far", address, bell, "far child"),
        open_tree(start_method, secret=secret) as an,
    ):
        (child,) = await start(an, "child")
        assert await child.run(do.found, "far child") == []
        where = [str(address)]
        (found,) = await child.run(do.found, "far child", registry_addrs=where)
        assert found[0] == "far child"
        async with tractor.wait_for_actor("far child", address) as portal:
            assert uid(portal) == found
        async with tractor.query_actor("far child", address) as (there, registry):
            assert there is not None
            assert registry.aid.name == "far"
        ghost = address.__class__(*ghost_of(address))
        with raises(tractor.RegistrarUnavailable):
            async with tractor.find_actor("far child", [ghost]):
                pass
        both = [ghost, address]
        async with tractor.find_actor("far child", both) as portal:
            assert uid(portal) == found
        with raises(tractor.RegistrarUnavailable, match="is no registrar"):
            async with tractor.get_registry(there):
                pass
        await an.cancel()


async def secret_of_user() -> bytes:
    """That of all programs here."""
    from tractor.ipc.network import runtime_dir, user_secret

    return user_secret(runtime_dir()).reveal()


def ghost_of(address: Address) -> tuple[str] | tuple[str, int]:
    """Of an address at which nobody listens."""
    if address.transport == "uds":
        return (f"{address.path}.ghost",)
    return address.host, 1

"""Programs that were started apart, and meet at the address of a registrar."""

import os
from pathlib import Path

import pytest
import trio

import tractor
from tests._helpers import SAFETY, Bell, open_tree, raises
from tests.discovery import actors as do
from tests.discovery.actors import MODULES
from tests.discovery.helpers import Program, running, start, uid, uid_of_root
from tractor.discovery import verbs
from tractor.ipc import Address


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

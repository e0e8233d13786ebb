"""What a root is told about transports and registrars, and what comes of it."""

import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import trio

import tractor
from tests._helpers import Bell, open_tree, raises, within
from tests.discovery import actors as do
from tests.discovery.actors import MODULES
from tests.discovery.helpers import running, start, uid, uid_of_root
from tractor import AddressInUse, RuntimeFailure
from tractor.discovery import LocalPortal
from tractor.ipc import Address, TcpAddress, UnixAddress, parse_address
from tractor.testing import private_address

IN_USE = 1.0  # seconds; reliability F4

type Manner = Callable[[trio.SocketStream], Awaitable[None]]


# -- The registrar ---------------------------------------------------------------------


async def test_who_finds_no_registrar_becomes_it(
    start_method: str, address: Address
) -> None:
    """It listens there, and everybody below asks it (semantics §9.1)."""
    options: dict[str, Any] = {"registry_addrs": [address], "ensure_registry": True}
    for _ in range(2):  # nothing is left behind
        async with open_tree(start_method, **options) as an:
            root = tractor.current_actor()
            assert root.is_registrar
            assert address in root.addresses
            one, other = await start(an, "one", "other")
            assert await one.run(do.found, "other") == [uid(other)]
            async with tractor.get_registry(address) as portal:
                assert portal.aid == root.aid
            await an.cancel()


async def test_a_registrar_at_localhost(start_method: str) -> None:
    """It knows itself by that name, too, and others do (issue 7)."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        place = ("localhost", server.getsockname()[1])
    async with open_tree(
        start_method, registry_addrs=[place], enable_transports=["tcp"]
    ) as an:
        one, other = await start(an, "one", "other")
        async with tractor.get_registry(place) as portal:
            assert isinstance(portal, LocalPortal)
        async with tractor.find_actor("nobody", [place]) as nobody:
            assert nobody is None
        where = [str(parse_address(place))]
        found = await one.run(do.found, "other", registry_addrs=where)
        assert found == [uid(other)]
        await an.cancel()


async def test_there_shall_be_no_other_registrar(
    start_method: str, address: Address, bell: Bell
) -> None:
    """With `ensure_registry` it is an error to find one."""
    async with running(start_method, "far", address, bell):
        with within(IN_USE), raises(RuntimeFailure, match="'far.*' is the registrar"):
            async with open_tree(
                start_method, registry_addrs=[address], ensure_registry=True
            ):
                pass


async def test_an_actor_that_is_no_registrar(
    start_method: str, address: Address, bell: Bell
) -> None:
    """Its address is no place to meet, and the error says so."""
    async with running(start_method, "far", address, bell, "child"):
        async with (
            open_tree(start_method, registry_addrs=[address]),
            tractor.query_actor("child") as (where, _),
        ):
            assert where is not None
        with within(IN_USE), raises(RuntimeFailure, match="'child.*is no registrar"):
            async with open_tree(start_method, registry_addrs=[where]):
                pass


async def test_another_secret(start_method: str, address: Address, bell: Bell) -> None:
    """Who does not know the registrar's secret does not get in, nor takes its place."""
    async with running(start_method, "far", address, bell) as far:
        with within(IN_USE), raises(tractor.AuthenticationFailed):
            async with open_tree(
                start_method, registry_addrs=[address], secret=bytes(32)
            ):
                pass
        async with (
            open_tree(start_method, registry_addrs=[address]),
            tractor.find_actor("far") as portal,
        ):
            assert portal.aid.pid == far.process.pid


async def silent(conn: trio.SocketStream) -> None:
    """Say nothing."""
    del conn
    await trio.sleep_forever()


async def rude(conn: trio.SocketStream) -> None:
    """Hang up."""
    await conn.aclose()


async def polite(conn: trio.SocketStream) -> None:
    """Speak first, as mail servers do."""
    with suppress(trio.BrokenResourceError):
        await conn.send_all(b"220 welcome\r\n")


def place_of(address: Address) -> tuple[socket.AddressFamily, Any]:
    """For a socket of the standard library."""
    if isinstance(address, UnixAddress):
        return socket.AF_UNIX, address.path
    return socket.AF_INET, (address.host, address.port)


@asynccontextmanager
async def foreign(address: Address, manner: Manner) -> AsyncIterator[None]:
    """Something listens there that is no actor, and serves until the end."""
    family, where = place_of(address)
    sock = trio.socket.socket(family)
    with sock:
        await sock.bind(where)
        sock.listen()

        async def serve(conn: trio.SocketStream) -> None:
            async with conn:
                await manner(conn)

        async with trio.open_nursery() as nursery:
            listeners = [trio.SocketListener(sock)]
            nursery.start_soon(trio.serve_listeners, serve, listeners)
            yield
            nursery.cancel_scope.cancel()
    if isinstance(address, UnixAddress):
        os.unlink(address.path)  # it would not be there, if it had been stolen


@pytest.mark.parametrize("manner", [silent, rude, polite])
async def test_something_else_listens_there(
    start_method: str, address: Address, manner: Manner
) -> None:
    """It is told apart within 1 s, and nothing is taken from it (reliability F4)."""
    async with foreign(address, manner):
        for option in ("registry_addrs", "tpt_bind_addrs"):
            with within(IN_USE), raises(AddressInUse, match="somebody else listens"):
                async with open_tree(start_method, **{option: [address]}):
                    pass
        family, where = place_of(address)
        with trio.fail_after(10), trio.socket.socket(family) as client:
            await client.connect(where)


@pytest.fixture
def in_the_way(address: UnixAddress) -> Iterator[None]:
    """A file at that address; it must still be there in the end."""
    file = Path(address.path)
    file.write_text("precious")
    yield
    assert file.read_text() == "precious"
    file.unlink()


@pytest.mark.no_tpt("tcp", reason="a port has no file")
@pytest.mark.usefixtures("in_the_way")
async def test_a_file_is_in_the_way(start_method: str, address: UnixAddress) -> None:
    """What is no socket is not removed (reliability F4)."""
    with within(IN_USE), raises(AddressInUse, match="no socket"):
        async with open_tree(start_method, registry_addrs=[address]):
            pass


# -- Where actors listen ---------------------------------------------------------------


async def test_an_address_of_ones_own(
    start_method: str, address: Address, runtime_dir: str
) -> None:
    """A root listens where it is told to, too, and others reach it there."""
    async with open_tree(
        start_method, tpt_bind_addrs=[address], enable_modules=MODULES
    ) as an:
        root = tractor.current_actor()
        assert address in root.addresses
        assert len(root.addresses) == 2
        (child,) = await start(an, "child")
        async with opened_below(child) as grandchild:
            assert await grandchild.run(do.found, "root") == [uid_of_root()]
            where = [str(address)]
            seen = await grandchild.run(do.found, "child", registry_addrs=where)
            assert seen == [uid(child)]
        await an.cancel()
    if isinstance(address, UnixAddress):
        assert os.path.basename(address.path) not in {*find_files(runtime_dir)}


@asynccontextmanager
async def opened_below(portal: tractor.Portal) -> AsyncIterator[tractor.Portal]:
    """A child of that actor."""
    async with (
        portal.open_context(do.has_children, "below") as (ctx, _),
        tractor.find_actor("below") as below,
    ):
        yield below
        await ctx.cancel()


async def test_without_transports(start_method: str, runtime_dir: str) -> None:
    """Parents and children are found, and nobody else; nothing listens."""
    files = {*find_files(runtime_dir)}
    async with open_tree(
        start_method, enable_transports=(), enable_modules=MODULES
    ) as an:
        assert tractor.current_actor().addresses == []
        assert {*find_files(runtime_dir)} <= files
        one, other = await start(an, "one", "other")
        async with tractor.find_actor("one") as portal:
            assert portal.aid == one.aid
        assert await other.run(do.found, "root") == [uid_of_root()]
        why = "was given no enable_transports"
        with raises(tractor.RemoteActorError, match=why) as info:
            await one.run(do.found, "other")
        assert info.value.boxed_type is RuntimeFailure
        questions: list[Any] = [
            tractor.find_actor("ghost"),
            tractor.wait_for_actor("ghost"),
            tractor.query_actor("one"),
            tractor.get_registry(),
        ]
        for question in questions:
            with within(0.5), raises(RuntimeFailure, match=why):
                async with question:
                    pass
        with within(0.5), raises(RuntimeFailure, match=why):
            await an.start_actor("x", unique=True)
        await an.cancel()


def find_files(folder: str) -> Iterator[str]:
    """All names below that."""
    for _, folders, files in os.walk(folder):
        yield from (*folders, *files)


async def test_several_transports(start_method: str) -> None:
    """An actor listens on each, and the nearest one is taken (semantics §9.4)."""
    async with open_tree(start_method, enable_transports=("tcp", "uds")) as an:
        one, other = await start(an, "one", "other")
        assert await one.run(do.found, "other") == [uid(other)]
        there = [parse_address(text) for text in await other.run(do.addresses)]
        assert {address.transport for address in there} == {"tcp", "uds"}
        text, *_ = await one.run(do.queried, "other")
        assert text.startswith("/unix/")
        os.unlink(text.removeprefix("/unix"))
        assert await one.run(do.found, "other") == [uid(other)]
        await an.cancel()


async def test_loopback_of_ipv6(start_method: str, bell: Bell) -> None:
    """Programs meet there as elsewhere (semantics §9.4)."""
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6) as server:
            address = TcpAddress("::1", server.getsockname()[1])
    except OSError as exc:
        pytest.skip(f"this machine has no IPv6: {exc}")
    async with (
        running(start_method, "far", address, bell, "child"),
        open_tree(start_method, registry_addrs=[str(address)]) as an,
    ):
        (near,) = await start(an, "near")
        assert await near.run(do.talks, "far") == ["first", True, 100]
        async with tractor.find_actor("child") as portal:
            assert await portal.run(do.found, "near") == [uid(near)]
        await an.cancel()


# -- Options that cannot be ------------------------------------------------------------


async def test_transports_from_outside(
    start_method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`TRACTOR_TRANSPORTS` is the default, and no more than that."""
    monkeypatch.setenv("TRACTOR_TRANSPORTS", "tcp, uds")
    async with open_tree(start_method):
        found = {each.transport for each in tractor.current_actor().addresses}
        assert found == {"tcp", "uds"}
    async with open_tree(start_method, enable_transports=["tcp"]):
        (address,) = tractor.current_actor().addresses
        assert address.transport == "tcp"
    monkeypatch.setenv("TRACTOR_TRANSPORTS", "pigeon")
    with raises(ValueError, match="TRACTOR_TRANSPORTS=pigeon: unknown transport"):
        async with open_tree(start_method):
            pass


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"enable_transports": ["pigeon"]}, "unknown transport 'pigeon'"),
        ({"enable_transports": [], "registry_addrs": ["/unix/x"]}, "cannot be used"),
        ({"registry_addrs": ["/ip4/127.0.0.1/tcp/0"]}, "by which all reach it"),
        ({"registry_addrs": ["nonsense"]}, "is not an address"),
        ({"tpt_bind_addrs": [("0.0.0.0", 80)]}, "name the one by which they reach"),
        ({"tpt_bind_addrs": [("::", 80)]}, "name the one by which they reach"),
        ({"tpt_bind_addrs": [("192.0.2.1", 80)]}, "give ssl_context"),
        ({"secret": b"short"}, "secret"),
        ({"name": "x" * 8193}, "has 8193 bytes; give it 8192 at most"),
        ({"name": "a\0b"}, "has a NUL"),
        ({"name": "\udc80"}, "surrogates"),
    ],
)
async def test_what_cannot_be(options: dict[str, Any], error: str) -> None:
    """It is refused before anything is opened."""
    with raises(ValueError, match=error):
        async with tractor.open_root_actor(**options):
            pass


async def test_a_name_that_is_as_long_as_can_be(start_method: str) -> None:
    """Who has it is found by it, and no child gets a longer one (issue 7)."""
    name = "🦊" * 2048
    async with open_tree(start_method, name=name, enable_modules=MODULES) as an:
        (child,) = await start(an, name)
        async with opened_below(child) as below:
            found = await below.run(do.found, name, only_first=False)
            assert uid_of_root() in found
        for wrong in (f"{name}x", "a\0b"):
            with raises(ValueError, match="of an actor has"):
                await an.start_actor(wrong)
        await an.cancel()


def test_the_address_of_a_session(
    reg_addr: Path | tuple[str, int], tpt_proto: str, runtime_dir: str
) -> None:
    """The plugin's `reg_addr` is one, of the transport of the session."""
    assert parse_address(reg_addr).transport == tpt_proto
    assert private_address(tpt_proto, runtime_dir) != reg_addr


async def test_trees_of_a_session(start_method: str, tpt_proto: str) -> None:
    """``--tpt-proto`` is what trees use, unless they say otherwise."""
    async with open_tree(start_method):
        (address,) = tractor.current_actor().addresses
        assert address.transport == tpt_proto

"""A tree that says all that it can, as a program: logs at every level, dumps, reprs.

Its secret comes by stdin, so that the tree is the only one who could show it. Who it
talks with has another one.
"""

import os
import sys
from pathlib import Path

import trio
from msgspec.structs import asdict

import tractor
from tests.security.exposed import pong
from tractor import devx
from tractor.ipc import Address, UnixAddress
from tractor.ipc._hello import GREETING_SIZE
from tractor.msg import types as t


async def show() -> list[str]:
    """What this actor says of itself, and of all below it."""
    actor = tractor.current_actor()
    vars_ = actor.network_vars
    assert vars_ is not None
    spec = t.SpawnSpec(
        1, actor.aid, actor.aid, actor.runtime_vars, [], None, [], [], 1, vars_
    )
    return [
        repr(actor),
        f"{actor!s} {actor.network!r} {vars(actor)} {vars(actor.network)}",
        f"{vars_} {vars_!r} {spec} {spec!r} {t.as_dict(spec)} {asdict(spec)}",
        repr(tractor.get_runtime_vars()),
        devx.dump_to_text("all of it"),
        *(read_proc(name) for name in ("cmdline", "environ", "comm")),
    ]


def read_proc(name: str) -> str:
    """What anybody may see of this process, or its owner at least."""
    return Path("/proc/self", name).read_bytes().decode(errors="replace")


async def show_below() -> list[str]:
    """The same of a child, over a connection with a stranger in between."""
    async with tractor.open_nursery() as an:
        portal = await an.start_actor("below", enable_modules=[__name__])
        async with tractor.wait_for_actor("below"):
            found = await portal.run(show)
        await an.cancel()
    return found


async def main() -> None:
    """Print all of it."""
    secret = sys.stdin.buffer.read(32)
    async with tractor.open_nursery(
        loglevel="transport",
        secret=secret,
        enable_transports=["uds", "tcp"],
        enable_modules=["tests.security.exposed"],
        enable_stack_on_sig=True,
    ) as an:
        portal = await an.start_actor("child", enable_modules=[__name__])
        shown = [*await show(), *await portal.run(show), *await portal.run(show_below)]
        await provoke(an)
        await an.cancel()
    print(*shown, sep="\n")


async def provoke(an: tractor.ActorNursery) -> None:
    """Make the tree say why it refuses somebody, and how it fails."""
    for address in tractor.current_actor().addresses:
        stream = await open_stream(address)
        async with stream:
            await stream.send_all(os.urandom(GREETING_SIZE))
            async for _ in stream:
                pass
    try:
        await an.start_actor("failing", enable_modules=["tests.security.failing"])
    except tractor.SpawnError as exc:
        print(exc, repr(exc), vars(exc))
    try:
        portal = await an.start_actor("other")
        await portal.run(pong)
    except tractor.RemoteActorError as exc:
        print(exc, repr(exc), vars(exc))


async def open_stream(address: Address) -> trio.SocketStream:
    """A connection."""
    if isinstance(address, UnixAddress):
        return await trio.open_unix_socket(address.path)
    return await trio.open_tcp_stream(address.host, address.port)


if __name__ == "__main__":
    trio.run(main)

"""The root of a program of `test_two_hosts`: it looks for another one, and uses it.

It is told by one JSON object: its `name`, where it listens (`bind`), where the
`registry` is, whom it is to `seek` if anybody, what it has for `tls` ("both" sides, the
"dialer" alone, or "none"), its `transports` if not the default, a `child` to start if
any, and the seconds of a `keepalive`.

On stdout it writes what it sees, as lines of JSON: an event, a detail, and when that
was. It goes on when a line comes on stdin, and ends with that.
"""

import json
import ssl
import sys
import time
from typing import Any

import trio

import tractor
from tests.discovery import two_hosts_service as service
from tractor.runtime import _network

ENOUGH = 100  # items by which a stream has proved that it works
MANY = 1000  # items after which it says so again


def say(event: str, detail: Any = "") -> None:
    """Tell the test."""
    print(json.dumps([event, detail, time.monotonic()]), flush=True)


async def told(stdin: trio.abc.ReceiveStream) -> bool:
    """Wait until the test says something; whether it does, before it ends."""
    return bool(await stdin.receive_some())


async def call(portal: tractor.Portal) -> None:
    """Make a call that can only fail."""
    try:
        await portal.run(service.wait_for_ever)
    except tractor.TransportClosed as exc:
        say("call failed", type(exc).__name__)


async def stream(portal: tractor.Portal, last: int | None = None) -> None:
    """Take items for as long as some come, or up to the last one."""
    expected = 0
    try:
        async with (
            portal.open_context(service.count) as (ctx, _),
            ctx.open_stream() as stream,
        ):
            async for number in stream:
                assert number == expected
                expected += 1
                if number == ENOUGH:
                    say("streaming")
                if number % MANY == 0:
                    say("more")
                if number == last:
                    await ctx.cancel()
    except tractor.TransportClosed as exc:
        say("stream failed", type(exc).__name__)


async def use_until_it_breaks(name: str) -> None:
    """Find it, call it, and stream from it."""
    async with tractor.wait_for_actor(name) as portal:
        say("found", await portal.run(service.whoami))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call, portal)
            nursery.start_soon(stream, portal)


async def find_again(name: str) -> None:
    """As soon as it can be found."""
    while True:
        try:
            async with tractor.wait_for_actor(name) as portal:
                found = await portal.run(service.whoami)
                say("found again", found)
                await stream(portal, last=ENOUGH)
                return
        except tractor.TransportClosed as exc:
            say("not yet", f"{type(exc).__name__}: {exc}")


def tls_contexts(kind: str) -> list[ssl.SSLContext]:
    """Of the certificates in this folder."""
    if kind == "none":
        return []
    to_others = ssl.create_default_context(cafile="ca.pem")
    if kind == "dialer":
        return [to_others]
    from_others = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    from_others.load_cert_chain("machine.pem", "machine.key")
    return [to_others, from_others]


async def main(options: dict[str, Any]) -> None:
    """Run it."""
    vars(_network)["KEEPALIVE"] = options["keepalive"]
    say("begins")
    async with tractor.open_root_actor(
        name=options["name"],
        registry_addrs=[tuple(each) for each in options["registry"]],
        tpt_bind_addrs=[tuple(each) for each in options["bind"]],
        enable_transports=options.get("transports"),
        ssl_context=tls_contexts(options["tls"]) or None,
        enable_modules=[service.__name__],
    ) as actor:
        say("ready", [str(address) for address in actor.addresses])
        if (child := options.get("child")) is None:
            await work(options.get("seek"))
            return
        async with tractor.open_nursery() as an:
            portal = await an.start_actor(child, enable_modules=[service.__name__])
            names = (options["name"], "nobody")
            say("started", [await portal.run(service.seek, name) for name in names])
            await work(options.get("seek"))
            await an.cancel()


async def work(seek: str | None) -> None:
    """What there is to do, until the test has seen enough."""
    stdin = trio.lowlevel.FdStream(0)
    if seek is not None:
        await use_until_it_breaks(seek)
        say("looked up", await service.seek(seek))
        if not await told(stdin):
            return
        await find_again(seek)
        say("done")
    await told(stdin)


if __name__ == "__main__":
    try:
        trio.run(main, json.loads(sys.argv[1]))
    except tractor.TractorError as exc:
        say("failed", [type(exc).__name__, str(exc)])
    except ValueError as exc:
        say("failed", [type(exc).__name__, str(exc)])

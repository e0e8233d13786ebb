"""Two programs on two machines, with a connection that is encrypted.

On the machine whose address is 192.0.2.1::

    python two_machines.py serve 192.0.2.1

and on the other one, which has 192.0.2.2::

    python two_machines.py watch 192.0.2.2

Each needs, in the folder in which it is run, ca.pem and a certificate and key of its
own, and the secret of both in the file that TRACTOR_SECRET_FILE names. Without
arguments both run here, between loopback addresses, where nothing is encrypted.
"""

import os
import socket
import ssl
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import trio

import tractor

REGISTRAR = ("192.0.2.1", 7316)
READINGS = (18.5, 18.75, 19.0)


@tractor.context
async def measure(ctx: tractor.Context[str, None, float, None]) -> int:
    """Say where this is, then send what is measured; how much that was."""
    await ctx.started(tractor.current_actor().name)
    async with ctx.open_stream() as stream:
        for reading in READINGS:
            await stream.send(reading)
    return len(READINGS)


def tls_contexts() -> list[ssl.SSLContext]:
    """For connections to other machines, and for connections from them."""
    to_others = ssl.create_default_context(cafile="ca.pem")
    from_others = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    from_others.load_cert_chain("machine.pem", "machine.key")
    return [to_others, from_others]


def options(host: str, registrar: tuple[str, int]) -> dict[str, Any]:
    """What both programs give to their root."""
    return {
        "registry_addrs": [registrar],
        "tpt_bind_addrs": [] if host == registrar[0] else [(host, 0)],
        "ssl_context": tls_contexts() if Path("ca.pem").exists() else None,
    }


def serve(host: str, registrar: tuple[str, int] = REGISTRAR) -> None:
    """A program that serves until somebody ends it."""
    tractor.run_daemon([__name__], name="thermometer", **options(host, registrar))
    print("the watcher has seen enough")


async def watch(host: str, registrar: tuple[str, int] = REGISTRAR) -> None:
    """Find the other program, and take what it sends."""
    async with (
        tractor.open_root_actor(name="watcher", **options(host, registrar)),
        tractor.wait_for_actor("thermometer") as portal,
        portal.open_context(measure) as (ctx, name),
    ):
        async with ctx.open_stream() as stream:
            print(name, "reads", [reading async for reading in stream])
        print("readings in all:", await ctx.wait_for_result())
        await portal.cancel_actor()


def rehearse() -> None:
    """Run both here, with a new secret and a port that is free."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = str(sock.getsockname()[1])
    with tempfile.TemporaryDirectory(prefix="two-") as folder:
        secret = Path(folder, "tree.secret")
        secret.touch(0o600)
        secret.write_text(os.urandom(32).hex())
        env = {**os.environ, "TRACTOR_SECRET_FILE": str(secret)}
        program = [sys.executable, __file__]
        with subprocess.Popen([*program, "serve", "127.0.0.1", port], env=env):
            watcher = [*program, "watch", "127.0.0.2", port]
            subprocess.run(watcher, check=True, env=env)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["serve", host]:
            serve(host)
        case ["watch", host]:
            trio.run(watch, host)
        case ["serve", host, port]:  # of a rehearsal
            serve(host, ("127.0.0.1", int(port)))
        case ["watch", host, port]:
            trio.run(watch, host, ("127.0.0.1", int(port)))
        case _:
            rehearse()

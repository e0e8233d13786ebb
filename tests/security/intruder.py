"""Another user of this machine, as a program: what one finds open of an actor.

It is given a folder of sockets and secrets, the path of a socket, and a TCP port, or
``-`` for what is not to be tried. It says what became of each attempt, as JSON.
"""

import json
import os
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

NOBODY = 65534
PATIENCE = 20  # seconds; a net


def outcome(attempt: Callable[[], object]) -> str:
    """The name of what it raises, or else what it returns."""
    try:
        return repr(attempt())
    except OSError as exc:
        return type(exc).__name__


def say_hello(sock: socket.socket) -> str:
    """All that somebody says to who greets correctly and then cannot prove anything."""
    greeting = bytes.fromhex(sys.argv[4])
    heard = b""
    with sock, suppress(ConnectionError):
        sock.settimeout(PATIENCE)
        sock.sendall(greeting + bytes(32))
        while data := sock.recv(4096):
            heard += data
    return heard.hex()


def dial(path: str) -> str:
    """The same over a Unix socket."""
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.connect(path)
    except OSError:
        sock.close()
        raise
    return say_hello(sock)


def main() -> None:
    """Become somebody else and try."""
    folder, path, port = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    "x".encode("idna")  # loads what may be out of reach afterwards
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)
    found = {
        "list": outcome(lambda: os.listdir(folder)),
        "write": outcome(lambda: os.mkdir(folder / "mine")),
        "read": outcome((folder / "secret").read_bytes),
        "remove": outcome((folder / "secret").unlink),
        "dial": outcome(lambda: dial(path)),
    }
    if port != "-":
        where = ("127.0.0.1", int(port))
        found["tcp"] = outcome(lambda: say_hello(socket.create_connection(where)))
    print(json.dumps(found))


if __name__ == "__main__":
    main()

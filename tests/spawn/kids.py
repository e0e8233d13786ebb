"""What the children of `test_mp.py` run."""

import os
import signal
import socket
import sys


def run_told(link: socket.socket) -> int:
    """Run the code that comes over the link; `say` answers on it."""

    def say(value: object) -> None:
        link.sendall(repr(value).encode() + b"\n")

    size = int.from_bytes(link.recv(4, socket.MSG_WAITALL))
    code = link.recv(size, socket.MSG_WAITALL).decode()
    exec(code, {"link": link, "say": say, "os": os, "signal": signal, "sys": sys})
    return 0

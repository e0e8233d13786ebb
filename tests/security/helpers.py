"""Who attacks, in plain blocking sockets, and what is attacked."""

import json
import os
import select
import socket
import subprocess
import sys
from contextlib import suppress
from typing import Any, Final, Self
from uuid import uuid4

from tests._helpers import ROOT, SAFETY, Stopwatch
from tractor import Aid
from tractor.ipc import BlockingLink, UnixAddress, parse_address
from tractor.ipc._bind import connection_name
from tractor.ipc._hello import GREETING_SIZE, PROOF_SIZE
from tractor.ipc.network import Hello, Secret
from tractor.msg import HEADER, decode_record, encode_frame, encode_payload
from tractor.msg import types as t

MAX_FRAME: Final = 16 * 1024 * 1024  # bytes; what trees here have by default

# All text, so that it is found wherever it might be shown.
RAW: Final = b"not-for-your-eyes-0123456789abcd"
SECRET: Final = Secret(RAW)
WRONG_SECRET: Final = Secret(b"guessed-but-not-at-all-rightly!!")

# Who strangers say that they are.
STRANGER: Final = Aid("stranger", "5" * 32, os.getpid())


def greet(
    aid: Aid = STRANGER, *, max_frame: int = MAX_FRAME, member: bool = False
) -> t.Greet:
    """What is said first after the hello."""
    return t.Greet(aid, 0.0, max_frame, member)


def frame(record: t.Record) -> bytes:
    """Its bytes on the wire."""
    return bytes(encode_frame(record, MAX_FRAME))


def start(ns: str, func: str, *args: Any, cid: int = 0) -> t.Start:
    """A call."""
    return t.Start(cid, ns, func, encode_payload((args, {}), "the arguments"))


class Stranger:
    """A connection with a listener, made by whoever likes to."""

    def __init__(self, address: str) -> None:
        self.sock = connect(address)
        self.sent = b""  # everything, for who wants to say it again

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.sock.close()

    def send(self, data: bytes) -> bool:
        """Whether all of it was taken."""
        self.sent += data
        try:
            self.sock.sendall(data)
        except OSError:
            return False
        return True

    def say_no_more(self) -> None:
        """Close this direction."""
        with suppress(OSError):  # it was hung up on already
            self.sock.shutdown(socket.SHUT_WR)

    def receive(self, count: int) -> bytes:
        """So many bytes, or fewer at the end."""
        data = b""
        while len(data) < count and (more := self._some(count - len(data))):
            data += more
        return data

    def received_all(self) -> bytes:
        """Everything until the other side hangs up."""
        data = b""
        while more := self._some(65536):
            data += more
        return data

    def _some(self, count: int) -> bytes:
        with suppress(ConnectionError):
            return self.sock.recv(count)
        return b""

    # -- as one of the tree --------------------------------------------------------

    def exchange_greetings(self, secret: Secret = SECRET) -> Hello:
        """The first half of the hello."""
        hello = Hello("dialer", secret)
        hello.tie_to(connection_name(self.sock, dialled=True))
        self.send(hello.greeting)
        hello.receive_greeting(self.receive(GREETING_SIZE))
        return hello

    def join(self, said: t.Greet | None = None) -> t.Greet:
        """Do the whole hello with the right secret; who is at the other end."""
        hello = self.exchange_greetings()
        self.send(hello.proof)
        hello.check_proof(self.receive(PROOF_SIZE))
        self.send(frame(said or greet()))
        size = int.from_bytes(self.receive(HEADER), "little")
        record = decode_record(self.receive(size))
        assert isinstance(record, t.Greet)
        return record

    def tell(self, record: t.Record) -> bool:
        """Send one record."""
        return self.send(frame(record))

    def hear(self) -> t.AnyRecord:
        """The next record."""
        return BlockingLink(self.sock, max_frame=MAX_FRAME).receive()

    def ask(self, record: t.Record) -> t.AnyRecord:
        """What is answered."""
        self.tell(record)
        return self.hear()


def connect(address: str) -> socket.socket:
    """A connected blocking socket with a net under it."""
    where = parse_address(address)
    if isinstance(where, UnixAddress):
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(SAFETY)
        sock.connect(where.path)
        return sock
    sock = socket.create_connection((where.host, where.port), timeout=SAFETY)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def is_served(address: str) -> None:
    """Whoever is of the tree gets in there, and an answer, within a second."""
    watch = Stopwatch()
    with Stranger(address) as stranger:
        stranger.join()
        assert stranger.ask(t.Ping(7)) == t.Pong(7)
        stranger.tell(t.Bye())
    watch.check(1.0)


def free_address(transport: str, folder: str) -> str:
    """Where nobody listens."""
    if transport == "uds":
        return f"/unix{folder}/{uuid4().hex[:8]}.sock"
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"/ip4/127.0.0.1/tcp/{server.getsockname()[1]}"


class Target:
    """The program `target`, and what it says of itself.

    Attributes:
        transport: ``uds`` or ``tcp``.
        address: Where its root listens.
    """

    def __init__(self, transport: str, address: str, files: int) -> None:
        self.transport = transport
        self.address = address
        self._unread = b""
        argv = (transport, address, RAW.hex(), str(files))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.security.target", *argv],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
        )
        assert self._answer() == "up"

    def close(self) -> None:
        """End it; in order, if it can."""
        with suppress(subprocess.TimeoutExpired):
            self.process.communicate(b"", timeout=SAFETY)
        self.process.kill()
        self.process.wait()

    def ask(self, word: str) -> Any:
        """What it answers."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{word}\n".encode())
        self.process.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        assert self.process.stdout is not None
        assert select.select([self.process.stdout], [], [], SAFETY)[0], "it is mute"
        return json.loads(self.process.stdout.readline())

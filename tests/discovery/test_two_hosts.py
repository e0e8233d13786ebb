"""Actors on two machines: found, called, cut off by a pulled cable, and found again.

The machines are network namespaces of this one. Secret and certificates are made by
the commands of docs/how-to/two-machines.md.
"""

import json
import os
import re
import select
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

import tractor
from tests._helpers import ROOT, SAFETY
from tests.discovery.two_hosts_net import CABLE, Host, two_hosts
from tractor.ipc.network import HELLO_TIMEOUT

HOW_TO: Final = ROOT / "docs/how-to/two-machines.md"
ACTOR: Final = ROOT / "tests/discovery/two_hosts_actor.py"
EXAMPLE: Final = ROOT / "examples/two_machines.py"
PORT: Final = 7316
KEEPALIVE: Final = 0.3  # seconds; 10 by default
T_LOOKUP: Final = 1.0  # seconds for a registrar to answer, or to be unavailable
T_AGAIN: Final = 3.0  # seconds until everybody is registered again

COMMANDS: Final = re.compile(
    r"^<!-- run by tests/discovery/test_two_hosts.py: (?P<when>[a-z ]+) -->\n"
    r"```console\n\$ (?P<command>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


class Said(NamedTuple):
    """One line of a program: an event, what of it, and when."""

    event: str
    detail: Any
    when: float


class Program:
    """One that tells what it sees, as `two_hosts_actor` does."""

    def __init__(self, host: Host, **options: Any) -> None:
        self._errors = (host.folder / f"{options['name']}.err").open("w+b")
        self._unread = b""
        self._said: list[Said] = []
        self.name = options["name"]
        self.process = host.start(
            sys.executable,
            ACTOR,
            json.dumps(options),
            env=environment(host),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
        )

    def heard(self, event: str) -> Said:
        """The next of that kind; others before it are passed over."""
        assert self.process.stdout is not None
        deadline = time.monotonic() + SAFETY
        while True:
            while b"\n" in self._unread:
                line, _, self._unread = self._unread.partition(b"\n")
                self._said.append(Said(*json.loads(line)))
                if self._said[-1].event == event:
                    return self._said[-1]
            left = max(0.0, deadline - time.monotonic())
            ready = select.select([self.process.stdout], [], [], left)[0]
            more = os.read(self.process.stdout.fileno(), 4096) if ready else b""
            assert more, f"{self.name} did not say {event!r}\n{self.story()}"
            self._unread += more

    def all_of(self, event: str) -> list[Said]:
        """Those of that kind so far."""
        return [said for said in self._said if said.event == event]

    def go_on(self) -> None:
        """Let it take its next step."""
        assert self.process.stdin is not None
        self.process.stdin.write(b"\n")
        self.process.stdin.flush()

    def end(self) -> None:
        """Let it leave in order."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        code = self.process.wait(timeout=SAFETY)
        assert code == 0, f"{self.name} ended with {code}\n{self.story()}"

    def kill(self) -> None:
        """End it now, if it is still there, and forget it."""
        self.process.kill()
        self.process.wait()
        self._errors.close()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()

    def story(self) -> str:
        """All that it said, for who reads of a failure."""
        self._errors.seek(0)
        lines = [f"{said.when:.3f} {said.event} {said.detail}" for said in self._said]
        return "\n".join([*lines, self._errors.read().decode()])


def environment(host: Host) -> dict[str, str]:
    """What a program there needs to know."""
    return {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "TRACTOR_SECRET_FILE": str(host.folder / "tree.secret"),
    }


@pytest.fixture
def hosts() -> Iterator[tuple[Host, Host]]:
    """Two machines, with what the page says that they need."""
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl command to make certificates with")
    with ExitStack() as stack:
        # With a path that is short enough for sockets in it.
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="two-"))
        try:
            made = stack.enter_context(two_hosts(Path(folder)))
        except OSError as exc:
            pytest.skip(f"network namespaces cannot be made here: {exc}")
        prepare(made)
        yield made


def prepare(made: tuple[Host, Host]) -> None:
    """Make the secret and the certificates, as the page says."""
    commands = COMMANDS.findall(HOW_TO.read_text())
    assert len(commands) == 3
    first, second = made
    for command in (command for when, command in commands if when == "once"):
        shell(command, first.folder)
    for name in ("tree.secret", "ca.pem", "ca.key"):
        shutil.copy2(first.folder / name, second.folder)
    for host in made:
        for command in (command for when, command in commands if when != "once"):
            assert first.addresses[4] in command
            address = f"IP:{host.addresses[4]},IP:{host.addresses[6]}"
            shell(command.replace(f"IP:{first.addresses[4]}", address), host.folder)


def shell(command: str, folder: Path) -> None:
    subprocess.run(
        ["sh", "-ec", command],
        check=True,
        capture_output=True,
        cwd=folder,
        timeout=SAFETY,
    )


@pytest.fixture
def start() -> Iterator[Callable[..., Program]]:
    """Starts programs, and ends what is left of them."""
    started: list[Program] = []

    def start(host: Host, name: str, **options: Any) -> Program:
        default: dict[str, Any] = {"keepalive": KEEPALIVE, "tls": "both", "bind": []}
        program = Program(host, name=name, **{**default, **options})
        started.append(program)
        return program

    yield start
    for program in started:
        program.kill()


def wait_until(condition: Callable[[], bool]) -> None:
    """Poll, since nothing tells of what the kernel does."""
    deadline = time.monotonic() + SAFETY
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def check(seconds: float, promise: float) -> None:
    """Hold what was seen to a promise, with what small machines need."""
    busy = os.getloadavg()[0] > 2 * (os.cpu_count() or 1)
    assert seconds <= promise * 3 * (2 if busy else 1)


class Meeting(NamedTuple):
    """Two programs that use each other, and a registrar.

    Attributes:
        registrar: At the first machine.
        east: At the first machine, too.
        west: At the second one.
    """

    registrar: Program
    east: Program
    west: Program


def meet(
    hosts: tuple[Host, Host],
    start: Callable[..., Program],
    *,
    version: int = 4,
    **of_registrar: Any,
) -> Meeting:
    """Have them find, call and stream from one another."""
    first, second = (host.addresses[version] for host in hosts)
    registry = [(first, PORT)]
    registrar = start(hosts[0], "registrar", registry=registry, **of_registrar)
    registrar.heard("ready")
    east = start(hosts[0], "east", registry=registry, bind=[(first, 0)], seek="west")
    west = start(hosts[1], "west", registry=registry, bind=[(second, 0)], seek="east")
    for program, other in ((east, west), (west, east)):
        found = program.heard("found").detail
        assert found == [other.name, other.process.pid]
        program.heard("streaming")
    return Meeting(registrar, east, west)


@pytest.mark.parametrize(
    ("version", "end", "keepalive"),
    [(4, 0, KEEPALIVE), (4, 1, SAFETY), (6, 1, KEEPALIVE)],
    ids=["ip4-here", "ip4-there", "ip6"],
)
def test_a_pulled_cable_breaks_what_is_open_and_nothing_for_good(
    hosts: tuple[Host, Host],
    start: Callable[..., Program],
    version: int,
    end: int,
    keepalive: float,
) -> None:
    """Whoever waits is told within 3 periods; plugged in again, all meet in 3 s.

    In between one of them has a registrar and cannot reach the other, and one has none.
    That registrar notices, or still holds the old connections for alive.
    reliability F1, F2, F7.
    """
    meeting = meet(hosts, start, version=version, keepalive=keepalive)
    _, east, west = meeting
    hosts[end].plug(False)
    cut = time.monotonic()
    told = {each: broken(each, cut) for each in (east, west)}
    alone = west.heard("looked up")
    assert alone.detail == "RegistrarUnavailable"
    check(alone.when - told[west], T_LOOKUP)
    in_vain = east.heard("looked up")
    assert in_vain.detail in ("nobody", "ActorUnreachable")
    check(in_vain.when - told[east], HELLO_TIMEOUT)
    hosts[end].plug(True)
    back = time.monotonic()
    for each, other in ((east, west), (west, east)):
        each.go_on()
        again = each.heard("found again")
        assert again.detail == [other.name, other.process.pid]
        check(again.when - back, T_AGAIN)
    for each in (east, west):
        each.heard("done")
    for each in reversed(meeting):
        each.end()


def broken(program: Program, cut: float) -> float:
    """Both of what it waited for failed in time; when the later one did."""
    for what in ("call failed", "stream failed"):
        failed = program.heard(what)
        assert failed.detail == "TransportBroken"
        check(failed.when - cut, 3 * KEEPALIVE)
    return failed.when


def test_a_short_cut_is_not_noticed(
    hosts: tuple[Host, Host], start: Callable[..., Program]
) -> None:
    """What the kernel sends again in time arrives, and nothing is lost or doubled."""
    registry = [(hosts[0].addresses[4], PORT)]
    east = start(hosts[0], "east", registry=registry, keepalive=SAFETY)
    east.heard("ready")
    west = start(hosts[1], "west", registry=registry, seek="east", keepalive=SAFETY)
    west.heard("streaming")
    hosts[1].plug(False)
    # Items, or the room for more that is told in return.
    wait_until(lambda: any(host.tries_again() for host in hosts))
    hosts[1].plug(True)
    back = time.monotonic()
    while west.heard("more").when < back:
        pass
    assert west.all_of("call failed") == west.all_of("stream failed") == []


def test_a_registrar_out_of_reach(
    hosts: tuple[Host, Host], start: Callable[..., Program]
) -> None:
    """A program that starts while the cable is out is told so, and does not hang."""
    registry = [(hosts[0].addresses[4], PORT)]
    start(hosts[0], "registrar", registry=registry).heard("ready")
    hosts[0].plug(False)
    early = start(hosts[1], "early", registry=registry)
    began = early.heard("begins").when
    failed = early.heard("failed")
    assert failed.detail[0] == "RegistrarUnavailable"
    check(failed.when - began, T_LOOKUP)


def test_what_is_said_of_loopback_is_not_of_this_machine(
    hosts: tuple[Host, Host], start: Callable[..., Program]
) -> None:
    """An actor of the other machine is found, whoever has that port here."""
    here, there = (host.addresses[4] for host in hosts)
    options = {"registry": [(here, PORT)], "transports": ["tcp"]}
    start(hosts[0], "registrar", **options).heard("ready")
    west = start(hosts[1], "west", bind=[(there, 0)], **options)
    loopback, _ = west.heard("ready").detail
    port = int(loopback.removeprefix("/ip4/127.0.0.1/tcp/"))
    with mail_server(hosts[0].run(socket.create_server, ("127.0.0.1", port))):
        east = start(hosts[0], "east", seek="west", **options)
        assert east.heard("found").detail == ["west", west.process.pid]


@contextmanager
def mail_server(sock: socket.socket) -> Iterator[None]:
    """Says something to all who come, and hangs up."""

    def serve() -> None:
        with suppress(OSError):
            while True:
                with sock.accept()[0] as conn:
                    conn.sendall(b"220 mail.example, at your service\r\n" * 4)

    thread = threading.Thread(target=serve)
    with sock:
        thread.start()
        try:
            yield
        finally:
            sock.shutdown(socket.SHUT_RDWR)
            thread.join()


def test_a_machine_that_lost_its_power(
    hosts: tuple[Host, Host], start: Callable[..., Program]
) -> None:
    """Its programs are found when they run again, also if nobody missed the old ones.

    The registrar holds the old one's connection for alive all the time.
    """
    registrar, east, west = meet(hosts, start, keepalive=SAFETY)
    hosts[1].plug(False)
    west.kill()
    broken(east, time.monotonic())
    hosts[1].plug(True)
    where = hosts[1].addresses[4]
    registry = [(hosts[0].addresses[4], PORT)]
    heir = start(hosts[1], "west", registry=registry, bind=[(where, 0)])
    heir.heard("ready")
    east.go_on()
    began = time.monotonic()
    again = east.heard("found again")
    assert again.detail == ["west", heir.process.pid]
    check(again.when - began, T_AGAIN)
    for each in (heir, east, registrar):
        each.end()


def test_the_programs_of_the_page(hosts: tuple[Host, Host]) -> None:
    """They do what the page says, and whoever listens to the cable reads nothing."""
    ear = hosts[0].run(listen_to_the_cable)
    with ear, ExitStack() as stack:
        pair = []
        for host, role in zip(hosts, ("serve", "watch"), strict=True):
            program = host.start(
                *(sys.executable, EXAMPLE, role, host.addresses[4]),
                env=environment(host),
                stdout=subprocess.PIPE,
            )
            stack.enter_context(program)
            stack.callback(program.kill)
            pair.append(program)
            if role == "serve":
                wait_until(lambda: hosts[0].run(is_listening, hosts[0].addresses[4]))
        texts = [each.communicate(timeout=SAFETY)[0].decode() for each in pair[::-1]]
        heard = b"".join(hear(ear))
    assert texts[0] == ("thermometer reads [18.5, 18.75, 19.0]\nreadings in all: 3\n")
    assert texts[1] == "the watcher has seen enough\n"
    assert b"\x17\x03\x03" in heard  # a record of TLS
    assert b"thermometer" not in heard
    assert b"measure" not in heard


def is_listening(host: str) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex((host, PORT)) == 0


def listen_to_the_cable() -> socket.socket:
    """Gets a copy of each packet."""
    all_kinds = socket.htons(3)  # ETH_P_ALL
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, all_kinds)
    sock.bind((CABLE, 0))
    sock.setblocking(False)
    return sock


def hear(sock: socket.socket) -> Iterator[bytes]:
    with suppress(BlockingIOError):
        while True:
            yield sock.recv(65536)


def test_who_knows_another_secret(
    hosts: tuple[Host, Host], start: Callable[..., Program]
) -> None:
    """It is refused at once, and told why; the certificate does not help it."""
    registry = [(hosts[0].addresses[4], PORT)]
    registrar = start(hosts[0], "registrar", registry=registry)
    registrar.heard("ready")
    (hosts[1].folder / "tree.secret").write_bytes(os.urandom(32))
    stranger = start(hosts[1], "stranger", registry=registry)
    assert stranger.heard("failed").detail[0] == "AuthenticationFailed"
    registrar.end()


def test_a_registrar_with_a_certificate_of_somebody_else(
    hosts: tuple[Host, Host], start: Callable[..., Program]
) -> None:
    """Nothing is said to it, not even a hello."""
    registry = [(hosts[0].addresses[4], PORT)]
    for name in ("machine.pem", "machine.key"):
        shutil.copy2(hosts[1].folder / name, hosts[0].folder)
    registrar = start(hosts[0], "registrar", registry=registry)
    registrar.heard("ready")
    visitor = start(hosts[1], "visitor", registry=registry)
    kind, text = visitor.heard("failed").detail
    assert kind == "RegistrarUnavailable"
    assert "certificate" in text
    registrar.end()


@pytest.mark.parametrize("role", ["registrar", "member", "bound"])
def test_nothing_goes_unencrypted(
    hosts: tuple[Host, Host], start: Callable[..., Program], role: str
) -> None:
    """Without certificates a program neither listens for other machines nor dials."""
    here, there = (host.addresses[4] for host in hosts)
    options = {
        "registrar": {"registry": [(there, PORT)]},
        "member": {"registry": [(here, PORT)]},
        "bound": {"registry": [], "bind": [(there, 0)]},
    }[role]
    careless = start(hosts[1], "careless", tls="none", **options)
    kind, text = careless.heard("failed").detail
    assert kind == "ValueError"
    assert "ssl_context" in text


def test_a_registrar_without_a_certificate(
    hosts: tuple[Host, Host], start: Callable[..., Program]
) -> None:
    """It could dial others, but nobody could trust it; so it does not listen."""
    registry = [(hosts[0].addresses[4], PORT)]
    careless = start(hosts[0], "careless", registry=registry, tls="dialer")
    kind, text = careless.heard("failed").detail
    assert kind == "RegistrarUnavailable"
    assert "ssl_context" in text


async def test_certificates_have_to_be_checked() -> None:
    """Who would take any could be talking with somebody in between."""
    careless = ssl.create_default_context()
    careless.check_hostname = False
    careless.verify_mode = ssl.CERT_NONE
    with pytest.raises(ValueError, match="checks no certificate"):
        async with tractor.open_root_actor(ssl_context=careless):
            pytest.fail("it was taken")


def test_children_stay_on_their_machine(
    hosts: tuple[Host, Host], start: Callable[..., Program]
) -> None:
    """Another machine learns that there is such an actor, and cannot reach it.

    A certificate is not handed down, so children listen for this machine alone, and
    have no registrar if that is on another one.
    """
    registry = [(hosts[0].addresses[4], PORT)]
    parent = start(hosts[0], "registrar", registry=registry, child="child")
    assert parent.heard("started").detail == ["found", "nobody"]
    member = start(hosts[1], "member", registry=registry, child="grandchild")
    assert member.heard("started").detail == ["found", "RegistrarUnavailable"]
    seeker = start(hosts[1], "seeker", registry=registry, seek="child")
    kind, text = seeker.heard("failed").detail
    assert kind == "ActorUnreachable"
    assert "child" in text
    for each in (member, parent):
        each.end()

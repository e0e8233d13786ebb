"""Where an actor can be reached; text and pairs become addresses here. No I/O.

The text of an address is that of multiaddr, and travels between actors:
``/unix/run/x.sock``, ``/ip4/127.0.0.1/tcp/80``, ``/ip6/::1/tcp/80``,
``/dns/host/tcp/80``. An address checks itself however it is made, also when it is
decoded, and has one spelling: the same host and port are equal.
"""

import os
import re
import socket
from collections.abc import Iterable
from typing import Final, Literal

from msgspec import Struct
from msgspec.structs import force_setattr

MAX_UNIX_PATH: Final = 100  # bytes; systems end at 104 to 108, and a NUL takes one
MAX_PORT: Final = 65535

FORMS: Final = (
    "give '/unix/run/name.sock', '/ip4/127.0.0.1/tcp/80', '/ip6/::1/tcp/80', "
    "'/dns/host.example/tcp/80', ('host', port), or a pathlib.Path that is absolute"
)

_LABEL: Final = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
# The last label is not a number: "1.2.3.256" and "127.1" are misspelt, no names.
_NAME: Final = re.compile(rf"({_LABEL}\.)*(?![0-9]+\.?$|0x[0-9a-f]*\.?$){_LABEL}\.?")
_MAX_NAME: Final = 253
_ZONE: Final = re.compile(r"[A-Za-z0-9_.:-]{1,32}")  # an interface of this machine
_PORT: Final = re.compile(r"[0-9]{1,5}")
_SHOWN: Final = 200  # characters of what was given that an error repeats

type _HostKind = Literal["ip4", "ip6", "dns"]


class UnixAddress(Struct, frozen=True, tag="uds"):
    """A Unix socket of this machine.

    Attributes:
        path: Absolute, at most 100 bytes as the file system has it.
    """

    path: str

    def __post_init__(self) -> None:
        """Refuse what no socket can be bound to.

        Raises:
            ValueError: It says why.
        """
        _check_path(self.path)

    @property
    def transport(self) -> Literal["uds"]:
        """The kind of connection."""
        return "uds"

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach it."""
        return True

    def __str__(self) -> str:
        return f"/unix{self.path}"


class TcpAddress(Struct, frozen=True, tag="tcp"):
    """A TCP port.

    Attributes:
        host: An IP address, or the name of a host.
        port: 0 to 65535; 0 stands for any free one.
    """

    host: str
    port: int

    def __post_init__(self) -> None:
        """Take the one spelling of the host; refuse what is no host or port.

        Raises:
            TypeError: The port is no integer.
            ValueError: It says why.
        """
        if not isinstance(self.host, str):
            msg = f"the host of a TCP address is no text: {_shown(self.host)}; {FORMS}"
            raise TypeError(msg)
        if not isinstance(self.port, int) or isinstance(self.port, bool):
            msg = f"a port is an integer, not {_shown(self.port)}; {FORMS}"
            raise TypeError(msg)
        if not 0 <= self.port <= MAX_PORT:
            msg = f"port {_shown(self.port)} is not between 0 and {MAX_PORT}; {FORMS}"
            raise ValueError(msg)
        force_setattr(self, "host", _read_host(self.host)[1])

    @property
    def transport(self) -> Literal["tcp"]:
        """The kind of connection."""
        return "tcp"

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach it."""
        host = self.host.partition("%")[0]  # in its one spelling
        if _read_host(self.host)[0] == "ip4":
            return host.startswith("127.")
        return host in {"localhost", "::1"} or host.startswith("::ffff:127.")

    def __str__(self) -> str:
        return f"/{_read_host(self.host)[0]}/{self.host}/tcp/{self.port}"


type Address = UnixAddress | TcpAddress
"""Where an actor can be reached."""

type AnyAddress = Address | str | os.PathLike[str] | tuple[str, int]
"""What users may give for an address."""


def parse_address(given: AnyAddress) -> Address:
    """Make an address of what a user gave, or a peer sent.

    Args:
        given: An address, its text, a pair of host and port, or an absolute path.

    Raises:
        TypeError: It is none of these.
        ValueError: It says what is wrong with it, and what would be right.
    """
    match given:
        case UnixAddress() | TcpAddress():
            return given
        case str():
            return _parse_text(given)
        case tuple((host, port)):
            return TcpAddress(host, port)
        case tuple():
            msg = f"{_shown(given)} is not a pair of host and port; {FORMS}"
            raise ValueError(msg)
        case os.PathLike():
            return UnixAddress(os.fsdecode(given))
    msg = f"{_shown(given)} is not an address; {FORMS}"
    raise TypeError(msg)


def by_preference(addresses: Iterable[Address]) -> list[Address]:
    """Those that are quickest to talk to first, else in the order given."""

    def distance(address: Address) -> int:
        if isinstance(address, UnixAddress):
            return 0
        return 1 if address.is_local else 2

    return sorted(addresses, key=distance)


# -- Reading ---------------------------------------------------------------------------


def _parse_text(text: str) -> Address:
    if text.startswith("/unix/"):
        return UnixAddress(text.removeprefix("/unix"))
    match text.split("/"):
        case ["", "ip4" | "ip6" | "dns" as kind, host, "tcp", port]:
            if not _PORT.fullmatch(port):
                msg = f"{_shown(text)} has no port after '/tcp/'; {FORMS}"
                raise ValueError(msg)
            found = _read_host(host)[0]
            if found != kind != "dns":
                msg = f"{_shown(host)} in {_shown(text)} is not of /{kind}; {FORMS}"
                raise ValueError(msg)
            return TcpAddress(host, int(port))
        case ["", "ip4" | "ip6" | "dns", _] | ["", "ip4" | "ip6" | "dns", _, "tcp"]:
            msg = f"{_shown(text)} has no port; {FORMS}"
        case ["", "ip4" | "ip6" | "dns" | "unix", *_]:
            msg = f"{_shown(text)} is no address of a socket; {FORMS}"
        case ["", protocol, *_]:
            msg = f"{_shown(text)} begins with {_shown(protocol)}, which is no protocol"
            msg += f" that is known here; {FORMS}"
        case _:
            msg = f"{_shown(text)} is not an address; {FORMS}"
    raise ValueError(msg)


def _check_path(path: str) -> None:
    if not isinstance(path, str):
        msg = f"the path of a socket is no text: {_shown(path)}; {FORMS}"
        raise TypeError(msg)
    try:
        path.encode()  # it travels as text
        size = len(os.fsencode(path))
    except UnicodeEncodeError:
        wrong = "cannot be encoded"
    else:
        if not path:
            wrong = "is empty"
        elif "\0" in path:
            wrong = "has a NUL in it"
        elif not path.startswith("/"):
            wrong = "is not absolute"
        elif path.endswith("/"):
            wrong = "names a folder"
        elif size > MAX_UNIX_PATH:
            wrong = f"has {size} bytes, of which {MAX_UNIX_PATH} are allowed"
        else:
            return
    msg = f"the path of a socket {wrong}: {_shown(path)}; {FORMS}"
    raise ValueError(msg)


def _read_host(host: str) -> tuple[_HostKind, str]:
    """What kind of host that is, and its one spelling."""
    address, percent, zone = host.partition("%")
    if host.isascii() and "\0" not in host:
        if (ip4 := _ip(socket.AF_INET, host)) is not None:
            return "ip4", ip4
        ip6 = _ip(socket.AF_INET6, address)
        if ip6 is not None and (not percent or _ZONE.fullmatch(zone)):
            return "ip6", f"{ip6}{percent}{zone}"
        name = host.lower()
        if len(name) <= _MAX_NAME and _NAME.fullmatch(name):
            return "dns", name
    msg = f"{_shown(host)} is neither an IP address nor the name of a host; {FORMS}"
    raise ValueError(msg)


def _ip(family: socket.AddressFamily, text: str) -> str | None:
    try:
        return socket.inet_ntop(family, socket.inet_pton(family, text))
    except OSError:
        return None


def _shown(value: object) -> str:
    """As it is written in Python, but never long: it may come from a peer."""
    try:
        text = repr(value)
    except ValueError:  # an integer with too many digits to write
        text = f"a huge {type(value).__name__}"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"

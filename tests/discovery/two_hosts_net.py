"""Two hosts and a cable between them, on one machine: namespaces and a veth.

It talks with the kernel by netlink, rtnetlink(7), so that no command is needed. Only
root may do it, and not everywhere.
"""

import ctypes
import ipaddress
import os
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Final, NoReturn

NETMASK: Final = {4: 24, 6: 64}  # bits, by version of IP
ESTABLISHED: Final = "01"  # in /proc/net/tcp

_NEW_LINK: Final = 16  # RTM_NEWLINK; linux/rtnetlink.h
_NEW_ADDRESS: Final = 20  # RTM_NEWADDR
_ERROR: Final = 2  # NLMSG_ERROR; also an acknowledgement, with error 0
_REQUEST_ACK: Final = 0x1 | 0x4  # NLM_F_REQUEST, NLM_F_ACK
_CREATE: Final = 0x400 | 0x200  # NLM_F_CREATE, NLM_F_EXCL
_NESTED: Final = 0x8000  # NLA_F_NESTED
_LINK_NAME: Final = 3  # IFLA_IFNAME; linux/if_link.h
_LINK_INFO: Final = 18  # IFLA_LINKINFO
_INFO_KIND: Final = 1  # IFLA_INFO_KIND
_INFO_DATA: Final = 2  # IFLA_INFO_DATA
_VETH_PEER: Final = 1  # VETH_INFO_PEER; linux/veth.h
_NAMESPACE: Final = 28  # IFLA_NET_NS_FD
_LOCAL: Final = 2  # IFA_LOCAL; linux/if_addr.h
_ADDRESS: Final = 1  # IFA_ADDRESS
_NO_DAD: Final = 0x02  # IFA_F_NODAD: usable at once
_UP: Final = 1  # IFF_UP

_HEADER: Final = struct.Struct("=IHHII")  # nlmsghdr
_LINK: Final = struct.Struct("=BxHiII")  # ifinfomsg
_ADDR: Final = struct.Struct("=BBBBI")  # ifaddrmsg
_PRIVATE: Final = 0x4000 | 0x40000  # MS_REC, MS_PRIVATE; linux/mount.h
_KINDS: Final = ("net", "mnt")
CABLE: Final = "cable"  # name of the interface at either end


class Host:
    """A network of its own, with one end of the cable, and a folder of its own.

    Attributes:
        addresses: Of it, by version of IP.
        folder: Where its programs run.
        runtime: Its runtime directory, which the other one does not see.
    """

    def __init__(self, number: int, folder: Path) -> None:
        self.addresses = {4: f"192.0.2.{number}", 6: f"2001:db8::{number}"}
        self.folder = folder
        self.runtime = folder / "run"
        self.runtime.mkdir(0o700)
        self._network, self._mounts = _in_thread(self._unshare)

    def _unshare(self) -> tuple[int, int]:
        os.unshare(os.CLONE_NEWNET | os.CLONE_NEWNS)
        _mount("none", "/", "", _PRIVATE)
        _mount("none", str(self.runtime), "tmpfs", 0)
        flags = os.O_RDONLY | os.O_CLOEXEC
        found = [os.open(f"/proc/thread-self/ns/{kind}", flags) for kind in _KINDS]
        return found[0], found[1]

    def close(self) -> None:
        """Let go of it; it is gone with its last program."""
        os.close(self._network)
        os.close(self._mounts)

    def run[T](self, fn: Callable[..., T], *args: Any) -> T:
        """Run a function in its network, in a thread."""

        def there() -> T:
            os.setns(self._network, os.CLONE_NEWNET)
            return fn(*args)

        return _in_thread(there)

    def start(
        self, *argv: str | Path, env: dict[str, str], **options: Any
    ) -> "subprocess.Popen[bytes]":
        """Start a program there."""
        fds = self._network, self._mounts
        door = (sys.executable, "-IS", __file__, *map(str, fds), str(self.folder))
        env = {**env, "XDG_RUNTIME_DIR": str(self.runtime)}
        return subprocess.Popen([*door, *argv], env=env, pass_fds=fds, **options)

    def plug(self, up: bool) -> None:
        """Put this end of the cable in, or pull it out."""
        self.run(_set_up, CABLE, up)
        if up:
            for address in self.addresses.values():
                with suppress(FileExistsError):  # one that the kernel did not take away
                    self.run(_add_address, CABLE, address)

    def tries_again(self) -> bool:
        """Whether it has sent something again, over IPv4, and got no answer yet."""
        text = self.run(Path("/proc/thread-self/net/tcp").read_text)
        for line in text.splitlines()[1:]:
            state, _, _, repeats, _, probes = line.split()[3:9]
            if state == ESTABLISHED and int(repeats, 16) + int(probes):
                return True
        return False


@contextmanager
def two_hosts(folder: Path) -> Iterator[tuple[Host, Host]]:
    """Two hosts that reach each other and nobody else, while the block lasts.

    Args:
        folder: Where those of the two are made.

    Raises:
        OSError: This machine or this user cannot make any.
    """
    with ExitStack() as stack:
        hosts = []
        for number in (1, 2):
            place = folder / f"host{number}"
            place.mkdir()
            hosts.append(Host(number, place))
            stack.callback(hosts[-1].close)
        hosts[0].run(_make_cable, hosts[1]._network)
        for host in hosts:
            host.run(_set_up, "lo", True)
            host.plug(True)
        yield hosts[0], hosts[1]


def _mount(source: str, target: str, kind: str, flags: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    texts = [text.encode() for text in (source, target, kind)]
    if libc.mount(*texts, ctypes.c_ulong(flags), None):
        raise OSError(ctypes.get_errno(), f"cannot mount at {target}")


def _in_thread[T](fn: Callable[[], T]) -> T:
    """Run it in a thread of its own, so that this one stays in its namespaces."""
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(fn())
        except BaseException as exc:  # noqa: BLE001 (raised by the caller)
            errors.append(exc)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


# -- rtnetlink -------------------------------------------------------------------------


def _make_cable(far_namespace: int) -> None:
    peer = _LINK.pack(0, 0, 0, 0, 0)
    peer += _text(_LINK_NAME, CABLE)
    peer += _attribute(_NAMESPACE, struct.pack("=I", far_namespace))
    info = _text(_INFO_KIND, "veth")
    info += _attribute(_INFO_DATA | _NESTED, _attribute(_VETH_PEER | _NESTED, peer))
    body = _LINK.pack(0, 0, 0, 0, 0)
    body += _text(_LINK_NAME, CABLE) + _attribute(_LINK_INFO | _NESTED, info)
    _ask(_NEW_LINK, body, _CREATE)


def _set_up(name: str, up: bool) -> None:
    index = socket.if_nametoindex(name)
    _ask(_NEW_LINK, _LINK.pack(0, 0, index, _UP if up else 0, _UP))


def _add_address(name: str, text: str) -> None:
    address = ipaddress.ip_address(text)
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    bits = NETMASK[address.version]
    flags = 0 if address.version == 4 else _NO_DAD
    body = _ADDR.pack(family, bits, flags, 0, socket.if_nametoindex(name))
    body += _attribute(_LOCAL, address.packed) + _attribute(_ADDRESS, address.packed)
    _ask(_NEW_ADDRESS, body, _CREATE)


def _ask(kind: int, body: bytes, flags: int = 0) -> None:
    """One request to the kernel, and its answer.

    Raises:
        OSError: It was refused.
    """
    size = _HEADER.size + len(body)
    header = _HEADER.pack(size, kind, _REQUEST_ACK | flags, 1, 0)
    with socket.socket(
        socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE
    ) as sock:
        sock.settimeout(5)
        sock.send(header + body)
        answer = sock.recv(65536)
    _, kind, _, _, _ = _HEADER.unpack_from(answer)
    assert kind == _ERROR, f"an answer of kind {kind}"
    (error,) = struct.unpack_from("=i", answer, _HEADER.size)
    if error:
        raise OSError(-error, os.strerror(-error))


def _attribute(kind: int, data: bytes) -> bytes:
    size = struct.calcsize("=HH") + len(data)
    return struct.pack("=HH", size, kind) + data + bytes(-size % 4)


def _text(kind: int, text: str) -> bytes:
    return _attribute(kind, text.encode() + b"\0")


def enter(network: str, mounts: str, folder: str, *argv: str) -> NoReturn:
    """Become a program at a host."""
    for fd, kind in ((network, os.CLONE_NEWNET), (mounts, os.CLONE_NEWNS)):
        os.setns(int(fd), kind)
        os.close(int(fd))
    os.chdir(folder)
    os.execv(argv[0], argv)


if __name__ == "__main__":
    enter(*sys.argv[1:])

"""Sockets that listen, and what the kernel tells of their ends.

Nothing is taken from who listens already. The socket file of a dead process is in the
way of a new one, and may be removed only if nobody answers there. Between that and the
new socket's listening another starter must not come to the same conclusion, so whoever
wants an address holds a lock for it, a file beside the socket's.
"""

import errno
import os
import socket
import stat
import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, Final

from tractor._exceptions import AddressInUse, AuthenticationFailed
from tractor.ipc._address import Address, TcpAddress, UnixAddress
from tractor.ipc._folders import try_lock
from tractor.ipc._runtime_dir import LOCK_SUFFIX
from tractor.log import get_logger

log = get_logger("bind")

BACKLOG: Final = 128  # connections that wait for `accept`
LOCK_TIME: Final = 0.05  # seconds to wait for others who want the same path

_LOCK_TICK: Final = 0.002  # seconds between two tries
_PORT_TRIES: Final = 10  # for one that is free in both families
_NOT_HERE: Final = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}
_CREDENTIALS: Final = struct.Struct("iII")  # pid, uid, gid; unix(7)
_UNKNOWN_ID: Final = 0xFFFFFFFF


# -- Unix sockets ----------------------------------------------------------------------


def bind_unix(address: UnixAddress) -> socket.socket:
    """A socket that listens there, and that only this user can connect to.

    The file of one that nobody listens at any more is replaced.

    Args:
        address: In a folder of this user that others cannot write to.

    Returns:
        Non-blocking. Its file is left to `unlink_socket`.

    Raises:
        AddressInUse: Somebody listens there or is just about to, or something that is
            not a socket has that name.
        OSError: It cannot be done; among them, with a text that says so, that the
            folder is missing, belongs to somebody else, or is open to them.
    """
    folder, name = os.path.split(address.path)
    _check_folder(folder)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        with suppress(OSError):
            # Linux gives the file the mode of the socket. The umask would do it on all
            # systems, but is not ours: other threads make files, too.
            os.fchmod(sock.fileno(), 0o600)
        with _only_one(os.path.join(folder, f".{name}{LOCK_SUFFIX}"), address):
            _remove_stale(address)
            _bind(sock, address.path, address)
            os.chmod(address.path, 0o600)  # nobody can connect before it listens
            sock.listen(BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock


def unlink_socket(path: str, device: int, inode: int) -> None:
    """Remove the file of a socket, unless it has been replaced.

    What cannot be removed is logged, and left: there is more to be closed.

    Args:
        path: Of the file.
        device: What `os.lstat` said of it after the socket was bound.
        inode: The same. An open socket keeps the number for itself, so this is to be
            called before it is closed.
    """
    try:
        there = os.lstat(path)
        if (there.st_dev, there.st_ino) == (device, inode):
            os.unlink(path)
    except (FileNotFoundError, NotADirectoryError):
        pass  # somebody else has
    except OSError as exc:
        log.warning("a socket file stays behind: %s", exc)


def _check_folder(folder: str) -> None:
    try:
        info = os.stat(folder)
    except FileNotFoundError as exc:
        msg = "there is no such folder for a socket"
        raise FileNotFoundError(exc.errno, msg, folder) from exc
    problem = ""
    if not stat.S_ISDIR(info.st_mode):
        problem = "this is no folder for a socket"
    elif info.st_uid != os.geteuid():
        problem = f"this folder for a socket belongs to user {info.st_uid}"
    elif info.st_mode & 0o022:
        mode = stat.S_IMODE(info.st_mode)
        problem = f"others can write to this folder for a socket (mode {mode:04o})"
    if problem:
        raise OSError(errno.EPERM, problem, folder)


def _remove_stale(address: UnixAddress) -> None:
    try:
        mode = os.lstat(address.path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        msg = f"{address.path} is there already, and is no socket"
        raise AddressInUse(msg)
    if _somebody_answers(address.path):
        raise _in_use(address)
    with suppress(FileNotFoundError):
        os.unlink(address.path)


def _somebody_answers(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError:  # a full queue, another kind of socket: somebody is there
            return True
        return True


@contextmanager
def _only_one(path: str, address: UnixAddress) -> Iterator[None]:
    """Hold the lock that is that file, and remove it afterwards."""
    deadline = time.monotonic() + LOCK_TIME
    while (fd := _lock_file(path)) is None:
        if time.monotonic() > deadline:
            raise _in_use(address)
        time.sleep(_LOCK_TICK)
    try:
        yield
    finally:
        if os.fstat(fd).st_size == 0:  # no file of somebody else's by that name
            with suppress(FileNotFoundError):
                os.unlink(path)
        os.close(fd)


def _lock_file(path: str) -> int | None:
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(path, flags, 0o600)
    locked = False
    try:
        if try_lock(fd):
            with suppress(FileNotFoundError):
                # Who had it before us may have removed it, and others made a new one.
                there = os.stat(path, follow_symlinks=False)
                locked = os.path.samestat(there, os.fstat(fd))
    finally:
        if not locked:
            os.close(fd)
    return fd if locked else None


# -- TCP -------------------------------------------------------------------------------


def bind_tcp(address: TcpAddress) -> list[socket.socket]:
    """Sockets that listen there: one, but for ``localhost`` one in each family.

    Args:
        address: Of this machine, in numbers, since to look up a name would take its
            time; or ``localhost``. Port 0 gives a free one.

    Returns:
        Non-blocking, and all at the same port.

    Raises:
        AddressInUse: Somebody listens there.
        OSError: It cannot be done; among them, with a text that says so, that the
            address is not one of this machine, or a name.
    """
    hosts = ["127.0.0.1", "::1"] if address.host == "localhost" else [address.host]
    tries = _PORT_TRIES if address.port == 0 else 1
    while True:
        tries -= 1
        try:
            return _bind_hosts(hosts, address)
        except AddressInUse:
            if not tries:
                raise


def _bind_hosts(hosts: list[str], address: TcpAddress) -> list[socket.socket]:
    socks: list[socket.socket] = []
    port = address.port
    with ExitStack() as stack:
        for host in hosts:
            try:
                sock = _bind_host(host, port, address)
            except OSError as exc:
                other = len(hosts) > 1 and exc.errno in _NOT_HERE
                if other and (socks or host != hosts[-1]):
                    continue  # a machine may have one of the families only
                raise
            stack.callback(sock.close)
            port = sock.getsockname()[1]
            socks.append(sock)
        stack.pop_all()
    return socks


def _bind_host(host: str, port: int, address: TcpAddress) -> socket.socket:
    numeric = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=numeric)
    except socket.gaierror as exc:
        msg = f"cannot listen at {address}: it is no IP address of this machine"
        raise OSError(errno.EADDRNOTAVAIL, msg) from exc
    family, _, _, _, where = found[0]
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        # Or else a port could not be had again for a minute after a restart.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        _bind(sock, where, address)
        _listen(sock, address)
    except BaseException:
        sock.close()
        raise
    return sock


def _bind(sock: socket.socket, where: Any, address: Address) -> None:
    try:
        sock.bind(where)
    except OSError as exc:
        raise _explained(exc, address) from exc


def _listen(sock: socket.socket, address: Address) -> None:
    try:
        sock.listen(BACKLOG)
    except OSError as exc:  # two may bind the same, but only one of them listens
        raise _explained(exc, address) from exc


def _explained(error: OSError, address: Address) -> AddressInUse | OSError:
    match error.errno:
        case errno.EADDRINUSE:
            return _in_use(address)
        case errno.EADDRNOTAVAIL:
            msg = f"cannot listen at {address}: it is no address of this machine"
        case _:
            msg = f"cannot listen at {address}: {error.strerror}"
    return OSError(error.errno, msg)


def _in_use(address: Address) -> AddressInUse:
    return AddressInUse(f"somebody else listens at {address}, or is about to")


# -- What the kernel tells -------------------------------------------------------------


def bound_address(sock: socket.socket) -> Address:
    """The address that a socket of ours has."""
    name = sock.getsockname()
    if sock.family == socket.AF_UNIX:
        return UnixAddress(name)
    return TcpAddress(name[0], name[1])


def connection_name(sock: socket.socket, *, dialled: bool) -> bytes:
    """What both ends of a TCP connection, and of no other, say of it.

    Empty for a Unix socket: the kernel itself tells who is at its other end.

    Raises:
        OSError: The connection is gone.
    """
    if sock.family == socket.AF_UNIX:
        return b""
    ends = [sock.getsockname(), sock.getpeername()]
    if not dialled:
        ends.reverse()
    # IPv6 may write an address of IPv4 in its own way, at one end or at both.
    names = [f"{host.removeprefix('::ffff:')} {port}" for host, port, *_ in ends]
    return ">".join(names).encode()


def check_user(sock: socket.socket) -> None:
    """Refuse another user of the machine.

    Raises:
        AuthenticationFailed: The kernel says that one is at the other end.
    """
    uid = peer_uid(sock)
    if uid is not None and uid != os.geteuid():
        msg = f"a connection with user {uid}, who is not the one of this actor"
        raise AuthenticationFailed(msg)


def peer_uid(sock: socket.socket) -> int | None:
    """User id of who is at the other end; `None` where the kernel does not say it."""
    uid = _credentials(sock)[1]
    return uid if uid != _UNKNOWN_ID else None


def peer_pid(sock: socket.socket) -> int | None:
    """Process that connected, or listens, at the other end; `None` likewise."""
    return _credentials(sock)[0] or None


def _credentials(sock: socket.socket) -> tuple[int, int]:
    option = getattr(socket, "SO_PEERCRED", None)  # Linux has it
    if option is None or sock.family != socket.AF_UNIX:
        return 0, _UNKNOWN_ID
    data = sock.getsockopt(socket.SOL_SOCKET, option, _CREDENTIALS.size)
    pid, uid, _ = _CREDENTIALS.unpack(data)
    return pid, uid

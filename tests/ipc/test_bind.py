"""Listening: never in the way of who listens already, always for us alone."""

import errno
import os
import signal
import socket
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from time import perf_counter
from typing import Final

import pytest
import trio

from tests._helpers import run_python, start_python
from tractor import (
    ActorUnreachable,
    AddressInUse,
    AuthenticationFailed,
    TractorError,
)
from tractor.ipc import TcpAddress, UnixAddress
from tractor.ipc import _bind as under_test
from tractor.ipc import _folders as folders
from tractor.ipc._bind import (
    bind_tcp,
    bind_unix,
    bound_address,
    check_user,
    connection_name,
    peer_pid,
    peer_uid,
    unlink_socket,
)
from tractor.ipc.network import connect

LINUX: Final = sys.platform == "linux"


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder of ours, with a short name."""
    with tempfile.TemporaryDirectory(prefix="rt-") as path:
        yield Path(path)


@pytest.fixture
def address(folder: Path) -> UnixAddress:
    """Where nothing is yet."""
    return UnixAddress(str(folder / "a.sock"))


def die_listening(address: UnixAddress) -> None:
    """Leave the file of a socket whose owner is gone."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(address.path)
        sock.listen()


def serves(sock: socket.socket) -> bool:
    """Whether a connection to its address arrives there."""
    with socket.socket(sock.family) as dialer:
        dialer.connect(sock.getsockname())
        conn, _ = sock.accept()
        with conn:
            return bool(conn.getsockname() == dialer.getpeername())


# -- Unix sockets ----------------------------------------------------------------------


def test_a_unix_socket_listens(address: UnixAddress) -> None:
    """It is ready for a loop, for us alone, and leaves no other file."""
    with bind_unix(address) as sock:
        assert not sock.getblocking()
        assert not sock.get_inheritable()
        assert bound_address(sock) == address
        assert serves(sock)
        mode = os.lstat(address.path).st_mode
        assert stat.S_ISSOCK(mode)
        assert stat.S_IMODE(mode) == 0o600
        assert os.listdir(Path(address.path).parent) == ["a.sock"]


@pytest.mark.parametrize("umask", [0o000, 0o777])
def test_it_is_for_us_alone_from_the_start(
    address: UnixAddress, umask: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No umask opens it to others, not even before it listens (security §2)."""
    real, modes = os.chmod, list[int]()

    def chmod(path: str, mode: int) -> None:
        modes.append(stat.S_IMODE(os.lstat(path).st_mode))
        real(path, mode)

    monkeypatch.setattr(os, "chmod", chmod)
    old = os.umask(umask)
    try:
        sock = bind_unix(address)
    finally:
        os.umask(old)
    with sock:
        assert stat.S_IMODE(os.lstat(address.path).st_mode) == 0o600
        assert serves(sock)
    assert modes == [0o600 & ~umask] or not LINUX


def test_who_listens_already_is_left_alone(address: UnixAddress) -> None:
    """A second one is refused, and the first does not notice (reliability F4)."""
    with bind_unix(address) as sock:
        before = os.lstat(address.path)
        with pytest.raises(AddressInUse, match=address.path) as caught:
            bind_unix(address)
        assert isinstance(caught.value, TractorError)
        assert os.lstat(address.path).st_ino == before.st_ino
        sock.accept()[0].close()  # the one that asked whether somebody is there
        assert serves(sock)


def test_who_is_too_busy_to_answer_is_left_alone(address: UnixAddress) -> None:
    """A full queue is a sign of life (reliability F4)."""
    with ExitStack() as stack:
        sock = stack.enter_context(socket.socket(socket.AF_UNIX))
        sock.bind(address.path)
        sock.listen(0)
        dialers = [stack.enter_context(socket.socket(socket.AF_UNIX)) for _ in "123"]
        for dialer in dialers:
            dialer.setblocking(False)
        codes = [dialer.connect_ex(address.path) for dialer in dialers]
        assert codes[-1] == errno.EAGAIN or not LINUX
        with pytest.raises(AddressInUse):
            bind_unix(address)


def test_the_file_of_the_dead_is_replaced(address: UnixAddress) -> None:
    """Nobody answers there, so nothing is taken from anybody (reliability F5)."""
    die_listening(address)
    with bind_unix(address) as sock:
        assert serves(sock)


OWNER: Final = """
import sys
from tractor.ipc import UnixAddress
from tractor.ipc._bind import bind_unix
sock = bind_unix(UnixAddress(sys.argv[1]))
print("ready", flush=True)
sys.stdin.read()
"""


def test_the_address_of_the_killed_is_free_again(address: UnixAddress) -> None:
    """It is not while the owner lives, also stopped, and is at once afterwards (F5)."""
    with start_python("trio", "-c", OWNER, address.path, stdin=-1) as owner:
        try:
            assert owner.stdout is not None
            assert owner.stdout.readline() == "ready\n"
            owner.send_signal(signal.SIGSTOP)
            with pytest.raises(AddressInUse):
                bind_unix(address)
        finally:
            owner.kill()
            owner.communicate(timeout=20)
    with bind_unix(address) as sock:
        assert serves(sock)


def a_datagram_socket(path: str) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sock.bind(path)
    return sock


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda path: Path(path).touch(), "is no socket"),
        (lambda path: Path(path).mkdir(), "is no socket"),
        (lambda path: Path(path).symlink_to("b.sock"), "is no socket"),
        (os.mkfifo, "is no socket"),
        (a_datagram_socket, "somebody else listens"),
    ],
    ids=["file", "folder", "link", "pipe", "datagrams"],
)
def test_what_is_something_else_stays(
    address: UnixAddress, make: Callable[[str], object], text: str
) -> None:
    """It is neither replaced nor followed."""
    kept = make(address.path)
    before = os.lstat(address.path)
    with pytest.raises(AddressInUse, match=text):
        bind_unix(address)
    assert os.lstat(address.path) == before
    assert os.listdir(Path(address.path).parent) == ["a.sock"]
    if isinstance(kept, socket.socket):
        kept.close()


def missing(folder: Path) -> None:
    folder.rmdir()


def a_file(folder: Path) -> None:
    folder.rmdir()
    folder.touch()


def writable(folder: Path) -> None:
    folder.chmod(0o770)


def foreign(folder: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can make what belongs to another")
    os.chown(folder, 65534, -1)


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (missing, FileNotFoundError, "there is no such folder"),
        (a_file, PermissionError, "is no folder"),
        (writable, PermissionError, "others can write to this folder.*0770"),
        (foreign, PermissionError, "belongs to user 65534"),
    ],
)
def test_the_folder_is_checked(
    folder: Path, make: Callable[[Path], None], error: type[OSError], text: str
) -> None:
    """The error says what is wrong with it, and names it (reliability F9)."""
    place = folder / "place"
    place.mkdir()
    make(place)
    with pytest.raises(error, match=text) as caught:
        bind_unix(UnixAddress(str(place / "a.sock")))
    assert caught.value.filename == str(place)


def test_a_failure_leaves_nothing(
    address: UnixAddress, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a descriptor nor the lock (the census sees the first)."""
    monkeypatch.setattr(under_test, "BACKLOG", "many")
    with pytest.raises(TypeError):
        bind_unix(address)
    monkeypatch.undo()
    with bind_unix(address) as sock:
        assert serves(sock)


def test_two_starters_do_not_mix(address: UnixAddress) -> None:
    """While somebody is about to listen, nobody else takes the address."""
    die_listening(address)
    lock = Path(address.path).with_name(".a.sock.lock")
    fd = os.open(lock, os.O_RDWR | os.O_CREAT)
    assert folders.try_lock(fd)
    began = perf_counter()
    with pytest.raises(AddressInUse, match="about to"):
        bind_unix(address)
    assert perf_counter() - began >= under_test.LOCK_TIME
    with bind_unix(UnixAddress(f"{address.path}2")) as other:  # has another lock
        assert serves(other)
    os.close(fd)
    with bind_unix(address) as sock:
        assert serves(sock)
    assert not lock.exists()


def test_a_lock_that_goes_with_its_holder(
    address: UnixAddress, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who then locks what is no more in the folder tries again."""
    real, calls = folders.try_lock, list[int]()
    lock = Path(address.path).with_name(".a.sock.lock")

    def try_lock(fd: int) -> bool:
        calls.append(fd)
        if len(calls) <= 2:
            lock.unlink()
        if len(calls) == 2:
            lock.touch()  # the next one has made its own already
        return real(fd)

    monkeypatch.setattr(under_test, "try_lock", try_lock)
    with bind_unix(address) as sock:
        assert len(calls) == 3
        assert serves(sock)
    assert os.listdir(lock.parent) == ["a.sock"]


def test_a_file_that_is_called_like_the_lock_stays(address: UnixAddress) -> None:
    """What has something in it is not ours."""
    lock = Path(address.path).with_name(".a.sock.lock")
    lock.write_text("precious")
    bind_unix(address).close()
    assert lock.read_text() == "precious"


STARTERS: Final = """
import os, socket, sys
from tractor import AddressInUse
from tractor.ipc import UnixAddress
from tractor.ipc._bind import bind_unix

address = UnixAddress(sys.argv[1])
won = 0
for _ in range(int(sys.argv[2])):
    told, tell = os.pipe()
    started, start = os.pipe()
    kept, keep = os.pipe()
    for _ in range(8):
        if os.fork() == 0:
            os.close(start)
            os.close(keep)
            os.read(started, 1)  # ends when all are there
            try:
                sock = bind_unix(address)
            except AddressInUse:
                os.write(tell, b"-")
            except BaseException as exc:
                print(repr(exc), file=sys.stderr)
                os.write(tell, b"!")
            else:
                os.write(tell, b"+")
                os.read(kept, 1)  # listen until the round is over
            os._exit(0)
    for each in (start, started, tell, kept):
        os.close(each)
    data = b""
    while len(data) < 8:
        data += os.read(told, 8)
    assert sorted(data) == sorted(b"+-------"), data
    with socket.socket(socket.AF_UNIX) as dialer:
        dialer.connect(address.path)  # the file is that of the winner
    os.close(keep)
    os.close(told)
    for _ in range(8):
        os.wait()
assert os.listdir(os.path.dirname(address.path)) == ["a.sock"]
"""


def test_of_many_starters_one_listens(address: UnixAddress) -> None:
    """Eight who find a dead one's file at the same time do not rob each other (F5)."""
    die_listening(address)
    result = run_python("trio", "-c", STARTERS, address.path, "30")
    assert result.returncode == 0, result.stderr


def test_only_ones_own_file_is_removed(address: UnixAddress) -> None:
    """A file that replaced it, or is gone, is no business of ours."""
    with bind_unix(address) as first:
        old = os.lstat(address.path)
        os.unlink(address.path)
        unlink_socket(address.path, old.st_dev, old.st_ino)
        with bind_unix(address) as second:
            unlink_socket(address.path, old.st_dev, old.st_ino)
            assert serves(second)
            new = os.lstat(address.path)
            unlink_socket(address.path, new.st_dev, new.st_ino)
            assert not os.path.lexists(address.path)
        assert first.fileno() >= 0


def test_a_file_without_its_folder_is_gone(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever has the place of the folder; there is nothing to say of it."""
    (folder / "a").touch()
    unlink_socket(str(folder / "a" / "a.sock"), 1, 1)
    unlink_socket(str(folder / "b" / "a.sock"), 1, 1)
    assert caplog.records == []


def test_a_file_that_cannot_be_removed_is_left(
    address: UnixAddress,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is said, and whoever closes more goes on with that."""

    def refuse(path: str) -> None:
        raise PermissionError(errno.EACCES, "no", path)

    with bind_unix(address), caplog.at_level("WARNING", "tractor"):
        file = os.lstat(address.path)
        with monkeypatch.context() as patch:
            patch.setattr(os, "unlink", refuse)
            unlink_socket(address.path, file.st_dev, file.st_ino)
    assert address.path in caplog.text
    assert len(caplog.records) == 1


# -- TCP -------------------------------------------------------------------------------


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


ipv6: Final = pytest.mark.skipif(not has_ipv6(), reason="no IPv6 on this machine")
HOSTS: Final = ["127.0.0.1", pytest.param("::1", marks=ipv6)]


@pytest.mark.parametrize("host", HOSTS)
def test_a_port_is_found(host: str) -> None:
    """Port 0 gives one that is free, and the socket is ready for a loop."""
    [sock] = bind_tcp(TcpAddress(host, 0))
    with sock:
        assert not sock.getblocking()
        found = bound_address(sock)
        assert isinstance(found, TcpAddress)
        assert found.host == host
        assert found.port > 0
        assert serves(sock)


@pytest.mark.parametrize("host", HOSTS)
def test_a_port_in_use_is_left_alone(host: str) -> None:
    """A second one is refused, and the first does not notice (reliability F4)."""
    [sock] = bind_tcp(TcpAddress(host, 0))
    with sock:
        address = bound_address(sock)
        assert isinstance(address, TcpAddress)
        with pytest.raises(AddressInUse, match=str(address.port)):
            bind_tcp(address)
        assert serves(sock)


def test_a_port_can_be_had_again_at_once() -> None:
    """Connections that have just ended do not keep it."""
    [sock] = bind_tcp(TcpAddress("127.0.0.1", 0))
    address = bound_address(sock)
    assert isinstance(address, TcpAddress)
    with sock:
        assert serves(sock)  # and its end waits for a minute in the kernel
    [again] = bind_tcp(address)
    again.close()


def test_who_is_bound_but_does_not_listen_yet() -> None:
    """Two may be bound to a port, of which only one can listen."""
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", 0))
        [sock] = bind_tcp(TcpAddress("127.0.0.1", other.getsockname()[1]))
        with sock:
            assert serves(sock)


@ipv6
def test_any_address_of_a_family_is_of_that_family() -> None:
    """``::`` leaves IPv4 to whoever wants it."""
    [six] = bind_tcp(TcpAddress("::", 0))
    with six:
        [four] = bind_tcp(TcpAddress("0.0.0.0", six.getsockname()[1]))
        four.close()


@ipv6
def test_localhost_is_both_families() -> None:
    """And both have the same port."""
    with ExitStack() as stack:
        socks = bind_tcp(TcpAddress("localhost", 0))
        for sock in socks:
            stack.enter_context(sock)
            assert serves(sock)
        assert [sock.getsockname()[0] for sock in socks] == ["127.0.0.1", "::1"]
        assert len({sock.getsockname()[1] for sock in socks}) == 1


@pytest.fixture
def hosts(monkeypatch: pytest.MonkeyPatch) -> dict[str, OSError | AddressInUse]:
    """What binding to a host raises."""
    real, errors = under_test._bind_host, dict[str, OSError | AddressInUse]()

    def bind_host(host: str, port: int, address: TcpAddress) -> socket.socket:
        if host in errors:
            raise errors[host]
        return real(host, port, address)

    monkeypatch.setattr(under_test, "_bind_host", bind_host)
    return errors


@pytest.mark.parametrize("missing", ["::1", pytest.param("127.0.0.1", marks=ipv6)])
@pytest.mark.parametrize("number", [errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT])
def test_a_machine_may_have_one_family(
    hosts: dict[str, OSError | AddressInUse], missing: str, number: int
) -> None:
    """Then localhost is that one."""
    hosts[missing] = OSError(number, "no such family")
    [sock] = bind_tcp(TcpAddress("localhost", 0))
    with sock:
        assert sock.getsockname()[0] != missing


def test_a_machine_has_at_least_one(hosts: dict[str, OSError | AddressInUse]) -> None:
    """Without any there is nothing to listen at."""
    for host in ("::1", "127.0.0.1"):
        hosts[host] = OSError(errno.EADDRNOTAVAIL, "no such address")
    with pytest.raises(OSError, match="no such address"):
        bind_tcp(TcpAddress("localhost", 0))


def test_a_port_that_is_free_in_one_family_only(
    hosts: dict[str, OSError | AddressInUse],
) -> None:
    """Others are tried, and no socket of a failed try is left (the census sees it)."""
    hosts["::1"] = AddressInUse("taken")
    with pytest.raises(AddressInUse):
        bind_tcp(TcpAddress("localhost", 0))


@pytest.mark.parametrize("host", ["192.0.2.1", pytest.param("2001:db8::1", marks=ipv6)])
def test_an_address_of_another_machine_is_refused(host: str) -> None:
    """The text says so (these are reserved for documentation, RFC 5737 and 3849)."""
    with pytest.raises(OSError, match="no address of this machine") as caught:
        bind_tcp(TcpAddress(host, 0))
    assert caught.value.errno == errno.EADDRNOTAVAIL


def test_a_name_is_not_looked_up() -> None:
    """That could take long; the text says what would have to be given instead."""
    with pytest.raises(OSError, match="is no IP address of this machine"):
        bind_tcp(TcpAddress("host.example", 0))


# -- Who is there ----------------------------------------------------------------------


@pytest.mark.skipif(not LINUX, reason="the kernel does not tell")
def test_the_peer_of_a_unix_socket_is_known(address: UnixAddress) -> None:
    """On both sides."""
    with bind_unix(address) as sock, socket.socket(socket.AF_UNIX) as dialer:
        dialer.connect(address.path)
        conn, _ = sock.accept()
        with conn:
            for each in (conn, dialer):
                assert peer_uid(each) == os.geteuid()
                assert peer_pid(each) == os.getpid()
        assert peer_uid(sock) == os.geteuid()  # a listener is its own


def test_the_peer_over_tcp_is_not() -> None:
    """Not even on the same machine."""
    [sock] = bind_tcp(TcpAddress("127.0.0.1", 0))
    with sock, socket.socket() as dialer:
        dialer.connect(sock.getsockname())
        conn, _ = sock.accept()
        with conn:
            assert peer_uid(conn) is None
            assert peer_pid(conn) is None


@pytest.mark.parametrize("host", HOSTS)
def test_both_ends_name_a_connection_alike(host: str) -> None:
    """And no other connection has that name."""
    [sock] = bind_tcp(TcpAddress(host, 0))
    names = set[bytes]()
    with sock, ExitStack() as stack:
        for _ in range(3):
            dialer = stack.enter_context(socket.socket(sock.family))
            dialer.connect(sock.getsockname())
            conn = stack.enter_context(sock.accept()[0])
            name = connection_name(dialer, dialled=True)
            assert name == connection_name(conn, dialled=False)
            assert name.startswith(f"{host} {dialer.getsockname()[1]}>".encode())
            names.add(name)
    assert len(names) == 3


@ipv6
def test_a_mapped_address_is_that_of_ipv4() -> None:
    """Who dials it reaches a listener that knows the other spelling."""
    [sock] = bind_tcp(TcpAddress("127.0.0.1", 0))
    with sock, socket.socket(socket.AF_INET6) as dialer:
        dialer.connect(("::ffff:127.0.0.1", sock.getsockname()[1]))
        with sock.accept()[0] as conn:
            name = connection_name(dialer, dialled=True)
            assert name == connection_name(conn, dialled=False)


def test_a_unix_connection_has_no_name() -> None:
    """The kernel knows who is at its other end."""
    for end in socket.socketpair():
        with end:
            assert connection_name(end, dialled=True) == b""


@pytest.mark.skipif(not LINUX, reason="the kernel does not tell")
async def test_another_user_is_refused(
    address: UnixAddress, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it has dialled us, or we it (the census sees that nothing is left)."""
    with bind_unix(address) as sock:
        transport = await connect(address, None)
        with sock.accept()[0] as conn:
            check_user(conn)
            monkeypatch.setattr(under_test, "peer_uid", lambda _: os.geteuid() + 1)
            with pytest.raises(AuthenticationFailed, match=f"{os.geteuid() + 1}"):
                check_user(conn)
        transport.close()
        with pytest.raises(AuthenticationFailed, match="not the one of this actor"):
            await connect(address, None)


async def test_a_connection_with_itself_is_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """TCP makes one where the kernel picks the very port that is dialled."""
    free: list[int] = []

    async def open_tcp_stream(host: str, port: int) -> trio.SocketStream:
        sock = trio.socket.socket()
        await sock.bind((host, 0))
        await sock.connect(sock.getsockname())
        free.append(sock.getsockname()[1])
        return trio.SocketStream(sock)

    monkeypatch.setattr(trio, "open_tcp_stream", open_tcp_stream)
    with pytest.raises(ActorUnreachable, match="nobody answers at"):
        await connect(TcpAddress("127.0.0.1", 1), None)
    [sock] = bind_tcp(TcpAddress("127.0.0.1", free[0]))  # at once
    sock.close()


def test_nobody_is_at_the_other_end() -> None:
    """A socket without a peer has none to tell of."""
    with socket.socket(socket.AF_UNIX) as sock:
        assert peer_uid(sock) is None
        assert peer_pid(sock) is None


STRANGER: Final = """
import os, socket, sys
from pathlib import Path
from tractor import RuntimeDirError
from tractor.ipc import UnixAddress
from tractor.ipc.network import Secret
from tractor.ipc._bind import bind_unix, peer_pid, peer_uid
from tractor.ipc._runtime_dir import TreeDir, find_trees, runtime_dir, sweep
from tractor.ipc._secret_files import user_secret

base = Path(sys.argv[1])
base.chmod(0o755)  # so that what refuses is what we have made
runtime, tree = runtime_dir(), TreeDir.create()
user_secret(runtime)
tree.write_secret(Secret.random())
inside = bind_unix(UnixAddress(tree.socket_path("a" * 32)))
(open_folder := base / "open").mkdir()
open_folder.chmod(0o755)
outside = bind_unix(UnixAddress(str(open_folder / "a.sock")))

def connect(path):
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(path))

def attempts():
    yield lambda: os.listdir(runtime)
    yield lambda: os.listdir(tree.path)
    yield lambda: (runtime / "secret").read_bytes()
    yield lambda: (tree.path / "secret").read_bytes()
    yield lambda: (tree.path / "new").touch()
    yield lambda: (tree.path / "secret").unlink()
    yield lambda: connect(tree.socket_path("a" * 32))
    yield lambda: connect(open_folder / "a.sock")
    yield lambda: bind_unix(UnixAddress(str(open_folder / "b.sock")))
    yield lambda: bind_unix(UnixAddress(str(open_folder / "a.sock")))
    yield lambda: bind_unix(UnixAddress(tree.socket_path("b" * 32)))
    yield lambda: find_trees(runtime)
    yield lambda: user_secret(runtime)
    yield runtime_dir
    yield TreeDir.create

def as_nobody(fn):
    if os.fork() == 0:
        code = 1
        try:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            code = fn()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.wait()[1])

def all_are_refused():
    for number, attempt in enumerate(attempts()):
        try:
            attempt()
        except (PermissionError, RuntimeDirError):
            continue
        print("attempt", number, "was not refused", file=sys.stderr)
        return 2
    sweep(runtime)  # is not an error, and does nothing
    return 0

assert as_nobody(all_are_refused) == 0
assert find_trees(runtime) == [tree.path]
assert len(os.listdir(tree.path)) == 2
for sock in (inside, outside):
    try:
        sock.accept()
        raise AssertionError("somebody came in")
    except BlockingIOError:
        pass

# And once a mistake lets somebody come that far, the kernel tells who it is.
os.chmod(open_folder / "a.sock", 0o666)

def comes_in():
    connect(open_folder / "a.sock")
    return 0

assert as_nobody(comes_in) == 0
conn, _ = outside.accept()
assert peer_uid(conn) == 65534
assert peer_pid(conn) not in (None, os.getpid())
tree.close()
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_is_kept_out(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the directory, the sockets and the secrets, each by itself (security §2)."""
    if Path("/run/user/65534").exists():
        pytest.skip("the other user has a runtime directory")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    monkeypatch.setenv("TMPDIR", str(folder))
    result = run_python("trio", "-c", STRANGER, folder)
    assert result.returncode == 0, result.stderr

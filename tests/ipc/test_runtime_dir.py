"""The folders that actors of one user share, and who is kept out of them."""

import logging
import os
import socket
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from tests._helpers import run_python, write_program
from tractor import RuntimeDirError, RuntimeFailure, available_backends
from tractor.ipc import UnixAddress
from tractor.ipc import _folders as folders
from tractor.ipc import _runtime_dir as under_test
from tractor.ipc._bind import bind_unix
from tractor.ipc._runtime_dir import (
    TreeDir,
    find_trees,
    runtime_dir,
    socket_path,
    sweep,
)
from tractor.ipc._secret_files import UNFINISHED
from tractor.ipc.network import Secret

UUID: Final = "0123456789abcdef0123456789abcdef"
KILLS: Final = 60


@pytest.fixture
def base(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a short name, for the runtime directory and temporary files."""
    with tempfile.TemporaryDirectory(prefix="rt-") as path:
        monkeypatch.setenv("XDG_RUNTIME_DIR", path)
        temporary = Path(path, "temporary")
        temporary.mkdir()
        monkeypatch.setattr(tempfile, "tempdir", str(temporary))
        yield Path(path)


def mode_of(path: str | Path) -> int:
    return stat.S_IMODE(os.lstat(path).st_mode)


def abandon(tree: TreeDir) -> None:
    """Let go of it as the kernel does when its root is killed."""
    assert tree._fd is not None
    os.close(tree._fd)
    tree._fd = None


def put_socket(path: str | Path) -> None:
    """A socket file without a listener."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))


# -- The runtime directory -------------------------------------------------------------


def test_the_users_runtime_directory_comes_first(base: Path) -> None:
    """A folder for us alone is made there, and taken again the next time."""
    assert runtime_dir() == base / "tractor"
    assert mode_of(base / "tractor") == 0o700
    assert runtime_dir() == base / "tractor"


def test_the_umask_changes_nothing(base: Path) -> None:
    """The folders are ours to use, and nobody else's, under any umask."""
    for umask in (0o000, 0o777):
        old = os.umask(umask)
        try:
            tree = TreeDir.create()
            tree.write_secret(Secret.random())
        finally:
            os.umask(old)
        assert mode_of(tree.path.parent) == mode_of(tree.path) == 0o700
        assert mode_of(tree.path / "secret") == 0o600
        tree.close()
        (base / "tractor").rmdir()


@pytest.mark.parametrize("value", ["", None, "/no/such/folder"])
def test_without_one_temporary_files_are_beside_it(
    base: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    value: str | None,
) -> None:
    """What is not there is no reason to complain (reliability F9)."""
    if value is None:
        monkeypatch.delenv("XDG_RUNTIME_DIR")
    else:
        monkeypatch.setenv("XDG_RUNTIME_DIR", value)
    uid = os.geteuid()
    if Path(f"/run/user/{uid}").exists():
        pytest.skip(f"/run/user/{uid} comes before the temporary files")
    assert runtime_dir() == base / "temporary" / f"tractor-{uid}"
    assert caplog.records == []


def too_open(folder: Path) -> None:
    folder.mkdir()
    folder.chmod(0o750)


def linked(folder: Path) -> None:
    (folder.parent / "elsewhere").mkdir(0o700)
    folder.symlink_to("elsewhere")


def a_file(folder: Path) -> None:
    folder.touch(0o700)


def foreign(folder: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can make what belongs to another")
    folder.mkdir(0o700)
    os.chown(folder, 65534, -1)


def renameable(folder: Path) -> None:
    folder.mkdir(0o700)
    folder.parent.chmod(0o770)


def foreign_parent(folder: Path) -> None:
    foreign(folder)
    os.chown(folder, 0, -1)
    os.chown(folder.parent, 65534, -1)


BAD: Final = [
    (too_open, "is open to others (its mode is 0750)"),
    (linked, "is a symbolic link"),
    (a_file, "is not a folder"),
    (foreign, "belongs to user 65534"),
    (renameable, "is in a folder in which others can rename it"),
    (foreign_parent, "is in a folder of user 65534"),
]


@pytest.mark.parametrize(("make", "problem"), BAD)
def test_what_is_not_ours_alone_is_not_used(
    base: Path,
    caplog: pytest.LogCaptureFixture,
    make: Callable[[Path], None],
    problem: str,
) -> None:
    """It is left as it is, and one line says why (security §2, reliability F9)."""
    make(base / "tractor")
    before = (base / "tractor").lstat()
    with caplog.at_level(logging.WARNING, "tractor"):
        found = runtime_dir()
    assert not found.is_relative_to(base / "tractor")
    assert found.name in (f"tractor-{os.geteuid()}", "tractor")
    assert (base / "tractor").lstat() == before
    [record] = caplog.records
    assert record.getMessage().endswith(f"{base / 'tractor'}: {problem}")


def test_a_relative_path_is_not_used(
    base: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What it means would change with the working directory."""
    monkeypatch.chdir(base)
    monkeypatch.setenv("XDG_RUNTIME_DIR", ".")
    with caplog.at_level(logging.WARNING, "tractor"):
        assert runtime_dir().is_absolute()
    assert "is not absolute" in caplog.text


def test_without_any_it_is_said_what_to_do(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names what was tried, and what to set (reliability F9)."""
    if Path(f"/run/user/{os.geteuid()}").exists():
        pytest.skip("this user has a runtime directory that cannot be taken away")
    too_open(base / "tractor")
    monkeypatch.setattr(tempfile, "tempdir", str(base / "gone"))
    with pytest.raises(RuntimeDirError, match="set XDG_RUNTIME_DIR") as caught:
        TreeDir.create()
    assert isinstance(caught.value, RuntimeFailure)
    for tried in (base / "tractor", "/run/user/", base / "gone"):
        assert str(tried) in str(caught.value)


# -- The folder of a tree --------------------------------------------------------------


def test_a_tree_has_a_folder_while_it_lives(base: Path) -> None:
    """It is private, is found, and goes with all that we put there."""
    tree = TreeDir.create()
    assert tree.path.parent == base / "tractor"
    assert len(tree.path.name) == 8
    assert mode_of(tree.path) == 0o700
    assert find_trees(base / "tractor") == [tree.path]
    tree.write_secret(Secret.random())
    with bind_unix(UnixAddress(tree.socket_path(UUID))):
        tree.close()
    assert find_trees(base / "tractor") == []
    assert os.listdir(base / "tractor") == []
    tree.close()


def test_the_lock_is_not_inherited(base: Path) -> None:
    """A child that outlives the root does not make its folder look alive."""
    tree = TreeDir.create()
    assert tree._fd is not None
    assert not os.get_inheritable(tree._fd)
    tree.close()


def test_what_others_put_there_stays(base: Path) -> None:
    """Only sockets and the secret are removed, and no link is followed."""
    tree = TreeDir.create()
    (base / "victim").mkdir()
    put_socket(base / "victim" / "socket")
    (tree.path / "link").symlink_to(base / "victim")
    (tree.path / "notes.txt").touch()
    (tree.path / "secret").mkdir()
    put_socket(tree.path / "a.sock")
    tree.close()
    assert sorted(os.listdir(tree.path)) == ["link", "notes.txt", "secret"]
    assert os.listdir(base / "victim") == ["socket"]
    assert find_trees(base / "tractor") == []


@pytest.mark.parametrize("gone", ["contents", "folder", "runtime"])
def test_what_is_gone_already_is_no_error(base: Path, gone: str) -> None:
    """`close` does not mind who removed files before it."""
    tree = TreeDir.create()
    tree.write_secret(Secret.random())
    (tree.path / "secret").unlink()
    if gone != "contents":
        tree.path.rmdir()
    if gone == "runtime":
        (base / "tractor").rmdir()
    tree.close()
    assert not tree.path.exists()


def test_there_is_one_secret(base: Path) -> None:
    """A secret is not replaced; `O_EXCL` would say so, and links are not followed."""
    tree = TreeDir.create()
    (tree.path / "secret").symlink_to(base / "target")
    with pytest.raises(FileExistsError):
        tree.write_secret(Secret.random())
    assert os.listdir(tree.path) == ["secret"]
    assert not (base / "target").exists()
    (tree.path / "secret").unlink()
    tree.close()


def test_names_of_sockets_are_short(base: Path) -> None:
    """They have at most 100 bytes, and differ where uuids do."""
    tree = TreeDir.create()
    path = tree.socket_path(UUID)
    assert path == socket_path(tree.path, UUID)
    assert Path(path).parent == tree.path
    assert len(os.fsencode(path)) <= 100
    assert path != tree.socket_path("f" + UUID[1:])
    tree.close()


@pytest.mark.parametrize("uuid", ["", "../x", "a/b", "a\0b", "é"])
def test_what_is_no_uuid_names_no_socket(base: Path, uuid: str) -> None:
    """A name from elsewhere does not lead out of the folder."""
    with pytest.raises(ValueError, match="is no uuid"):
        socket_path(base, uuid)


@pytest.fixture(params=[b"long" * 15, b"no text \xff"])
def far(
    base: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Path:
    """A runtime directory that cannot be in the addresses of sockets."""
    path = base / os.fsdecode(request.param)
    path.mkdir(0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(path))
    return path / "tractor"


def test_a_long_path_is_no_obstacle(base: Path, far: Path) -> None:
    """The folder is elsewhere, and found all the same (reliability F9)."""
    tree = TreeDir.create()
    assert tree.path.parent == base / "temporary"
    assert mode_of(tree.path) == 0o700
    assert len(os.fsencode(tree.socket_path(UUID))) <= 100
    bind_unix(UnixAddress(tree.socket_path(UUID))).close()
    sweep(far)
    assert find_trees(far) == [tree.path]
    tree.close()
    assert os.listdir(far) == os.listdir(base / "temporary") == []


def test_dead_trees_are_swept_from_elsewhere(base: Path, far: Path) -> None:
    """The link leads to what is left of them, and goes with it."""
    tree = TreeDir.create()
    put_socket(tree.socket_path(UUID))
    abandon(tree)
    assert find_trees(far) == []
    sweep(far)
    assert os.listdir(far) == os.listdir(base / "temporary") == []


def test_other_links_are_left_alone(base: Path, far: Path) -> None:
    """Only what bears the name that we give leads to a folder of ours."""
    TreeDir.create().close()
    (base / "victim").mkdir()
    put_socket(base / "victim" / "socket")
    (far / "0123abcd").symlink_to(base / "victim")
    (far / "4567abcd").symlink_to(base / "tractor-4567abcd")  # leads nowhere
    sweep(far)
    assert os.listdir(far) == ["0123abcd"]
    assert os.listdir(base / "victim") == ["socket"]


def test_too_long_everywhere_is_an_error(
    base: Path, far: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says which paths are too long, and nothing is left (reliability F9)."""
    monkeypatch.setattr(tempfile, "tempdir", str(far.parent))
    with pytest.raises(RuntimeDirError, match="too long for the names of sockets"):
        TreeDir.create()
    assert os.listdir(far) == []
    assert os.listdir(far.parent) == ["tractor"]


# -- Sweeping --------------------------------------------------------------------------


def test_the_next_tree_sweeps_the_dead_ones(base: Path) -> None:
    """What a killed root left is removed, and living trees keep theirs."""
    alive, dead = TreeDir.create(), TreeDir.create()
    for tree in (alive, dead):
        tree.write_secret(Secret.random())
        put_socket(tree.socket_path(UUID))
    abandon(dead)
    assert find_trees(base / "tractor") == [alive.path]
    TreeDir.create().close()
    assert os.listdir(base / "tractor") == [alive.path.name]
    assert len(os.listdir(alive.path)) == 2
    alive.close()


def test_only_folders_of_trees_are_swept(base: Path) -> None:
    """The secret of the user, dumps, and folders of other names stay."""
    TreeDir.create().close()
    runtime = base / "tractor"
    (runtime / "secret").touch()
    (runtime / "dump-1-x.txt").touch()
    (runtime / "1234abcdef").mkdir()
    (runtime / "1234abce").touch()
    (runtime / f"{UNFINISHED}new").touch()
    (runtime / f"{UNFINISHED}old").touch()
    os.utime(runtime / f"{UNFINISHED}old", (0, 0))
    before = set(os.listdir(runtime))
    sweep(runtime)
    assert set(os.listdir(runtime)) == before - {f"{UNFINISHED}old"}


def test_a_sweep_takes_little_time(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left when its time is over is for the next one."""
    runtime = runtime_dir()
    for number in range(20):
        (runtime / f"{number:08x}").mkdir(0o700)
    clock = iter(range(1000))
    monkeypatch.setattr(under_test, "SWEEP_TIME", 7)
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    sweep(runtime)
    assert 0 < len(os.listdir(runtime)) < 20
    for _ in range(20):
        sweep(runtime)
    assert os.listdir(runtime) == []


def test_two_do_not_sweep_at_once(base: Path) -> None:
    """Who finds another at it leaves it to that one, and does not wait."""
    runtime = runtime_dir()
    (runtime / "0123abcd").mkdir(0o700)
    fd = folders.open_dir(runtime)
    assert folders.try_lock(fd)
    sweep(runtime)
    tree = TreeDir.create()
    assert len(os.listdir(runtime)) == 2
    tree.close()
    os.close(fd)
    sweep(runtime)
    assert os.listdir(runtime) == []


def test_a_missing_directory_is_swept_already(base: Path) -> None:
    """There is nothing to do, and nothing to complain about."""
    sweep(base / "missing")


def test_a_sweep_between_making_and_locking(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who loses the folder then makes another one."""
    real, lost = folders.open_dir, list[Path]()

    def open_dir(path: Path) -> int:
        fd = real(path)
        if len(lost) < 2 and path.parent.name == "tractor":
            lost.append(path)
            path.rmdir()
            if len(lost) == 2:
                path.mkdir()  # another one by that name
        return fd

    monkeypatch.setattr(folders, "open_dir", open_dir)
    tree = TreeDir.create()
    assert len(lost) == 2
    assert tree.path not in lost
    assert find_trees(base / "tractor") == [tree.path]
    tree.close()


def test_folders_that_always_vanish_are_an_error(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The number of tries has an end."""

    def take(folder: Path) -> None:
        folder.rmdir()

    monkeypatch.setattr(folders, "take", take)
    with pytest.raises(RuntimeDirError, match="before it can be locked"):
        TreeDir.create()


# -- Several processes -----------------------------------------------------------------

STORM: Final = """
import os, random, signal, sys
from pathlib import Path
from tractor.ipc import UnixAddress
from tractor.ipc.network import Secret
from tractor.ipc._bind import bind_unix
from tractor.ipc._runtime_dir import TreeDir, find_trees, runtime_dir, sweep
from tractor.ipc._secret_files import read_secret_file

runtime = runtime_dir()
random.seed(seed := int(sys.argv[1]))
print("seed", seed)
heard, beat = os.pipe()

def live():
    while True:
        tree = TreeDir.create()
        secret = Secret.random()
        tree.write_secret(secret)
        sock = bind_unix(UnixAddress(tree.socket_path("a" * 32)))
        sweep(runtime)
        assert tree.path in find_trees(runtime), "taken for dead"
        assert len(os.listdir(tree.path)) == 2, os.listdir(tree.path)
        assert read_secret_file(tree.path / "secret") == secret
        assert not tree.path.stat().st_mode & 0o077
        sock.close()
        tree.close()
        assert not tree.path.exists()
        os.write(beat, b".")

def start():
    if pid := os.fork():
        return pid
    try:
        live()
    except BaseException:
        import traceback
        traceback.print_exc()
    os.write(beat, b"!")  # the parent need not wait for more
    os._exit(1)

def kill(pid):
    os.kill(pid, signal.SIGKILL)
    status = os.waitpid(pid, 0)[1]
    assert os.WIFSIGNALED(status), f"{pid} had ended with {status}"

kids = [start() for _ in range(8)]
for _ in range(int(sys.argv[2])):
    for _ in range(random.randrange(1, 10)):
        assert os.read(heard, 1) == b".", "one of them failed"
    kill(kids.pop(random.randrange(8)))
    kids.append(start())
for pid in kids:
    kill(pid)
assert find_trees(runtime) == []
left = [len(os.listdir(runtime))]
while os.listdir(runtime) and len(left) < 100:
    sweep(runtime)
    left.append(len(os.listdir(runtime)))
print("left by the killed, sweep by sweep:", left)
assert left[-1] == 0, os.listdir(runtime)
"""


@pytest.mark.parametrize("seed", [1, 2])
def test_eight_processes_create_sweep_and_are_killed(base: Path, seed: int) -> None:
    """No living tree ever loses its folder, and every dead one does in the end."""
    result = run_python("trio", "-c", STORM, str(seed), str(KILLS))
    assert result.returncode == 0, result.stdout + result.stderr


FORK: Final = """
import os
from tractor.ipc._runtime_dir import TreeDir, find_trees, runtime_dir
tree = TreeDir.create()
if (pid := os.fork()) == 0:
    tree.close()
    os._exit(0)
os.waitpid(pid, 0)
assert tree.path.is_dir()
assert find_trees(runtime_dir()) == [tree.path]
tree.close()
assert not tree.path.exists()
"""


def test_a_fork_does_not_end_the_tree(base: Path) -> None:
    """What a fork closes is its own copy."""
    result = run_python("trio", "-c", FORK)
    assert result.returncode == 0, result.stderr


INTERPRETERS: Final = """
import threading, trio, tractor
from tractor.ipc import UnixAddress
from tractor.ipc._bind import bind_unix
from tractor.ipc._runtime_dir import TreeDir, find_trees, runtime_dir
from tractor.ipc._secret_files import user_secret

held = []

async def make() -> str:
    tree = TreeDir.create()
    tree.write_secret(user_secret(runtime_dir()))
    held.append((tree, bind_unix(UnixAddress(tree.socket_path("a" * 32)))))
    return str(tree.path)

async def end() -> None:
    for tree, sock in held:
        sock.close()
        tree.close()

async def main() -> None:
    made = set()
    async with tractor.open_nursery(start_method="subint") as an:
        portals = [await an.start_actor(str(n), enable_modules=[__name__])
                   for n in range(3)]
        async with trio.open_nursery() as tasks:
            for portal in portals:
                tasks.start_soon(call, portal, made)
        assert len(made) == 3
        assert made <= set(map(str, find_trees(runtime_dir()))), made
        for portal in portals:
            await portal.run(end)
        assert not made & set(map(str, find_trees(runtime_dir())))
        for portal in portals:
            await portal.cancel_actor()

async def call(portal: tractor.Portal, made: set[str]) -> None:
    made.add(await portal.run(make))

if __name__ == "__main__":
    trio.run(main)
"""


def test_sub_interpreters_have_folders_of_their_own(base: Path) -> None:
    """Nothing of it is shared by the interpreters of a process but the files."""
    if "subint" not in available_backends():
        pytest.skip("no sub-interpreters here")
    program = write_program(base, INTERPRETERS)
    result = run_python("subint", program)
    assert result.returncode == 0, result.stdout + result.stderr

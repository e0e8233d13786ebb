"""Secrets in files: made whole, once, and read only if nobody else could."""

import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from tests._helpers import run_python
from tractor import RuntimeDirError
from tractor.ipc._secret_files import (
    UNFINISHED,
    read_secret_file,
    user_secret,
    write_secret,
)
from tractor.ipc.network import Secret

LINE: Final = b"0123456789abcdef"


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder of ours, with a short name."""
    with tempfile.TemporaryDirectory(prefix="rt-") as path:
        yield Path(path)


def put(path: Path, data: bytes = LINE, mode: int = 0o600) -> Path:
    path.write_bytes(data)
    path.chmod(mode)
    return path


# -- The secret of a user --------------------------------------------------------------


def test_the_first_one_makes_the_secret_of_the_user(folder: Path) -> None:
    """All that come after it read the same one."""
    secret = user_secret(folder)
    assert len(secret.reveal()) == 32
    assert user_secret(folder) == secret == read_secret_file(folder / "secret")
    assert os.listdir(folder) == ["secret"]
    info = (folder / "secret").lstat()
    assert stat.S_ISREG(info.st_mode)
    assert stat.S_IMODE(info.st_mode) == 0o600


def test_a_secret_may_end_like_a_line(folder: Path) -> None:
    """One line end is dropped, which is the one that we wrote."""
    for end in (b"\n", b"\n\n", b"\r\n"):
        path = folder / "secret"
        write_secret(path, Secret(LINE + end))
        assert user_secret(folder).reveal() == LINE + end
        path.unlink()


@pytest.mark.parametrize("umask", [0o000, 0o777])
def test_the_umask_changes_nothing(folder: Path, umask: int) -> None:
    """The file is for us alone, under any umask."""
    old = os.umask(umask)
    try:
        user_secret(folder)
    finally:
        os.umask(old)
    assert stat.S_IMODE((folder / "secret").lstat().st_mode) == 0o600


def linked(path: Path) -> None:
    path.symlink_to(put(path.with_name("target")))


def foreign(path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can make what belongs to another")
    os.chown(put(path), 65534, -1)


@pytest.mark.parametrize(
    "make",
    [
        linked,
        foreign,
        Path.mkdir,
        os.mkfifo,
        lambda path: put(path, mode=0o640),
        lambda path: put(path, b""),
    ],
    ids=["link", "foreign", "folder", "pipe", "open", "empty"],
)
def test_something_else_in_its_place_is_an_error(
    folder: Path, make: Callable[[Path], object]
) -> None:
    """It is neither taken nor replaced, and the error says what to do."""
    make(folder / "secret")
    before = (folder / "secret").lstat()
    with pytest.raises(RuntimeDirError, match=f"remove {folder}/secret"):
        user_secret(folder)
    after = (folder / "secret").lstat()
    assert (after.st_ino, after.st_mode) == (before.st_ino, before.st_mode)


def test_a_missing_folder_is_an_error(folder: Path) -> None:
    """There is no secret without a place for it, and no endless try."""
    with pytest.raises(RuntimeDirError, match="No such file"):
        user_secret(folder / "missing")


def test_a_left_over_is_not_in_the_way(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unfinished file that a sweep takes away is written again."""
    real, lost = os.link, list[Path]()

    def link(source: Path, target: Path) -> None:
        if not lost:
            lost.append(source)
            source.unlink()
        real(source, target)

    monkeypatch.setattr(os, "link", link)
    assert user_secret(folder) == user_secret(folder)
    assert len(lost) == 1
    assert lost[0].name.startswith(UNFINISHED)


RACE: Final = """
import os, sys
from pathlib import Path
from tractor.ipc._secret_files import user_secret
for number in range(int(sys.argv[2])):
    folder = Path(sys.argv[1], str(number))
    folder.mkdir()
    told, tell = os.pipe()
    started, start = os.pipe()
    for _ in range(8):
        if os.fork() == 0:
            os.close(start)
            os.read(started, 1)  # ends when all are there
            try:
                os.write(tell, user_secret(folder).reveal())
            finally:
                os._exit(0)
    for each in (start, started, tell):
        os.close(each)
    data = b""
    while part := os.read(told, 4096):
        data += part
    os.close(told)
    for _ in range(8):
        os.wait()
    assert len(data) == 8 * 32, data
    assert data == data[:32] * 8
    assert os.listdir(folder) == ["secret"]
"""


def test_of_many_at_once_one_makes_it(folder: Path) -> None:
    """Eight processes that start together agree, and none sees half a secret."""
    result = run_python("trio", "-c", RACE, folder, "20")
    assert result.returncode == 0, result.stderr


# -- A file that the user made ---------------------------------------------------------


@pytest.mark.parametrize("end", [b"", b"\n"])
def test_a_file_is_read_without_its_line_end(folder: Path, end: bytes) -> None:
    """It may have been made by an editor, or by a program."""
    assert read_secret_file(put(folder / "s", LINE + end)).reveal() == LINE
    assert read_secret_file(str(folder / "s")).reveal() == LINE


def test_a_file_may_be_linked(folder: Path) -> None:
    """The owner and mode of what the link leads to count."""
    linked(folder / "s")
    assert read_secret_file(folder / "s").reveal() == LINE
    (folder / "target").chmod(0o644)
    with pytest.raises(PermissionError, match="chmod 600"):
        read_secret_file(folder / "s")


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o620, 0o602, 0o777])
def test_a_file_that_others_can_use_is_refused(folder: Path, mode: int) -> None:
    """The text names the mode and what to do."""
    path = put(folder / "s", mode=mode)
    with pytest.raises(PermissionError, match=f"0{mode:o}.*chmod 600"):
        read_secret_file(path)


@pytest.mark.parametrize("data", [b"", b"\n", LINE[1:], LINE[1:] + b"\n", b"x" * 4097])
def test_a_file_of_the_wrong_size_is_refused(folder: Path, data: bytes) -> None:
    """It is named, and its content is not shown."""
    path = put(folder / "s", data)
    with pytest.raises(ValueError, match=str(path)) as caught:
        read_secret_file(path)
    assert LINE[1:].decode() not in str(caught.value)


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
def test_what_is_no_file_is_refused(
    folder: Path, make: Callable[[Path], object]
) -> None:
    """Not even a named pipe without a writer holds us up."""
    make(folder / "s")
    with pytest.raises(ValueError, match="is not a regular file"):
        read_secret_file(folder / "s")


def test_a_missing_file_is_named(folder: Path) -> None:
    """The error is that of the system."""
    with pytest.raises(FileNotFoundError, match=str(folder)):
        read_secret_file(folder / "missing")


FOREIGN: Final = """
import os, sys
from pathlib import Path
from tractor.ipc._secret_files import read_secret_file

folder = Path(sys.argv[1])
folder.chmod(0o755)

def refused(mode, uid, gid):
    path = folder / "s"
    path.write_bytes(b"x" * 32)
    path.chmod(mode)
    os.chown(path, uid, gid)
    if os.fork() == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
        try:
            read_secret_file(path)
        except PermissionError as exc:
            os._exit(2 if "user 65533" in str(exc) else 1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.wait()[1])

assert refused(0o600, 0, 0) == 1  # by the system
assert refused(0o640, 0, 65534) == 0  # root's decision
assert refused(0o660, 0, 65534) == 1
assert refused(0o644, 0, 0) == 1
assert refused(0o640, 65533, 65534) == 2  # its owner knows it
assert refused(0o600, 65534, 0) == 0
"""


def test_a_file_of_another_user_is_refused(folder: Path) -> None:
    """Only we and root may be the owner, and a group may read root's (security §3)."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    result = run_python("trio", "-c", FOREIGN, folder)
    assert result.returncode == 0, result.stderr

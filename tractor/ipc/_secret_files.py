"""Secrets in files that only their owner can read.

A file holds the bytes of a secret and a line end. The line end is there so that all of
them, also those that were made by hand, are read in the same way: one line end is
dropped, and a secret that happens to end with such a byte keeps its own.
"""

import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

from tractor._exceptions import RuntimeDirError
from tractor.ipc._hello import Secret

SECRET: Final = "secret"  # name of such a file in the runtime directory, and of a tree
UNFINISHED: Final = ".new-"  # begin of the names of files that are being written

_MAX_SIZE: Final = 4096  # bytes; more is not a secret but the wrong file
_TRIES: Final = 3


def user_secret(runtime: Path) -> Secret:
    """The secret of all programs of this user; the first who asks makes it.

    Args:
        runtime: What `runtime_dir` returns.

    Raises:
        RuntimeDirError: There is something else in its place, or it cannot be made.
    """
    path = runtime / SECRET
    try:
        for _ in range(_TRIES):
            with suppress(FileNotFoundError):
                return _read(path, os.O_NOFOLLOW)
            with suppress(FileExistsError, FileNotFoundError):
                write_secret(path, Secret.random())
        return _read(path, os.O_NOFOLLOW)
    except (OSError, ValueError) as exc:
        msg = (
            f"the secret of this user cannot be used: {exc}; end the programs that do, "
            f"and remove {path}"
        )
        raise RuntimeDirError(msg) from exc


def read_secret_file(path: str | os.PathLike[str]) -> Secret:
    """The secret in a file that the user made, without the line end after it.

    Args:
        path: Of a file that belongs to this user or to root. Others must not have
            access, save that a group may read what belongs to root.

    Raises:
        PermissionError: It belongs to somebody else, or others have access.
        ValueError: It is not a file, or holds too little or too much.
        OSError: It cannot be read.
    """
    return _read(path)


def write_secret(path: Path, secret: Secret) -> None:
    """Make the file of a secret, which nobody ever sees half written.

    Raises:
        FileExistsError: There is one, which stays as it is.
        FileNotFoundError: The folder is gone, or a sweep took this for a left-over.
        OSError: It cannot be made.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    unfinished = path.with_name(f"{UNFINISHED}{os.urandom(8).hex()}")
    fd = os.open(unfinished, flags, 0o600)
    try:
        with open(fd, "wb") as file:
            os.fchmod(fd, 0o600)  # whatever the umask took away
            file.write(secret.reveal() + b"\n")
        os.link(unfinished, path)  # fails where there is one, as a rename would not
    finally:
        unfinished.unlink(missing_ok=True)


def _read(path: str | os.PathLike[str], more_flags: int = 0) -> Secret:
    name = os.fspath(path)
    # Without O_NONBLOCK a named pipe would hold us up.
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY | more_flags
    fd = os.open(name, flags)
    try:
        _check(name, os.fstat(fd))
        data = os.read(fd, _MAX_SIZE + 1)
    finally:
        os.close(fd)
    if len(data) > _MAX_SIZE:
        msg = f"{name} has more than {_MAX_SIZE} bytes, so it is no secret"
        raise ValueError(msg)
    try:
        return Secret(data.removesuffix(b"\n"))
    except ValueError as exc:
        msg = f"{name}: {exc}"
        raise ValueError(msg) from exc


def _check(name: str, info: os.stat_result) -> None:
    if not stat.S_ISREG(info.st_mode):
        msg = f"{name} is not a regular file"
        raise ValueError(msg)
    if info.st_uid == os.geteuid():
        excess = info.st_mode & 0o077
    elif info.st_uid == 0:
        excess = info.st_mode & 0o037  # a group that may read is root's decision
    else:
        msg = f"{name} belongs to user {info.st_uid}, who could know the secret"
        raise PermissionError(msg)
    if excess:
        mode = stat.S_IMODE(info.st_mode)
        msg = f"others have access to {name} (its mode is {mode:04o}): chmod 600 it"
        raise PermissionError(msg)

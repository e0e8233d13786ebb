"""Folders that belong to whoever holds a lock on them.

A folder is first made and then locked, and somebody who removes what nobody holds may
come between. So its maker looks, once it has the lock, whether the folder is still
there, and makes another one if not. Neither ever waits for the other, who may have been
stopped in the middle of it.
"""

import errno
import fcntl
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

_TRIES: Final = 50  # to make a folder; each fails only when somebody comes between


def new_folder(parent: Path, prefix: str = "") -> tuple[Path, int]:
    """Make a folder with 8 random hex digits; it, and the descriptor that locks it.

    Raises:
        OSError: It cannot be made.
    """
    for _ in range(_TRIES):
        folder = parent / f"{prefix}{os.urandom(4).hex()}"
        with suppress(FileExistsError, FileNotFoundError):
            folder.mkdir(0o700)
            if (fd := take(folder)) is not None:
                os.fchmod(fd, 0o700)  # whatever the umask took away
                return folder, fd
    parent.stat()  # if that is what is missing, say so
    raise refusal("others remove every folder before it can be locked")


def take(folder: Path) -> int | None:
    """Lock a folder of ours, unless somebody has; the descriptor has the lock.

    Raises:
        FileNotFoundError: It is not there, or no more.
        OSError: It is no folder, or cannot be locked.
    """
    fd = open_dir(folder)
    taken = False
    try:
        there = os.fstat(fd)
        if there.st_uid == os.geteuid() and try_lock(fd):
            # Meanwhile it may have been removed, and even made again.
            taken = os.path.samestat(there, folder.lstat())
    finally:
        if not taken:
            os.close(fd)
    return fd if taken else None


def is_taken(folder: Path) -> bool:
    """Whether it is a folder of ours that somebody has locked."""
    try:
        fd = open_dir(folder)
    except OSError:
        return False
    try:
        # Shared, so that two who look do not find each other.
        ours = os.fstat(fd).st_uid == os.geteuid()
        return ours and not try_lock(fd, fcntl.LOCK_SH)
    finally:
        os.close(fd)


def check_private(info: os.stat_result) -> None:
    """Check what `os.lstat` says: a folder, and ours alone.

    Raises:
        OSError: It is not; the text says why.
    """
    if stat.S_ISLNK(info.st_mode):
        raise refusal("is a symbolic link")
    if not stat.S_ISDIR(info.st_mode):
        raise refusal("is not a folder")
    if info.st_uid != os.geteuid():
        raise refusal(f"belongs to user {info.st_uid}")
    if info.st_mode & 0o077:
        raise refusal(
            f"is open to others (its mode is {stat.S_IMODE(info.st_mode):04o})"
        )


def open_dir(path: Path) -> int:
    """A descriptor of a folder, which no child inherits; links are not followed."""
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)


def try_lock(fd: int, kind: int = fcntl.LOCK_EX) -> bool:
    """Lock what is open there, unless somebody has."""
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def unlock(fd: int) -> None:
    """Unlock it, also for forks of this process that have the descriptor, too."""
    fcntl.flock(fd, fcntl.LOCK_UN)


def refusal(problem: str) -> OSError:
    """An error of ours in the shape of one of the system."""
    return OSError(errno.EPERM, problem)

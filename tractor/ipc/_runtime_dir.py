"""Where the socket files and secrets of one user are, out of reach of all others.

    RUNTIME/secret              shared by all programs of the user
    RUNTIME/1f2e3d4c/           the folder of one tree
    RUNTIME/1f2e3d4c/secret     shared by its actors and whoever may join them
    RUNTIME/1f2e3d4c/UUID.sock  where one of its actors listens

The name of a socket file is text of at most 100 bytes. Where RUNTIME is too long for
that, the folder of a tree is among the temporary files, and RUNTIME has a link to it.

A tree is alive exactly as long as its root holds a lock on the folder. The kernel takes
that away from whoever ends, however that came about, and neither a process id that was
given to another process nor a clock that was set can mislead. (A process that the root
forked and that runs on without `exec` shares the lock.)
"""

import os
import random
import re
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from tractor._exceptions import RuntimeDirError
from tractor.ipc._address import UnixAddress
from tractor.ipc._folders import (
    check_private,
    is_taken,
    new_folder,
    open_dir,
    refusal,
    take,
    try_lock,
    unlock,
)
from tractor.ipc._hello import Secret
from tractor.ipc._secret_files import SECRET, UNFINISHED, write_secret
from tractor.log import get_logger

log = get_logger("runtime_dir")

SWEEP_TIME: Final = 0.005  # seconds for a sweep; what is left is for the next one
ABANDONED: Final = 60.0  # seconds after which nobody writes a file any more
UUID_PART: Final = 16  # digits of a uuid in a socket's name: 60 random bits
LOCK_SUFFIX: Final = ".lock"  # of the files with which `bind_unix` excludes others

_TREE_NAME: Final = re.compile(r"[0-9a-f]{8}")
_PREFIX: Final = "tractor-"  # of a tree's folder among the temporary files
_ADVICE: Final = "set XDG_RUNTIME_DIR to a folder of yours, of mode 0700"


# -- The runtime directory -------------------------------------------------------------


def runtime_dir() -> Path:
    """The folder for all that actors of this user share; made if there is none yet.

    It is `tractor` in ``$XDG_RUNTIME_DIR`` or ``/run/user/<uid>``, or else
    `tractor-<uid>` among the temporary files: the first that is ours alone.

    Raises:
        RuntimeDirError: None is. The text names what is wrong with each.
    """
    problems = []
    for folder in dict.fromkeys(_candidates()):
        try:
            _claim(folder)
        except OSError as exc:
            problem = f"{folder}: {exc.strerror or exc}"
            if not isinstance(exc, FileNotFoundError):
                log.warning("not used for the files of actors: %s", problem)
            problems.append(problem)
        else:
            return folder
    msg = f"no folder for the files of actors; {'; '.join(problems)}; {_ADVICE}"
    raise RuntimeDirError(msg)


def _candidates() -> Iterator[Path]:
    if base := os.environ.get("XDG_RUNTIME_DIR"):
        yield Path(base, "tractor")
    yield Path(f"/run/user/{os.geteuid()}/tractor")
    with suppress(FileNotFoundError):  # not even a temporary file can be made
        yield Path(tempfile.gettempdir(), f"tractor-{os.geteuid()}")


def _claim(folder: Path) -> None:
    """Make it if it is not there, and raise an `OSError` if it is not ours alone."""
    if not folder.is_absolute():
        raise refusal("is not absolute")
    parent = folder.parent.stat()
    if parent.st_uid not in (os.geteuid(), 0):
        raise refusal(f"is in a folder of user {parent.st_uid}")
    if parent.st_mode & 0o022 and not parent.st_mode & stat.S_ISVTX:
        raise refusal("is in a folder in which others can rename it")
    # What passes both is safe from being replaced after the checks below.
    try:
        folder.mkdir(0o700)
    except FileExistsError:
        pass
    else:
        folder.chmod(0o700)  # whatever the umask took away
    check_private(folder.lstat())
    if not os.access(folder, os.W_OK | os.X_OK):
        raise refusal("cannot be written to")


# -- The folder of a tree --------------------------------------------------------------


class TreeDir:
    """The folder of one tree, which is alive as long as this is open.

    Attributes:
        path: Of the folder.
    """

    def __init__(self, path: Path, fd: int, link: Path | None) -> None:
        self.path = path
        self._fd: int | None = fd  # holds the lock
        self._link = link
        self._pid = os.getpid()

    @classmethod
    def create(cls) -> "TreeDir":
        """Make a folder for a new tree, and sweep those of dead ones.

        Raises:
            RuntimeDirError: There is no place for it.
        """
        runtime = runtime_dir()
        try:
            sweep(runtime)
            if _can_hold_sockets(runtime / "12345678"):
                return cls(*new_folder(runtime), None)
            return cls._elsewhere(runtime)
        except OSError as exc:
            msg = f"no folder for a tree in {runtime}: {exc}; {_ADVICE}"
            raise RuntimeDirError(msg) from exc

    @classmethod
    def _elsewhere(cls, runtime: Path) -> "TreeDir":
        folder, fd = new_folder(Path(tempfile.gettempdir()), _PREFIX)
        link = runtime / folder.name.removeprefix(_PREFIX)
        tree = cls(folder, fd, link)
        try:
            if not _can_hold_sockets(folder):
                msg = f"{runtime} and {folder} are too long for the names of sockets"
                raise refusal(msg)
            link.symlink_to(folder)
        except BaseException:
            tree.close()
            raise
        return tree

    def socket_path(self, uuid: str) -> str:
        """The same as the function of that name."""
        return socket_path(self.path, uuid)

    def write_secret(self, secret: Secret) -> None:
        """Put the secret of the tree beside its sockets.

        Raises:
            FileExistsError: It is there already.
            OSError: It cannot be written.
        """
        write_secret(self.path / SECRET, secret)

    def close(self) -> None:
        """Remove the folder with its sockets and the secret; what is not ours stays.

        Never raises, and does nothing the second time, or in a fork.
        """
        fd, self._fd = self._fd, None
        if fd is None:
            return
        try:
            if os.getpid() == self._pid:
                _remove(self.path, fd, float("inf"))
                if self._link is not None:
                    self._link.unlink(missing_ok=True)
        except OSError as exc:
            log.warning("the folder %s of this tree stays: %s", self.path, exc)
        finally:
            if os.getpid() == self._pid:
                unlock(fd)  # forks have it, too
            os.close(fd)


def socket_path(folder: Path, uuid: str) -> str:
    """Where, in the folder of its tree, an actor listens; at most 100 bytes.

    Raises:
        ValueError: It is no uuid.
    """
    if not (uuid.isascii() and uuid.isalnum()):
        msg = f"{uuid!r} is no uuid: only its digits are expected"
        raise ValueError(msg)
    return str(folder / f"{uuid[:UUID_PART]}.sock")


def _can_hold_sockets(folder: Path) -> bool:
    try:
        UnixAddress(socket_path(folder, "0" * UUID_PART))
    except ValueError:  # it is too long, or no text
        return False
    return True


def find_trees(runtime: Path) -> list[Path]:
    """Folders of the trees that live, in the order of their names there."""
    folders = (_folder_of(runtime / name) for name in sorted(os.listdir(runtime)))
    return [folder for folder in folders if folder is not None and is_taken(folder)]


def sweep(runtime: Path) -> None:
    """Remove what dead trees have left, or some of it where that is much.

    Touches nothing of a living one, and leaves it to others who sweep already.
    """
    deadline = time.monotonic() + SWEEP_TIME
    with suppress(OSError):
        fd = open_dir(runtime)
        try:
            if try_lock(fd):
                _sweep_locked(runtime, deadline)
        finally:
            os.close(fd)


def _sweep_locked(runtime: Path, deadline: float) -> None:
    names = os.listdir(runtime)
    random.shuffle(names)  # so that what cannot be removed does not bar the rest
    for name in names:
        if time.monotonic() > deadline:
            return
        try:
            if name.startswith(UNFINISHED):
                _remove_if_abandoned(runtime / name)
            else:
                _sweep_one(runtime / name, deadline)
        except OSError as exc:
            log.info("not swept: %s", exc)


def _sweep_one(entry: Path, deadline: float) -> None:
    if (folder := _folder_of(entry)) is None:
        return
    try:
        fd = take(folder)
    except FileNotFoundError:
        if folder != entry:  # a link that leads nowhere
            entry.unlink(missing_ok=True)
        return
    if fd is None:
        return
    try:
        _remove(folder, fd, deadline)
        if folder != entry:
            entry.unlink(missing_ok=True)
    finally:
        os.close(fd)


def _remove_if_abandoned(path: Path) -> None:
    with suppress(FileNotFoundError):
        if time.time() - path.lstat().st_mtime > ABANDONED:
            path.unlink()


def _folder_of(entry: Path) -> Path | None:
    """The folder of a tree, also where this is a link to it; `None` for all else."""
    if not _TREE_NAME.fullmatch(entry.name):
        return None
    try:
        folder = entry.readlink()
    except OSError:  # most are no links
        return entry
    return folder if folder.name == f"{_PREFIX}{entry.name}" else None


def _remove(folder: Path, fd: int, deadline: float) -> None:
    """Remove what we put there, and then the folder, if nothing else is in it."""
    for name in os.listdir(fd):
        if time.monotonic() > deadline:
            return
        with suppress(FileNotFoundError):
            mode = os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode
            if stat.S_ISSOCK(mode) or (stat.S_ISREG(mode) and _is_ours(name)):
                os.unlink(name, dir_fd=fd)
    with suppress(FileNotFoundError):
        folder.rmdir()


def _is_ours(name: str) -> bool:
    own_lock = name.startswith(".") and name.endswith(LOCK_SUFFIX)
    return name == SECRET or name.startswith(UNFINISHED) or own_lock

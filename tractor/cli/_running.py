"""The trees that run, by their folders in the runtime directory.

A root holds a lock on the folder of its tree as long as it lives, so nobody has to be
asked. A tree without transports has no folder, and is not found here.
"""

import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from msgspec import Struct

from tractor._proc import PROC, read
from tractor.cli._codes import USAGE, CommandError
from tractor.ipc import Address, UnixAddress
from tractor.ipc.network import Secret, find_trees, read_secret_file, runtime_dir

SECRET: Final = "secret"  # name of that file in the folder of a tree


class RunningTree(Struct, frozen=True):
    """A tree whose root lives.

    Attributes:
        name: Of its folder; what ``--tree`` takes.
        folder: With its sockets and its secret.
        root: Process id of the root, where the system tells it.
    """

    name: str
    folder: Path
    root: int | None

    def __str__(self) -> str:
        return f"{self.name} (root {self.root})" if self.root else self.name

    def addresses(self) -> list[Address]:
        """Where its actors listen, the root first: it did so before all others."""
        sockets: list[tuple[int, str]] = []
        for path in self.folder.iterdir():
            found = path.lstat()
            if stat.S_ISSOCK(found.st_mode):
                sockets.append((found.st_mtime_ns, str(path)))
        return [UnixAddress(path) for _, path in sorted(sockets)]

    def secret(self) -> Secret:
        """What one has to know to connect with them."""
        return read_secret_file(self.folder / SECRET)


def running_trees() -> list[RunningTree]:
    """Those of this user, by name.

    Raises:
        RuntimeDirError: There is no place where they could be.
    """
    return sorted(_trees(), key=lambda tree: tree.name)


def choose_tree(text: str | None) -> RunningTree:
    """The one that is meant: by its name or root, or else the only one.

    Raises:
        CommandError: There is none, or there are several.
    """
    trees = running_trees()
    if text is not None:
        trees = [tree for tree in trees if text in (tree.name, str(tree.root))]
        if not trees:
            msg = f"there is no tree {text!r}; `python -m tractor doctor` lists them"
            raise CommandError(msg)
    if not trees:
        msg = f"no tree of actors runs here: there is none in {runtime_dir()}"
        raise CommandError(msg)
    if len(trees) > 1:
        names = ", ".join(map(str, trees))
        msg = f"several trees run, choose one by --tree: {names}"
        raise CommandError(msg, USAGE)
    return trees[0]


def _trees() -> Iterator[RunningTree]:
    holders = _holders()
    for folder in find_trees(runtime_dir()):
        with suppress(FileNotFoundError):  # removed meanwhile
            root = holders.get(folder.stat().st_ino)
            # One that is elsewhere, for a short path, has a longer name.
            yield RunningTree(folder.name.rpartition("-")[2], folder, root)


def _holders() -> dict[int, int]:
    """Who holds a lock on what, by the number of the inode; see proc_locks(5)."""
    found = {}
    for line in read(PROC / "locks").splitlines():
        match line.split():
            case [_, "FLOCK", _, "WRITE", pid, inode, *_]:
                found[int(inode.rpartition(":")[2])] = int(pid)
    return found

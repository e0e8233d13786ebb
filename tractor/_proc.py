"""What the kernel tells of processes and threads, read from Linux's ``/proc``.

Facts only, of any process that one may look at, and without its help. What has ended
while we looked, or cannot be read, is left out; elsewhere than on Linux that is all.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from msgspec import Struct

PROC: Final = Path("/proc")

type Birth = tuple[int, int]
"""Id of a process or thread and its start time, since the kernel reuses ids."""


class Stat(Struct, frozen=True):
    """The one line that the kernel has on a process or thread.

    Attributes:
        name: As in listings; at most 15 characters.
        state: A letter: ``R`` runs, ``S`` sleeps, ``D`` waits for a device, ``T`` is
            stopped, ``Z`` has ended and was not reaped.
        parent: Id of the parent process.
        started: Clock ticks after the start of the system.
    """

    name: str
    state: str
    parent: int
    started: int


class KernelThread(Struct, frozen=True):
    """A thread, as the kernel sees it.

    Attributes:
        tid: Its native id.
        name: See `Stat`.
        state: See `Stat`.
        waits_in: Function of the kernel in which it sleeps; empty when not known.
    """

    tid: int
    name: str
    state: str
    waits_in: str


def read(path: Path) -> str:
    """The text of a file there; empty when there is none any more."""
    try:
        return path.read_text(errors="replace")
    except OSError:  # it ended while we looked
        return ""


def read_stat(folder: Path) -> Stat | None:
    """Of a process or thread, by its folder; `None` when it is gone."""
    head, _, tail = read(folder / "stat").rpartition(")")
    if not tail:
        return None
    fields = tail.split()  # from the third on; see proc_pid_stat(5)
    name = head.partition("(")[2]
    return Stat(name, fields[0], int(fields[1]), int(fields[19]))


def command_of(pid: int) -> str:
    """The command line of a process; empty for a zombie."""
    return read(PROC / str(pid) / "cmdline").replace("\0", " ").strip()


def descendants(pid: int) -> Iterator[tuple[int, Stat]]:
    """Children of a process, and theirs, and so on; parents come first."""
    for children in PROC.glob(f"{pid}/task/*/children"):
        for child in map(int, read(children).split()):
            if (stat := read_stat(PROC / str(child))) is not None:
                yield child, stat
                yield from descendants(child)


def threads_of(pid: int) -> list[KernelThread]:
    """The threads of a process, the first one first."""
    found = []
    for task in PROC.glob(f"{pid}/task/*"):
        if (stat := read_stat(task)) is not None:
            waits_in = read(task / "wchan").strip().removeprefix("0")
            found.append(KernelThread(int(task.name), stat.name, stat.state, waits_in))
    return sorted(found, key=lambda thread: thread.tid)


def catches(pid: int, signum: int) -> bool:
    """Whether a process has a handler for that signal."""
    for line in read(PROC / str(pid) / "status").splitlines():
        if line.startswith("SigCgt:"):
            return bool(int(line.split()[1], 16) >> (signum - 1) & 1)
    return False

"""What this process holds: children, threads, descriptors, interpreters, files.

A test that leaves something behind breaks those after it, far from the cause. So take
a census before it, and look for leaks after it:

    before = take_census()
    ...
    assert find_leaks(before) == []

Orphans are found too, once `become_subreaper` made them come here instead of to init.
So zombies are of two kinds, and the kernel does not say of which. One that an object of
`subprocess` or `multiprocessing` in here stands for is a leak: its starter should have
waited. Any other is an orphan that ended, which init would have reaped; so do we.

Not a leak is what stays by design: the idle threads that trio keeps for 10 s, and the
helper processes of `multiprocessing` (its resource tracker, its forkserver and that of
our backend), which live as long as their parent.

Linux tells all of this in ``/proc``. Elsewhere, what cannot be read is not there.
"""

import ctypes
import gc
import os
import select
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from tractor._proc import PROC, Birth, command_of, descendants, read_stat

SETTLE: Final = 1.0  # seconds that things may take to end
TICK: Final = 0.01  # seconds between looks at what ends without an event to wait for

_PR_SET_CHILD_SUBREAPER: Final = 36  # linux/prctl.h
_SPARE_MAKER: Final = "tractor interpreter maker"
_IDLE_TRIO_THREAD: Final = "Trio thread "  # one at work bears the name of its work


class Process(Struct, frozen=True):
    """A descendant of this process: its command line, and whether it is a zombie."""

    command: str
    zombie: bool


class Census(Struct, frozen=True):
    """What this process holds at one moment.

    Attributes:
        processes: Children, and theirs, and so on.
        threads: Their names.
        fds: What each descriptor refers to.
        interpreters: Ids of sub-interpreters.
        files: Below the runtime directory.
    """

    processes: dict[Birth, Process]
    threads: dict[Birth, str]
    fds: dict[int, str]
    interpreters: frozenset[int]
    files: frozenset[str]

    def leaks(self, after: "Census") -> list[str]:
        """In words, what there is in `after` and not in this one."""
        return [
            *(
                f"{'zombie' if process.zombie else 'child'} {pid}: {process.command}"
                for (pid, _), process in _new(self.processes, after.processes)
            ),
            *(
                f"thread {name!r} (native id {tid})"
                for (tid, _), name in _new(self.threads, after.threads)
            ),
            *(
                f"descriptor {fd}: {_describe(fd, target)}"
                for fd, target in _new_fds(self.fds, after.fds)
            ),
            *(
                f"sub-interpreter {number}"
                for number in sorted(after.interpreters - self.interpreters)
            ),
            *(f"file {path}" for path in sorted(after.files - self.files)),
        ]


def take_census() -> Census:
    """What this process holds now."""
    helpers, helper_fds = _multiprocessing_helpers()
    spares, spare_fds = _spare_interpreters()
    return Census(
        processes={
            birth: process
            for birth, process in _descendants()
            if birth[0] not in helpers
        },
        threads={
            birth: name
            for birth, name in _threads()
            if not name.startswith((_IDLE_TRIO_THREAD, _SPARE_MAKER))
        },
        fds={fd: target for fd, target in _fds() if fd not in helper_fds | spare_fds},
        interpreters=_interpreters() - spares,
        files=frozenset(_files()),
    )


def find_leaks(before: Census, within: float = SETTLE) -> list[str]:
    """In words, what there is now and was not `before`.

    Args:
        before: From before the code under test.
        within: Seconds that what is just ending may take to be gone; ≥ 0.
    """
    deadline = time.monotonic() + within
    if not before.leaks(take_census()):
        return []
    gc.collect()  # what only a cycle keeps is closed late, but is not lost
    while True:
        new = _new(before.processes, take_census().processes)
        _reap_orphans([pid for (pid, _), each in new if each.zombie])
        leaks = before.leaks(take_census())
        if not leaks or time.monotonic() >= deadline:
            return leaks
        _wait_for_one([pid for (pid, _), each in new if not each.zombie], TICK)


def clear_leaks(before: Census) -> None:
    """Kill and reap the processes that leaked since `before`; remove the files.

    Threads and descriptors stay: their owners do not expect them to be taken away.
    Takes at most twice `SETTLE`.
    """
    for _ in range(2):  # again, because one may start another meanwhile
        leaked = _new(before.processes, take_census().processes)
        for (pid, _), process in leaked:
            if not process.zombie:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        wait_for_end(pid for (pid, _), _ in leaked)
    for path in take_census().files - before.files:
        Path(path).unlink(missing_ok=True)


def wait_for_end(pids: Iterable[int], within: float = SETTLE) -> list[int]:
    """Wait until processes are gone, and reap those that are children by now.

    Args:
        pids: Children, or any others that one may look at.
        within: Seconds to wait in all; ≥ 0.

    Returns:
        Those that are still there.
    """
    deadline = time.monotonic() + within
    wanted = sorted(set(pids))
    living = _wait_for_one(wanted, 0) if wanted else []
    while living and (left := deadline - time.monotonic()) > 0:
        living = _wait_for_one(living, left)
    # Only now: an orphan comes here when its parent is gone, so all at the end.
    for pid in set(wanted).difference(living):
        _reap(pid)
    return living


def become_subreaper() -> None:
    """Adopt the orphans among our descendants, from now on, where the system can.

    Raises:
        OSError: The kernel refuses.
    """
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), "prctl(PR_SET_CHILD_SUBREAPER)")


# -- Comparing -------------------------------------------------------------------------


def _new[K, V](before: dict[K, V], after: dict[K, V]) -> list[tuple[K, V]]:
    return [(key, value) for key, value in after.items() if key not in before]


def _new_fds(before: dict[int, str], after: dict[int, str]) -> list[tuple[int, str]]:
    # Counted by target: a file that was closed and opened again is no leak.
    more = Counter(after.values()) - Counter(before.values())
    return [
        (fd, target)
        for fd, target in after.items()
        if target in more and before.get(fd) != target
    ]


def _wait_for_one(pids: list[int], seconds: float) -> list[int]:
    """Wait until one of them ends, or nothing for `seconds`; return the others."""
    with ExitStack() as stack:
        poller = select.poll()
        living: dict[int, int] = {}
        for pid in pids:
            with suppress(ProcessLookupError):
                fd = os.pidfd_open(pid)
                stack.callback(os.close, fd)
                poller.register(fd, select.POLLIN)
                living[fd] = pid
        if living or not pids:
            for fd, _ in poller.poll(max(seconds, 0) * 1000):
                del living[fd]
        return list(living.values())


def _reap(pid: int) -> None:
    with suppress(ChildProcessError):  # somebody else's
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG)


def _reap_orphans(zombies: list[int]) -> None:
    """Reap those of them that nobody in here started."""
    if not zombies:
        return
    kinds: list[type[Any]] = [subprocess.Popen]
    if popen_fork := sys.modules.get("multiprocessing.popen_fork"):
        kinds.append(popen_fork.Popen)  # the base class of all three
    # By type(), since to ask an unknown object for its class may run its code.
    popens = [each for each in gc.get_objects() if issubclass(type(each), tuple(kinds))]
    for pid in set(zombies).difference(getattr(each, "pid", None) for each in popens):
        _reap(pid)


# -- Reading ---------------------------------------------------------------------------


def _descendants() -> Iterator[tuple[Birth, Process]]:
    for pid, stat in descendants(os.getpid()):
        command = textwrap.shorten(command_of(pid), 200) or f"[{stat.name}]"
        yield (pid, stat.started), Process(command, stat.state == "Z")


def _threads() -> Iterator[tuple[Birth, str]]:
    names = {thread.native_id: thread.name for thread in threading.enumerate()}
    tasks = list(PROC.glob("self/task/*"))
    for task in tasks:
        if stat := read_stat(task):
            tid = int(task.name)
            yield (tid, stat.started), names.get(tid, stat.name)
    if not tasks:  # no /proc
        for thread in threading.enumerate():
            yield (thread.native_id or 0, 0), thread.name


def _fds() -> Iterator[tuple[int, str]]:
    folder = "/proc/self/fd" if PROC.exists() else "/dev/fd"
    for fd in sorted(map(int, os.listdir(folder))):
        with suppress(OSError):  # the one that was open for listing
            os.fstat(fd)
            yield fd, _target(fd)


def _target(fd: int) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    except OSError:
        return "?"


def _describe(fd: int, target: str) -> str:
    """Name the ends of a socket, which `target` only gives a number."""
    if not target.startswith("socket:") or _target(fd) != target:
        return target
    try:
        sock = socket.socket(fileno=fd)
    except OSError:
        return target
    try:
        text = f"{target} {sock.family!r} {sock.getsockname()!r}"
        with suppress(OSError):
            text += f" to {sock.getpeername()!r}"
        return text
    finally:
        sock.detach()  # it is not ours to close


def _interpreters() -> frozenset[int]:
    module: Any = sys.modules.get("_interpreters")
    if module is None:  # then there are none
        return frozenset()
    # The main one is none, and is not there while nobody can count.
    return frozenset(number for number, *_ in module.list_all() if number)


def _spare_interpreters() -> tuple[set[int], set[int]]:
    """Numbers of interpreters that wait for an actor, and descriptors of their pool."""
    module: Any = sys.modules.get("tractor.spawn._interp_pool")
    pools = module.pools() if module is not None else []
    return (
        {number for pool in pools for number in pool.spares()},
        {fd for pool in pools for fd in pool.fds},
    )


def _files() -> Iterator[str]:
    runtime_dir = os.environ.get("XDG_RUNTIME_DIR")
    if runtime_dir:
        for path in Path(runtime_dir, "tractor").rglob("*"):
            if not path.is_dir():
                yield str(path)


def _multiprocessing_helpers() -> tuple[set[int], set[int]]:
    """Process ids and descriptors of the helpers; the stdlib has no public names."""
    forkserver: Any = sys.modules.get("multiprocessing.forkserver")
    tracker: Any = sys.modules.get("multiprocessing.resource_tracker")
    ours: Any = sys.modules.get("tractor.spawn._mp")
    servers = [forkserver._forkserver] if forkserver is not None else []
    fds: set[int | None] = set()
    if ours is not None:
        servers.append(ours.server)
        fds.add(ours.server.alive_fd)
    pids: set[int | None] = {server._forkserver_pid for server in servers}
    fds.update(server._forkserver_alive_fd for server in servers)
    if tracker is not None:
        pids.add(tracker._resource_tracker._pid)
        fds.add(tracker._resource_tracker._fd)
    return {pid for pid in pids if pid}, {fd for fd in fds if fd is not None}

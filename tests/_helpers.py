"""What tests of whole trees share: bounds, a bell, and programs to run as scripts."""

import os
import select
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext, suppress
from pathlib import Path
from time import perf_counter
from typing import Any, Final, Self

import pytest
import trio

import tractor
from tractor._instrument import Event, hub
from tractor._proc import threads_of
from tractor.spawn import Traits
from tractor.testing import faults

ROOT: Final = Path(__file__).parents[1]
SAFETY: Final = 40  # seconds; a net, never what is tested

# Seconds; docs/reference/failure-semantics.md.
T_DETECT: Final = 0.5
T_ORPHAN: Final = 1.0
T_GRACE: Final = 1.5
T_KILL: Final = 0.5
T_DOWN: Final = 3.5

THREAD_END: Final = 0.2  # seconds from the notice of an actor's end to its thread's

# What children in tests serve.
MODULES: Final = ("tests._actors", "tests._misbehaviours")

# For trees whose bound is not what is tested.
QUICK: Final = tractor.Graces(ack=0.1, cancel=0.2, terminate=0.1, kill=1.0)


# For whole blocks (and so unknown to PT012): what a nursery raises comes at its end.
raises: Final = pytest.raises


class Stopwatch:
    """Runs from the start; `check` holds it to a promise."""

    def __init__(self) -> None:
        self._began = perf_counter()

    def check(self, promise: float, *, slack: float = 3) -> None:
        """Fail if more than `promise` seconds went by, and what small machines need."""
        took = perf_counter() - self._began
        busy = os.getloadavg()[0] > 2 * (os.cpu_count() or 1)
        bound = promise * slack * (2 if busy else 1)
        assert took <= bound, f"took {took:.2f} s; the bound is {bound:.2f} s"


@contextmanager
def within(promise: float, *, slack: float = 3) -> Iterator[None]:
    """Hold the block to a promise, however it ends."""
    watch = Stopwatch()
    try:
        with trio.fail_after(SAFETY) if trio.lowlevel.in_trio_run() else nullcontext():
            yield
    finally:
        watch.check(promise, slack=slack)


@asynccontextmanager
async def open_tree(
    start_method: str, **options: Any
) -> AsyncIterator[tractor.ActorNursery]:
    """The nursery of a new tree, with a net under it."""
    with trio.fail_after(SAFETY):
        async with tractor.open_nursery(start_method=start_method, **options) as an:
            yield an


@contextmanager
def events(kind: str) -> Iterator[list[Event]]:
    """What the runtime here emits of that kind."""
    seen: list[Event] = []

    def note(event: Event) -> None:
        if event.kind == kind:
            seen.append(event)

    with hub.subscribed(note):
        yield seen


def is_gone(actor: tractor.Portal | tractor.Aid) -> bool:
    """Whether the process that it had for itself is no more, not even as a zombie.

    In this process: whether no thread has its name any more. The kernel keeps only
    the first letter of that, so actors of a test are to differ there.
    """
    pid = pid_of(actor)
    if pid != os.getpid():
        return not Path(f"/proc/{pid}").exists()
    name = f"tractor actor {aid_of(actor).name}".encode()[:15].decode(errors="replace")
    deadline = perf_counter() + THREAD_END
    while there := any(thread.name == name for thread in threads_of(pid)):
        if perf_counter() > deadline:
            break
        time.sleep(0.001)  # nothing tells of the last moment of a thread
    return not there


def aid_of(actor: tractor.Portal | tractor.Aid) -> tractor.Aid:
    """Its identity."""
    return actor.aid if isinstance(actor, tractor.Portal) else actor


def pid_of(actor: tractor.Portal | tractor.Aid) -> int:
    """The process that hosts it."""
    pid = aid_of(actor).pid
    assert pid is not None
    return pid


# -- What depends on the host ----------------------------------------------------------


def strike(portal: tractor.Portal) -> None:
    """Let its actor die now: kill its process or, where that is ours, cut its link."""
    if pid_of(portal) != os.getpid():
        faults.kill(portal)
    else:
        portal.chan.close()


def signal_of_strike(traits: Traits) -> int | None:
    """What `ActorDied.signal` is after `strike` or `dies`."""
    return signal.SIGKILL if traits.own_process else None


def stubborn(traits: Traits) -> tuple[str, str]:
    """The worst misbehaviours that a host can end.

    The loop of the first one turns, and that of the second one does not.
    """
    if traits.can_kill:
        return "ignores_everything", "holds_the_gil"
    return "ignores_cancel", "loops"


# -- A bell ----------------------------------------------------------------------------


class Bell:
    """A named pipe on which actors say that they are in place.

    Attributes:
        path: For `ring` in `_misbehaviours`.
    """

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="bell-")
        self.path = f"{self._folder.name}/bell"
        os.mkfifo(self.path)
        # Open for both, so that it has no end.
        self._fd = os.open(self.path, os.O_RDWR | os.O_NONBLOCK)
        self._unread = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        os.close(self._fd)
        self._folder.cleanup()

    async def heard(self) -> str:
        """The next word."""
        while b"\n" not in self._unread:
            await trio.lowlevel.wait_readable(self._fd)
            self._unread += os.read(self._fd, 4096)
        return self._take()

    def wait_heard(self, *pidfds: int) -> str:
        """The next word, for a test without a loop; an error if a process ends before.

        Several words may have come in one read.
        """
        while b"\n" not in self._unread:
            ready = select.select([self._fd, *pidfds], [], [], SAFETY)[0]
            assert ready, "nobody rings"
            assert self._fd in ready, "the program ended"
            self._unread += os.read(self._fd, 4096)
        return self._take()

    def heard_nowait(self) -> list[str]:
        """All words so far."""
        with suppress(BlockingIOError):
            self._unread += os.read(self._fd, 4096)
        words, _, self._unread = self._unread.rpartition(b"\n")
        return words.decode().split("\n") if words else []

    def _take(self) -> str:
        word, _, self._unread = self._unread.partition(b"\n")
        return word.decode()


# -- Programs --------------------------------------------------------------------------


def write_program(folder: Path, text: str, name: str = "program.py") -> Path:
    """A file with that program in it."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text))
    return path


def start_python(
    start_method: str, *argv: str | Path, **options: Any
) -> "subprocess.Popen[str]":
    """Python on that command line, with all that it says in pipes."""
    env = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "TRACTOR_SPAWN_METHOD": start_method,
    }
    return subprocess.Popen(
        [sys.executable, *map(str, argv)],
        env=env,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **options,
    )


def run_python(
    start_method: str, *argv: str | Path, stdin: str = "", **options: Any
) -> "subprocess.CompletedProcess[str]":
    """The same, to its end."""
    pipe = subprocess.PIPE
    with start_python(start_method, *argv, stdin=pipe, **options) as process:
        try:
            out, err = process.communicate(stdin, timeout=SAFETY)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        return subprocess.CompletedProcess(argv, process.returncode, out, err)

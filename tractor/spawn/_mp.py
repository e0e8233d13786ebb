"""The backends `mp_spawn` and `mp_forkserver`: children made by `multiprocessing`.

For programs that work with it already, and, by the forkserver, for processes that start
fast. Whatever of `multiprocessing` such a child uses is at home there.

Descriptors travel as arguments of the `Process`, by `reduction.DupFd`: link, lifeline,
stderr; beside them only what a process has of its parent and not of a forkserver, the
environment and stdout.

The forkserver is our own. The program's may have been started from anything, import
what runs threads or trio, and not import us. Ours is started with the first child, does
nothing but imports, and ends with the last process that could use it. Reasons are in
docs/adr/0010.
"""

import fcntl
import os
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from importlib import import_module
from multiprocessing import context, forkserver, get_all_start_methods, spawn, util
from multiprocessing.process import BaseProcess
from typing import Any, Final, NoReturn

import trio

from tractor._ending import flush_all
from tractor._types import ExitStatus
from tractor.log import get_logger
from tractor.spawn._backend import ChildSpec, Traits
from tractor.spawn._lifeline import hold
from tractor.spawn._mp_popen import Forked, Spawned
from tractor.spawn._mp_sent import PassedFd
from tractor.spawn._mp_server import ForkServer
from tractor.spawn._stderr import StderrTail
from tractor.spawn._threaded import start_in_thread

# By name: children import it, we do not.
CHILD_BOOT: Final = "tractor._child:run_process"
GUARD: Final = "tractor.spawn._mp_guard"
# With them trio and msgspec; the second one for children that have children.
PRELOAD: Final = ("tractor._child", "tractor._root", __name__)

STDOUT: Final = 1
STDERR: Final = 2
OUTPUTS: Final = (STDERR, STDOUT)  # in the order in which they are handed over

# Of this process; `multiprocessing` has one, too. Nothing runs before its first child.
server: Final = ForkServer()

type Popen = Spawned | Forked


# -- In the child ----------------------------------------------------------------------


def _host(boot: str, fds: tuple[int, ...], environ: dict[bytes, bytes]) -> NoReturn:
    """Host an actor in this process, and leave the terminal's foreground group.

    Ctrl-C is blocked up to here; one that came all the same does nothing.
    """
    link, lifeline, *outputs = fds
    for fd, target in zip(outputs, OUTPUTS, strict=False):
        os.dup2(fd, target)
        os.close(fd)
    os.setpgid(0, 0)
    signal.signal(signal.SIGINT, lambda _signum, _frame: None)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    hold(lifeline)
    if environ != dict(os.environb):
        os.environb.clear()
        os.environb.update(environ)
    module, _, function = boot.partition(":")
    code = getattr(import_module(module), function)(socket.socket(fileno=link))
    flush_all()  # the forkserver's children leave without finalisation
    sys.exit(code)


# -- In the parent ---------------------------------------------------------------------


class MpChild:
    """A child that `multiprocessing` made."""

    def __init__(self, popen: Popen, stderr: StderrTail) -> None:
        self._popen = popen
        self._stderr = stderr
        self._gone = trio.Event()
        self._status = ExitStatus()
        trio.lowlevel.spawn_system_task(self._watch, name=f"exit of {popen.pid}")

    @property
    def pid(self) -> int:
        """Its process."""
        return self._popen.pid

    async def wait(self) -> ExitStatus:
        """Wait until it is gone, reaped, and all that it wrote to stderr is read."""
        await self._gone.wait()
        return self._status

    def terminate(self) -> None:
        """Send SIGTERM."""
        self._popen.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL."""
        self._popen.send_signal(signal.SIGKILL)

    def stderr_tail(self) -> str:
        """The last 16 KiB that it wrote to stderr, as far as they are known."""
        return self._stderr.text()

    async def _watch(self) -> None:
        # A system task that raises takes the run down; this one gives no notice then.
        try:
            self._status = await self._popen.exited()
            self._popen.close()
            self._stderr.child_gone()
            await self._stderr.wait_done()
        except Exception:  # noqa: BLE001
            get_logger(__name__).exception("cannot tell how process %d ends", self.pid)
        else:
            self._gone.set()


class MpBackend:
    """What both have in common.

    Args:
        boot: ``module:function`` that the child calls with its end of the link; what
            it returns is the exit code.
    """

    key: str
    traits = Traits(
        can_kill=True,
        own_process=True,
        own_gil=True,
        inherits_fds=True,
        main_thread=True,
    )
    _process_class: Any
    _launch: Callable[[BaseProcess], Popen]

    def __init__(self, *, boot: str = CHILD_BOOT) -> None:
        self._boot = boot

    def unavailable(self) -> str | None:
        """What is missing here, if anything."""
        if os.name != "posix":
            return "POSIX: descriptors are handed over"
        if self.key.removeprefix("mp_") not in get_all_start_methods():
            return "a platform where multiprocessing has this start method"
        if not spawn.get_executable():
            return "sys.executable, which is empty in an embedded Python"
        return None

    # Ctrl-C between the making of the process and the keeping of its handle would
    # leave the process behind.
    @trio.lowlevel.enable_ki_protection
    async def start(self, spec: ChildSpec) -> MpChild:
        """Start a child.

        Raises:
            OSError: It could not be started; nothing is left behind.
            TypeError: There are `spec.options`; `multiprocessing` takes none.

        Cancellation: nothing is left behind either; see `start_in_thread`.
        """
        with spec.link:
            if given := ", ".join(spec.options):
                msg = f"spawn backend {self.key!r} takes no proc_kwargs; given: {given}"
                raise TypeError(msg)
            await trio.lowlevel.checkpoint()
            stderr = StderrTail()
            try:
                # The thread has its own copies, since it may be left alone.
                with ExitStack() as fds:
                    process = self._process(spec, stderr.write_fd, fds)
                    launch = partial(self._launch, process)
                    popen = await start_in_thread(launch, _end, fds.pop_all())
            except BaseException:
                stderr.close()
                raise
        stderr.start()
        return MpChild(popen, stderr)

    def _process(self, spec: ChildSpec, stderr: int, fds: ExitStack) -> BaseProcess:
        wanted = [spec.link.fileno(), spec.lifeline_fd, stderr]
        if _is_open(STDOUT):
            wanted.append(STDOUT)
        copies = tuple(_copy(fd, fds) for fd in wanted)
        args = (self._boot, copies, dict(os.environb))
        process: BaseProcess = self._process_class(
            target=_host, args=args, name=spec.aid.name, daemon=False
        )
        return process


class MpSpawn(MpBackend):
    """Starts a fresh Python for each child."""

    key = "mp_spawn"
    _process_class = context.SpawnProcess
    _launch = staticmethod(Spawned)


class MpForkserver(MpBackend):
    """Forks each child off a process that has imported what they need."""

    key = "mp_forkserver"
    _process_class = context.ForkServerProcess

    def _process(self, spec: ChildSpec, stderr: int, fds: ExitStack) -> BaseProcess:
        # Processes inherit the folder for sockets, so that forkservers of actors which
        # are killed leave nothing in another one. It goes when this process ends.
        util.get_temp_dir()
        return super()._process(spec, stderr, fds)

    def _launch(self, process: BaseProcess) -> Popen:
        # What the program has its own forkserver import, ours does too; but not its
        # main module, which not every child wants, and which may start anything.
        theirs = getattr(forkserver._forkserver, "_preload_modules", [])
        wanted = [name for name in theirs if name != "__main__"]
        server.set_forkserver_preload([GUARD, *wanted, *PRELOAD])
        return Forked(process, server)


def _copy(fd: int, fds: ExitStack) -> PassedFd:
    # Not one of the standard three, which may be closed here: it keeps its number.
    copy = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, STDERR + 1)
    fds.callback(os.close, copy)
    return PassedFd(copy)


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def _end(popen: Popen) -> None:
    popen.end()


spawn_backend: Final = MpSpawn()
forkserver_backend: Final = MpForkserver()

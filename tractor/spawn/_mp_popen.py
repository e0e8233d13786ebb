"""How `multiprocessing` starts a process, without what an actor cannot use of it.

A `Popen` of ours for each of its methods, made as it makes its own: by a `_launch`.
Other than its own,

- they do not tell the child of the program's main module. `multiprocessing` would
  import it in every child, before any code of ours: Ctrl-C would hit it, its errors
  would not be reported, and nobody could decline;
- they block SIGINT in the child, for whoever runs there to unblock;
- they leave nothing behind when they fail half-way, and know an exit code of 255 from
  one that nobody knows;
- no `Process.start` calls them. That would add the child to those that
  `multiprocessing` waits for when this process exits, and that any thread may reap.

They need no lock: what is global in `multiprocessing` has one, or is of one thread.
"""

import math
import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from multiprocessing import (
    ProcessError,
    forkserver,
    popen_forkserver,
    popen_spawn_posix,
    resource_tracker,
    spawn,
    util,
)
from multiprocessing.process import BaseProcess
from typing import Any, Final

import trio

from tractor._types import ExitStatus
from tractor.spawn._death import wait_process_exited, was_reaped
from tractor.spawn._mp_sent import pickled

TELLING: Final = 0.2  # seconds that a forkserver has to tell of a death
NO_STATUS: Final = 255  # what `multiprocessing` calls an exit code that nobody knows
SPARE_FDS: Final = 8  # descriptors that a launch may open at once


class _Signalled:
    """A process that is sent signals, and no other one of that number ever."""

    pid: int
    returncode: int | None
    _pidfd: int | None = None

    def _open_pidfd(self) -> None:
        # The number may be another one's as soon as somebody has reaped this.
        with suppress(AttributeError, OSError):  # not Linux ≥ 5.3, or forbidden
            self._pidfd = os.pidfd_open(self.pid)

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it was reaped."""
        if self.returncode is not None:
            return
        with suppress(ProcessLookupError):
            if self._pidfd is None:
                os.kill(self.pid, number)
            else:
                signal.pidfd_send_signal(self._pidfd, number)

    async def _died(self) -> None:
        """Wait until it is a zombie, or gone."""
        if self._pidfd is None:
            await wait_process_exited(self.pid)
        else:
            await trio.lowlevel.wait_readable(self._pidfd)


class Spawned(_Signalled, popen_spawn_posix.Popen):
    """A fresh Python."""

    _fds: list[int]  # those that it inherits

    def _launch(self, process: BaseProcess) -> None:
        tracker = resource_tracker.getfd()
        assert tracker is not None  # it runs now
        data = pickled(self, process)
        data_r, self._data_w = os.pipe()
        try:
            argv = spawn.get_command_line(tracker_fd=tracker, pipe_handle=data_r)
            passed = [*self._fds, tracker, data_r]
            with _sigint_blocked():
                self.pid = _exec(argv, passed)
            self._open_pidfd()
        except BaseException:
            self.close()
            raise
        finally:
            os.close(data_r)
        try:
            _write(self._data_w, data)
        except BaseException:  # it could not be executed, or was killed
            self.end()
            raise

    async def exited(self) -> ExitStatus:
        """Wait until it is gone, and reap it, unless somebody else has done so."""
        # A loop, since under a tracer the notice comes before it can be reaped.
        while not was_reaped(self.pid, self._pidfd):
            if (code := self.poll()) is not None:
                return ExitStatus.from_returncode(code)
            await self._died()
        self.returncode = NO_STATUS
        return ExitStatus()

    def end(self) -> None:
        """Kill it, wait for it, and close."""
        self.send_signal(signal.SIGKILL)
        self.wait()
        self.close()

    def close(self) -> None:
        """Close what stands for us in the child, and for it here."""
        for fd in (self._data_w, self._pidfd):
            if fd is not None:
                os.close(fd)


class Forked(_Signalled, popen_forkserver.Popen):
    """A fork of the forkserver, and so not our child.

    The sentinel is a pipe on which the forkserver tells the process id, and the exit
    code once it has reaped the process.
    """

    _fds: list[int]  # those that are sent to it

    def __init__(self, process: BaseProcess, server: forkserver.ForkServer) -> None:
        self._server = server
        super().__init__(process)

    def _launch(self, process: BaseProcess) -> None:
        _check_spare_fds()
        data = pickled(self, process)
        resource_tracker.ensure_running()  # may unblock SIGINT, so before the rest
        try:
            with _sigint_blocked():
                ends = self._server.connect_to_new_process(self._fds)
            self.sentinel, self._data_w = ends
            try:
                _write(self._data_w, data)
                self.pid = forkserver.read_signed(self.sentinel)
            except BaseException:
                self.close()  # which ends the process, if there is one
                raise
        except (EOFError, ConnectionError, ProcessError) as exc:
            msg = "the forkserver ended; if an import did it, stderr has the traceback"
            raise ConnectionError(msg) from exc
        self._open_pidfd()

    async def exited(self) -> ExitStatus:
        """Wait until it is gone, and then for a moment until it is told how."""
        told, patience = False, math.inf
        if self._pidfd is not None:
            await self._died()
            patience = TELLING
        with trio.move_on_after(patience):
            await trio.lowlevel.wait_readable(self.sentinel)
            told = True
        if told:
            with suppress(EOFError):  # the forkserver is dead
                self.returncode = forkserver.read_signed(self.sentinel)
                return ExitStatus.from_returncode(self.returncode)
        if self._pidfd is None:  # nobody will tell of its end
            self.send_signal(signal.SIGKILL)
        self.returncode = NO_STATUS
        return ExitStatus()

    def end(self) -> None:
        """Kill it, wait for it, and close."""
        self.send_signal(signal.SIGKILL)
        self.wait()
        self.close()

    def close(self) -> None:
        """Close what stands for us in the child, and for it here."""
        for fd in (self._data_w, self.sentinel, self._pidfd):
            if fd is not None:
                os.close(fd)


def _exec(argv: list[str], fds: list[int]) -> int:
    executable: Any = spawn.get_executable()  # in bytes, unlike what the stubs say
    return util.spawnv_passfds(executable, argv, fds)


def _write(fd: int, data: bytes) -> None:
    with open(fd, "wb", closefd=False) as file:
        file.write(data)


def _check_spare_fds() -> None:
    """Fail before `multiprocessing` does, which loses what it had opened by then.

    Raises:
        OSError: Fewer than `SPARE_FDS` descriptors can be opened.
    """
    with ExitStack() as spare:
        for _ in range(SPARE_FDS):
            spare.callback(os.close, os.open(os.devnull, os.O_RDONLY))


@contextmanager
def _sigint_blocked() -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)

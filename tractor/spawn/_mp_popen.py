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

import io
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from multiprocessing import (
    ProcessError,
    context,
    forkserver,
    popen_forkserver,
    popen_spawn_posix,
    reduction,
    resource_tracker,
    spawn,
    util,
)
from multiprocessing.process import BaseProcess
from typing import Any, Final

import trio

from tractor._types import ExitStatus
from tractor.spawn._death import wait_process_exited

NO_STATUS: Final = 255  # what `multiprocessing` calls an exit code that nobody knows
SPARE_FDS: Final = 8  # descriptors that a launch may open at once


class Spawned(popen_spawn_posix.Popen):
    """A fresh Python."""

    _fds: list[int]  # those that it inherits

    def _launch(self, process: BaseProcess) -> None:
        tracker = resource_tracker.getfd()
        assert tracker is not None  # it runs now
        data = _pickled(self, process)
        data_r, self._data_w = os.pipe()
        try:
            argv = spawn.get_command_line(tracker_fd=tracker, pipe_handle=data_r)
            passed = [*self._fds, tracker, data_r]
            with _sigint_blocked():
                self.pid = _exec(argv, passed)
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

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it was reaped."""
        if self.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    async def exited(self) -> ExitStatus:
        """Wait until it is gone, and reap it."""
        # A loop, since under a tracer the notice comes before it can be reaped.
        while (code := self.poll()) is None:
            await wait_process_exited(self.pid)
        return ExitStatus.from_returncode(code)

    def end(self) -> None:
        """Kill it, wait for it, and close."""
        self.send_signal(signal.SIGKILL)
        self.wait()
        self.close()

    def close(self) -> None:
        """Close what stands for us in the child."""
        os.close(self._data_w)


class Forked(popen_forkserver.Popen):
    """A fork of the forkserver, and so not our child.

    The sentinel is a pipe on which the forkserver tells the process id, and the exit
    code once it has reaped the process.
    """

    _fds: list[int]  # those that are sent to it

    def __init__(self, process: BaseProcess, server: forkserver.ForkServer) -> None:
        self._server = server
        self._pidfd: int | None = None
        super().__init__(process)

    def _launch(self, process: BaseProcess) -> None:
        _check_spare_fds()
        data = _pickled(self, process)
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
        # The number may be another one's as soon as the forkserver has reaped this.
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

    async def exited(self) -> ExitStatus:
        """Wait until it is gone and reaped, whoever does that."""
        await trio.lowlevel.wait_readable(self.sentinel)
        try:
            self.returncode = forkserver.read_signed(self.sentinel)
        except EOFError:
            await self._orphan_exited()
            return ExitStatus()
        return ExitStatus.from_returncode(self.returncode)

    async def _orphan_exited(self) -> None:
        """The forkserver died before it, so that nobody will tell how it ended."""
        if self._pidfd is None:
            self.send_signal(signal.SIGKILL)
        else:
            await trio.lowlevel.wait_readable(self._pidfd)
        self.returncode = NO_STATUS

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


class PassedFd:
    """A descriptor among the arguments of a process; in the child, its number."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def __reduce__(self) -> tuple[Callable[[Any], int], tuple[Any]]:
        return _received, (reduction.DupFd(self._fd),)


def _received(handle: Any) -> int:
    fd: int = handle.detach()
    return fd


def _pickled(popen: Spawned | Forked, process: BaseProcess) -> bytes:
    """What the child reads: how to prepare, and what to run."""
    preparation = spawn.get_preparation_data(process.name)
    for replay in ("init_main_from_name", "init_main_from_path"):
        preparation.pop(replay, None)
    data = io.BytesIO()
    context.set_spawning_popen(popen)  # of this thread
    try:
        reduction.dump(preparation, data)
        reduction.dump(process, data)
    finally:
        context.set_spawning_popen(None)
    return data.getvalue()


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

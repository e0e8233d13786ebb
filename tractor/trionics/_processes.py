"""Subprocesses as tasks of a nursery, and what they say when they fail."""

import enum
import logging
import os
import subprocess
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final, cast

import trio

from tractor.log import get_logger
from tractor.trionics._groups import collapse_eg

TAIL_BYTES: Final = 16 * 1024  # bytes kept of stderr: a long traceback
MAX_LINE: Final = 16 * 1024  # bytes; what is longer is logged in pieces
READ_BYTES: Final = 64 * 1024  # bytes asked for at once; what a pipe holds by default
DRAIN_BYTES: Final = (
    1024 * 1024
)  # bytes; Linux's pipe-max-size, so all of the process's

type Command = str | bytes | os.PathLike[str] | Sequence[str | bytes | os.PathLike[str]]


class _Unset(enum.Enum):
    UNSET = enum.auto()


UNSET: Final = _Unset.UNSET

log = get_logger("trionics")


async def supervise_run_process(  # noqa: PLR0913 (options of one process)
    cmd: Command,
    *,
    check: bool = True,
    label: str | None = None,
    relay_stdout: bool = False,
    relay_stderr: bool = False,
    relay_level: int | str = "io",
    stdout: Any = UNSET,
    task_status: trio.TaskStatus[trio.Process] = trio.TASK_STATUS_IGNORED,
    **run_process_kwargs: Any,
) -> "subprocess.CompletedProcess[bytes]":
    """Run a process as a task: ``process = await nursery.start(...)``.

    It gets an empty stdin. What it writes to stderr is not shown, but kept for the
    error that reports its failure. Once it has exited, output of processes that it
    left behind is not waited for.

    Returns:
        Its exit status, without output. (`nursery.start` returns a `trio.Process`.)

    Args:
        cmd: See `trio.run_process`.
        check: Whether a failure raises.
        label: Its name in the log; by default the name of the program.
        relay_stdout: Whether to log each line of its stdout, as it comes.
        relay_stderr: The same for stderr.
        relay_level: Name or number of the level to log them at.
        stdout: See `subprocess.Popen`; by default it is inherited.
        task_status: Gets the process once it runs.
        run_process_kwargs: For `trio.run_process`. A `stderr` among them goes where
            it says, and is not kept.

    Raises:
        subprocess.CalledProcessError: Its exit status is not 0, with the last 16 KiB of
            stderr as a note and as attribute.
        OSError: It could not be started.
        ValueError: An output is asked for in two ways, or with nobody to read it; or
            there is no such level.

    Cancellation: SIGTERM, after 5 s SIGKILL (unless ``deliver_cancel=`` does something
    else), and its end is waited for.
    """
    name = label or _program(cmd)
    level = _level_number(relay_level)
    options = _options(stdout, relay_stdout, relay_stderr, run_process_kwargs)
    run = partial(
        trio.run_process, cmd, stdin=subprocess.DEVNULL, check=False, **options
    )
    async with collapse_eg(add_notes=False), trio.open_nursery() as nursery:
        process: trio.Process = await nursery.start(run)
        out = _Output(process.stdout, name, level if relay_stdout else None)
        err = _Output(process.stderr, name, level if relay_stderr else None)
        task_status.started(process)
        await _read_until_exit(process, (out, err))
    code = process.returncode or 0
    if code and check:
        raise _failure(code, cmd, name, bytes(err.tail))
    return subprocess.CompletedProcess(process.args, code)


async def _read_until_exit(process: trio.Process, outputs: Iterable["_Output"]) -> None:
    # Shielded: a process that is being stopped must not block on a full pipe when it
    # has much to say before it goes. It does go; `run_process` sees to that.
    with trio.CancelScope(shield=True):
        async with trio.open_nursery() as nursery:
            for output in outputs:
                nursery.start_soon(output.read)
            await process.wait()
            nursery.cancel_scope.cancel()
    for output in outputs:
        output.finish()


class _Output:
    """One output of a process: its last words, and its lines for the log."""

    def __init__(
        self, stream: trio.abc.ReceiveStream | None, name: str, level: int | None
    ) -> None:
        # What `Process` has for a pipe; `None` where the output goes elsewhere.
        self._stream = cast("trio.lowlevel.FdStream | None", stream)
        self._name = name
        self._level = level
        self._line = b""
        self.tail = bytearray()

    async def read(self) -> None:
        """Read until it is closed; cancelling loses nothing."""
        if self._stream is not None:
            while data := await self._stream.receive_some(READ_BYTES):
                self._take(data)

    def finish(self) -> None:
        """Read what is there without waiting for more, and close it."""
        if self._stream is None:
            return
        left = DRAIN_BYTES  # another process may write faster than we read
        with suppress(BlockingIOError):
            while left > 0 and (data := os.read(self._stream.fileno(), READ_BYTES)):
                self._take(data)
                left -= len(data)
        self._stream.close()
        if self._line:
            self._log(self._line)

    def _take(self, data: bytes) -> None:
        self.tail += data
        del self.tail[:-TAIL_BYTES]
        if self._level is None:
            return
        *lines, self._line = (self._line + data).split(b"\n")
        for line in lines:
            self._log(line)
        if len(self._line) > MAX_LINE:
            self._log(self._line)
            self._line = b""

    def _log(self, line: bytes) -> None:
        assert self._level is not None
        text = line.decode(errors="replace").removesuffix("\r")
        log.log(self._level, "%s: %s", self._name, text)


def _options(
    stdout: Any, relay_stdout: bool, relay_stderr: bool, options: dict[str, Any]
) -> dict[str, Any]:
    """Arguments for `trio.run_process`, if they make sense together."""
    if taken := sorted({"stdin", "capture_stdout", "capture_stderr"} & options.keys()):
        msg = f"supervise_run_process() does not take {', '.join(taken)}"
        raise ValueError(msg)
    options.setdefault("stderr", subprocess.PIPE)
    if relay_stderr and options["stderr"] != subprocess.PIPE:
        msg = "relay_stderr=True reads stderr; do not send it elsewhere, too"
        raise ValueError(msg)
    if relay_stdout and stdout not in (UNSET, subprocess.PIPE):
        msg = "relay_stdout=True reads stdout; do not send it elsewhere, too"
        raise ValueError(msg)
    if not relay_stdout and stdout == subprocess.PIPE:
        msg = "stdout=PIPE has nobody who reads it; use relay_stdout=True, or a file"
        raise ValueError(msg)
    if relay_stdout:
        stdout = subprocess.PIPE
    return options if stdout is UNSET else {**options, "stdout": stdout}


def _failure(
    code: int, cmd: Command, name: str, tail: bytes
) -> subprocess.CalledProcessError:
    error = subprocess.CalledProcessError(code, cmd, stderr=tail)
    if tail:
        text = tail.decode(errors="replace").rstrip()
        error.add_note(f"--- last words of {name} on stderr ---\n{text}")
    return error


def _program(cmd: Command) -> str:
    if isinstance(cmd, str | bytes):
        return os.fsdecode(cmd)  # a line for the shell
    program = cmd if isinstance(cmd, os.PathLike) else cmd[0]
    return os.path.basename(os.fsdecode(program))


def _level_number(level: int | str) -> int:
    if isinstance(level, int):
        return level
    number = logging.getLevelNamesMapping().get(level.upper())
    if number is None:
        msg = f"there is no log level {level!r}"
        raise ValueError(msg)
    return number

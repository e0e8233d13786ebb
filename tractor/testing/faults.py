"""Faults on demand: what goes wrong with processes and links, when you say so.

Nothing here waits for luck, and nothing in the runtime knows of it.

Processes: `kill`, `stop` and `resume` send the signals; they raise `ValueError` for an
actor that shares the process of whoever calls them. `hold_at` stops children at a stage
of their boot, so that a test can do something to them there:

    with faults.hold_at("import") as held:
        nursery.start_soon(partial(an.start_actor, "late", **held.options))
        faults.kill(await held.wait_reached())

Links: a `FaultyTransport` does what it is told to the bytes of one connection, and
`interpose` puts one under the link to a child:

    link = await faults.interpose(portal)
    link.go_half_open()
"""

import itertools
import os
import signal
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from shlex import quote
from typing import Any, Final, Literal

import trio

from tractor._types import Aid
from tractor.runtime import Portal
from tractor.testing._links import FaultyTransport, Lane, interpose

__all__ = [
    "FaultyTransport",
    "Held",
    "Lane",
    "Point",
    "Target",
    "hold_at",
    "interpose",
    "kill",
    "resume",
    "stop",
]

type Target = Portal | Aid | int
"""A process: the one that hosts an actor, or one by its number."""

type Point = Literal["connect", "import", "ready"]
"""A stage of boot, as `SpawnError.stage` names it."""

# -- Processes -------------------------------------------------------------------------


def kill(target: Target) -> None:
    """End it at once, by SIGKILL; harmless when it is gone and not yet reaped."""
    os.kill(_pid_of(target), signal.SIGKILL)


def stop(target: Target) -> None:
    """Freeze it, by SIGSTOP: it lives and holds all that it has, and does nothing."""
    os.kill(_pid_of(target), signal.SIGSTOP)


def resume(target: Target) -> None:
    """Let it go on after `stop`."""
    os.kill(_pid_of(target), signal.SIGCONT)


def _pid_of(target: Target) -> int:
    if isinstance(target, int):
        return target
    aid = target if isinstance(target, Aid) else target.aid
    if aid.pid is None:
        msg = f"actor {aid.reprol()!r} has no process"
        raise ValueError(msg)
    if aid.pid == os.getpid():
        msg = (
            f"actor {aid.reprol()!r} has no process of its own, and that signal would "
            "hit this program; break its link with interpose() and cut()"
        )
        raise ValueError(msg)
    return aid.pid


# -- Boot ------------------------------------------------------------------------------

_TURN: Final = 0.05  # seconds; what holds a child looks up that often

_HOLD: Final = """
import contextlib, os, select

def hold():
    if os.path.exists({gate!r}):  # or all may pass
        with open({reached!r}, "w") as pipe:
            pipe.write(f"{{os.getpid()}}\\n")
        with contextlib.suppress(FileNotFoundError), open({gate!r}) as pipe:
            while not select.select([pipe], [], [], {turn})[0]:
                pass  # so that an actor without a process can be interrupted
"""
_AT_IMPORT: Final = f"{_HOLD}\nhold()\n"
# `trio.run` is what a child calls after its last import.
_AT_READY: Final = f"""{_HOLD}
import trio

go_on = trio.run

def run(*args, **kwargs):
    trio.run = go_on
    hold()
    return go_on(*args, **kwargs)

trio.run = run
"""
_SHELL: Final = """#!/bin/sh
[ -e {gate} ] && echo $$ > {reached} && read _ < {gate}
exec {python} "$@"
"""
_numbers: Final = itertools.count(1)  # of modules, each of which is imported only once


class Held:
    """Children that stop at a point of their boot; got from `hold_at`.

    Attributes:
        options: For `ActorNursery.start_actor`, of a child that is to stop there.
    """

    def __init__(self, options: dict[str, Any], reached: str, gate: str) -> None:
        self.options = options
        self._gate = gate
        self._gate_fd: int | None = None
        self._reached_fd = _make_pipe(reached)
        self._unread = b""
        self.hold()

    async def wait_reached(self) -> int:
        """The process of the next child that has come there.

        Cancellation loses nothing.
        """
        while b"\n" not in self._unread:
            await trio.lowlevel.wait_readable(self._reached_fd)
            self._unread += os.read(self._reached_fd, 4096)
        line, _, self._unread = self._unread.partition(b"\n")
        return int(line)

    def hold(self) -> None:
        """Hold those that come there from now on, again after `release`; idempotent."""
        if self._gate_fd is None:
            self._gate_fd = _make_pipe(self._gate)

    def release(self) -> None:
        """Let them go on, and let others pass from now on; idempotent."""
        if self._gate_fd is not None:
            os.unlink(self._gate)
            os.close(self._gate_fd)
            self._gate_fd = None

    def close(self) -> None:
        """Release them, and be of no more use."""
        self.release()
        os.close(self._reached_fd)


@contextmanager
def hold_at(point: Point, modules: Iterable[str] = ()) -> Iterator[Held]:
    """Stop children at a point of their boot, until `Held.release` or the block's end.

    They stop in code that comes from here: a module that they import, or a program in
    front of their Python. So the runtime needs no hook.

    Args:
        point: ``connect``: the process exists, and Python has not begun; ``import``:
            `modules` are imported, and one more import hangs; ``ready``: all is
            imported, and the child does not say so. ``connect`` needs a backend that
            takes ``executable`` among the `proc_kwargs`.
        modules: Others that the child is to serve.

    Raises:
        ValueError: There is no such point.
    """
    if point not in {"connect", "import", "ready"}:
        msg = f"point is connect, import or ready, not {point!r}"
        raise ValueError(msg)
    with tempfile.TemporaryDirectory(prefix="tractor-hold-") as folder:
        paths = {"reached": f"{folder}/reached", "gate": f"{folder}/gate"}
        if point == "connect":
            options = _shell(Path(folder, "python"), paths) | {
                "enable_modules": list(modules)
            }
        else:
            text = _AT_IMPORT if point == "import" else _AT_READY
            name = f"tractor_hold_{next(_numbers)}"
            source = text.format(**paths, turn=_TURN)
            Path(folder, f"{name}.py").write_text(source)
            options = {"enable_modules": [*modules, name]}
        held = Held(options, **paths)
        sys.path.append(folder)  # which children inherit
        try:
            yield held
        finally:
            sys.path.remove(folder)
            held.close()


def _make_pipe(path: str) -> int:
    os.mkfifo(path)
    # Both ways, so that neither opening waits for the other side.
    return os.open(path, os.O_RDWR | os.O_NONBLOCK)


def _shell(program: Path, paths: dict[str, str]) -> dict[str, Any]:
    """Options for a child that waits, and then becomes Python as the same process."""
    quoted = {name: quote(path) for name, path in paths.items()}
    program.write_text(_SHELL.format(**quoted, python=quote(sys.executable)))
    program.chmod(0o700)
    return {"proc_kwargs": {"executable": str(program)}}

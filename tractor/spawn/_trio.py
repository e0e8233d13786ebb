"""The `trio` backend: each child is a fresh Python in a subprocess.

Starting is synchronous, in the loop's thread: `Popen` uses vfork and returns when the
exec is done, after 0.3 ms (p50), also in a process of 1 GiB (measured, Linux 6.18,
Python 3.14; up to 20 ms where four processes compete for each core). A thread would
cost a good part of that again, and bring a state that cancellation could catch
half-way; so there is none.

The child gets a process group of its own. A terminal sends Ctrl-C to the whole
foreground group; here it reaches the root alone, which cancels its tree in order,
instead of every actor of the tree dying by itself at the same moment.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import trio

from tractor._types import ExitStatus
from tractor.spawn._backend import ChildSpec, Traits
from tractor.spawn._death import wait_process_exited, was_reaped
from tractor.spawn._stderr import StderrTail

# By name: children import it, we do not. Not with -m, which would let a `trio.py` in
# the working directory stand in for trio; the folder is where this package was found.
CHILD_BOOT: Final = (
    "-P",
    "-c",
    # No garbage is made by imports, and to look for it takes a tenth of their time.
    "import gc, sys; gc.disable(); sys.path.insert(0, sys.argv.pop(1)); "
    "from tractor._child import main; gc.enable(); main(sys.argv[1:])",
    str(Path(__file__).parents[2]),
)

# Arguments of `Popen` that are not the user's to give: the link, the lifeline and the
# tail of stderr depend on them.
_OWNED: Final = frozenset({"args", "close_fds", "pass_fds", "shell", "stderr"})


class TrioBackend:
    """Starts `python -m tractor._child` as a subprocess.

    Args:
        boot: What the child's Python runs, as on its command line.
    """

    key = "trio"
    traits = Traits(
        can_kill=True,
        own_process=True,
        own_gil=True,
        inherits_fds=True,
        main_thread=True,
        popen_options=True,
    )

    def __init__(self, *, boot: Sequence[str] = CHILD_BOOT) -> None:
        self._boot = tuple(boot)

    def unavailable(self) -> str | None:
        """What is missing here, if anything."""
        if os.name != "posix":
            return "POSIX: the child inherits its link"
        if not sys.executable:
            return "sys.executable, which is empty in an embedded Python"
        return None

    # Ctrl-C between the making of the process and the keeping of its handle would
    # leave the process behind.
    @trio.lowlevel.enable_ki_protection
    async def start(self, spec: ChildSpec) -> "Subprocess":
        """Start a child.

        `spec.options` are arguments of `subprocess.Popen`. `executable` is the Python
        to use instead of `sys.executable`.

        Raises:
            OSError: It could not be started; nothing is left behind.
            TypeError: `spec.options` has an argument that is ours or not `Popen`'s.

        Cancellation: only before anything exists.
        """
        with spec.link:
            options = _checked(spec.options)
            await trio.lowlevel.checkpoint()
            return self._start(spec, options)

    def _start(self, spec: ChildSpec, options: dict[str, Any]) -> "Subprocess":
        argv = self._argv(spec, options.pop("executable", sys.executable))
        stderr = StderrTail()
        try:
            popen = subprocess.Popen(
                argv,
                stderr=stderr.write_fd,
                pass_fds=(spec.link.fileno(), spec.lifeline_fd),
                **options,
            )
        except BaseException:
            stderr.close()
            raise
        stderr.start()
        return Subprocess(popen, stderr)

    def _argv(self, spec: ChildSpec, executable: str) -> list[str]:
        # `executable` comes first, and not as Popen's argument of that name, because
        # Python finds its prefix and virtual environment by its argv[0].
        return [
            executable,
            *_interpreter_flags(),
            *self._boot,
            *("--name", spec.aid.name),
            *("--link", str(spec.link.fileno())),
            *("--lifeline", str(spec.lifeline_fd)),
        ]


class Subprocess:
    """A child that is a subprocess."""

    def __init__(self, popen: "subprocess.Popen[bytes]", stderr: StderrTail) -> None:
        self._popen = popen
        self._stderr = stderr
        self._untold = False  # it is gone, and somebody else knows how

    @property
    def pid(self) -> int:
        """Its process."""
        return self._popen.pid

    async def wait(self) -> ExitStatus:
        """Wait until it is gone, reaped, and all that it wrote to stderr is read."""
        # No task switch between `poll` and the opening of the pidfd: an unreaped
        # process keeps its number. A loop, since under a tracer (strace, gdb) the
        # notice comes a moment before the process can be reaped.
        while (code := self._poll()) is None:
            await wait_process_exited(self._popen.pid)
        self._stderr.child_gone()
        await self._stderr.wait_done()
        return ExitStatus() if self._untold else ExitStatus.from_returncode(code)

    def _poll(self) -> int | None:
        if self._popen.returncode is None and was_reaped(self.pid):
            self._untold = True  # `Popen` will call it 0
        return self._popen.poll()

    def terminate(self) -> None:
        """Send SIGTERM; `Popen` never signals a process that it has reaped."""
        if self._poll() is None:
            self._popen.terminate()

    def kill(self) -> None:
        """Send SIGKILL."""
        if self._poll() is None:
            self._popen.kill()

    def stderr_tail(self) -> str:
        """The last 16 KiB that it wrote to stderr, as far as they are known."""
        return self._stderr.text()


def _checked(options: dict[str, Any]) -> dict[str, Any]:
    if taken := sorted(_OWNED & options.keys()):
        msg = (
            f"proc_kwargs may not contain {', '.join(taken)}: "
            "the runtime needs them for the child's link and stderr"
        )
        raise TypeError(msg)
    for name in ("stdin", "stdout"):
        if options.get(name) == subprocess.PIPE:
            msg = f"proc_kwargs {name}=PIPE has nobody at its other end; give a file"
            raise TypeError(msg)
    ours: dict[str, Any] = {"stdin": subprocess.DEVNULL}
    if not options.get("start_new_session"):  # which brings a group of its own
        ours["process_group"] = 0
    return ours | options


def _interpreter_flags() -> list[str]:
    # Private, yet what `multiprocessing` and `test` use: it knows how to give on -W,
    # -X, -O, -I and the others, and is kept up with each new one.
    flags: list[str] = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
    return flags


backend: Final = TrioBackend()

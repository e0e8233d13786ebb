"""A program of `programs` in a terminal of its own, and a person in front of it."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Final, Self

import pexpect  # type: ignore[import-untyped]
from pexpect import fdpexpect

from tests._helpers import ROOT

SAFETY: Final = 20  # seconds; a net under each wait
AGAIN: Final = 2.0  # seconds until a key is pressed once more
TRIES: Final = 5
# A process gets a controlling terminal only by itself. What a shell runs in its
# background ignores Ctrl-C, and so would this. No fork, in a process that may have
# sub-interpreters.
LAUNCHER: Final = """
import fcntl, os, signal, sys, termios
signal.signal(signal.SIGINT, signal.SIG_DFL)
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""
PROMPT: Final = r"\(Pdb\+?\) "
PROGRAM: Final = "tests.debugger.programs"

# What a crash of a program ends with, after which nothing is printed.
END: Final = pexpect.EOF


class Session:
    """One program, from its start to its end.

    Attributes:
        sane: The settings of the terminal before anybody changes them.

    Args:
        name: Of the program, of a file, or ``pytest``.
        *arguments: For it; a number for a program.
        plain: A folder, to be on its path, in which pdbp cannot be imported.
        backend: Key of the spawn backend.
    """

    def __init__(
        self,
        name: str,
        *arguments: str | int,
        plain: Path | None = None,
        backend: str = "trio",
        **env: str,
    ) -> None:
        path = [str(plain)] if plain is not None else []
        self._master, terminal = os.openpty()
        self._tty = os.ttyname(terminal)
        self.sane = self.stty()
        self._root = subprocess.Popen(
            [sys.executable, "-c", LAUNCHER, *self._command(name, *arguments)],
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            start_new_session=True,
            cwd=ROOT,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join([*path, str(ROOT)]),
                "TERM": "dumb",
                "PYTHON_COLORS": "0",
                "TEST_BACKEND": backend,
                **env,
            },
        )
        os.close(terminal)
        self._child: Any = fdpexpect.fdspawn(
            self._master, encoding="utf-8", timeout=SAFETY
        )
        self._child.delaybeforesend = None

    @staticmethod
    def _command(name: str, *arguments: str | int) -> list[str]:
        if name.endswith(".py"):
            return [name, *map(str, arguments)]
        if name == "pytest":
            return ["-m", name, *map(str, arguments)]
        return ["-m", PROGRAM, name, *map(str, arguments or [0])]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._root.poll() is None:
            self._root.kill()  # and its children end with it
        self._root.wait()
        self._child.close()

    @property
    def pid(self) -> int:
        """Of the root."""
        return self._root.pid

    def stty(self) -> str:
        """The settings of the terminal, as `stty -g` prints them."""
        command = ["stty", "-g", "-F", self._tty]
        return subprocess.run(
            command, capture_output=True, text=True, check=True
        ).stdout

    def foreground(self) -> int:
        """The process group to which the terminal belongs."""
        return os.tcgetpgrp(self._master)

    def expect(self, *patterns: str) -> str:
        """Wait for each in turn; what came before the last one."""
        for pattern in patterns:
            self._child.expect(pattern)
        text: str = self._child.before
        return text

    def prompt(self) -> str:
        """Wait for the next prompt; what was printed before."""
        self._child.expect(PROMPT)
        text: str = self._child.before
        return text

    def type(self, line: str) -> None:
        """Type a line."""
        self._child.sendline(line)

    def press_ctrl_c(self) -> None:
        """The kernel sends SIGINT to the foreground."""
        self._child.send("\x03")

    def interrupt(self) -> str:
        """Press Ctrl-C in a REPL, and read up to the next prompt.

        Python loses one that comes between a prompt and its wait for the first key.
        """
        for _ in range(TRIES):
            self.press_ctrl_c()
            if not self._child.expect([r"KeyboardInterrupt", pexpect.TIMEOUT], AGAIN):
                break
        return self.prompt()

    def ask(self, line: str) -> str:
        """Type a line at the prompt, and read up to the next one."""
        self.type(line)
        return self.prompt()

    def rest(self) -> str:
        """What is printed up to the end of the program."""
        self._child.expect(END)
        text: str = self._child.before
        return text

    def exit_code(self) -> int:
        """Of the program, which has to be at its end."""
        return self._root.wait(SAFETY)

    def terminate(self) -> None:
        """Send SIGTERM to the root."""
        os.kill(self.pid, signal.SIGTERM)

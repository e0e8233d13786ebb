"""What the children of the conformance suite are told to do; see `_backend_suite`."""

import os
import signal
import subprocess
import sys
import threading
from typing import NoReturn

import trio


async def in_main_thread() -> bool:
    """Whether signal handlers work where the actor runs."""
    return threading.current_thread() is threading.main_thread()


async def say(words: str) -> None:
    """Write to stderr."""
    sys.stderr.write(words)
    sys.stderr.flush()


async def leave(code: int) -> NoReturn:
    """End without a goodbye."""
    os._exit(code)


async def die() -> None:
    """End by a signal that nobody survives."""
    os.kill(os.getpid(), signal.SIGKILL)


async def ignore_sigterm() -> None:
    """Do not stop when asked to."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


async def get_busy() -> None:
    """Answer, and from then on hear nothing."""
    trio.lowlevel.current_trio_token().run_sync_soon(_loop)


async def start_helper() -> int:
    """Start a program that keeps our stderr; its process id."""
    command = [sys.executable, "-c", "import signal; signal.pause()"]
    return _start(command)


def _loop() -> NoReturn:
    while True:
        pass


def _start(command: list[str]) -> int:
    return subprocess.Popen(command, stdin=subprocess.DEVNULL).pid

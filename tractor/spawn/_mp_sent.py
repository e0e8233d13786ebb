"""What a child of `multiprocessing` is sent to begin with."""

import io
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import context, get_start_method, process, reduction
from multiprocessing.process import BaseProcess
from typing import Any


class PassedFd:
    """A descriptor among the arguments of a process; in the child, its number."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def __reduce__(self) -> tuple[Callable[[Any], int], tuple[Any]]:
        return _received, (reduction.DupFd(self._fd),)


def _received(handle: Any) -> int:
    fd: int = handle.detach()
    return fd


def pickled(popen: Any, target: BaseProcess) -> bytes:
    """What the child reads: how to prepare, and what to run.

    Args:
        popen: Which starts it; is told of each descriptor.
        target: What to run.
    """
    data = io.BytesIO()
    context.set_spawning_popen(popen)  # of this thread
    try:
        reduction.dump(_preparation(target.name), data)
        reduction.dump(target, data)
    finally:
        context.set_spawning_popen(None)
    return data.getvalue()


def _preparation(name: str) -> dict[str, Any]:
    """What a child needs before it can read the rest.

    As `spawn.get_preparation_data` has it, without the main module, and without what
    the actor gets by its `SpawnSpec`. That one fails in a folder that was deleted, and
    up to Python 3.13 settles the program's start method, which it may then not choose.
    """
    data: dict[str, Any] = {
        "name": name,
        "authkey": process.current_process().authkey,
        "sys_path": sys.path,
        "sys_argv": sys.argv,
        "orig_dir": process.ORIGINAL_DIR,  # type: ignore[attr-defined]
        "start_method": get_start_method(allow_none=True),
    }
    with suppress(FileNotFoundError):
        data["dir"] = os.getcwd()
    return data

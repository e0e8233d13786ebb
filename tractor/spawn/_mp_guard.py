"""Ends a forkserver with the last process that could use it, whatever it does then.

A forkserver imports this before anything else. By itself it looks for that end only
after its imports, and one that hangs in an import would outlive the whole tree.
"""

import os
import sys
from contextlib import suppress
from multiprocessing import forkserver

from tractor.spawn._lifeline import hold


def _alive_fd() -> int | None:
    """The pipe that ends then: an argument of the function that runs the forkserver."""
    frame = sys._getframe().f_back
    while frame is not None and frame.f_code is not forkserver.main.__code__:
        frame = frame.f_back
    return frame.f_locals.get("alive_r") if frame is not None else None


def _arm(fd: int) -> None:
    own = os.dup(fd)
    try:
        hold(own, mechanism="signal")  # a thread would be lost in forks, or break them
    except OSError:
        os.close(own)


if (_fd := _alive_fd()) is not None:
    with suppress(OSError):  # no descriptor left
        _arm(_fd)

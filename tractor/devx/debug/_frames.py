"""Which frames of a stack are the program's, and which thread is the caller's."""

import contextlib
import sys
import threading
from pathlib import Path
from types import FrameType, TracebackType
from typing import Final

import trio

# The packages whose frames nobody wants to be shown first.
PACKAGES: Final = ("tractor", "trio", "outcome")
INSIDE: Final = (
    *(f"{Path(str(sys.modules[name].__file__)).parent}/" for name in PACKAGES),
    contextlib.__file__,
)
LOOP: Final = "unrolled_run"  # trio's, in which a stack of a task ends


def is_inside(frame: FrameType) -> bool:
    """Whether it is of ours or trio's, and so of no interest."""
    return frame.f_code.co_filename.startswith(INSIDE)


def has_outside(traceback: TracebackType | None) -> bool:
    """Whether a frame of the program's is in it."""
    while traceback is not None:
        if not is_inside(traceback.tb_frame):
            return True
        traceback = traceback.tb_next
    return False


def waiting_frame() -> FrameType | None:
    """Of those that wait for the caller, in its task, the first of the program's."""
    frame = sys._getframe(1)
    while frame is not None and frame.f_code.co_name != LOOP:
        if not is_inside(frame):
            return frame
        frame = frame.f_back  # type: ignore[assignment]
    return None


def where() -> str:
    """In which thread the caller is, for a header; empty in that of the loop."""
    thread = threading.current_thread()
    if thread is threading.main_thread() or trio.lowlevel.in_trio_run():
        return ""
    return f", thread {thread.name!r}"

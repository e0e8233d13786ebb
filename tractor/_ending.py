"""The end of a process without CPython's finalisation.

That takes every module apart, which costs more than all the rest of an actor's end, and
crashes where something still computes in another interpreter. What a program may rely
on happens all the same: threads are waited for, `atexit` callbacks run, and what was
written to open files reaches them.
"""

import atexit
import gc
import io
import os
import sys
import threading
import traceback
from contextlib import suppress
from typing import Any, Final, NoReturn

NOT_FLUSHED: Final = 120  # exit code of CPython, whatever it would have been

_FILES: Final = (io.TextIOWrapper, io.BufferedWriter, io.BufferedRandom)


def leave(code: int) -> NoReturn:
    """End this process, from its main thread."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    os._exit(code if flush_all() else NOT_FLUSHED)


def flush_all() -> bool:
    """Whether all that was written to the standard streams has gone out.

    Other files are flushed, too; nobody is told of one that cannot be.
    """
    flushed = _flush_standard_streams()
    for thing in gc.get_objects():
        if issubclass(type(thing), _FILES):  # an object may lie about its class
            with suppress(Exception):
                if not thing.closed:
                    thing.flush()
    return flushed


def _flush_standard_streams() -> bool:
    flushed = True
    for name in ("stdout", "stderr"):
        file: Any = getattr(sys, name, None)
        try:
            if file is not None and not getattr(file, "closed", False):
                file.flush()
        except Exception as error:  # noqa: BLE001 (the exit code tells of it)
            flushed = False
            if name == "stdout":
                text = "".join(traceback.format_exception_only(error))
                with suppress(Exception):
                    print(
                        f"Exception ignored while flushing sys.stdout:\n{text}",
                        end="",
                        file=sys.stderr,
                    )
    return flushed

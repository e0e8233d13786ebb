"""The end of a process in which something runs that cannot be stopped.

CPython's own end would wait for such a thread, or crash: while one computes in an
interpreter with its own GIL, finalisation of 3.14 is killed by SIGSEGV. So the process
does by itself what its end consists of (what `atexit` knows, flushing) and then leaves
without finalisation.

For that it has to know its exit code, which nobody tells an `atexit` callback. But
every exception that ends a program leaves the outermost frame of the main thread, and
`sys.monitoring` tells of that.
"""

import _interpreters
import atexit
import gc
import io
import logging
import os
import signal
import sys
import threading
from contextlib import suppress
from types import CodeType
from typing import Final

_TOOLS: Final = (3, 4, 5, 1)  # numbers of tools; 0 and 2 are a debugger's, a profiler's
_PROGRAM: Final = ("<module>", "_run_module_as_main")  # `python file`, `python -m name`


class _Guard:
    def __init__(self) -> None:
        self.armed = False
        self._last: BaseException | None = None  # that left the outermost frame

    def arm(self) -> None:
        self.armed = True
        atexit.register(self._leave)
        monitoring = sys.monitoring
        for tool in _TOOLS:
            if monitoring.get_tool(tool) is None:
                monitoring.use_tool_id(tool, "tractor exit guard")
                event = monitoring.events.PY_UNWIND
                monitoring.register_callback(tool, event, self._note)
                monitoring.set_events(tool, event)
                return

    def _note(self, code: CodeType, offset: int, exception: BaseException) -> None:
        del offset
        # Frame 0 is this one. What `atexit` calls is outermost as well.
        is_program = code.co_name in _PROGRAM and sys._getframe(1).f_back is None
        if is_program and threading.current_thread() is threading.main_thread():
            self._last = exception

    def _leave(self) -> None:
        atexit.unregister(self._leave)
        atexit._run_exitfuncs()  # those that were to come after this one
        logging.shutdown()
        for file in gc.get_objects():  # the standard streams are among them
            with suppress(Exception):
                if issubclass(type(file), io.IOBase) and not file.closed:
                    file.flush()
        if isinstance(self._last, KeyboardInterrupt):
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGINT)
        os._exit(self._code())

    def _code(self) -> int:
        last = self._last
        if last is None:
            return 0
        if not isinstance(last, SystemExit):
            # An interactive session goes on after an error, and ends without one.
            return 0 if hasattr(sys, "ps1") else 1
        if last.code is None:
            return 0
        return last.code & 0xFF if isinstance(last.code, int) else 1


_guard: Final = _Guard()


def arm_exit_guard() -> None:
    """End this process without finalisation when its time comes.

    In a sub-interpreter it does nothing: the interpreter is left behind as well, and
    whoever notices that, in the main one, arms the guard there.
    """
    in_main = _interpreters.get_current()[0] == _interpreters.get_main()[0]
    if in_main and not _guard.armed:
        _guard.arm()

"""The end of a process in which something runs that cannot be stopped.

CPython's own end would wait for such a thread, or crash: while one computes in an
interpreter with its own GIL, finalisation of 3.14 is killed by SIGSEGV. So the process
does by itself what its end consists of (what `atexit` knows, flushing) and then leaves
without finalisation.

For that it has to know its exit code, which nobody tells an `atexit` callback. But
every exception that ends a program leaves the outermost frame of the main thread, and
`sys.monitoring` tells of that. What the code is then, is CPython's `Python/pythonrun.c`
and `Modules/main.c` once more; a test compares each case with them.
"""

import _interpreters
import atexit
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from types import CodeType
from typing import Any, Final

from tractor._ending import NOT_FLUSHED, flush_all

_TOOLS: Final = (3, 4, 5, 1, 0, 2)  # numbers of tools; last a debugger's, a profiler's
_LONG: Final = 1 << 63  # C's long has no more
_TOO_LONG: Final = 255  # exit code


class _Guard:
    _next: Callable[..., Any] | None = None  # of whom we share a tool with

    def __init__(self) -> None:
        self.armed = False
        self._last: BaseException | None = None  # that left the outermost frame
        self._at_prompt = False  # an interactive session was there to raise it

    def arm(self) -> None:
        self.armed = True
        atexit.register(self._leave)
        if threading.main_thread().is_alive():
            self._watch()
        else:  # the program has ended, and waits for other threads
            self._last = getattr(sys, "last_exc", None)

    def _watch(self) -> None:
        monitoring = sys.monitoring
        event = monitoring.events.PY_UNWIND
        free = [tool for tool in _TOOLS if monitoring.get_tool(tool) is None]
        if free:
            tool, events = free[0], 0
            monitoring.use_tool_id(tool, "tractor exit guard")
        else:  # share one, if possible with somebody who does not want this event
            tool = min(_TOOLS, key=lambda tool: monitoring.get_events(tool) & event)
            events = monitoring.get_events(tool)
        before = monitoring.register_callback(tool, event, self._note)
        if events & event:
            self._next = before
        monitoring.set_events(tool, events | event)

    def _note(self, code: CodeType, offset: int, exception: BaseException) -> object:
        # Frame 0 is this one. What `atexit` calls is outermost as well, but comes when
        # the main thread counts as ended.
        main = threading.main_thread()
        if (
            sys._getframe(1).f_back is None
            and threading.get_ident() == main.ident
            and main.is_alive()
        ):
            self._note_last(exception)
        return self._next(code, offset, exception) if self._next is not None else None

    def _note_last(self, exception: BaseException) -> None:
        # After the program's own one comes that of `sys.excepthook`, if any, which
        # mostly does not count. A session at a prompt goes on after each.
        at_prompt = hasattr(sys, "ps1")
        counts = isinstance(exception, SystemExit | KeyboardInterrupt)
        if self._last is None or at_prompt or counts:
            self._last, self._at_prompt = exception, at_prompt

    def _leave(self) -> None:
        atexit.unregister(self._leave)
        atexit._run_exitfuncs()  # those that were to come after this one
        logging.shutdown()
        flushed = flush_all()
        last = None if hasattr(sys, "ps1") and not self._at_prompt else self._last
        if isinstance(last, KeyboardInterrupt) and not self._at_prompt:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGINT)
        os._exit(_code(last, self._at_prompt) if flushed else NOT_FLUSHED)


def _code(last: BaseException | None, at_prompt: bool) -> int:
    if not isinstance(last, SystemExit):
        return 0 if last is None or at_prompt else 1
    code = last.code
    if code is None:
        return 0
    if not isinstance(code, int):
        return 1
    return int(code) & 0xFF if -_LONG <= code < _LONG else _TOO_LONG


_guard: Final = _Guard()


def arm_exit_guard() -> None:
    """End this process without finalisation when its time comes.

    In a sub-interpreter it does nothing: the interpreter is left behind as well, and
    whoever notices that, in the main one, arms the guard there.
    """
    in_main = _interpreters.get_current()[0] == _interpreters.get_main()[0]
    if in_main and not _guard.armed:
        _guard.arm()

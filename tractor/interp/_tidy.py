"""Making an interpreter as good as new, for the next actor.

To destroy an interpreter leaves megabytes of its private copies behind, and to make one
takes hundreds of milliseconds. So they are used again, and what a process loses by its
end has to be undone here.

What stays: imported modules of the standard library, and libraries with compiled parts,
which cannot be loaded twice. What goes: every other module that was not there before.
"""

import _interpreters
import builtins
import functools
import gc
import importlib
import linecache
import logging
import random
import socket
import sys
import threading
import time
import warnings
from contextlib import suppress
from importlib.machinery import EXTENSION_SUFFIXES
from types import ModuleType
from typing import Any, Final

from tractor import log
from tractor._instrument import hub
from tractor.msg import forget_err_types

SETTLE: Final = 0.5  # seconds for threads that are ending to be gone
TICK: Final = 0.0005  # seconds between two looks at them

_SYS: Final = (
    *("stdin", "stdout", "stderr", "excepthook", "unraisablehook", "displayhook"),
    *("breakpointhook", "tracebacklimit", "ps1", "ps2", "argv", "dont_write_bytecode"),
)
_HOOKS: Final = (
    *(
        (threading, "excepthook"),
        (warnings, "showwarning"),
        (warnings, "formatwarning"),
    ),
    (logging, "raiseExceptions"),
)
# Of log levels: the stdlib's names and ours. Neither has a public way to forget one.
_DICTS: Final[tuple[tuple[ModuleType, str], ...]] = (
    (logging, "_levelToName"),
    (logging, "_nameToLevel"),
    (log, "CUSTOM_LEVELS"),
    (log, "_PALETTE"),
)
_SYS_LISTS: Final = ("path", "meta_path", "path_hooks", "warnoptions")


class Snapshot:
    """How the interpreter is now; `restore` brings that back."""

    def __init__(self) -> None:
        self._modules = dict(sys.modules)
        self._main = dict(vars(sys.modules["__main__"]))
        self._builtins = dict(vars(builtins))
        self._sys = {name: getattr(sys, name) for name in _SYS if hasattr(sys, name)}
        self._sys_lists = {name: list(getattr(sys, name)) for name in _SYS_LISTS}
        self._filters = list(warnings.filters)
        self._loggers = {
            logger: (vars(logger).copy(), logger.handlers[:], logger.filters[:])
            for logger in _loggers()
        }
        self._record_factory = logging.getLogRecordFactory()
        self._dicts = [dict(getattr(module, name)) for module, name in _DICTS]
        self._logger_methods = set(vars(log.StackLevelAdapter))
        self._hub = vars(hub).copy()
        self._hooks = [(module, name, getattr(module, name)) for module, name in _HOOKS]
        self._thresholds = gc.get_threshold()
        self._stack_size = threading.stack_size()
        self._max_digits = sys.get_int_max_str_digits()
        self._caches = _caches()  # now, because frozen objects are not found later
        self._recursion_limit = sys.getrecursionlimit()
        config = _interpreters.get_config(_interpreters.get_current()[0])
        self._own_gil = config.gil == "own"
        self._switch_interval = sys.getswitchinterval()

    def restore(self) -> None:
        """Undo what happened since."""
        self._restore_sys()
        self._restore_logging()
        self._restore_modules()
        warnings.resetwarnings()
        warnings.filters.extend(self._filters)  # type: ignore[attr-defined]
        for module, name, value in self._hooks:
            setattr(module, name, value)
        vars(hub).update(self._hub)  # nobody is subscribed to it
        forget_err_types()
        threading.stack_size(self._stack_size)
        socket.setdefaulttimeout(None)
        random.seed()
        linecache.clearcache()
        for cache in (*self._caches, *_caches()):
            cache.cache_clear()  # the user's functions and classes are keys
        sys.path_importer_cache.clear()
        importlib.invalidate_caches()
        gc.enable()
        gc.set_threshold(*self._thresholds)
        gc.collect()

    def _restore_sys(self) -> None:
        sys.settrace(None)
        sys.setprofile(None)
        threading.settrace(None)
        threading.setprofile(None)
        for name in _SYS:
            if name in self._sys:
                setattr(sys, name, self._sys[name])
            elif hasattr(sys, name):
                delattr(sys, name)
        for name, value in self._sys_lists.items():
            getattr(sys, name)[:] = value
        sys.setrecursionlimit(self._recursion_limit)
        if self._own_gil:  # or it is everybody's
            sys.setswitchinterval(self._switch_interval)
        sys.set_int_max_str_digits(self._max_digits)

    def _restore_logging(self) -> None:
        for logger in _loggers():
            if logger not in self._loggers:
                logger.handlers.clear()
                logger.filters.clear()
                logger.setLevel(logging.NOTSET)
        for logger, (attributes, handlers, filters) in self._loggers.items():
            vars(logger).update(attributes)
            logger.handlers[:] = handlers
            logger.filters[:] = filters
            logger.setLevel(logger.level)  # drops what was cached
        for (module, name), before in zip(_DICTS, self._dicts, strict=True):
            known = getattr(module, name)
            known.clear()
            known.update(before)
        for name in vars(log.StackLevelAdapter).keys() - self._logger_methods:
            delattr(log.StackLevelAdapter, name)
        logging.setLogRecordFactory(self._record_factory)
        logging.disable(logging.NOTSET)

    def _restore_modules(self) -> None:
        compiled = {_top(name) for name, each in sys.modules.items() if _compiled(each)}
        stays = compiled | sys.stdlib_module_names
        for name in list(sys.modules):
            if name not in self._modules and _top(name) not in stays:
                _detach(name, sys.modules.pop(name))
        sys.modules.update(self._modules)
        _restore_vars(sys.modules["__main__"], self._main)
        _restore_vars(builtins, self._builtins)


def _detach(name: str, module: object) -> None:
    """Let its package forget a module, so that it can be imported from there anew."""
    package, _, last = name.rpartition(".")
    attributes = vars(sys.modules[package]) if package in sys.modules else {}
    if attributes.get(last) is module:
        del attributes[last]


def threads_left() -> int:
    """How many threads besides this one still run here, after a moment to end."""
    deadline = time.monotonic() + SETTLE
    while (left := len(sys._current_frames()) - 1) and time.monotonic() < deadline:
        time.sleep(TICK)
    return left


def join_threads() -> None:
    """Wait for threads that are no daemons, however long they take."""
    # As at the end of a process: first what is registered for it (executors let go of
    # their workers), then the threads. `threading` has no public names for either.
    callbacks: list[Any] = threading._threading_atexits  # type: ignore[attr-defined]
    while callbacks:
        with suppress(Exception):
            callbacks.pop()()
    # The "main" thread is the one that made the interpreter, and may be long gone.
    ours = (threading.main_thread(), threading.current_thread())
    for thread in threading.enumerate():
        if thread not in ours and not thread.daemon:
            thread.join()


def _caches() -> "list[functools._lru_cache_wrapper[Any]]":
    every = gc.get_objects()
    return [each for each in every if type(each) is functools._lru_cache_wrapper]


def _loggers() -> list[logging.Logger]:
    every = logging.root.manager.loggerDict.values()
    return [logging.root, *(one for one in every if isinstance(one, logging.Logger))]


def _restore_vars(module: ModuleType, before: dict[str, Any]) -> None:
    for name in vars(module).keys() - before.keys():
        delattr(module, name)
    vars(module).update(before)


def _top(name: str) -> str:
    return name.partition(".")[0]


def _compiled(module: ModuleType) -> bool:
    path = str(getattr(module, "__file__", None) or "")
    return path.endswith(tuple(EXTENSION_SUFFIXES))

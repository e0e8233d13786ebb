"""The names of `concurrent.futures`, with pools of actors behind them.

``from tractor.futures.compat import ProcessPoolExecutor`` is the only change that a
program needs. Calls are pickled, as there. What has no meaning for actors is taken, and
a warning says that it is of no effect. With ``TRACTOR_COMPAT_MODE=passthrough`` in the
environment the names are those of the standard library again.
"""

import os
import warnings
from collections.abc import Callable
from concurrent.futures import ALL_COMPLETED as ALL_COMPLETED
from concurrent.futures import FIRST_COMPLETED as FIRST_COMPLETED
from concurrent.futures import FIRST_EXCEPTION as FIRST_EXCEPTION
from concurrent.futures import BrokenExecutor as BrokenExecutor
from concurrent.futures import CancelledError as CancelledError
from concurrent.futures import Executor as Executor
from concurrent.futures import Future as Future
from concurrent.futures import InvalidStateError as InvalidStateError
from concurrent.futures import TimeoutError as TimeoutError
from concurrent.futures import as_completed as as_completed
from concurrent.futures import wait as wait
from typing import Any, Final

from tractor.futures._executor import Executor as _Executor

MODE_VARIABLE: Final = "TRACTOR_COMPAT_MODE"
PASS: Final = ("pass", "passthrough", "std", "stdlib")


class _Flavored(_Executor):
    _flavor = "auto"

    def __init__(
        self,
        max_workers: int | None = None,
        thread_name_prefix: str = "",
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
    ) -> None:
        super().__init__(
            max_workers,
            flavor=self._flavor,
            initializer=initializer,
            initargs=initargs,
            name=thread_name_prefix or None,
            serializer="pickle",
        )


class ProcessPoolExecutor(_Flavored):
    """That of `concurrent.futures`, with actors in processes as workers."""

    _flavor = "processes"

    def __init__(
        self,
        max_workers: int | None = None,
        mp_context: Any = None,
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        *,
        max_tasks_per_child: int | None = None,
    ) -> None:
        given = {"mp_context": mp_context, "max_tasks_per_child": max_tasks_per_child}
        for name, value in given.items():
            if value is not None:
                msg = f"{name}= is of no effect: workers are actors, kept until the end"
                warnings.warn(msg, RuntimeWarning, stacklevel=2)
        super().__init__(max_workers, initializer=initializer, initargs=initargs)


class InterpreterPoolExecutor(_Flavored):
    """Likewise, with actors in sub-interpreters."""

    _flavor = "interpreters"


class ThreadPoolExecutor(_Flavored):
    """Likewise, with threads."""

    _flavor = "threads"


if os.environ.get(MODE_VARIABLE, "").lower() in PASS:
    from concurrent import futures as _stdlib

    for _name in (
        "ProcessPoolExecutor",
        "InterpreterPoolExecutor",
        "ThreadPoolExecutor",
    ):
        if hasattr(_stdlib, _name):
            globals()[_name] = getattr(_stdlib, _name)

"""CPython's own tests of executors, run against ours; a program, not a test.

The bodies come from `test.test_concurrent_futures` and are not changed. What they need
and we have not (`mp_context`, a private attribute) is made up for here. After each one
neither a thread nor a child of its may be left.
"""

import json
import multiprocessing
import os
import sys
import threading
import time
import unittest
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, Final, cast

import pytest

from tractor.futures import BrokenPool, Executor

ROOT: Final = str(Path(__file__).parents[2])
LEFT: Final = 5.0  # seconds for what is ending to be gone
MARK: Final = "contracts:"

# Threads that stay by design: those of trio for ten seconds, and who makes spares.
KEPT: Final = ("Trio thread", "tractor interpreter maker")


def share_key(key: bytes) -> None:
    """Let this worker talk with managers of the main process."""
    multiprocessing.current_process().authkey = key


class _Tested(Executor):
    _of = "auto"

    def __init__(
        self, max_workers: int | None = None, mp_context: Any = None, **kwargs: Any
    ) -> None:
        del mp_context
        if self._of == "processes" and "initializer" not in kwargs:
            key = bytes(multiprocessing.current_process().authkey)
            kwargs.update(initializer=share_key, initargs=(key,))
        super().__init__(max_workers, flavor=self._of, serializer="pickle", **kwargs)


class Processes(_Tested):
    """Ours, with actors in processes."""

    _of = "processes"


class Interpreters(_Tested):
    """Ours, with actors in sub-interpreters."""

    _of = "interpreters"


class Threads(_Tested):
    """Ours, with threads."""

    _of = "threads"


KINDS: Final[dict[str, type[_Tested]]] = {
    "processes": Processes,
    "interpreters": Interpreters,
    "threads": Threads,
}


def main(flavor: str, group: str) -> None:
    """Run the bodies of one group, and print a line of JSON about each."""
    util = _bodies("util")
    kind = KINDS[flavor]

    class Mixin(util.ExecutorMixin):  # type: ignore[misc, name-defined]
        executor_type = kind

        def get_context(self) -> Any:
            return None

        def setUp(self) -> None:
            self._before = set(threading.enumerate())
            super().setUp()
            if (flavor, group) == ("processes", "wait"):
                self.manager = multiprocessing.get_context("spawn").Manager()

        def create_event(self) -> Any:
            if flavor == "interpreters":
                self.skipTest("no event crosses interpreters")
            return self.manager.Event() if self.manager else threading.Event()

        def tearDown(self) -> None:
            super().tearDown()
            assert _left(self._before) == []

    body = GROUPS[group](kind)
    case = type(group, (body, Mixin, util.BaseTestCase), {"__module__": __name__})
    suite = unittest.defaultTestLoader.loadTestsFromTestCase(case)
    for test in cast("Any", suite):
        result = unittest.TestResult()
        began = time.perf_counter()
        test(result)
        problems = [text for _, text in (*result.errors, *result.failures)]
        report = {
            "name": test.id().rpartition(".")[2],
            "problem": "".join(problems),
            "skipped": [why for _, why in result.skipped],
            "seconds": round(time.perf_counter() - began, 2),
        }
        print(MARK + json.dumps(report), flush=True)


def _left(before: set[threading.Thread]) -> list[str]:
    """What is left of a test, after a moment."""
    deadline = time.monotonic() + LEFT
    while True:
        threads = set(threading.enumerate()) - before
        found = [one.name for one in threads if not one.name.startswith(KEPT)]
        if _has_children():
            found.append("a child process")
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(0.01)


def _has_children() -> bool:
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    # The resource tracker of `multiprocessing` lives as long as its process.
    from multiprocessing import resource_tracker

    tracker = getattr(resource_tracker._resource_tracker, "_pid", None)
    path = Path(f"/proc/self/task/{threading.main_thread().native_id}/children")
    children = {int(word) for word in path.read_text(encoding="ascii").split()}
    return bool(children - {tracker})


def _bodies(name: str) -> Any:
    return import_module(f"test.test_concurrent_futures.{name}")


# -- The groups ------------------------------------------------------------------------


def _executor(_kind: type[_Tested]) -> Any:
    return _bodies("executor").ExecutorTest


def _wait(_kind: type[_Tested]) -> Any:
    return _bodies("test_wait").WaitTests


def _as_completed(_kind: type[_Tested]) -> Any:
    return _bodies("test_as_completed").AsCompletedTests


def _shutdown(_kind: type[_Tested]) -> Any:
    module = _bodies("test_shutdown")
    real: Callable[..., Any] = module.assert_python_ok
    path = f"import sys; sys.path.insert(0, {ROOT!r})"

    def run(*args: str) -> Any:
        *options, text = args
        head, _, body = text.partition("\n")
        text = f"{head}\n            {path}\n{body}"
        new = f"from {main.__module__} import"
        return real(*options, text.replace("from concurrent.futures import", new))

    module.assert_python_ok = run
    return module.ExecutorShutdownTest


def _initializer(_kind: type[_Tested]) -> Any:
    module = _bodies("test_init")

    class Body:
        """The two bodies, without what is private to the standard library."""

        worker_count = 2

        def test_initializer(self: Any) -> None:
            with self.executor_type(
                2, initializer=module.init, initargs=("initialized",)
            ) as executor:
                found = [executor.submit(module.get_init_status) for _ in range(4)]
                assert [f.result() for f in found] == ["initialized"] * 4

        def test_failing_initializer(self: Any) -> None:
            executor = self.executor_type(2, initializer=module.init_fail)
            with self.assertLogs("tractor.futures", "CRITICAL") as logged:
                error = executor.submit(module.get_init_status).exception()
            assert isinstance(error, BrokenPool)
            assert "error in initializer" in "\n".join(logged.output)
            with pytest.raises(BrokenPool):
                executor.submit(module.get_init_status)
            executor.shutdown()

    return Body


def _deadlock(kind: type[_Tested]) -> Any:
    module = _bodies("test_deadlock")
    module.BrokenProcessPool = BrokenPool
    excluded = {
        # They look into, or replace, what is private to the standard library.
        "test_gh105829_should_not_deadlock_if_wakeup_pipe_full",
        "test_shutdown_deadlock_pickle",
    }
    if kind is Interpreters:  # a crash there is one of the whole process
        excluded |= {
            name for name in dir(module.ExecutorDeadlockTest) if "crash" in name
        }
        excluded.add("test_shutdown_deadlock")
    return type(
        "Body", (module.ExecutorDeadlockTest,), {name: None for name in excluded}
    )


GROUPS: Final[dict[str, Callable[[type[_Tested]], Any]]] = {
    "executor": _executor,
    "wait": _wait,
    "as_completed": _as_completed,
    "shutdown": _shutdown,
    "initializer": _initializer,
    "deadlock": _deadlock,
}

if __name__ == "__main__":
    # Under its own name, so that workers find what is pickled.
    import_module("tests.futures._cpython").main(*sys.argv[1:])

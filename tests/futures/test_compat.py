"""The names of `concurrent.futures`."""

import inspect
import multiprocessing
import subprocess
import sys
from concurrent import futures as cf
from typing import Any

import pytest

from tests.futures import _tasks as do
from tests.futures._tasks import SAFETY
from tractor.futures import Executor, compat

POOLS = ("ProcessPoolExecutor", "ThreadPoolExecutor", "InterpreterPoolExecutor")


def test_every_name_is_there() -> None:
    """What `concurrent.futures` exports, this does."""
    missing = [name for name in cf.__all__ if not hasattr(compat, name)]
    assert missing == []


@pytest.mark.parametrize("name", POOLS)
def test_the_pools_are_ours(name: str) -> None:
    """They carry what pickle carries."""
    pool = getattr(compat, name)
    assert issubclass(pool, Executor)
    with pool(1) as executor:
        assert executor.submit(do.echo, {1}).result(SAFETY) == [[{1}], {}]


@pytest.mark.parametrize("name", POOLS)
def test_signatures_are_those_of_the_standard_library(name: str) -> None:
    """By place and by name, so that a program need not be looked through."""
    if not hasattr(cf, name):
        pytest.skip("needs Python 3.14")

    def shape(pool: Any) -> list[tuple[str, Any]]:
        parameters = inspect.signature(pool).parameters.values()
        return [
            (one.name, one.kind)
            for one in parameters
            if one.kind is not one.VAR_KEYWORD  # for contexts of threads
        ]

    assert shape(getattr(compat, name)) == shape(getattr(cf, name))


def test_what_is_of_no_effect_is_said() -> None:
    """With the name of the argument; the pool works."""
    context = multiprocessing.get_context("spawn")
    with pytest.warns(RuntimeWarning, match="mp_context= is of no effect"):
        pool = compat.ProcessPoolExecutor(1, context)
    with pool:
        assert pool.submit(do.add, 1).result(SAFETY) == 2
    with pytest.warns(RuntimeWarning, match="max_tasks_per_child= is of no effect"):
        compat.ProcessPoolExecutor(1, max_tasks_per_child=3).shutdown()


def test_thread_names() -> None:
    """As the prefix says."""
    with compat.ThreadPoolExecutor(1, "mine") as executor:
        executor.submit(do.nothing).result(SAFETY)
        assert executor.workers() == ["mine-1"]


@pytest.mark.parametrize("mode", ["passthrough", "std"])
def test_passthrough_gives_back_the_originals(mode: str) -> None:
    """They are the very classes of the standard library."""
    code = (
        "import concurrent.futures as cf\n"
        "from tractor.futures import compat\n"
        "assert compat.ProcessPoolExecutor is cf.ProcessPoolExecutor\n"
        "assert compat.ThreadPoolExecutor is cf.ThreadPoolExecutor\n"
    )
    subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        timeout=SAFETY,
        env={"TRACTOR_COMPAT_MODE": mode},
    )

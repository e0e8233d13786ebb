"""The names of `concurrent.futures`."""

import inspect
import subprocess
import sys
from concurrent import futures as cf

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
    stdlib = getattr(cf, name, None)
    if stdlib is not None:
        first = next(iter(inspect.signature(stdlib).parameters))
        assert next(iter(inspect.signature(pool).parameters)) == first


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

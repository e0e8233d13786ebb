"""Task handles, what is composed of them, and the default executor.

The rows *TaskHandle*, *Default runtime* and *Composition* of the contract, and those of
RT18 and of progress that need many tasks.
"""

import subprocess
import sys
import threading
from itertools import pairwise
from typing import Any

import pytest

from tests.futures import _tasks as do
from tests.futures._tasks import SAFETY
from tractor import futures as fu
from tractor.futures import Executor
from tractor.futures._engine import REMEMBERED

FLAVORS = ("threads", "processes", "interpreters")
COUNTS = ("completed", "failed", "cancelled", "running", "queued")


# -- One task --------------------------------------------------------------------------


def test_task_handle() -> None:
    """What it tells before and after its end, as often as one likes."""
    gate = threading.Event()
    with Executor(1, flavor="threads") as executor:
        named = executor.options(name="waits").submit(gate.wait, SAFETY)
        failing = executor.submit(do.boom)
        assert (named.name, named.done()) == ("waits", False)
        assert named.task_id != failing.task_id
        gate.set()
        assert named.result(SAFETY) is named.result(0) is True
        executor.wait_all()
        assert named.done()
        assert named.exception() is None
        assert isinstance(failing.exception(), ValueError)
        assert failing.exception() is failing.exception()
        assert not failing.cancel()


def test_options_are_an_executor() -> None:
    """Every verb, with the name and the limit; also where nobody holds the object."""
    with Executor(2, flavor="threads") as executor:
        named: list[str] = []
        executor.on_error(lambda future, _: named.append(future.name))
        assert list(executor.options(name="each").map(do.add, [1, 2, 3])) == [2, 3, 4]
        list_of: Any = list
        with pytest.raises(ValueError, match="on purpose"):
            list_of(executor.options(name="bad").map(do.boom, ["on purpose"]))
        executor.wait_all()
        assert named == ["bad"]
        if sys.version_info >= (3, 14):
            lazily = executor.options(name="lazy").map(do.add, range(9), buffersize=2)
            assert list(lazily) == list(range(1, 10))
        with executor.options(timeout=SAFETY) as limited:
            assert limited.submit(do.add, 1).result(SAFETY) == 2
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.submit(do.nothing)


def test_rt18_many_threads_submit() -> None:
    """Twenty of them; every task is tracked, and every failure known."""
    with Executor(4, flavor="threads") as executor:

        def work() -> None:
            for _ in range(20):
                executor.submit(do.add, 1)
                executor.submit(do.boom)

        threads = [threading.Thread(target=work) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(SAFETY)
        executor.wait_all()
        told = executor.progress()
        assert (told["total"], told["completed"], told["failed"]) == (800, 400, 400)
        assert len({one.task_id for one in executor.failed()}) == 400


# -- Several tasks ---------------------------------------------------------------------


@pytest.mark.parametrize("flavor", FLAVORS)
def test_composition_resolve_then_pass(flavor: str) -> None:
    """The result of one is an argument of the next."""
    with Executor(1, flavor=flavor) as executor:
        first = executor.submit(do.add, 1)
        assert executor.submit(do.add, first.result(SAFETY)).result(SAFETY) == 3


def test_composition_pass_the_handle() -> None:
    """Where it needs no packing; a done one is no wait, another one is refused."""
    with Executor(1, flavor="threads") as executor:

        def read(handle: fu.Future[int]) -> int:
            return handle.result(SAFETY) + 1

        done = executor.submit(do.add, 1)
        assert executor.submit(read, done).result(SAFETY) == 3
        assert executor.submit(read, fu.ready_future(1)).result(SAFETY) == 2
    with Executor(1, flavor="processes") as executor:
        error = executor.submit(do.echo, done).exception(SAFETY)
        assert error is not None
        assert executor.submit(do.add, 1).result(SAFETY) == 2


def test_composition_submit_in_a_task() -> None:
    """Three deep with one worker, chained and not waited for."""
    with Executor(1, flavor="threads") as executor:

        def nest(depth: int) -> fu.Future[Any]:
            if not depth:
                return fu.ready_future("bottom")
            return executor.submit(nest, depth - 1)

        found: Any = executor.submit(nest, 3)
        while isinstance(found, fu.Future):
            found = found.result(SAFETY)
        assert found == "bottom"


# -- Progress of many ------------------------------------------------------------------


def test_progress_under_polling() -> None:
    """What has ended only grows, and the numbers add up, whoever looks and when."""
    looks: list[dict[str, Any]] = []
    over = threading.Event()
    with Executor(4, flavor="threads") as executor:

        def poll() -> None:
            while not over.is_set():
                looks.append(executor.progress())

        polling = threading.Thread(target=poll)
        polling.start()
        for _ in range(500):
            executor.submit(do.add, 1)
        executor.wait_all()
        over.set()
        polling.join(SAFETY)
    looks.append(executor.progress())
    for before, after in pairwise(looks):
        assert before["completed"] <= after["completed"]
        assert before["total"] <= after["total"]
        assert after["total"] == sum(after[key] for key in COUNTS)
    assert looks[-1]["errors"] == looks[-1]["tasks"] == []
    assert looks[-1]["completed"] == 500


def test_progress_has_a_bounded_history() -> None:
    """Of tasks that have ended only the last errors are kept."""
    with Executor(flavor="none") as executor:
        for _ in range(REMEMBERED + 100):
            executor.submit(do.boom)
            executor.submit(do.nothing)
        told = executor.progress()
        assert told["failed"] == told["completed"] == REMEMBERED + 100
        assert len(told["errors"]) == len(executor.failed()) == REMEMBERED
        assert told["tasks"] == []


def test_progress_of_an_error_without_a_text() -> None:
    """One whose `str` raises is told of, too."""

    class Mute(Exception):
        def __str__(self) -> str:
            raise ValueError

    def fail() -> None:
        raise Mute

    with Executor(flavor="none") as executor:
        executor.submit(fail)
        [error] = executor.progress()["errors"]
        assert error["message"] == "Mute: <no text>"
        with pytest.raises(fu.TasksFailed, match="<no text>"):
            executor.wait_all(raise_on_error=True)


def test_a_task_that_goes_back_is_queued_again() -> None:
    """It neither runs nor has a worker then."""
    future: fu.Future[int] = fu.Future("task")
    assert future.advance("placed")
    future.worker = "w"
    assert future.running()
    assert future.advance("queued")
    assert not future.running()
    assert future.placed_at is None
    assert future.worker is None


# -- The default one -------------------------------------------------------------------


def test_default_executor_of_a_fresh_process() -> None:
    """None until it is asked for; then one, which ends with the program."""
    code = (
        "from tractor import futures as fu\n"
        "from tests.futures import _tasks as do\n"
        "assert fu.peek_default_executor() is None\n"
        "executor = fu.default_executor()\n"
        "assert fu.default_executor() is fu.peek_default_executor() is executor\n"
        "assert executor.submit(do.add, 1).result(30) == 2\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        check=False,
        text=True,
        timeout=SAFETY,
    )
    assert (done.returncode, done.stderr) == (0, "")

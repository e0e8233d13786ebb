"""Rows E1–E8 of the contract, and what workers that are actors do beyond it."""

import os
import sys
import threading
import time
from concurrent import futures as cf
from itertools import count
from pathlib import Path
from typing import Any, cast

import pytest
import trio

import tractor
from tests.futures import _tasks as do
from tests.futures._tasks import SAFETY
from tractor import futures as fu
from tractor.futures import Executor

ACTORS = ("processes", "interpreters")
FLAVORS = ("threads", *ACTORS)
BOUND = 3.0  # seconds of the ladder


# -- The contract ----------------------------------------------------------------------
# E1 is test_cpython_contracts.py.


def test_e2_shutdown_is_per_handle() -> None:
    """A closed one refuses as the stdlib does; another one of the pool goes on."""
    first = Executor(1, flavor="threads")
    with Executor(1, flavor="threads") as other:
        first.shutdown()
        first.shutdown()
        stdlib = cf.ThreadPoolExecutor(1)
        stdlib.shutdown()
        texts = []
        for closed in (first, stdlib):
            with pytest.raises(RuntimeError) as caught:
                closed.submit(do.nothing)
            texts.append(str(caught.value))
        assert texts[0] == texts[1]
        assert other.submit(do.add, 1).result(SAFETY) == 2


@pytest.mark.parametrize("flavor", FLAVORS)
def test_e3_shutdown_waits_and_cancels(flavor: str, tmp_path: Path) -> None:
    """Both arguments are honoured; what is left is nothing."""
    executor = Executor(1, flavor=flavor)
    go = tmp_path / "go"
    running = executor.submit(do.wait_for, str(go))
    queued = [executor.submit(do.add, n) for n in range(5)]
    executor.shutdown(wait=False, cancel_futures=True)
    assert not running.done()
    assert sum(one.cancelled() for one in queued) >= 4
    go.touch()
    executor.shutdown(wait=True)
    assert running.result(0) == str(go)
    names = [thread.name for thread in threading.enumerate()]
    assert "tractor-futures" not in names


@pytest.mark.parametrize("number", [0, -1])
def test_e4_max_workers(number: int) -> None:
    """It is refused below one; `None` takes what the machine has."""
    with pytest.raises(ValueError, match="max_workers must be greater than 0"):
        Executor(number)
    with Executor(flavor="threads") as executor:
        assert executor.max_workers >= 4


def test_e5_map() -> None:
    """Lazy with a buffer, cut to the shortest, in order, cancelled when closed."""
    with Executor(2, flavor="threads") as executor:
        assert list(executor.map(do.add, [1, 2, 3], [10, 20])) == [11, 22]
        if sys.version_info >= (3, 14):
            endless: Any = executor.map(do.add, count(), buffersize=2)
            assert [next(endless) for _ in range(3)] == [1, 2, 3]
            endless.close()
        gate = threading.Event()
        results = executor.map(gate.wait, [SAFETY] * 20)
        results.close()  # type: ignore[attr-defined]
        gate.set()


def test_e6_submit_from_many_threads() -> None:
    """Fifty threads submit and read."""
    found: list[int] = []

    def work(number: int) -> None:
        found.append(executor.submit(do.add, number, 0).result(SAFETY))

    with Executor(4, flavor="threads") as executor:
        threads = [threading.Thread(target=work, args=(n,)) for n in range(50)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(SAFETY)
    assert sorted(found) == list(range(50))


def test_e7_dask() -> None:
    """`dask` takes it as a scheduler."""
    dask = pytest.importorskip("dask", reason="dask is not installed")
    with Executor(2, flavor="threads") as executor:
        parts = [dask.delayed(do.add)(n, n) for n in range(4)]
        total = dask.delayed(sum)(parts)
        assert total.compute(scheduler=executor) == 12


def test_e8_workers_are_told() -> None:
    """How many there may be, and who there is."""
    with Executor(2, flavor="processes", name="crew") as executor:
        assert executor.workers() == []
        executor.submit(do.nothing).result(SAFETY)
        assert executor.workers() == ["crew-1"]
        assert executor.max_workers == executor._max_workers == 2


# -- Cancelling what runs --------------------------------------------------------------


@pytest.mark.parametrize("flavor", FLAVORS)
def test_cancel_stops_a_blocking_task(flavor: str, tmp_path: Path) -> None:
    """It is over at once for its waiter, and its worker is another one in time."""
    task = do.touch_and_spin if flavor != "processes" else do.touch_and_block
    with Executor(1, flavor=flavor) as executor:
        executor.submit(do.nothing).result(SAFETY)
        before = executor.workers()
        running = executor.submit(task, str(tmp_path / "begun"))
        do.until(tmp_path / "begun")
        behind = executor.submit(do.add, 1)
        began = time.monotonic()
        assert running.cancel()
        assert running.cancelled()
        assert behind.result(SAFETY) == 2
        assert time.monotonic() - began < 3 * (BOUND + 2)
        assert executor.workers() != before
    with pytest.raises(cf.CancelledError):
        running.result(0)


@pytest.mark.parametrize("flavor", FLAVORS)
def test_cancel_of_an_async_task_keeps_the_worker(flavor: str, tmp_path: Path) -> None:
    """It is cancelled where it runs, and cleans up."""
    begun, cleaned = tmp_path / "begun", tmp_path / "cleaned"
    with Executor(1, flavor=flavor) as executor:
        assert executor.submit(cast("Any", do.later), 4).result(SAFETY) == 4
        before = executor.workers()
        running = executor.submit(do.touch_and_sleep, str(begun), str(cleaned))
        do.until(begun)
        assert running.cancel()
        do.until(cleaned)
        assert executor.submit(do.add, 1).result(SAFETY) == 2
        assert executor.workers() == before


@pytest.mark.parametrize("flavor", FLAVORS)
def test_a_limit_ends_that_task_alone(flavor: str, tmp_path: Path) -> None:
    """It fails with what says so, and the pool goes on."""
    task = do.touch_and_spin if flavor != "processes" else do.touch_and_block
    with Executor(1, flavor=flavor) as executor:
        limited = executor.options(name="slow", timeout=0.05)
        slow = limited.submit(task, str(tmp_path / "begun"))
        fine = executor.options(timeout="30s").submit(do.add, 1)
        error = slow.exception(SAFETY)
        assert isinstance(error, fu.TaskTimeout)
        assert "'slow'" in str(error)
        assert "0.05 s" in str(error)
        assert fine.result(SAFETY) == 2


# -- Failures --------------------------------------------------------------------------


def test_a_killed_worker_fails_only_its_task(tmp_path: Path) -> None:
    """Neither what ran beside it nor what was queued is lost."""
    with Executor(2, flavor="processes") as executor:
        list(executor.map(do.add, range(50)))  # so short that some are sent ahead
        go = tmp_path / "go"
        beside = executor.submit(do.wait_for, str(go))
        dying = executor.submit(do.die)
        queued = [executor.submit(do.add, n) for n in range(20)]
        error = dying.exception(SAFETY)
        assert isinstance(error, fu.WorkerDied)
        assert isinstance(error.__cause__, tractor.ActorDied)
        assert error.__cause__.signal is not None
        assert [one.result(SAFETY) for one in queued] == list(range(1, 21))
        go.touch()
        assert beside.result(SAFETY) == str(go)


def test_what_was_done_before_a_death_is_not_lost() -> None:
    """Outcomes that the worker had no time to send are read from its journal."""
    with Executor(1, flavor="processes") as executor:
        for _ in range(3):
            list(executor.map(do.nothing_of, range(200)))
            before = [executor.submit(do.add, n) for n in range(15)]
            large = executor.submit(do.blob, 100_000)
            dying = executor.submit(do.die)
            after = [executor.submit(do.add, n) for n in range(15)]
            assert isinstance(dying.exception(SAFETY), fu.WorkerDied)
            for futures in (before, after):
                assert [one.result(SAFETY) for one in futures] == list(range(1, 16))
            assert len(large.result(SAFETY)) == 100_000


def test_nothing_waits_behind_a_blocked_task(tmp_path: Path) -> None:
    """What was sent ahead is taken back when another worker has nothing to do."""
    with Executor(2, flavor="processes") as executor:
        for _ in range(5):
            list(executor.map(do.nothing_of, range(64)))
            go = tmp_path / "go"
            blocked = executor.submit(do.wait_for, str(go))
            many = [executor.submit(do.add, n) for n in range(64)]
            many.append(executor.submit(do.touch, str(go)))  # type: ignore[arg-type]
            assert blocked.result(SAFETY) == str(go)
            cf.wait(many, SAFETY)
            go.unlink()


@pytest.mark.parametrize("flavor", ACTORS)
def test_what_cannot_cross_fails_that_task(flavor: str) -> None:
    """Functions, arguments, results: each an error of its own task."""
    with Executor(1, flavor=flavor) as executor:
        bad = [
            executor.submit(lambda: 1),
            executor.submit(do.echo, object()),
            executor.submit(do.unsendable),
            executor.submit(do.echo, b"x" * (17 << 20)),
        ]
        errors = [one.exception(SAFETY) for one in bad]
        assert isinstance(errors[0], ValueError)
        assert "serializer=" in str(errors[0])
        assert isinstance(errors[1], tractor.MsgTypeError)
        assert isinstance(errors[2], tractor.MsgTypeError)
        assert isinstance(errors[3], tractor.FrameTooLarge)
        assert executor.submit(do.add, 1).result(SAFETY) == 2


def test_a_large_result_crosses() -> None:
    """Larger than any buffer of the system, and in batches that fit a frame."""
    with Executor(1, flavor="processes") as executor:
        sizes = [1 << 10, 3 << 20, 12 << 20]
        results = executor.map(do.blob, sizes * 2)
        assert [len(blob) for blob in results] == sizes * 2
        too_much = executor.submit(do.blob, 17 << 20).exception(SAFETY)
        assert isinstance(too_much, tractor.FrameTooLarge)


def test_annotations_give_types() -> None:
    """A tuple stays one where the function says so."""
    with Executor(1, flavor="processes") as executor:
        assert executor.submit(do.tuple_of, 1, 2).result(SAFETY) == (1, 2)


def test_a_serializer_is_used_when_it_is_named() -> None:
    """`pickle`, asked for, carries what msgpack does not."""
    with Executor(1, flavor="processes", serializer="pickle") as executor:
        found = executor.submit(do.echo, {1, 2}, (3,), key=1j).result(SAFETY)
        assert found == [[{1, 2}, (3,)], {"key": 1j}]
        error = executor.submit(do.oops).exception(SAFETY)
        assert isinstance(error, do.Oops)


async def test_nobody_but_its_pool_has_a_worker() -> None:
    """Another actor that opens the worker's context is refused."""
    from tractor.futures import _journal
    from tractor.futures._worker import serve

    journal = _journal.make()
    with trio.fail_after(SAFETY):
        async with tractor.open_nursery() as an:
            worker = await an.start_actor("worker", enable_modules=[serve.__module__])
            other = await an.start_actor("other", enable_modules=[do.__name__])
            text = await other.run(do.open_worker, "worker", journal)
            assert "works for its pool alone" in text
            await worker.cancel_actor()
            await an.cancel()
    os.unlink(journal)


@pytest.mark.parametrize("flavor", FLAVORS)
def test_a_failing_initializer_breaks_the_pool(
    flavor: str, caplog: pytest.LogCaptureFixture
) -> None:
    """What was queued fails, and what is submitted later is refused."""
    del caplog
    with Executor(1, flavor=flavor, initializer=do.boom) as executor:
        error = executor.submit(do.nothing).exception(SAFETY)
        assert isinstance(error, fu.BrokenPool)
        assert error.__cause__ is not None
        with pytest.raises(fu.BrokenPool):
            executor.submit(do.nothing)


@pytest.mark.parametrize("flavor", FLAVORS)
def test_the_initializer_comes_first(flavor: str, tmp_path: Path) -> None:
    """It has run when the first task does."""
    path = tmp_path / "set up"
    with Executor(
        1, flavor=flavor, initializer=do.set_up, initargs=(str(path),)
    ) as executor:  # whose result is large, and nobody wants it
        assert executor.submit(do.wait_for, str(path)).result(SAFETY) == str(path)


# -- Nesting ---------------------------------------------------------------------------


def test_a_nested_wait_is_refused() -> None:
    """With one worker it would last for ever; the text names what works."""
    with Executor(1, flavor="threads") as executor:

        def outer() -> None:
            executor.submit(do.add, 1).result()

        error = executor.submit(outer).exception(SAFETY)
        assert isinstance(error, fu.NestedWait)
        assert "then() or dataflow()" in str(error)

        def chained() -> fu.Future[int]:
            return executor.submit(do.add, 1).then(lambda f: f.result() + 1)

        assert executor.submit(chained).result(SAFETY).result(SAFETY) == 3


@pytest.mark.parametrize("nested", [do.nested_submit, do.nested_processes])
def test_a_pool_in_a_task_of_a_pool(nested: object) -> None:
    """A task may have a pool of its own, and wait for it."""
    with Executor(1, flavor="processes") as executor:
        assert executor.submit(nested).result(SAFETY) == 2  # type: ignore[arg-type]


# -- The program's own -----------------------------------------------------------------


def test_default_executor() -> None:
    """Made once, replaced without being ended, looked at without being made."""
    assert fu.peek_default_executor() is None
    made = fu.default_executor()
    try:
        assert fu.default_executor() is made is fu.peek_default_executor()
        with Executor(1, flavor="threads") as mine:
            fu.set_default_executor(mine)
            assert fu.default_executor() is mine
        fu.set_default_executor(None)
        assert fu.peek_default_executor() is None
        assert made.submit(do.add, 1).result(SAFETY) == 2
    finally:
        made.shutdown()


async def test_in_the_loop_of_an_actor() -> None:
    """An executor made in a thread of a trio program uses that program's actor."""

    def use() -> int:
        with Executor(1, flavor="processes") as executor:
            return executor.submit(do.add, 1).result(SAFETY)

    with trio.fail_after(SAFETY):
        async with tractor.open_nursery():
            assert await trio.to_thread.run_sync(use) == 2


def test_a_dropped_executor_ends() -> None:
    """What nobody holds any more does what it has, and is gone."""
    executor = Executor(1, flavor="processes")
    future = executor.submit(do.add, 1)
    host = next(one for one in threading.enumerate() if one.name == "tractor-futures")
    del executor
    assert future.result(SAFETY) == 2
    host.join(SAFETY)
    assert not host.is_alive()


def test_a_worker_that_is_killed_as_it_boots_is_replaced(tmp_path: Path) -> None:
    """Its task had not begun, and so another worker does it."""
    once = str(tmp_path / "once")
    with Executor(
        1, flavor="processes", initializer=do.die_once, initargs=(once,)
    ) as executor:
        assert executor.submit(do.add, 1).result(SAFETY) == 2
        assert len(executor.workers()) == 1


async def test_shutdown_in_the_loop_is_refused() -> None:
    """It would wait for itself; without the wait it is fine."""
    with trio.fail_after(SAFETY):
        async with tractor.open_nursery():
            executor = Executor(1, flavor="processes")
            assert await executor.submit(do.add, 1) == 2
            with pytest.raises(fu.NestedWait):
                executor.shutdown()
            executor.shutdown(wait=False)
            await trio.to_thread.run_sync(executor.shutdown)


@pytest.mark.parametrize("flavor", ACTORS)
def test_all_workers_work(flavor: str) -> None:
    """What is submitted together is done by all of them."""
    deadline = time.monotonic() + SAFETY
    places: set[str] = set()
    with Executor(2, flavor=flavor) as executor:
        while len(places) < 2:  # until both are up
            places |= set(executor.map(do.slow_place, range(2)))
            assert time.monotonic() < deadline
        assert len(set(executor.map(do.slow_place, range(8)))) == 2

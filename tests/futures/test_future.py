"""Rows F1–F14 (futures) and A1–A8 (waiting in a loop) of the contract."""

import asyncio
import gc
import logging
import subprocess
import sys
import threading
import time
import typing
from collections.abc import Iterator
from concurrent import futures as cf
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

import tractor.futures as fu
from tests.futures import _tasks as do
from tests.futures._tasks import SAFETY
from tractor.futures import Executor, Future, dataflow, when_all, when_any


@pytest.fixture
def pool() -> Iterator[Executor]:
    """Two threads."""
    with Executor(2, flavor="threads") as executor:
        yield executor


class Gate:
    """A task that waits until it may go on."""

    def __init__(self, pool: Executor, value: object = None) -> None:
        self.begun = threading.Event()
        self.open = threading.Event()
        self.value = value
        self.future = pool.submit(self._run)
        assert self.begun.wait(SAFETY)

    def _run(self) -> object:
        self.begun.set()
        assert self.open.wait(SAFETY)
        return self.value


@pytest.mark.parametrize("flavor", ["threads", "processes", "interpreters"])
def test_f1_starts_at_once_on_a_worker(flavor: str) -> None:
    """Arguments arrive as they are, elsewhere than in the caller."""
    with Executor(1, flavor=flavor) as executor:
        place = executor.submit(do.place).result(SAFETY)
        assert place != do.place()
        told = executor.submit(do.echo, 1, self=2, fn=3, name=4).result(SAFETY)
        assert told == [[1], {"self": 2, "fn": 3, "name": 4}]


def test_f2_is_one_of_concurrent_futures(pool: Executor) -> None:
    """`wait` and `as_completed` see the state without any callback."""
    done = pool.submit(do.add, 1)
    assert isinstance(done, cf.Future)
    assert done.result(SAFETY) == 2
    assert cf.wait([done]).done == {done}
    three = [pool.submit(do.add, n) for n in range(3)]
    assert {f.result() for f in cf.as_completed(three, SAFETY)} == {1, 2, 3}


def test_f3_result_is_repeatable(pool: Executor) -> None:
    """Again and again, from any thread; an error with its traceback."""
    future, failing = pool.submit(do.add, 1), pool.submit(do.boom)
    found: list[int] = []
    readers = [
        threading.Thread(target=lambda: found.append(future.result(SAFETY)))
        for _ in range(20)
    ]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join(SAFETY)
    assert found == [2] * 20
    error = failing.exception(SAFETY)
    assert error is failing.exception()
    assert error is not None
    assert error.__traceback__ is not None
    gate = Gate(pool)
    with pytest.raises(TimeoutError):
        gate.future.result(0)
    gate.open.set()


def test_f4_setters_are_closed(pool: Executor) -> None:
    """Nobody but the pool says what came out."""
    gate = Gate(pool, "true value")
    for call in (
        partial(gate.future.set_result, 1),
        partial(gate.future.set_exception, ValueError()),
        gate.future.set_running_or_notify_cancel,
    ):
        with pytest.raises(RuntimeError, match="not yours to call"):
            call()
    assert gate.future.running()
    gate.open.set()
    assert gate.future.result(SAFETY) == "true value"
    assert gate.future.done()


def test_f5_callbacks_in_order(
    pool: Executor, caplog: pytest.LogCaptureFixture
) -> None:
    """First in, first called; one that raises is logged and the rest are called."""
    gate, order = Gate(pool), []

    def fails(_: object) -> None:
        raise ValueError("a callback")

    gate.future.add_done_callback(lambda _: order.append(1))
    gate.future.add_done_callback(fails)
    gate.future.add_done_callback(lambda _: order.append(2))
    called = threading.Event()
    gate.future.add_done_callback(lambda _: called.set())
    gate.open.set()
    assert called.wait(SAFETY)
    here: list[int] = []
    gate.future.add_done_callback(lambda _: here.append(threading.get_ident()))
    assert here == [threading.get_ident()]
    assert order == [1, 2]
    assert "exception calling callback" in caplog.text


def test_f6_then(pool: Executor) -> None:
    """It gets the finished future itself; errors pass by; a thousand are no depth."""
    gate = Gate(pool, 0)
    chain: Future[Any] = gate.future
    for _ in range(1000):
        chain = chain.then(lambda f: f.result() + 1)
    seen: list[object] = []
    same = gate.future.then(seen.append)
    gate.open.set()
    assert chain.result(SAFETY) == 1000
    assert same.result(SAFETY) is None
    assert seen == [gate.future]
    called: list[object] = []
    failed = pool.submit(do.boom).then(called.append)
    assert isinstance(failed.exception(SAFETY), ValueError)
    assert called == []
    assert isinstance(
        pool.submit(do.add, 1).then(lambda _: do.boom()).exception(SAFETY), ValueError
    )
    never = gate.future.then(lambda f: f.result())
    assert never.done()
    waiting = Gate(pool)
    dropped = waiting.future.then(called.append)
    assert dropped.cancel()
    assert dropped.state == "cancelled"
    waiting.open.set()
    waiting.future.result(SAFETY)
    assert called == []


def test_f7_when_all(pool: Executor) -> None:
    """Results in order; none is done at once; the first error is its error."""
    gate = Gate(pool, "slow")
    both = when_all(gate.future, pool.submit(do.add, 1))
    failing = when_all(gate.future, pool.submit(do.boom))
    assert isinstance(failing.exception(SAFETY), ValueError)
    gate.open.set()
    assert both.result(SAFETY) == ("slow", 2)
    assert when_all().result(0) == ()


def test_f8_when_any(pool: Executor) -> None:
    """The place of the first and the futures themselves; of none it is an error."""
    gate = Gate(pool)
    ready = fu.ready_future(1)
    index, inputs = when_any(gate.future, ready).result(SAFETY)
    assert index == 1
    assert inputs[0] is gate.future
    assert inputs[1] is ready
    gate.open.set()
    with pytest.raises(ValueError, match="at least one"):
        when_any()


def test_f9_dataflow(pool: Executor) -> None:
    """Called with all results; not at all after an error."""
    inputs = [pool.submit(do.add, n) for n in range(3)]
    flow = dataflow(lambda *values, plus: sum(values) + plus, *inputs, plus=1)
    assert flow.result(SAFETY) == 7
    called: list[object] = []
    failed = dataflow(called.append, pool.submit(do.boom))
    assert isinstance(failed.exception(SAFETY), ValueError)
    assert called == []
    wide = dataflow(lambda *values: len(values), *[fu.ready_future(0)] * 1000)
    assert wide.result(SAFETY) == 1000
    raising = dataflow(lambda _: do.boom(), fu.ready_future(0))
    assert isinstance(raising.exception(SAFETY), ValueError)


def test_f10_ready_and_shared() -> None:
    """Done from the beginning; shared is the same."""
    ready = fu.ready_future(5)
    assert ready.done()
    assert ready.result() == 5
    assert fu.shared_future(ready) is ready.share() is ready


def test_f11_cancel_before_it_starts(pool: Executor) -> None:
    """What was cancelled in the queue never runs; what is done is not cancelled."""
    gates = [Gate(pool), Gate(pool)]
    ran: list[int] = []
    queued = pool.submit(ran.append, 1)
    assert queued.cancel()
    assert queued.cancelled()
    for gate in gates:
        gate.open.set()
        gate.future.result(SAFETY)
        assert not gate.future.cancel()
    with pytest.raises(cf.CancelledError):
        queued.result(SAFETY)
    assert ran == []


@pytest.mark.parametrize("flavor", ["processes", "interpreters"])
def test_f12_errors_keep_type_args_and_traceback(flavor: str) -> None:
    """Also one that is no Exception; the worker lives on."""
    with Executor(1, flavor=flavor) as executor:
        error = executor.submit(do.boom, "text").exception(SAFETY)
        assert isinstance(error, ValueError)
        assert error.args == ("text", 7)
        assert "in boom" in str(error.__cause__)
        assert isinstance(executor.submit(do.leave).exception(SAFETY), SystemExit)
        unknown = executor.submit(do.oops).exception(SAFETY)
        assert isinstance(unknown, tractor_error())
        assert "Oops: own class" in str(unknown)
        first = executor.workers()
        assert executor.submit(do.add, 1).result(SAFETY) == 2
        assert executor.workers() == first


def tractor_error() -> type[Exception]:
    """What stands for an error whose class is not registered."""
    import tractor

    return tractor.RemoteActorError


def test_f13_repr(pool: Executor) -> None:
    """It tells the state."""
    gate = Gate(pool)
    assert "state=running" in repr(gate.future)
    gate.open.set()
    gate.future.result(SAFETY)
    assert "state=finished" in repr(gate.future)


def test_f14_fan_out() -> None:
    """Ten times the inputs take about ten times as long, and not a hundred."""

    def seconds(count: int) -> float:
        began = time.perf_counter()
        with Executor(flavor="none") as executor:
            inputs = [executor.submit(do.nothing) for _ in range(count)]
            assert len(when_all(*inputs).result(SAFETY)) == count
        return time.perf_counter() - began

    gc.collect()
    small = min(seconds(1000) for _ in range(3))
    assert seconds(10_000) / small < 40  # a square would be 100


# -- Waiting in a loop -----------------------------------------------------------------


def test_a1_await_under_asyncio(pool: Executor) -> None:
    """Result or error, done or not, and by several tasks."""

    async def main() -> None:
        assert await pool.submit(do.add, 1) == 2
        with pytest.raises(ValueError, match="on purpose"):
            await pool.submit(do.boom)
        gate = Gate(pool, 3)

        async def read() -> object:
            return await gate.future

        readers = [asyncio.create_task(read()) for _ in range(2)]
        await asyncio.sleep(0)
        gate.open.set()
        assert await asyncio.gather(*readers) == [3, 3]
        assert await gate.future == 3

    asyncio.run(asyncio.wait_for(main(), SAFETY))


TICKS = 50
WITHIN = 0.1  # seconds
ATTEMPTS = 5  # of which one has to succeed: a machine has pauses that nobody counts


def own_time() -> float:
    """Seconds, without those in which this thread could have run but for others."""
    waited = 0
    with suppress(OSError), open("/proc/thread-self/schedstat", "rb") as file:
        waited = int(file.read().split()[1])
    return time.perf_counter() - waited / 1e9


def job_of(flavor: str) -> Any:
    """Blocks a thread, and computes where that has a GIL of its own."""
    return do.wait_for if flavor == "threads" else do.spin_until


@pytest.mark.parametrize("flavor", ["threads", "processes", "interpreters"])
async def test_a2_the_loop_of_trio_stays_responsive(
    flavor: str, tmp_path: Path
) -> None:
    """While a task waits for a future, another one ticks 50 times in 100 ms."""
    took = []
    with trio.fail_after(SAFETY):
        async with fu.open_pool(flavor=flavor, workers=1) as pool:
            await pool.run(do.nothing)
            for number in range(ATTEMPTS):
                path = tmp_path / str(number)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(pool.run, job_of(flavor), str(path))
                    began = own_time()
                    for _ in range(TICKS):
                        await trio.sleep(0.001)
                    took.append(own_time() - began)
                    assert pool.progress()["running"] == 1
                    path.touch()
    assert min(took) < WITHIN


@pytest.mark.parametrize("flavor", ["threads", "processes", "interpreters"])
def test_a2_the_loop_of_asyncio_stays_responsive(flavor: str, tmp_path: Path) -> None:
    """Likewise there."""
    took = []

    async def main(executor: Executor) -> None:
        for number in range(ATTEMPTS):
            path = tmp_path / str(number)
            future = executor.submit(job_of(flavor), str(path))
            waiting = asyncio.ensure_future(fu.await_all(future))
            began = own_time()
            for _ in range(TICKS):
                await asyncio.sleep(0.001)
            took.append(own_time() - began)
            assert not waiting.done()
            path.touch()
            assert await waiting == (str(path),)

    with Executor(1, flavor=flavor) as executor:
        executor.submit(do.nothing).result(SAFETY)
        asyncio.run(asyncio.wait_for(main(executor), SAFETY))
    assert min(took) < WITHIN


def test_a3_await_all(pool: Executor) -> None:
    """In order; the first error is raised."""

    async def main() -> None:
        assert await fu.await_all(pool.submit(do.add, 1), pool.submit(do.add, 2)) == (
            2,
            3,
        )
        with pytest.raises(ValueError, match="on purpose"):
            await fu.await_all(pool.submit(do.add, 1), pool.submit(do.boom))

    asyncio.run(asyncio.wait_for(main(), SAFETY))


async def test_a4_await_any() -> None:
    """The place of the winner, under trio."""
    with trio.fail_after(SAFETY):
        async with fu.open_pool(flavor="threads", workers=2) as pool:
            let_go = threading.Event()
            slow = pool.submit(let_go.wait, SAFETY)
            fast = pool.submit(do.add, 1)
            index, inputs = await fu.await_any(slow, fast)
            assert index == 1
            assert inputs[index].result() == 2
            let_go.set()


def test_a5_doors_of_the_standard_library(pool: Executor) -> None:
    """`wrap_future` and `run_in_executor` work."""

    async def main() -> None:
        assert await asyncio.wrap_future(pool.submit(do.add, 1)) == 2
        loop = asyncio.get_running_loop()
        assert await loop.run_in_executor(pool, do.add, 2) == 3

    asyncio.run(asyncio.wait_for(main(), SAFETY))


def test_a6_the_loop_ends_first(
    pool: Executor, caplog: pytest.LogCaptureFixture
) -> None:
    """One warning, and the pool goes on."""
    gate = Gate(pool)

    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await gate.future

    asyncio.run(main())
    told = threading.Event()
    gate.future.add_done_callback(lambda _: told.set())
    with caplog.at_level(logging.WARNING, "tractor"):
        gate.open.set()
        assert told.wait(SAFETY)
    assert pool.submit(do.add, 1).result(SAFETY) == 2
    assert ["is lost" in one.message for one in caplog.records] == [True]


def test_a7_asyncio_is_not_imported() -> None:
    """The import is cheap, and annotations can be resolved."""
    code = (
        "import sys, tractor.futures\n"
        "assert 'asyncio' not in sys.modules\n"
        "assert 'rich' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=SAFETY)
    for function in (fu.when_all, fu.await_any, Executor.submit, Future.then):
        assert typing.get_type_hints(function)


async def test_a8_await_under_trio() -> None:
    """Cancelling the waiter of a future leaves the task running."""
    with trio.fail_after(SAFETY):
        async with fu.open_pool(flavor="threads", workers=1) as pool:
            let_go = threading.Event()
            future = pool.submit(let_go.wait, SAFETY)
            with trio.move_on_after(0.01) as scope:
                await future
            assert scope.cancelled_caught
            assert not future.done()
            let_go.set()
            assert await future is True


def test_a_result_is_not_kept(pool: Executor, tmp_path: Path) -> None:
    """Neither the arguments nor the result are held once nobody holds the future."""
    del tmp_path
    future = pool.submit(do.echo, 1)
    future.result(SAFETY)
    assert future.parcel is None
    assert future.owner is None

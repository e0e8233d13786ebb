"""Pools end: whatever callbacks raise, workers do, or the program does meanwhile."""

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent import futures as cf
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import trio

import tractor
from tests._helpers import ROOT
from tests.futures import _tasks as do
from tests.futures._tasks import SAFETY
from tractor import futures as fu
from tractor._exceptions import Interrupted
from tractor.futures import Executor, _host
from tractor.futures._future import take_turns
from tractor.futures._threads import Threads

ACTORS = ("processes", "interpreters")
FLAVORS = ("threads", *ACTORS)


@pytest.fixture
def hooked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """What threads ended with; else it would fail the test."""
    seen: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", seen.append)
    yield seen
    seen.clear()


def ends(executor: Executor) -> None:
    """It is over soon, and for good."""
    closing = threading.Thread(target=executor.shutdown, daemon=True)
    closing.start()
    closing.join(SAFETY)
    assert not closing.is_alive()


def run(code: str, *argv: str) -> "subprocess.CompletedProcess[str]":
    """A program."""
    return subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", code, *argv],
        capture_output=True,
        check=False,
        cwd=ROOT,
        text=True,
        timeout=SAFETY,
    )


# -- What users attach -----------------------------------------------------------------


def test_a_callback_that_raises_no_exception(hooked: list[Any]) -> None:
    """It costs its thread, and neither the pool nor those who wait."""
    executor = Executor(1, flavor="threads")
    gate = threading.Event()
    future = executor.submit(gate.wait, SAFETY)
    future.add_done_callback(lambda _: sys.exit(3))
    gate.set()
    assert future.result(SAFETY)
    assert executor.submit(do.add, 1).result(SAFETY) == 2
    executor.wait_all()
    ends(executor)
    assert [one.exc_type for one in hooked] == [SystemExit]


@pytest.mark.parametrize("flavor", FLAVORS)
def test_an_initializer_that_raises_no_exception(flavor: str) -> None:
    """It breaks the pool as any other."""
    executor = Executor(1, flavor=flavor, initializer=do.leave)
    assert isinstance(executor.submit(do.nothing).exception(SAFETY), fu.BrokenPool)
    ends(executor)


def test_flavor_none_has_an_initializer_too() -> None:
    """It is called once, before the first task; what it raises breaks the pool."""
    order: list[int] = []
    with Executor(flavor="none", initializer=order.append, initargs=(0,)) as executor:
        for number in (1, 2):
            executor.submit(order.append, number)
    assert order == [0, 1, 2]
    with Executor(flavor="none", initializer=do.boom) as executor:
        assert isinstance(executor.submit(do.nothing).exception(0), fu.BrokenPool)
        with pytest.raises(fu.BrokenPool):
            executor.submit(do.nothing)


def test_flavor_none_keeps_what_is_no_exception() -> None:
    """`SystemExit` is the task's; Ctrl-C is the caller's, too."""

    def interrupt() -> None:
        raise KeyboardInterrupt

    with Executor(flavor="none") as executor:
        assert isinstance(executor.submit(do.leave).exception(0), SystemExit)
        with pytest.raises(KeyboardInterrupt):
            executor.submit(interrupt)
        executor.wait_all()
        assert executor.progress()["failed"] == 2


# -- Stopping --------------------------------------------------------------------------


@pytest.mark.allow_slow_step(reason="the task under test is one")
def test_an_async_task_that_blocks_its_thread_is_stopped(tmp_path: Path) -> None:
    """It does not hear that it is cancelled, and so it is interrupted."""
    begun = tmp_path / "begun"
    executor = Executor(1, flavor="threads")
    stuck = executor.submit(do.touch_and_hold, str(begun))
    do.until(begun)
    assert stuck.cancel()
    assert executor.submit(do.add, 1).result(SAFETY) == 2
    ends(executor)


def test_a_cancelled_task_takes_no_other_with_it(tmp_path: Path) -> None:
    """Also where it ends just as its worker is about to be: the next one is redone."""
    with Executor(1, flavor="processes") as executor:
        for number in range(8):
            list(executor.map(do.nothing_of, range(100)))  # so that some are sent ahead
            begun = tmp_path / f"begun {number}"
            short = executor.submit(do.nap_after, str(begun), 0.016 + 0.002 * number)
            behind = [executor.submit(do.add, n) for n in range(8)]
            do.until(begun)
            assert short.cancel()
            assert [one.result(SAFETY) for one in behind] == list(range(1, 9))


def test_a_worker_that_always_dies_breaks_the_pool() -> None:
    """It is ready, and dies of its first task before that begins, each time."""
    executor = Executor(1, flavor="processes", initializer=do.dooms)
    error = executor.submit(do.nothing).exception(SAFETY)
    assert isinstance(error, fu.BrokenPool)
    assert "ended before it did anything" in str(error)
    assert isinstance(error.__cause__, tractor.ActorDied)
    ends(executor)


def test_an_interrupt_leaves_no_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that comes between taking it and the block of `with`."""
    executor = Executor(1, flavor="threads")
    engine = executor._engine
    assert isinstance(engine, Threads)
    real = engine._next
    hit = threading.Event()

    def interrupted(hand: Any) -> Any:
        if hit.is_set():
            return real(hand)
        hit.set()
        engine.lock.acquire()
        raise Interrupted

    monkeypatch.setattr(engine, "_next", interrupted)
    assert executor.submit(do.add, 1).result(SAFETY) == 2
    ends(executor)


def test_no_thread_to_be_had_breaks_the_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where a process may have no more of them."""

    def fails(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    executor = Executor(1, flavor="threads")
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", fails)
        error = executor.submit(do.nothing).exception(SAFETY)
    assert isinstance(error, fu.BrokenPool)
    assert "can't start new thread" in str(error)
    executor.shutdown()


# -- All at once -----------------------------------------------------------------------


@pytest.mark.parametrize("flavor", ["threads", "processes"])
def test_submits_while_it_is_shut_down(flavor: str) -> None:
    """Each is done or refused, and none is lost."""
    executor = Executor(2, flavor=flavor)
    taken: list[fu.Future[int]] = []
    refused: list[str] = []
    ready = threading.Barrier(9)

    def work() -> None:
        ready.wait(SAFETY)
        try:
            while True:
                taken.append(executor.submit(do.add, 1))
        except RuntimeError as exc:
            refused.append(str(exc))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    ready.wait(SAFETY)
    executor.shutdown()
    for thread in threads:
        thread.join(SAFETY)
    assert refused == ["cannot schedule new futures after shutdown"] * 8
    assert {one.result(0) for one in taken} <= {2}


def test_pools_of_many_threads_at_once() -> None:
    """They come and go, and nobody stumbles over another one."""
    done: list[int] = []

    def work() -> None:
        for _ in range(50):
            with Executor(1, flavor="threads") as executor:
                done.append(executor.submit(do.add, 1).result(SAFETY))

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(SAFETY)
    finally:
        sys.setswitchinterval(interval)
    assert done == [2] * 400


async def test_a_thread_and_the_loop_start_pools_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The one needs the loop, which must not wait for the other."""
    go, under_way = threading.Event(), threading.Event()
    in_thread: list[int] = []
    attach = _host._attach

    def told(crew: Any) -> bool:
        under_way.set()
        return attach(crew)

    def use() -> None:
        with Executor(1, flavor="processes") as executor:
            assert go.wait(SAFETY)
            in_thread.append(executor.submit(do.add, 1).result(SAFETY))

    monkeypatch.setattr(_host, "_attach", told)
    with trio.fail_after(SAFETY):
        async with tractor.open_nursery(), trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, use)
            await trio.testing.wait_all_tasks_blocked()
            executor = Executor(1, flavor="processes")
            go.set()
            assert under_way.wait(SAFETY)  # the thread waits for this loop now
            assert await executor.submit(do.add, 2) == 3
            executor.shutdown(wait=False)
            await trio.to_thread.run_sync(executor.shutdown)
    assert in_thread == [2]


# -- The end of the program ------------------------------------------------------------

LIVE = """
import sys
from tests.futures import _tasks as do
from tractor import futures as fu

assert fu.peek_default_executor() is None
executor = fu.Executor(1, flavor=sys.argv[1])
fu.set_default_executor(executor)
first = executor.submit(do.add, 1)
if sys.argv[2] == "used":
    assert first.result(30) == 2
executor.submit(do.touch, sys.argv[3])
"""


@pytest.mark.parametrize("used", ["used", "unused"])
@pytest.mark.parametrize("flavor", FLAVORS)
def test_a_program_ends_with_a_live_executor(
    flavor: str, used: str, tmp_path: Path
) -> None:
    """Quietly, and when what it submitted is done."""
    done = run(LIVE, flavor, used, str(tmp_path / "done"))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (tmp_path / "done").exists()


@pytest.mark.parametrize("inner", ["threads", "processes"])
@pytest.mark.parametrize("outer", FLAVORS)
def test_a_worker_ends_with_a_live_executor(outer: str, inner: str) -> None:
    """What its tasks leave open does not hold it up."""
    with Executor(1, flavor=outer) as executor:
        assert executor.submit(do.leaves_a_pool, inner).result(SAFETY) == 2
    fu.set_default_executor(None)


FORKS = """
import os, sys
from tests.futures import _tasks as do
from tractor import futures as fu

executor = fu.Executor(1, flavor=sys.argv[1])
assert executor.submit(do.add, 1).result(30) == 2
fu.set_default_executor(executor)
pid = os.fork()
if pid == 0:
    try:
        executor.submit(do.add, 1)
    except fu.BrokenPool as error:
        print(error, flush=True)
    assert fu.peek_default_executor() is None
    with fu.Executor(1, flavor="threads") as own:
        assert own.submit(do.add, 2).result(30) == 3
    sys.exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
assert executor.submit(do.add, 1).result(30) == 2
executor.shutdown()
"""


@pytest.mark.parametrize("flavor", ["threads", "processes"])
def test_the_child_of_a_fork_has_no_pool(flavor: str) -> None:
    """It is told so, may have pools of its own, and ends; its parent goes on."""
    done = run(FORKS, flavor)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("this pool belongs to the process from which")


# -- Waiting for all -------------------------------------------------------------------


@pytest.mark.parametrize("call", [do.add, do.boom])
def test_wait_all_returns_when_all_are_done(call: Callable[..., Any]) -> None:
    """Not a moment before, and with each error at hand."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with Executor(4, flavor="threads") as executor:
            for _ in range(200):
                futures = [executor.submit(call, 1) for _ in range(4)]
                executor.clear_failed()
                with suppress(fu.TasksFailed):
                    executor.wait_all(raise_on_error=True)
                assert all(one.done() for one in futures)
    finally:
        sys.setswitchinterval(interval)


async def test_wait_all_is_for_what_was_there() -> None:
    """What is submitted meanwhile may go on."""
    first, second = threading.Event(), threading.Event()
    with trio.fail_after(SAFETY):
        async with fu.open_pool(flavor="threads", workers=2) as pool:
            pool.submit(first.wait, SAFETY)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(pool.wait_all)
                await trio.testing.wait_all_tasks_blocked()
                later = pool.submit(second.wait, SAFETY)
                first.set()
            assert not later.done()
            second.set()


def test_wait_all_in_a_task_is_refused() -> None:
    """It would wait for itself."""
    with Executor(1, flavor="threads") as executor:
        error = executor.submit(executor.wait_all).exception(SAFETY)
        assert isinstance(error, fu.NestedWait)
    with Executor(flavor="none") as executor:
        error = executor.submit(executor.wait_all).exception(0)
        assert isinstance(error, fu.NestedWait)


async def test_wait_all_in_the_loop_is_refused() -> None:
    """Its pool could do nothing meanwhile; with nothing to wait for it is fine."""
    with trio.fail_after(SAFETY):
        async with fu.open_pool(flavor="processes", workers=1) as pool:
            executor = pool.executor()
            executor.wait_all()
            future = executor.submit(do.add, 1)
            with pytest.raises(fu.NestedWait, match="await"):
                executor.wait_all()
            assert await future == 2


# -- Futures made of futures -----------------------------------------------------------


@pytest.mark.parametrize("make", [fu.when_all, fu.when_any, fu.Future.then])
def test_a_cancelled_chain_is_done(
    make: Callable[..., fu.Future[Any]], caplog: pytest.LogCaptureFixture
) -> None:
    """`wait` sees it at once, and its inputs do not stumble over it."""
    gates = threading.Event(), threading.Event()
    with Executor(2, flavor="threads") as executor:
        inputs = [executor.submit(gate.wait, SAFETY) for gate in gates]
        made = (
            inputs[0].then(lambda _: None) if make is fu.Future.then else make(*inputs)
        )
        assert made.cancel()
        assert cf.wait([made], 0).done == {made}
        assert list(cf.as_completed([made], 0)) == [made]
        for gate in gates:
            gate.set()
        cf.wait(inputs, SAFETY)
    assert caplog.messages == []


def test_a_step_that_raises_stops_no_other(hooked: list[Any]) -> None:
    """Continuations of one thread take turns, whatever one of them raises."""
    ran: list[str] = []
    first: fu.Future[int] = fu.Future("first")
    chained = first.then(lambda _: None)
    chained.add_done_callback(lambda _: sys.exit(1))
    after = first.then(lambda _: ran.append("after"))

    def settle() -> None:
        first.advance("placed")
        first.advance("done")
        take_turns(lambda: first.fulfil(1))

    thread = threading.Thread(target=settle)
    thread.start()
    thread.join(SAFETY)
    assert after.done()
    assert ran == ["after"]
    assert [one.exc_type for one in hooked] == [SystemExit]


async def test_a_done_future_is_a_checkpoint_under_trio() -> None:
    """So a loop over a pool that runs in the caller can be cancelled."""
    ready = fu.ready_future(1)
    with trio.CancelScope() as scope:
        scope.cancel()
        await ready
    assert scope.cancelled_caught

"""Rows R1–R8: scopes with an executor."""

import asyncio
import concurrent.futures as cf
import time
from pathlib import Path

import pytest
import trio

import tractor
from tests.futures import _tasks as do
from tests.futures._tasks import SAFETY
from tractor import to_asyncio
from tractor.futures import Executor, NestedWait, Run


@pytest.mark.parametrize(
    "flavor", ["auto", "threads", "processes", "interpreters", "none"]
)
def test_r1_flavors(flavor: str) -> None:
    """Each works; a wrong one is refused with those that there are."""
    with Run(flavor=flavor, max_workers=1) as executor:
        assert executor.submit(do.add, 1).result(SAFETY) == 2
    with pytest.raises(ValueError, match="auto, threads, processes"):
        Run(flavor="steam")


@pytest.mark.parametrize("flavor", ["threads", "processes"])
async def test_r2_async_with_never_blocks_the_loop(flavor: str) -> None:
    """While the scope waits for its tasks, the loop goes on."""
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await trio.sleep(0.001)
            ticks += 1

    with trio.fail_after(SAFETY):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(tick)
            async with Run(flavor=flavor, max_workers=1) as executor:
                assert isinstance(executor, cf.Executor)
                slow = executor.submit(time.sleep, 0.2)
                before = ticks
            assert slow.done()
            nursery.cancel_scope.cancel()
    assert ticks - before >= 10  # a loop that is held up makes none


def test_r2_under_asyncio() -> None:
    """Likewise there."""

    async def main() -> None:
        async with Run(flavor="threads", max_workers=1) as executor:
            slow = executor.submit(time.sleep, 0.05)
        assert slow.done()

    asyncio.run(asyncio.wait_for(main(), SAFETY))


def test_r2_under_asyncio_with_trio_as_its_guest() -> None:
    """Likewise in a task of asyncio of an actor that has both."""

    async def slowly() -> bool:
        async with Run(flavor="threads", max_workers=1) as executor:
            slow = executor.submit(time.sleep, 0.05)
        return slow.done()

    async def main() -> None:
        with trio.fail_after(SAFETY):
            async with tractor.open_root_actor():
                assert await to_asyncio.run_task(slowly)

    to_asyncio.run_as_asyncio_guest(main)


def test_r3_the_pool_ends_with_the_scope() -> None:
    """Later submits are refused, in the words of the standard library."""
    with Run(flavor="threads") as executor:
        pass
    with pytest.raises(RuntimeError, match="cannot schedule new futures after"):
        executor.submit(do.nothing)


def test_r4_errors_are_not_swallowed() -> None:
    """What the block raises is raised."""
    with pytest.raises(KeyError), Run(flavor="threads"):
        raise KeyError


def test_r5_a_given_executor_is_not_ended() -> None:
    """It is used as it is, and the decision says so."""
    with cf.ThreadPoolExecutor(1) as mine:
        run = Run(executor=mine)
        with run as executor:
            assert executor is mine
        assert run.trace is not None
        assert run.trace.resolved == "provided"
        assert mine.submit(do.add, 1).result(SAFETY) == 2


def test_r6_nested_scopes_share() -> None:
    """With the same flavor or `auto` and nothing else; the outer one stays open."""
    with Run(flavor="threads") as outer:
        for run in (Run(), Run(flavor="threads")):
            with run as inner:
                assert inner is outer
        for run in (Run(flavor="none"), Run(max_workers=1), Run(name="own")):
            with run as inner:
                assert inner is not outer
        assert outer.submit(do.add, 1).result(SAFETY) == 2


def test_r7_one_entry_at_a_time() -> None:
    """A second one is refused; another one afterwards is not."""
    run = Run(flavor="none")
    with run, pytest.raises(RuntimeError, match="entered already"):
        run.__enter__()
    with run as executor:
        assert isinstance(executor, Executor)


async def test_r8_scopes_are_of_their_task() -> None:
    """Two tasks do not see each other's."""
    seen: list[cf.Executor] = []
    both = trio.Event()

    async def work() -> None:
        async with Run(flavor="threads"), Run() as executor:
            seen.append(executor)
            if len(seen) == 2:
                both.set()
            await both.wait()

    with trio.fail_after(SAFETY):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(work)
            nursery.start_soon(work)
    assert seen[0] is not seen[1]


def test_a_raising_trace_leaves_nothing() -> None:
    """The pool that was made for the scope is ended."""

    def fails(_: object) -> None:
        raise ValueError("a trace")

    run = Run(flavor="threads", trace=fails)
    with pytest.raises(ValueError, match="a trace"):
        run.__enter__()


@pytest.mark.parametrize("flavor", ["threads", "processes"])
async def test_the_exit_can_be_cancelled(flavor: str, tmp_path: Path) -> None:
    """What runs is stopped then, also what never ends by itself."""
    begun = tmp_path / "begun"
    task = do.touch_and_spin if flavor == "threads" else do.touch_and_block
    with trio.fail_after(SAFETY):
        with trio.CancelScope() as scope:
            async with Run(flavor=flavor, max_workers=1) as executor:
                future = executor.submit(task, str(begun))
                await trio.to_thread.run_sync(do.until, begun)
                scope.cancel()
        assert scope.cancelled_caught
        assert future.cancelled()


@pytest.mark.parametrize("flavor", ["threads", "processes"])
def test_the_exit_can_be_cancelled_under_asyncio(flavor: str, tmp_path: Path) -> None:
    """Likewise there."""
    begun = tmp_path / "begun"
    task = do.touch_and_spin if flavor == "threads" else do.touch_and_block
    futures: list[cf.Future[None]] = []

    async def work() -> None:
        async with Run(flavor=flavor, max_workers=1) as executor:
            futures.append(executor.submit(task, str(begun)))

    async def main() -> None:
        working = asyncio.create_task(work())
        await asyncio.to_thread(do.until, begun)
        working.cancel()
        with pytest.raises(asyncio.CancelledError):
            await working

    asyncio.run(asyncio.wait_for(main(), SAFETY))
    assert futures[0].cancelled()


async def test_an_error_in_the_block_cancels_its_tasks(tmp_path: Path) -> None:
    """As one in the block of `open_pool`."""
    begun = tmp_path / "begun"
    with trio.fail_after(SAFETY), pytest.raises(KeyError):  # noqa: PT012 (its exit)
        async with Run(flavor="threads", max_workers=1) as executor:
            future = executor.submit(do.touch_and_spin, str(begun))
            await trio.to_thread.run_sync(do.until, begun)
            raise KeyError
    assert future.cancelled()


async def test_a_plain_with_in_the_loop_leaves_nothing_open() -> None:
    """Its exit would wait for the loop, and so it is refused; the pool ends."""
    with trio.fail_after(SAFETY):
        async with tractor.open_nursery():
            run = Run(flavor="processes", max_workers=1)
            executor = run.__enter__()
            assert await executor.submit(do.add, 1) == 2  # type: ignore[misc]
            with pytest.raises(NestedWait):
                run.__exit__(None, None, None)
            with pytest.raises(RuntimeError, match="after shutdown"):
                executor.submit(do.nothing)
            await trio.to_thread.run_sync(executor.shutdown)

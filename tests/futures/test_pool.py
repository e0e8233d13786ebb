"""`open_pool`: pools of async programs."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio

import tractor
from tests.futures import _tasks as do
from tests.futures._tasks import SAFETY
from tractor import futures as fu
from tractor._instrument import Event, hub
from tractor.futures import open_pool

FLAVORS = ("threads", "processes", "interpreters")


@contextmanager
def events(*kinds: str) -> Iterator[list[Event]]:
    """Events of these kinds during the block."""
    seen: list[Event] = []

    def note(event: Event) -> None:
        if event.kind in kinds:
            seen.append(event)

    with hub.subscribed(note):
        yield seen


@pytest.mark.parametrize("flavor", [*FLAVORS, "none"])
async def test_the_verbs(flavor: str) -> None:
    """`run`, `submit`, `map`, `wait_all`; functions that are async, too."""
    with trio.fail_after(SAFETY):
        async with open_pool(flavor=flavor, workers=2) as pool:
            assert await pool.run(do.add, 1, b=2) == 3
            if flavor != "none":  # a loop in a loop is none
                assert await pool.run(do.later, 4) == 4
            future = pool.submit(do.add, 5)
            assert await future == 6
            found = [one async for one in pool.map(do.add, range(20), range(20))]
            assert found == [2 * n for n in range(20)]
            pool.submit(do.boom)
            with pytest.raises(fu.TasksFailed, match="on purpose"):
                await pool.wait_all(raise_on_error=True)
            assert pool.progress()["failed"] == len(pool.failed()) == 1
            pool.clear_failed()
            assert pool.is_responsive()


@pytest.mark.parametrize("flavor", FLAVORS)
async def test_cancelling_run_stops_the_task(flavor: str, tmp_path: Path) -> None:
    """Wherever it is; the pool goes on."""
    begun, cleaned = tmp_path / "begun", tmp_path / "cleaned"
    with trio.fail_after(SAFETY):
        async with open_pool(flavor=flavor, workers=1) as pool:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(
                    pool.run, do.touch_and_sleep, str(begun), str(cleaned)
                )
                await trio.to_thread.run_sync(do.until, begun)
                nursery.cancel_scope.cancel()
            await trio.to_thread.run_sync(do.until, cleaned)
            assert await pool.run(do.add, 1) == 2


@pytest.mark.parametrize("flavor", FLAVORS)
async def test_an_error_in_the_block_ends_all(flavor: str, tmp_path: Path) -> None:
    """What runs is cancelled, also what blocks, and the error is raised."""
    begun = tmp_path / "begun"
    task = do.touch_and_spin if flavor != "processes" else do.touch_and_block
    with trio.fail_after(SAFETY):
        with pytest.raises(KeyError):  # noqa: PT012 (it ends the block)
            async with open_pool(flavor=flavor, workers=1) as pool:
                future = pool.submit(task, str(begun))
                queued = pool.submit(do.add, 1)
                await trio.to_thread.run_sync(do.until, begun)
                raise KeyError
        assert future.cancelled()
        assert queued.cancelled()


async def test_waiting_in_the_loop_is_refused() -> None:
    """`result()` in the thread of the loop would wait for itself."""
    with trio.fail_after(SAFETY):
        async with open_pool(flavor="processes", workers=1) as pool:
            future = pool.submit(do.add, 1)
            with pytest.raises(fu.NestedWait, match="await"):
                future.result()
            assert await future == 2
            assert future.result() == 2


async def test_its_executor_is_for_other_threads() -> None:
    """It ends its own use alone."""
    with trio.fail_after(SAFETY):
        async with open_pool(flavor="processes", workers=1) as pool:
            executor = pool.executor()

            def use() -> list[int]:
                return list(executor.map(do.add, range(3)))

            assert await trio.to_thread.run_sync(use) == [1, 2, 3]
            executor.shutdown()
            with pytest.raises(RuntimeError, match="after shutdown"):
                executor.submit(do.nothing)
            assert await pool.run(do.add, 1) == 2


async def test_in_a_tree() -> None:
    """A pool uses the actor that there is, and its workers are children of that."""
    with trio.fail_after(SAFETY), events("spawn", "exit") as seen:
        async with tractor.open_nursery():
            root = tractor.current_actor().aid
            async with open_pool(flavor="processes", workers=1, name="mine") as pool:
                assert await pool.run(do.add, 1) == 2
    spawned = [one for one in seen if one.kind == "spawn"]
    assert [one.aid.name for one in spawned] == ["mine-1"]
    assert spawned[0].data["parent"] == root
    assert [one.aid for one in seen if one.kind == "exit"] == [spawned[0].aid]


async def test_events_of_a_task() -> None:
    """Queued, placed, finished: for whoever subscribes."""
    kinds = ("task_queued", "task_placed", "task_finished", "placement_decided")
    with trio.fail_after(SAFETY), events(*kinds) as seen:
        async with open_pool(flavor="processes", workers=1, name="mine") as pool:
            await pool.options(name="one").run(do.add, 1)
            with pytest.raises(ValueError, match="on purpose"):
                await pool.options(name="two").run(do.boom)
    steps = [(e.kind, e.data.get("name"), e.data.get("outcome")) for e in seen]
    assert steps == [
        ("placement_decided", None, None),
        ("task_queued", "one", None),
        ("task_placed", "one", None),
        ("task_finished", "one", "done"),
        ("task_queued", "two", None),
        ("task_placed", "two", None),
        ("task_finished", "two", "failed"),
    ]


async def test_a_pool_of_threads_leaves_no_thread() -> None:
    """None of its own is there after the block."""
    with trio.fail_after(SAFETY):
        async with open_pool(flavor="threads", workers=2, name="gone") as pool:
            await pool.run(do.nothing)
    assert not [t for t in threading.enumerate() if t.name.startswith("gone")]

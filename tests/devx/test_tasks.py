"""Tasks and threads are found with their stacks, by any thread, stuck loop or not."""

import _thread
import gc
import threading
from collections.abc import Awaitable, Generator, Iterator
from typing import Any

import msgspec
import trio

from tractor import devx
from tractor.devx import TaskFacts, task_tree
from tractor.devx._actors import take_report


def tasks_of(tree: devx.TaskTree) -> Iterator[TaskFacts]:
    """All of them."""
    waiting = list(tree.runs)
    while waiting:
        task = waiting.pop()
        yield task
        waiting.extend(each for nursery in task.nurseries for each in nursery.tasks)


def task_called(tree: devx.TaskTree, name: str) -> TaskFacts:
    """The one of that name."""
    [found] = [task for task in tasks_of(tree) if task.name.endswith(name)]
    return found


async def waits_for(event: trio.Event) -> None:
    """Wait."""
    await event.wait()


async def test_a_waiting_task_is_found_where_it_waits() -> None:
    """Its stack leads from its function to what it waits in."""
    event = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(waits_for, event)
        await trio.testing.wait_all_tasks_blocked()
        task = task_called(task_tree(), "waits_for")
        event.set()
    assert not task.running
    assert task.stack[0].function == "waits_for"
    assert "Event.wait" in [frame.function for frame in task.stack]


async def test_the_running_task_is_found_where_it_is() -> None:
    """What it has called by plain calls is on its stack, too."""

    def deep_inside() -> devx.TaskTree:
        return task_tree()

    [running] = [task for task in tasks_of(deep_inside()) if task.running]
    functions = [frame.function.rpartition(".")[2] for frame in running.stack]
    here = functions.index(test_the_running_task_is_found_where_it_is.__name__)
    assert functions[here + 1] == "deep_inside"


async def test_another_thread_sees_a_loop_that_is_stuck() -> None:
    """It sees the task that holds the loop, and where."""
    found: list[devx.TaskTree] = []

    def stuck_here() -> None:
        thread = threading.Thread(target=lambda: found.append(task_tree()))
        thread.start()
        thread.join(10)

    stuck_here()
    [running] = [task for task in tasks_of(found[0]) if task.running]
    assert "stuck_here" in str([frame.function for frame in running.stack])


async def test_nurseries_say_what_was_done_to_them() -> None:
    """A cancelled and a shielded one are told from others."""
    event = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.cancel_scope.shield = True
        nursery.start_soon(waits_for, event)
        nursery.cancel_scope.cancel()
        tree = task_tree()
    states = [
        (each.cancelled, each.shielded)
        for task in tasks_of(tree)
        for each in task.nurseries
        if any(inside.name.endswith("waits_for") for inside in each.tasks)
    ]
    assert states == [(True, True)]
    assert "nursery (cancelled, shielded)" in str(tree)


async def test_looking_at_a_nursery_does_not_cancel_it() -> None:
    """Not even one whose deadline has passed unnoticed, which trio would do."""
    async with trio.open_nursery() as nursery:
        nursery.cancel_scope.deadline = trio.current_time() - 1
        task_tree()
        unnoticed = not nursery.cancel_scope._cancel_called
    assert unnoticed


async def test_a_tree_has_a_text_and_two_pictures() -> None:
    """The text has the program's lines; pictures have a node for each task."""
    tree = task_tree()
    me = test_a_tree_has_a_text_and_two_pictures.__name__
    assert f"in {me}" in str(tree)
    assert "tree = task_tree()" in str(tree)
    for picture in (tree.mermaid(), tree.dot()):
        assert picture.count(me) >= 1
    assert tree.mermaid().startswith("flowchart TD\n")
    assert tree.dot().startswith("digraph")


def test_without_a_loop_there_are_no_tasks() -> None:
    """Runs that are over leave none."""
    trio.run(trio.lowlevel.checkpoint)
    assert task_tree().runs == []


# -- What is hard to look at -----------------------------------------------------------


async def test_an_awaitable_of_ones_own_does_not_end_a_stack() -> None:
    """Its `__await__` may hand on that of a coroutine, which shows no frames."""

    class Job:
        def __await__(self) -> Generator[Any, Any]:
            return self.work().__await__()

        async def work(self) -> None:
            await trio.sleep_forever()

    async def waits_for_job(job: Awaitable[None]) -> None:
        await job

    async with trio.open_nursery() as nursery:
        nursery.start_soon(waits_for_job, Job())
        await trio.testing.wait_all_tasks_blocked()
        task = task_called(task_tree(), "waits_for_job")
        nursery.cancel_scope.cancel()
    functions = [frame.function.rpartition(".")[2] for frame in task.stack]
    assert functions[:3] == ["waits_for_job", "work", "sleep_forever"]


async def test_tasks_are_found_after_a_freeze() -> None:
    """`gc.freeze` hides all objects from who looks for them there."""
    frozen = gc.get_freeze_count()
    gc.freeze()
    try:
        tree = task_tree()
    finally:
        gc.unfreeze()
        if frozen:  # as `conftest.py` had left it
            gc.freeze()
    assert any(task.running for task in tasks_of(tree))


async def test_however_deep_tasks_are_they_can_be_told() -> None:
    """Some hundred levels are more than one can encode, or read, in one piece."""

    async def go_down(levels: int) -> None:
        async with trio.open_nursery() as nursery:
            if levels:
                nursery.start_soon(go_down, levels - 1)
            else:
                await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(go_down, 600)
        await trio.testing.wait_all_tasks_blocked()
        report = take_report()
        nursery.cancel_scope.cancel()
    told = msgspec.msgpack.decode(msgspec.msgpack.encode(report), type=devx.Report)
    tree = devx.TaskTree(told.runs)
    assert sum(task.name.endswith("go_down") for task in tasks_of(tree)) == 601
    assert "sleep_forever" in str(tree)


async def test_what_cannot_be_looked_at_costs_nothing_else() -> None:
    """A nursery may just be in the making."""
    async with trio.open_nursery() as nursery:
        scope = nursery.cancel_scope
        del nursery.cancel_scope
        try:
            tree = task_tree()
        finally:
            nursery.cancel_scope = scope
    assert "a nursery cannot be shown: AttributeError" in str(tree)
    assert any(task.running for task in tasks_of(tree))


async def test_half_a_character_in_a_name_can_be_told() -> None:
    """File names have such, and tasks are called after files."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep_forever, name="caf\udce9")
        report = take_report()
        nursery.cancel_scope.cancel()
    assert b"caf" in msgspec.msgpack.encode(report)


def test_the_main_thread_is_the_first() -> None:
    """Before threads that Python has no id of; a brief look is one at it."""
    runs, ends = _thread.allocate_lock(), _thread.allocate_lock()
    runs.acquire()
    ends.acquire()

    def unknown() -> None:
        runs.release()
        ends.acquire()
        runs.release()

    _thread.start_new_thread(unknown, ())
    assert runs.acquire(timeout=10)
    names = [thread.name for thread in take_report().threads]
    ends.release()
    assert runs.acquire(timeout=10)
    assert names[0] == "MainThread"
    assert "not Python's own" in names

"""Tasks that serve one call after another: nobody can tell, and nothing is left."""

import gc
import weakref
from collections.abc import AsyncIterator, Callable, Coroutine
from contextvars import Context, ContextVar
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests._helpers import raises
from tests.runtime.memory import open_world
from tractor import ContextCancelled, RemoteActorError
from tractor.devx import task_tree
from tractor.runtime import _workers
from tractor.runtime._workers import IDLE, MOST_IDLE, KeptScope, Workers

colour = ContextVar("colour", default="none")
served_by: list[Any] = []  # the tasks that ran here, and what else they remember
lock = trio.Lock()
gate = trio.Event()


@pytest.fixture(autouse=True)
def _fresh() -> None:
    global lock, gate
    lock, gate = trio.Lock(), trio.Event()
    served_by.clear()


async def note_task() -> None:
    await trio.lowlevel.checkpoint()
    served_by.append(trio.lowlevel.current_task())


async def paint(value: str) -> str:
    """What the last call left of the variable, and set it."""
    before = colour.get()
    colour.set(value)
    await note_task()
    return before


async def keep_lock() -> None:
    await note_task()
    await lock.acquire()


async def wait_lock() -> None:
    await note_task()
    async with lock:
        pass


async def enter_scope() -> None:
    await note_task()
    scope = trio.CancelScope()
    served_by.append(scope)
    scope.__enter__()


async def leave_nursery() -> None:
    await note_task()
    nursery = await trio.open_nursery().__aenter__()
    nursery.start_soon(sleep_and_note)
    served_by.append(nursery)


async def leave_generator() -> None:
    await note_task()
    generator = hold_nursery()
    await anext(generator)
    served_by.append(generator)


async def hold_nursery() -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sleep_and_note)
        yield


async def sleep_and_note() -> None:
    try:
        await trio.sleep_forever()
    finally:
        served_by.append("cancelled")


async def wait_gate() -> None:
    await note_task()
    await gate.wait()


async def fail() -> None:
    await note_task()
    raise ValueError("no")


class Heavy:
    pass


async def hold_in_context() -> None:
    await note_task()
    heavy = Heavy()
    served_by.append(weakref.ref(heavy))
    variable.set(heavy)


variable: ContextVar[Any] = ContextVar("variable")


async def test_a_task_serves_again() -> None:
    """The tasks of calls one after the other are one task; it has the call's name."""
    async with open_world(__name__) as world:
        for _ in range(3):
            await world.parent.portal.run(note_task)
        assert len(set(served_by)) == 1
        assert served_by[0].name == IDLE


async def test_a_task_that_waits_for_a_call_is_not_shown() -> None:
    """It has nothing to tell; one that serves has."""
    async with open_world(__name__) as world:
        await world.parent.portal.run(note_task)
        await wait_all_tasks_blocked()
        assert IDLE not in str(task_tree())
        async with trio.open_nursery() as callers:
            callers.start_soon(world.parent.portal.run, wait_gate)
            await wait_all_tasks_blocked()
            assert "wait_gate" in str(task_tree())
            gate.set()


async def test_each_call_has_context_variables_of_its_own() -> None:
    """What one call sets the next on the same task does not see."""
    async with open_world(__name__) as world:
        found = [await world.parent.portal.run(paint, c) for c in ("red", "blue")]
        assert found == ["none", "none"]
        assert len(set(served_by)) == 1


async def test_an_idle_task_holds_nothing_of_its_last_call() -> None:
    """No garbage collection is needed for that."""
    async with open_world(__name__) as world:
        gc.disable()
        try:
            await world.parent.portal.run(hold_in_context)
            await wait_all_tasks_blocked()
            assert served_by[1]() is None
        finally:
            gc.enable()


@pytest.mark.parametrize("cancel_late", [False, True])
async def test_who_cancels_a_call_cancels_no_other(cancel_late: bool) -> None:
    """Neither one that its task serves later, nor by a cancel that comes late."""
    async with open_world(__name__) as world, trio.open_nursery() as callers:
        scope = trio.CancelScope()

        async def call() -> None:
            with scope:
                await world.parent.portal.run(wait_gate)

        callers.start_soon(call)
        await wait_all_tasks_blocked()
        invocation = next(iter(world.child.peer.server.invocations.values()))
        if cancel_late:
            gate.set()
            await wait_all_tasks_blocked()
        scope.cancel()
        invocation.cancel(("somebody", "x"), 1)
        gate.set()
        await wait_all_tasks_blocked()
        for _ in range(3):
            await world.parent.portal.run(note_task)


async def test_a_call_that_failed_leaves_its_task_sound() -> None:
    """It serves again."""
    async with open_world(__name__) as world:
        with raises(RemoteActorError):
            await world.parent.portal.run(fail)
        await world.parent.portal.run(note_task)
        assert len(set(served_by)) == 1


async def test_a_scope_that_a_call_leaves_entered() -> None:
    """Its caller is told, and its cancellation later reaches no other call."""
    async with open_world(__name__) as world:
        with raises(RemoteActorError) as info:
            await world.parent.portal.run(enter_scope)
        assert info.value.boxed_type is RuntimeError
        served_by[1].cancel()
        for _ in range(2):
            await world.parent.portal.run(note_task)


async def test_a_lock_that_a_call_keeps_is_broken() -> None:
    """As trio does when a task ends that holds one: nobody waits for it for ever."""
    async with open_world(__name__) as world:
        await world.parent.portal.run(keep_lock)
        await wait_all_tasks_blocked()
        with raises(RemoteActorError) as info:
            await world.parent.portal.run(wait_lock)
        assert info.value.boxed_type is trio.BrokenResourceError
        assert served_by[0] is not served_by[1]


async def test_no_more_than_so_many_wait() -> None:
    """After a rush the others end."""
    async with open_world(__name__) as world:
        async with trio.open_nursery() as callers:
            for _ in range(2 * MOST_IDLE):
                callers.start_soon(world.parent.portal.run, wait_gate)
            await wait_all_tasks_blocked()
            gate.set()
        await wait_all_tasks_blocked()
        tasks = {task for task in served_by if task.name == IDLE}
        assert len(tasks) == MOST_IDLE == len(world.child._workers._idle)


async def test_what_stops_while_it_waits_serves_no_more() -> None:
    """The end of its actor ends it; a call of a context has a scope of its own."""
    async with open_world(__name__) as world:
        await world.parent.portal.run(note_task)
        world.child._tasks.cancel_scope.cancel()
        await wait_all_tasks_blocked()
        assert not world.child._workers._idle


async def test_where_trio_hides_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every call has a task of its own then."""
    assert _workers._HOLDERS is not None
    monkeypatch.setattr(_workers, "_HOLDERS", None)
    async with open_world(__name__) as world:
        for _ in range(2):
            await world.parent.portal.run(note_task)
        assert served_by[0] is not served_by[1]


async def test_a_call_that_was_cancelled_before_it_began() -> None:
    """It is, as soon as it waits."""
    async with open_world(__name__) as world:
        server = world.child.peer.server
        async with trio.open_nursery() as callers:

            async def call() -> None:
                with raises(ContextCancelled):
                    await world.parent.portal.run(wait_gate)

            callers.start_soon(call)
            while not server.invocations:
                await trio.lowlevel.checkpoint()
            server.close(("somebody", "x"), 1)


# -- What a call leaves, and what comes from outside -----------------------------------


@pytest.mark.parametrize("leave", [leave_nursery, leave_generator])
async def test_a_nursery_that_a_call_leaves_open(leave: Callable[[], Any]) -> None:
    """Its caller is told, its tasks are cancelled, and the actor goes on."""
    async with open_world(__name__) as world:
        with raises(RemoteActorError) as info:
            await world.parent.portal.run(leave)
        assert info.value.boxed_type is RuntimeError
        await wait_all_tasks_blocked()
        assert served_by[-1] == "cancelled"
        for _ in range(2):
            await world.parent.portal.run(note_task)
        assert served_by[0] is not served_by[-1]
        if leave is leave_generator:
            with pytest.raises(IndexError):  # trio's: its task knows of no nursery
                await served_by[1].aclose()


@pytest.mark.parametrize("at_once", [False, True])
async def test_one_that_is_woken_by_others_serves_no_more(at_once: bool) -> None:
    """Who has kept a task of an earlier call, and wakes it now, does no harm."""
    async with open_world(__name__) as world:
        await world.parent.portal.run(note_task)
        (woken,) = served_by
        trio.lowlevel.reschedule(woken)
        if not at_once:
            await wait_all_tasks_blocked()

        async def job(_: KeptScope) -> None:
            await note_task()

        world.child.serve(job, name="job")
        for _ in range(2):
            await world.parent.portal.run(note_task)
        assert len(served_by) == 4
        assert woken not in served_by[1:]


async def test_an_idle_task_holds_nothing_of_who_called() -> None:
    """What serves a peer may go with it."""

    class Caller:
        async def job(self, scope: KeptScope) -> None:
            with scope:
                await note_task()

    async with trio.open_nursery() as nursery:
        workers = Workers(nursery.start_soon)
        caller = Caller()
        gone = weakref.ref(caller)
        workers.run(caller.job, Context(), name="job")
        await wait_all_tasks_blocked()
        gc.disable()
        try:
            del caller
            assert served_by[0].name == IDLE
            assert gone() is None
        finally:
            gc.enable()
        nursery.cancel_scope.cancel()


async def test_one_that_is_interrupted_as_it_begins_to_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It serves no more: an interpreter may be interrupted anywhere."""
    wait = trio.lowlevel.wait_task_rescheduled

    async def interrupted(abort: Any) -> Any:
        monkeypatch.setattr(trio.lowlevel, "wait_task_rescheduled", wait)
        raise ZeroDivisionError

    async def job(_: KeptScope) -> None:
        await note_task()

    async with trio.open_nursery() as nursery:
        ended = trio.Event()

        async def quietly(fn: Callable[..., Any], *args: Any) -> None:
            try:
                await fn(*args)
            except ZeroDivisionError:
                ended.set()

        def spawn(fn: Callable[..., Any], *args: Any, name: str) -> None:
            nursery.start_soon(quietly, fn, *args, name=name)

        workers = Workers(spawn)
        monkeypatch.setattr(trio.lowlevel, "wait_task_rescheduled", interrupted)
        workers.run(job, Context(), name="job")
        with trio.fail_after(5):
            await ended.wait()
        workers.run(job, Context(), name="job")
        await wait_all_tasks_blocked()
        assert len(set(served_by)) == 2
        nursery.cancel_scope.cancel()


def test_one_whose_loop_is_gone_says_nothing() -> None:
    """As when an interrupt hits trio itself: there is nobody to leave a scope with."""
    working: list[Coroutine[Any, Any, None]] = []
    workers = Workers(lambda fn, *args, name: working.append(fn(*args)))

    async def job(scope: KeptScope) -> None:
        with scope:
            pass

    async def main() -> None:
        workers.run(job, Context(), name="job")
        working[0].send(None)

    trio.run(main)
    working[0].close()
    assert not workers._idle

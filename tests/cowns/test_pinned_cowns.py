"""Behaviours over pinned cowns: on the main thread, with the very same object."""

import queue
import threading
from typing import TYPE_CHECKING, Any

import pytest
import trio

from tests.cowns import _bodies as do
from tests.cowns._scopes import FAST, scoped
from tractor import pinned
from tractor.cowns import Cown, PinnedCown, current_scope

if TYPE_CHECKING:
    from collections.abc import Callable


class Window:
    """What must not leave its thread, and cannot be packed."""

    def __init__(self) -> None:
        self.drawn: list[Any] = []
        self.threads: set[int] = set()


def draw(window: PinnedCown[Window], *cowns: Cown[Any]) -> int:
    """Draw the values, and say how many were drawn by now."""
    window.value.threads.add(threading.get_ident())
    window.value.drawn.append([cown.value for cown in cowns])
    return id(window.value)


def draw_and_change(window: PinnedCown[Window], cown: Cown[list[int]]) -> None:
    """Change both."""
    window.value.drawn.append(len(cown.value))
    cown.value.append(0)


def draw_and_fail(window: PinnedCown[Window], cown: Cown[list[int]]) -> None:
    """Change one, and fail."""
    cown.value.append(-1)
    raise LookupError(len(window.value.drawn))


def draw_inner(box: Cown[list[PinnedCown[Window]]]) -> None:
    """In a worker: schedule over the handle that came in a value."""
    current_scope().schedule(draw, box.value[0], box)


async def test_it_is_the_same_object_each_time() -> None:
    """I11: never packed, on the main thread, and in the order of scheduling."""
    window = Window()
    async with scoped(workers=2) as scope:
        handle, cown = PinnedCown(window), Cown(0)
        ids = []
        for _ in range(64):
            scope.schedule(do.add, cown)
            ids.append(scope.schedule(draw, handle, cown))
        assert {await one for one in ids} == {id(window)}
        assert window.drawn == [[n] for n in range(1, 65)]
        assert window.threads == {threading.main_thread().ident}


async def test_other_values_are_changed_there_too() -> None:
    """They come from workers and go back to them, also when it fails."""
    window = Window()
    async with scoped() as scope:
        handle, cown = PinnedCown(window), Cown([1])
        scope.schedule(do.append, cown, captures=(2,))
        scope.schedule(draw_and_change, handle, cown)
        scope.schedule(do.append, cown, captures=(3,))
        failed = scope.schedule(draw_and_fail, handle, cown)
        assert await scope.schedule(do.append, cown, captures=(4,)) == 6
        assert await cown == [1, 2, 0, 3, -1, 4]
        with pytest.raises(LookupError, match="1"):
            await failed
        assert await scope.schedule(do.seen, failed) == [True, "LookupError(1)"]


async def test_what_is_over_no_pinned_cown_runs_elsewhere() -> None:
    """And what is over one runs here, wherever it was scheduled."""
    window = Window()
    async with scoped(workers=2) as scope:
        handle = PinnedCown(window)
        box = Cown([handle])
        await scope.schedule(draw_inner, box)
        await scope.schedule(draw_inner, box)
        await scope.quiesce()
        assert window.drawn == [[[handle]], [[handle]]]
        assert await scope.schedule(do.pid, box) != await scope.schedule(
            do.pid, handle, box
        )


async def test_anything_callable_may_be_over_it() -> None:
    """It is not sent, so it may use the variables around it; but it is not async."""
    async with scoped() as scope:
        here: list[int] = []
        handle = PinnedCown(here)
        await scope.schedule(lambda _: here.append(1), handle)
        assert here == [1]
        with pytest.raises(TypeError, match="is async"):
            scope.schedule(do.add_later, handle)


async def test_it_is_made_and_looked_at_where_it_belongs() -> None:
    """Not in a worker, and not outside of behaviours."""
    async with scoped() as scope:
        with pytest.raises(RuntimeError, match="made where its scope is"):
            await scope.schedule(do.make_pinned)
        handle = PinnedCown(object())
        with pytest.raises(RuntimeError, match="not held"):
            _ = handle.value
        with pytest.raises(TypeError, match="has no copy"):
            await handle


def test_a_host_pumps() -> None:
    """Where the host owns the main thread they wait for `pump`, by its bounds."""
    window = Window()
    orders: queue.SimpleQueue[Callable[[], Any] | None] = queue.SimpleQueue()
    failures: list[BaseException] = []

    async def program() -> None:
        async with scoped(FAST) as scope:
            handle = PinnedCown(window)
            results = [scope.schedule(draw, PinnedCown(window)) for _ in range(3)]
            results.append(scope.schedule(draw, handle))
            await scope.quiesce()
            assert {await one for one in results} == {id(window)}

    def host() -> None:
        try:
            trio.run(program)
        except BaseException as exc:  # noqa: BLE001 (told below)
            failures.append(exc)
        orders.put(None)

    pinned.set_pump_wakeup(lambda: orders.put(pinned.pump))
    try:
        thread = threading.Thread(target=host)
        thread.start()
        while (order := orders.get(timeout=do.SAFETY)) is not None:
            order()
        thread.join(do.SAFETY)
    finally:
        pinned.set_pump_wakeup(None)
    assert failures == []
    assert len(window.drawn) == 4
    assert window.threads == {threading.get_ident()}

"""`maybe_open_nursery` and `start_or_cancel`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tractor.trionics import maybe_open_nursery, start_or_cancel


class Boom(Exception):
    """Nobody else raises it."""


# -- maybe_open_nursery ----------------------------------------------------------------


async def test_a_given_nursery_is_used(autojump_clock: MockClock) -> None:
    """It is left as it is: neither shielded nor waited for."""
    start = trio.current_time()
    async with trio.open_nursery() as given:
        async with maybe_open_nursery(given, shield=True) as nursery:
            assert nursery is given
            nursery.start_soon(trio.sleep, 1)
        assert trio.current_time() == start
        assert not given.cancel_scope.shield


@pytest.mark.parametrize("shield", [False, True])
async def test_one_is_opened_if_none_is_given(
    shield: bool, autojump_clock: MockClock
) -> None:
    """The end of the block is its end."""
    start = trio.current_time()
    async with maybe_open_nursery(shield=shield) as nursery:
        nursery.start_soon(trio.sleep, 1)
        assert nursery.cancel_scope.shield is shield
    assert trio.current_time() == start + 1


async def test_another_library_can_open_it() -> None:
    """With arguments of its own; but not if one is given."""

    class Library:
        @asynccontextmanager
        async def open_nursery(self, **kwargs: Any) -> AsyncIterator[dict[str, Any]]:
            yield kwargs

    async with maybe_open_nursery(lib=Library(), name="x") as nursery:
        assert nursery == {"name": "x"}
    given = {"given": 1}
    async with maybe_open_nursery(given, lib=Library()) as nursery:
        assert nursery is given


async def test_arguments_are_for_the_nursery() -> None:
    """Such as trio's own."""

    async def fail() -> None:
        async with maybe_open_nursery(strict_exception_groups=False):
            raise Boom

    with pytest.warns(trio.TrioDeprecationWarning, match="strict"), pytest.raises(Boom):
        await fail()


# -- start_or_cancel -------------------------------------------------------------------


async def start_well(
    value: int, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED
) -> None:
    task_status.started(value)
    await trio.sleep(1)


async def end_quietly(
    *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    with trio.CancelScope(shield=True):
        await trio.sleep(1)


async def test_it_starts_a_task(autojump_clock: MockClock) -> None:
    """As `start` does: with a value, a name, and in the nursery."""
    async with trio.open_nursery() as nursery:
        assert await start_or_cancel(nursery, start_well, 7, name="x") == 7
        assert await start_or_cancel(nursery, start_well, 8) == 8
        assert await start_or_cancel(nursery, partial(start_well, 9)) == 9
        names = sorted(task.name for task in nursery.child_tasks)
    assert [name.rpartition(".")[2] for name in names] == ["start_well"] * 2 + ["x"]


async def test_a_task_that_does_not_start_is_an_error(
    autojump_clock: MockClock,
) -> None:
    """Where nothing is cancelled."""
    async with trio.open_nursery() as nursery:
        with pytest.raises(RuntimeError, match="without calling"):
            await start_or_cancel(nursery, end_quietly)


async def test_a_cancelled_start_is_cancelled(autojump_clock: MockClock) -> None:
    """However the task ended; the complaint of `start` is gone without a trace."""
    context: BaseException | None = Boom()
    async with trio.open_nursery() as nursery:
        with trio.move_on_after(0.5) as scope:
            try:
                await start_or_cancel(nursery, end_quietly)
            except trio.Cancelled as cancelled:
                context = cancelled.__context__
                raise
    assert scope.cancelled_caught
    assert context is None


@pytest.mark.parametrize("error", [Boom(), RuntimeError("its own")])
@pytest.mark.parametrize("cancel", [False, True])
async def test_errors_of_the_task_are_raised(error: Exception, cancel: bool) -> None:
    """Before it started, those are the caller's, also where that is cancelled."""

    async def fail(*, task_status: trio.TaskStatus[None]) -> None:
        raise error

    with trio.CancelScope() as scope:
        if cancel:
            scope.cancel()
        async with trio.open_nursery() as nursery:
            with pytest.raises(type(error)) as info:
                await start_or_cancel(nursery, fail)
    assert info.value is error


async def test_a_closed_nursery_is_an_error() -> None:
    """As it is for `start`."""
    async with trio.open_nursery() as nursery:
        pass
    with pytest.raises(RuntimeError, match="closed"):
        await start_or_cancel(nursery, start_well, 1)

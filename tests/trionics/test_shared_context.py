"""`maybe_open_context`: one value for all tasks that want the same."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.trionics._resource import Boom, Resource, soon, use
from tractor.trionics import maybe_open_context

# -- Sharing ---------------------------------------------------------------------------


async def test_users_share_one_value(autojump_clock: MockClock) -> None:
    """One of them opens it."""
    resource = Resource()
    results: list[Any] = []
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(use, resource, 1, results)
    assert sorted(results) == [(False, 0), (True, 0), (True, 0)]
    assert resource.events() == ["enter", "leave", "left"]


async def test_the_last_user_ends_it_whoever_that_is(autojump_clock: MockClock) -> None:
    """The one who opened it may go first, and does not wait."""
    resource = Resource()
    async with trio.open_nursery() as nursery:
        await soon(nursery, use, resource, 1, [])
        await soon(nursery, use, resource, 3, [])
        await trio.sleep(2)
        assert resource.open_now == 1
    assert resource.log[1] == ("leave", trio.current_time())


async def test_the_last_user_waits_for_the_exit(autojump_clock: MockClock) -> None:
    """The others do not."""
    resource = Resource(leave=5)
    start = trio.current_time()
    ends = []

    async def user(seconds: float) -> None:
        await use(resource, seconds, [])
        ends.append(trio.current_time() - start)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(user, 1)
        nursery.start_soon(user, 2)
    assert ends == [1, 7]


async def test_it_is_opened_anew_when_the_last_user_is_gone(
    autojump_clock: MockClock,
) -> None:
    """Nothing stays behind."""
    resource = Resource()
    results: list[Any] = []
    await use(resource, 0, results)
    await use(resource, 0, results)
    assert results == [(False, 0), (False, 1)]


async def test_a_task_may_nest_it(autojump_clock: MockClock) -> None:
    """The inner block finds it open."""
    resource = Resource()
    async with maybe_open_context(resource.manager) as outer:
        async with maybe_open_context(resource.manager) as inner:
            assert (outer, inner) == ((False, 0), (True, 0))
        assert resource.open_now == 1
    assert resource.open_now == 0


async def test_the_manager_sees_the_context_of_who_opened_it(
    autojump_clock: MockClock,
) -> None:
    """Its context variables, as if it were opened in that task."""
    variable = ContextVar("variable", default="")

    @asynccontextmanager
    async def manager() -> AsyncIterator[str]:
        yield variable.get()

    variable.set("here")
    async with maybe_open_context(manager) as (_, value):
        assert value == "here"


def test_each_run_has_values_of_its_own() -> None:
    """They cannot outlive it, nor meet those of another thread."""
    resource = Resource()
    results: list[Any] = []

    async def main() -> None:
        await use(resource, 1, results)

    trio.run(main, clock=MockClock(autojump_threshold=0))
    trio.run(main, clock=MockClock(autojump_threshold=0))
    assert results == [(False, 0), (False, 1)]


# -- Keys ------------------------------------------------------------------------------


async def values(*pairs: tuple[Any, dict[str, Any]]) -> list[bool]:
    """Which of these calls find the value of an earlier one, all being open."""
    found = []

    async def enter(index: int) -> None:
        if index < len(pairs):
            acm_func, options = pairs[index]
            async with maybe_open_context(acm_func, **options) as (hit, _):
                found.append(hit)
                await enter(index + 1)

    await enter(0)
    return found


async def test_keyword_arguments_are_the_key(autojump_clock: MockClock) -> None:
    """In any order; the function counts, too."""
    one, two = Resource().manager, Resource().manager
    assert await values(
        (one, {"kwargs": {"a": 1, "b": 2}}),
        (one, {"kwargs": {"b": 2, "a": 1}}),
        (one, {"kwargs": {"a": 1}}),
        (one, {}),
        (two, {}),
    ) == [False, True, False, False, False]


async def test_a_key_replaces_them(autojump_clock: MockClock) -> None:
    """Also where they could be none."""
    one, two = Resource().manager, Resource().manager
    assert await values(
        (one, {"kwargs": {"a": []}, "key": "x"}),
        (one, {"kwargs": {"a": [1]}, "key": "x"}),
        (one, {"key": "y"}),
        (two, {"key": "x"}),
    ) == [False, True, False, False]


async def test_a_key_can_be_computed(autojump_clock: MockClock) -> None:
    """From the keyword arguments."""
    one = Resource().manager

    def key(a: int) -> int:
        return a % 2

    assert await values(
        (one, {"kwargs": {"a": 1}, "key": key}),
        (one, {"kwargs": {"a": 2}, "key": key}),
        (one, {"kwargs": {"a": 3}, "key": key}),
    ) == [False, False, True]


async def test_methods_of_one_object_are_the_same(autojump_clock: MockClock) -> None:
    """Though each access makes a new one; those of another object are not."""
    one, two = Resource(), Resource()
    assert await values((one.manager, {}), (one.manager, {}), (two.manager, {})) == [
        False,
        True,
        False,
    ]


async def test_a_function_is_not_mistaken_for_one_that_is_gone(
    autojump_clock: MockClock,
) -> None:
    """An id may be used again, so the function is kept as long as its value."""

    def make() -> Any:
        @asynccontextmanager
        async def manager() -> AsyncIterator[None]:
            yield

        return manager

    async def enter(depth: int) -> None:
        async with maybe_open_context(make()) as (hit, _):
            assert not hit
            if depth:
                await enter(depth - 1)

    await enter(5)


@pytest.mark.parametrize("options", [{"kwargs": {"a": []}}, {"key": []}])
async def test_a_key_must_be_hashable(
    options: dict[str, Any], autojump_clock: MockClock
) -> None:
    """Nothing is opened otherwise."""
    resource = Resource()
    with pytest.raises(TypeError, match="unhashable"):
        async with maybe_open_context(resource.manager, **options):
            pass
    assert resource.events() == []


# -- Entering --------------------------------------------------------------------------


async def test_who_comes_while_it_opens_waits(autojump_clock: MockClock) -> None:
    """And does not open another."""
    resource = Resource(enter=5)
    results: list[Any] = []
    start = trio.current_time()
    async with trio.open_nursery() as nursery:
        await soon(nursery, use, resource, 0, results)
        await trio.sleep(1)
        await use(resource, 0, results)
        assert trio.current_time() == start + 5
    assert sorted(results) == [(False, 0), (True, 0)]


async def test_an_error_of_opening_is_that_of_the_first_user(
    autojump_clock: MockClock,
) -> None:
    """Those who waited try anew, each in turn."""
    resource = Resource(enter=1, enter_error=Boom())
    results: list[Any] = []
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            await soon(nursery, use, resource, 0, results)
        await trio.sleep(0.5)
        await trio.sleep(1)
        assert [type(each) for each in results] == [Boom]
        resource.enter_error = None
    assert sorted(results[1:]) == [(False, 0), (True, 0)]
    assert resource.events() == ["enter", "enter", "leave", "left"]


async def test_waiters_try_with_their_own_arguments(autojump_clock: MockClock) -> None:
    """Which a key may hide."""

    @asynccontextmanager
    async def manager(*, good: bool) -> AsyncIterator[None]:
        await trio.sleep(1)
        if not good:
            raise Boom
        yield

    async def fail() -> None:
        with pytest.raises(Boom):
            async with maybe_open_context(manager, {"good": False}, key="x"):
                pass

    async with trio.open_nursery() as nursery:
        await soon(nursery, fail)
        async with maybe_open_context(manager, {"good": True}, key="x") as (hit, _):
            assert not hit


async def test_wrong_arguments_are_an_error_of_opening(
    autojump_clock: MockClock,
) -> None:
    """It is raised where they were given."""
    with pytest.raises(TypeError, match="'wrong'"):
        async with maybe_open_context(open_nothing, {"wrong": 1}):
            pass


@asynccontextmanager
async def open_nothing() -> AsyncIterator[None]:
    yield


async def test_opening_goes_on_for_the_others(autojump_clock: MockClock) -> None:
    """When the first user is cancelled; the next one then is the first."""
    resource = Resource(enter=5)
    results: list[Any] = []
    async with trio.open_nursery() as nursery, trio.open_nursery() as other:
        await soon(other, use, resource, 0, [])
        await soon(nursery, use, resource, 0, results)
        await soon(nursery, use, resource, 0, results)
        other.cancel_scope.cancel()
    assert sorted(results) == [(False, 0), (True, 0)]
    assert resource.events() == ["enter", "leave", "left"]


async def test_opening_fails_for_another_if_the_first_is_gone(
    autojump_clock: MockClock,
) -> None:
    """The error is never lost; just one of them gets it."""
    resource = Resource(enter=5, enter_error=Boom())
    results: list[Any] = []
    async with trio.open_nursery() as nursery:
        async with trio.open_nursery() as other:
            await soon(other, use, resource, 0, [])
            await soon(nursery, use, resource, 0, results)
            other.cancel_scope.cancel()
        await trio.sleep(6)
        assert [type(each) for each in results] == [Boom]


async def test_opening_for_nobody_is_cancelled(autojump_clock: MockClock) -> None:
    """The cancelled user waits for the end of it, and nothing stays behind."""
    resource = Resource(enter=5)
    start = trio.current_time()
    with trio.move_on_after(1):
        await use(resource, 0, [])
    assert resource.log == [("enter", start), ("enter cancelled", start + 1)]
    results: list[Any] = []
    await use(resource, 0, results)
    assert results == [(False, 0)]


async def test_an_error_of_cancelled_opening_is_raised(
    autojump_clock: MockClock,
) -> None:
    """There is nobody else who could."""

    @asynccontextmanager
    async def manager() -> AsyncIterator[None]:
        try:
            await trio.sleep_forever()
        finally:
            raise Boom
        yield

    with pytest.raises(Boom), trio.move_on_after(1):
        async with maybe_open_context(manager):
            pass


async def test_who_comes_while_opening_is_cancelled_opens_anew(
    autojump_clock: MockClock,
) -> None:
    """After the end of that."""

    @asynccontextmanager
    async def manager() -> AsyncIterator[None]:
        starts.append(trio.current_time())
        try:
            await trio.sleep(5)
        except trio.Cancelled:
            with trio.CancelScope(shield=True):
                await trio.sleep(2)
            raise
        yield

    async def first() -> None:
        with trio.move_on_after(1):
            async with maybe_open_context(manager):
                pass

    starts: list[float] = []
    async with trio.open_nursery() as nursery:
        await soon(nursery, first)
        await trio.sleep(2)
        async with maybe_open_context(manager) as (hit, _):
            assert not hit
    assert starts[1] - starts[0] == 3


# -- Leaving ---------------------------------------------------------------------------


async def test_an_error_of_the_exit_is_that_of_the_last_user(
    autojump_clock: MockClock,
) -> None:
    """It is raised once."""
    resource = Resource(leave_error=Boom())
    first: list[Any] = []
    last: list[Any] = []
    async with trio.open_nursery() as nursery:
        await soon(nursery, use, resource, 1, first)
        await soon(nursery, use, resource, 2, last)
    assert first == [(False, 0)]
    assert last == [(True, 0), resource.leave_error]


async def test_who_comes_while_it_exits_opens_anew(autojump_clock: MockClock) -> None:
    """After the end of that; two are never open at once."""
    resource = Resource(leave=5)
    results: list[Any] = []
    start = trio.current_time()
    async with trio.open_nursery() as nursery:
        await soon(nursery, use, resource, 1, results)
        await trio.sleep(2)
        async with maybe_open_context(resource.manager) as (hit, value):
            assert (hit, value) == (False, 1)
            assert trio.current_time() == start + 6


async def test_who_waits_for_an_exit_does_not_cancel_it(
    autojump_clock: MockClock,
) -> None:
    """It is not that one's own."""
    resource = Resource(leave=5)
    async with trio.open_nursery() as nursery:
        await soon(nursery, use, resource, 1, [])
        await trio.sleep(2)
        with trio.move_on_after(1):
            await use(resource, 0, [])
    assert resource.events() == ["enter", "leave", "left"]


async def test_an_error_of_the_block_does_not_reach_the_manager(
    autojump_clock: MockClock,
) -> None:
    """It is shared, so one user's error is not its own."""
    resource = Resource(leave=1)
    with pytest.raises(Boom) as info:
        async with maybe_open_context(resource.manager):
            raise Boom
    assert resource.events() == ["enter", "leave", "left"]
    assert info.value.__context__ is None


async def test_errors_of_block_and_exit_are_linked(autojump_clock: MockClock) -> None:
    """As in any ``async with``: the later one is raised."""
    resource = Resource(leave_error=Boom())
    error = KeyError()
    with pytest.raises(Boom) as info:
        async with maybe_open_context(resource.manager):
            raise error
    assert info.value.__context__ is error


async def test_cancelling_the_last_user_cancels_the_exit(
    autojump_clock: MockClock,
) -> None:
    """And its end is waited for."""
    resource = Resource(leave=5)
    start = trio.current_time()
    with trio.move_on_after(1) as scope:
        await use(resource, 3, [])
    assert scope.cancelled_caught
    assert resource.log[1:] == [("leave", start + 1), ("leave cancelled", start + 1)]


async def test_an_exit_can_be_cancelled_while_it_is_waited_for(
    autojump_clock: MockClock,
) -> None:
    """The same a little later."""
    resource = Resource(leave=5)
    start = trio.current_time()
    with trio.move_on_after(3) as scope:
        await use(resource, 1, [])
    assert scope.cancelled_caught
    assert resource.log[1:] == [("leave", start + 1), ("leave cancelled", start + 3)]


async def test_cancelling_another_user_leaves_it_open(
    autojump_clock: MockClock,
) -> None:
    """For the rest."""
    resource = Resource()
    async with trio.open_nursery() as nursery:
        await soon(nursery, use, resource, 3, [])
        with trio.move_on_after(1):
            await use(resource, 5, [])
        assert resource.open_now == 1
    assert resource.events() == ["enter", "leave", "left"]


async def test_a_cancelled_exit_does_not_hide_the_error_of_the_block(
    autojump_clock: MockClock,
) -> None:
    """The error is raised, and the exit cancelled."""
    resource = Resource(leave=5)

    async def cancel_and_fail(scope: trio.CancelScope) -> None:
        async with maybe_open_context(resource.manager):
            scope.cancel()
            raise Boom

    with pytest.raises(Boom), trio.CancelScope() as scope:
        await cancel_and_fail(scope)
    assert resource.events() == ["enter", "leave", "leave cancelled"]


async def test_an_exit_that_fails_when_cancelled_is_an_error(
    autojump_clock: MockClock,
) -> None:
    """It is raised in place of the cancellation."""

    @asynccontextmanager
    async def manager() -> AsyncIterator[None]:
        yield
        try:
            await trio.sleep(5)
        finally:
            raise Boom

    with pytest.raises(Boom), trio.move_on_after(1):
        async with maybe_open_context(manager):
            pass

"""`maybe_open_context`: what ends a value before its users do; any order of events."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.trionics._resource import Boom, Resource, soon, use
from tractor.trionics import collapse_eg, maybe_open_context

# -- Managers that end by themselves ---------------------------------------------------


async def fail_soon() -> None:
    await trio.sleep(1)
    raise Boom


async def test_a_manager_that_fails_ends_the_blocks(autojump_clock: MockClock) -> None:
    """One of the users raises its error, the others that it is broken."""
    resource = Resource(leave=1)
    results: list[Any] = []
    start = trio.current_time()
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(use, resource, 10, results)
        await wait_all_tasks_blocked()
        resource.nurseries[0].start_soon(fail_soon)
    assert trio.current_time() == start + 1
    first, *others = results[3:]
    assert isinstance(first, Boom)
    for each in others:
        assert isinstance(each, trio.BrokenResourceError)
        assert "failed" in str(each)
        assert each.__cause__ is first
    await use(resource, 0, results)
    assert results[-1] == (False, 1)


async def test_a_block_that_was_over_anyway_just_ends(
    autojump_clock: MockClock,
) -> None:
    """It is the last user who raises the error."""
    resource = Resource()
    async with collapse_eg(), trio.open_nursery() as nursery:
        results: list[Any] = []
        nursery.start_soon(use, resource, 10, results)
        async with maybe_open_context(resource.manager):
            resource.nurseries[0].start_soon(fail_soon)
            with trio.CancelScope(shield=True):
                await trio.sleep(2)
    assert [type(each) for each in results] == [tuple, Boom]


async def test_the_error_of_the_block_goes_first(autojump_clock: MockClock) -> None:
    """Unless it is the manager's that nobody else would raise."""
    resource = Resource()

    async def stubborn() -> None:
        try:
            async with maybe_open_context(resource.manager):
                try:
                    await trio.sleep(5)
                finally:
                    raise KeyError
        except (KeyError, Boom) as error:
            results.append(error)

    results: list[BaseException] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stubborn)
        nursery.start_soon(stubborn)
        await wait_all_tasks_blocked()
        resource.nurseries[0].start_soon(fail_soon)
    first, last = results
    assert isinstance(first, KeyError)
    assert isinstance(last, Boom)
    assert isinstance(last.__context__, KeyError)


async def test_a_manager_that_ends_quietly_ends_the_blocks_so(
    autojump_clock: MockClock,
) -> None:
    """As the block of a cancelled scope does."""
    resource = Resource()
    start = trio.current_time()
    results: list[Any] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(use, resource, 10, results)
        nursery.start_soon(use, resource, 10, results)
        await trio.sleep(1)
        resource.scopes[0].cancel()
    assert trio.current_time() == start + 1
    assert sorted(results) == [(False, 0), (True, 0)]


async def test_who_comes_while_a_manager_ends_opens_anew(
    autojump_clock: MockClock,
) -> None:
    """It is not to be had any more."""
    resource = Resource(leave=5)

    async def fail_slowly() -> None:
        with trio.CancelScope(shield=True), pytest.raises(Boom):
            async with maybe_open_context(shielded):
                await trio.sleep(10)

    @asynccontextmanager
    async def shielded() -> AsyncIterator[int]:
        async with resource.scoped():
            resource.opened += 1
            try:
                yield resource.opened
            finally:
                with trio.CancelScope(shield=True):
                    await trio.sleep(5)

    async with trio.open_nursery() as nursery:
        await soon(nursery, fail_slowly)
        resource.nurseries[0].start_soon(fail_soon)
        await trio.sleep(2)
        start = trio.current_time()
        async with maybe_open_context(shielded) as (hit, value):
            assert (hit, value) == (False, 2)
            assert trio.current_time() == start + 4


@pytest.mark.parametrize("error", [None, Boom()])
async def test_a_manager_that_never_holds_is_an_error(
    error: Boom | None, autojump_clock: MockClock
) -> None:
    """Not an endless loop of new attempts; its own error is raised once."""

    @asynccontextmanager
    async def manager() -> AsyncIterator[None]:
        with trio.CancelScope() as scope:
            scope.cancel()
            yield
        await trio.sleep(1)
        if error is not None:
            raise error

    async def try_it() -> None:
        try:
            async with maybe_open_context(manager):
                await trio.sleep(5)
                raise AssertionError
        except (trio.BrokenResourceError, Boom) as found:
            errors.append(found)

    for _ in range(20):  # whoever is scheduled first
        errors: list[Exception] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(try_it)
            nursery.start_soon(try_it)
        broken = [each for each in errors if each is not error]
        assert len(broken) <= len(errors) - (error is not None)
        assert all("ended by itself" in str(each) or each.__cause__ for each in broken)


# -- The host's nursery ----------------------------------------------------------------


async def test_the_manager_lives_in_the_nursery(autojump_clock: MockClock) -> None:
    """As its task, which is named after it."""
    resource = Resource()
    async with trio.open_nursery() as nursery:
        async with maybe_open_context(resource.manager, tn=nursery):
            (task,) = nursery.child_tasks
            assert "Resource.manager" in task.name
        assert not nursery.child_tasks


async def test_its_errors_stay_out_of_the_nursery(autojump_clock: MockClock) -> None:
    """They are the users'."""
    resource = Resource(leave_error=Boom())
    async with trio.open_nursery() as nursery:
        with pytest.raises(Boom):
            async with maybe_open_context(resource.manager, tn=nursery):
                pass
        assert not nursery.cancel_scope.cancel_called


async def test_a_task_must_be_below_the_nursery(autojump_clock: MockClock) -> None:
    """Or else it might outlive it; nothing is opened."""
    resource = Resource()

    async def try_with(tn: trio.Nursery) -> bool:
        try:
            async with maybe_open_context(resource.manager, tn=tn):
                return True
        except RuntimeError:
            return False

    async def note(tn: trio.Nursery, results: list[bool]) -> None:
        results.append(await try_with(tn))

    async def deep(tn: trio.Nursery, results: list[bool]) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(note, tn, results)

    below: list[bool] = []
    above: list[bool] = []
    async with trio.open_nursery() as outer, trio.open_nursery() as inner:
        assert await try_with(outer)
        assert await try_with(inner)
        outer.start_soon(note, outer, below)
        inner.start_soon(note, outer, below)
        inner.start_soon(deep, outer, below)
        outer.start_soon(note, inner, above)
        outer.start_soon(deep, inner, above)
    assert below == [True] * 3
    assert above == [False] * 2


async def test_cancelling_the_nursery_breaks_users_elsewhere(
    autojump_clock: MockClock,
) -> None:
    """Those below it are cancelled as ever."""
    resource = Resource()
    elsewhere: list[Any] = []
    below: list[Any] = []

    async def host() -> None:
        async with trio.open_nursery() as tn:
            tn.start_soon(lambda: use(resource, 10, below, tn=tn))
            await trio.sleep(1)
            tn.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        await soon(nursery, host)
        await soon(nursery, use, resource, 10, elsewhere)
    assert below == [(False, 0)]
    assert elsewhere[0] == (True, 0)
    assert isinstance(elsewhere[1], trio.BrokenResourceError)
    assert "was cancelled" in str(elsewhere[1])


async def test_cancelling_the_nursery_while_opening_makes_others_try_anew(
    autojump_clock: MockClock,
) -> None:
    """They have a host of their own then."""
    resource = Resource(enter=5)
    results: list[Any] = []

    async def host() -> None:
        async with trio.open_nursery() as tn:
            tn.start_soon(lambda: use(resource, 0, [], tn=tn))
            await trio.sleep(1)
            tn.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        await soon(nursery, host)
        await soon(nursery, use, resource, 0, results)
    assert results == [(False, 0)]


async def test_a_cancelled_nursery_cannot_host(autojump_clock: MockClock) -> None:
    """Who is shielded from the cancellation is told."""
    resource = Resource()
    results: list[Any] = []
    async with trio.open_nursery() as tn:
        tn.cancel_scope.cancel()
        with trio.CancelScope(shield=True):
            await use(resource, 1, results, tn=tn)
    assert isinstance(results[-1], trio.BrokenResourceError)


# -- Any order -------------------------------------------------------------------------

times = st.integers(0, 4)
lives = st.lists(
    st.tuples(
        st.integers(0, 8),  # seconds until it comes
        times,  # seconds that it stays
        st.none() | st.integers(0, 9),  # seconds until it is cancelled
        st.booleans(),  # whether it fails
    ),
    min_size=2,
    max_size=8,
)


@settings(deadline=None)
@given(lives=lives, enter=times, leave=times, failures=st.sets(st.integers(0, 3)))
def test_any_coming_and_going(
    lives: list[tuple[int, int, int | None, bool]],
    enter: int,
    leave: int,
    failures: set[int],
) -> None:
    """At most one is open, and its users are inside of its life; all end in time."""
    entered = 0
    state = "closed"
    hits: dict[int, list[bool]] = {}

    @asynccontextmanager
    async def manager() -> AsyncIterator[int]:
        nonlocal entered, state
        assert state == "closed"
        state = "opening"
        number, entered = entered, entered + 1
        try:
            await trio.sleep(enter)
            if number in failures:
                raise Boom
            state = "open"
            yield number
            assert state == "open"
            state = "closing"
            await trio.sleep(leave)
        finally:
            state = "closed"

    async def live(come: int, stay: int, cancel: int | None, fail: bool) -> None:
        completed = False
        await trio.sleep(come)
        with trio.CancelScope() as scope:
            if cancel is not None:
                scope.deadline = trio.current_time() + cancel + 0.5
            try:
                async with maybe_open_context(manager) as (hit, number):
                    hits.setdefault(number, []).append(hit)
                    assert state == "open"
                    await trio.sleep(stay)
                    assert state == "open"
                    if fail:
                        raise KeyError
                    completed = True
            except (Boom, KeyError):
                completed = True
        assert completed or scope.cancelled_caught

    async def main() -> None:
        with trio.fail_after(1000):
            async with trio.open_nursery() as nursery:
                for life in lives:
                    nursery.start_soon(live, *life)
        assert state == "closed"
        for each in hits.values():
            assert each.count(False) == 1

    trio.run(main, clock=MockClock(autojump_threshold=0))

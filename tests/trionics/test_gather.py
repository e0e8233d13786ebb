"""`gather_contexts`: many context managers at once."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tractor.trionics import gather_contexts


class Boom(Exception):
    """Nobody else raises it."""


class Log:
    """What the managers did, with the virtual time since the beginning."""

    def __init__(self) -> None:
        self.start = trio.current_time()
        self.entries: list[tuple[str, float]] = []

    def note(self, what: str) -> None:
        """Log it."""
        self.entries.append((what, trio.current_time() - self.start))

    @asynccontextmanager
    async def manager[T](
        self, value: T, enter: float = 0, leave: float = 0
    ) -> AsyncIterator[T]:
        """Takes this long to enter and leave."""
        await self.take(enter, f"enter {value}")
        try:
            yield value
        finally:
            await self.take(leave, f"leave {value}")

    async def take(self, seconds: float, what: str) -> None:
        """Take time; log how it ended."""
        try:
            await trio.sleep(seconds)
        except trio.Cancelled:
            self.note(f"{what} cancelled")
            raise
        self.note(what)


@asynccontextmanager
async def failing(
    enter: bool = False, leave: bool = False, after: float = 0
) -> AsyncIterator[None]:
    if enter:
        await trio.sleep(after)
        raise Boom
    yield
    if leave:
        await trio.sleep(after)
        raise Boom


@contextmanager
def takes(seconds: float) -> Iterator[None]:
    start = trio.current_time()
    yield
    assert trio.current_time() == start + seconds


@pytest.fixture(params=["own", "given"])
async def tn(request: pytest.FixtureRequest) -> AsyncIterator[trio.Nursery | None]:
    """No nursery, and one that is given; no error may get into it."""
    if request.param == "own":
        yield None
        return
    async with trio.open_nursery() as nursery:
        yield nursery
        assert not nursery.child_tasks
        assert not nursery.cancel_scope.cancel_called


# -- Values ----------------------------------------------------------------------------


async def test_values_come_in_the_order_of_the_managers(
    autojump_clock: MockClock, tn: trio.Nursery | None
) -> None:
    """Whichever is the first to be entered."""
    log = Log()
    managers = [log.manager(n, enter=3 - n) for n in range(3)]
    with takes(3):
        async with gather_contexts(managers, tn) as values:
            assert values == (0, 1, 2)
            assert log.entries == [("enter 2", 1), ("enter 1", 2), ("enter 0", 3)]


async def test_they_are_left_at_the_same_time(
    autojump_clock: MockClock, tn: trio.Nursery | None
) -> None:
    """In no order, and the block waits for all."""
    log = Log()
    managers = [log.manager(n, leave=n) for n in (1, 2)]
    with takes(2):
        async with gather_contexts(managers, tn):
            log.entries.clear()
    assert log.entries == [("leave 1", 1), ("leave 2", 2)]


async def test_any_iterable_will_do() -> None:
    """A generator expression, too, and managers of one value."""
    log = Log()
    async with gather_contexts(log.manager(1) for _ in range(2)) as values:
        assert values == (1, 1)


async def test_none_at_all_is_an_error() -> None:
    """It is what remains of an iterator that was used before."""
    nothing: list[AbstractAsyncContextManager[None]] = []
    with pytest.raises(ValueError, match="at least one"):
        async with gather_contexts(nothing):
            pass


# -- Errors ----------------------------------------------------------------------------


async def test_an_error_of_entering_cancels_the_others(
    autojump_clock: MockClock, tn: trio.Nursery | None
) -> None:
    """It is raised bare, and the block does not run."""
    log = Log()
    managers = [failing(enter=True, after=1), log.manager(0, enter=5), log.manager(1)]
    with takes(1), pytest.raises(Boom):
        async with gather_contexts(managers, tn):
            raise AssertionError
    assert sorted(log.entries) == [
        ("enter 0 cancelled", 1),
        ("enter 1", 0),
        ("leave 1 cancelled", 1),
    ]


async def test_an_error_of_the_block_cancels_the_managers(
    autojump_clock: MockClock, tn: trio.Nursery | None
) -> None:
    """It is raised bare, as it is."""
    log = Log()
    error = Boom()
    with takes(0), pytest.raises(Boom) as info:
        async with gather_contexts([log.manager(0, leave=5)], tn):
            raise error
    assert info.value is error
    assert log.entries == [("enter 0", 0), ("leave 0 cancelled", 0)]


async def test_an_error_of_leaving_cancels_the_others(
    autojump_clock: MockClock, tn: trio.Nursery | None
) -> None:
    """It is raised bare after their end."""
    log = Log()
    with takes(1), pytest.raises(Boom):
        async with gather_contexts(
            [failing(leave=True, after=1), log.manager(0, leave=5)], tn
        ):
            pass
    assert log.entries == [("enter 0", 0), ("leave 0 cancelled", 1)]


async def test_several_errors_are_a_group(tn: trio.Nursery | None) -> None:
    """None is lost."""

    @asynccontextmanager
    async def manager() -> AsyncIterator[None]:
        yield
        raise Boom

    with pytest.RaisesGroup(Boom, Boom):
        async with gather_contexts([manager(), manager()], tn):
            pass


async def test_a_manager_that_fails_ends_the_block(
    autojump_clock: MockClock, tn: trio.Nursery | None
) -> None:
    """Its error is raised bare."""

    async def fail() -> None:
        await trio.sleep(1)
        raise Boom

    @asynccontextmanager
    async def manager() -> AsyncIterator[None]:
        async with trio.open_nursery(strict_exception_groups=True) as nursery:
            nursery.start_soon(fail)
            yield

    with takes(1), pytest.raises(Boom):
        async with gather_contexts([manager(), failing()], tn):
            await trio.sleep_forever()


async def test_a_manager_that_ends_quietly_ends_the_block_so(
    autojump_clock: MockClock, tn: trio.Nursery | None
) -> None:
    """As the nested block of a cancelled scope ends."""
    with takes(1):
        async with gather_contexts(
            [trio.open_nursery(), trio.open_nursery()], tn
        ) as nurseries:
            await trio.sleep(1)
            nurseries[0].cancel_scope.cancel()
            await trio.sleep_forever()


async def test_a_manager_that_ends_too_soon_is_an_error(
    autojump_clock: MockClock, tn: trio.Nursery | None
) -> None:
    """There is no value of it for the block."""

    @asynccontextmanager
    async def manager() -> AsyncIterator[None]:
        with trio.move_on_after(1):
            yield

    log = Log()
    with takes(1), pytest.raises(RuntimeError, match="ended by itself"):
        async with gather_contexts([manager(), log.manager(None, enter=5)], tn):
            raise AssertionError


# -- Cancellation ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("after", "end"),
    [
        (0.5, "enter 0 cancelled"),
        (1.5, "leave 0 cancelled"),
        (2.5, "leave 0 cancelled"),
    ],
)
async def test_cancelling_cancels_the_managers(
    after: float, end: str, autojump_clock: MockClock, tn: trio.Nursery | None
) -> None:
    """While entering, in the block and while leaving; their end is waited for."""
    log = Log()
    with takes(after), trio.move_on_after(after) as scope:
        async with gather_contexts([log.manager(0, enter=1, leave=1)], tn):
            await trio.sleep(1)
    assert scope.cancelled_caught
    assert log.entries[-1] == (end, after)


async def test_the_tasks_are_in_the_given_nursery() -> None:
    """They live in its scope, and the block ends with them."""
    log = Log()

    async def block(tn: trio.Nursery) -> None:
        with pytest.raises(trio.BrokenResourceError):
            async with gather_contexts([log.manager(0)], tn):
                await trio.sleep_forever()

    async with trio.open_nursery() as outer, trio.open_nursery() as tn:
        outer.start_soon(block, tn)
        await wait_all_tasks_blocked()
        assert len(tn.child_tasks) == 1
        tn.cancel_scope.cancel()
    assert log.entries[-1][0] == "leave 0 cancelled"


async def test_the_given_nursery_may_be_cancelled_too_soon() -> None:
    """Then there are no values."""
    log = Log()

    async def block(tn: trio.Nursery) -> None:
        with pytest.raises(trio.BrokenResourceError, match="was cancelled"):
            async with gather_contexts([log.manager(0, enter=100)], tn):
                raise AssertionError

    async with trio.open_nursery() as outer, trio.open_nursery() as tn:
        outer.start_soon(block, tn)
        await wait_all_tasks_blocked()
        tn.cancel_scope.cancel()
    assert [what for what, _ in log.entries] == ["enter 0 cancelled"]

"""Many context managers at once."""

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial

import trio

from tractor.trionics._groups import collapse_eg
from tractor.trionics._hosted import Hosted


@asynccontextmanager
async def gather_contexts[T](
    mngrs: Iterable[AbstractAsyncContextManager[T]], tn: trio.Nursery | None = None
) -> AsyncIterator[tuple[T, ...]]:
    """Enter context managers at the same time, each in a task of its own.

    They are left at the same time, too, in no order. They and the block are like the
    tasks of a nursery: an error of one of them, or of the block, cancels the others.
    One error is raised bare, several as a group. As with nested blocks, a manager that
    ends before the block (its own scope was cancelled) ends the block, too.

    Yields:
        Their values, in the order of the managers.

    Args:
        mngrs: At least one; an iterator will do.
        tn: Nursery for their tasks; by default one that is opened for them. Their
            errors are raised here and not there.

    Raises:
        ValueError: There are none, as from an iterator that was used before.
        RuntimeError: One ended before all were entered.

    Cancellation: the managers are cancelled, and their end is waited for.
    """
    managers = tuple(mngrs)
    if not managers:
        msg = "gather_contexts() needs at least one context manager; got none"
        raise ValueError(msg)
    if tn is None:
        async with _entered_together(managers) as values:
            yield values
        return
    hosted = Hosted(partial(_entered_together, managers))
    hosted.start(tn, name=f"host of {len(managers)} gathered contexts")
    hosted.claim(managers)  # so that `join` either gives a value or raises
    await hosted.join(managers)
    async with hosted.block() as values:
        try:
            yield values
        except BaseException:
            hosted.cancel()
            raise


@asynccontextmanager
async def _entered_together[T](
    managers: Sequence[AbstractAsyncContextManager[T]],
) -> AsyncIterator[tuple[T, ...]]:
    group = _Group[T](len(managers))
    async with collapse_eg(add_notes=False), trio.open_nursery() as nursery:
        for index, manager in enumerate(managers):
            nursery.start_soon(group.hold, index, manager, nursery.cancel_scope)
        await group.all_entered.wait()
        yield tuple(group.values[index] for index in range(len(managers)))
        group.leave.set()
    if not group.all_entered.is_set():
        msg = "a context manager ended by itself before all were entered"
        raise RuntimeError(msg)


class _Group[T]:
    def __init__(self, size: int) -> None:
        self.size = size
        self.values: dict[int, T] = {}
        self.all_entered = trio.Event()
        self.leave = trio.Event()

    async def hold(
        self,
        index: int,
        manager: AbstractAsyncContextManager[T],
        scope: trio.CancelScope,
    ) -> None:
        async with manager as self.values[index]:
            if len(self.values) == self.size:
                self.all_entered.set()
            await self.leave.wait()
        if not self.leave.is_set():
            scope.cancel()

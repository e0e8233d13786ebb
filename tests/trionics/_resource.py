"""A context manager to be shared, and tasks that use it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import trio
from trio.testing import wait_all_tasks_blocked

from tractor.trionics import collapse_eg, maybe_open_context


class Boom(Exception):
    """Nobody else raises it."""


class Resource:
    """A context manager that counts, and can be made to take time or fail.

    What happens goes to `log`, with the virtual time.
    """

    def __init__(
        self,
        enter: float = 0,
        leave: float = 0,
        enter_error: BaseException | None = None,
        leave_error: BaseException | None = None,
    ) -> None:
        self.enter, self.leave = enter, leave
        self.enter_error, self.leave_error = enter_error, leave_error
        self.opened = 0
        self.open_now = 0
        self.log: list[tuple[str, float]] = []
        self.scopes: list[trio.CancelScope] = []  # of the manager; cancel to end it
        self.nurseries: list[trio.Nursery] = []  # of the manager

    @asynccontextmanager
    async def manager(self, **kwargs: Any) -> AsyncIterator[int]:
        """Yields how many there were before."""
        del kwargs
        self.note("enter")
        async with self.scoped():
            await self.take(self.enter, "enter")
            if self.enter_error is not None:
                raise self.enter_error
            self.opened += 1
            self.open_now += 1
            try:
                yield self.opened - 1
            finally:
                self.open_now -= 1
                self.note("leave")
                await self.take(self.leave, "leave")
                self.note("left")
            if self.leave_error is not None:
                raise self.leave_error

    @asynccontextmanager
    async def scoped(self) -> AsyncIterator[None]:
        """A scope and a nursery of the manager's own."""
        async with collapse_eg(add_notes=False), trio.open_nursery() as nursery:
            self.scopes.append(nursery.cancel_scope)
            self.nurseries.append(nursery)
            yield

    async def take(self, seconds: float, what: str) -> None:
        """Take time; log if cancelled."""
        try:
            await trio.sleep(seconds)
        except trio.Cancelled:
            self.note(f"{what} cancelled")
            raise

    def note(self, what: str) -> None:
        """Log it."""
        self.log.append((what, trio.current_time()))

    def events(self) -> list[str]:
        """The log without times."""
        return [what for what, _ in self.log]


async def use(
    resource: Resource, seconds: float, results: list[Any], **options: Any
) -> None:
    """Use it for so long; `results` gets hit and value, or the error."""
    try:
        async with maybe_open_context(resource.manager, **options) as (hit, value):
            results.append((hit, value))
            assert resource.open_now == 1
            await trio.sleep(seconds)
    except Exception as error:  # noqa: BLE001 (it is the result)
        results.append(error)


async def soon(
    nursery: trio.Nursery, fn: Callable[..., Awaitable[object]], *args: Any
) -> None:
    """Start a task and let it come as far as it can."""
    nursery.start_soon(fn, *args)
    await wait_all_tasks_blocked()

"""Waiting for news of the other side, in a task of either kind.

Both kinds of tasks run in one thread, so news cannot come between a look and the wait.
"""

import asyncio
from typing import Any, Final

import trio


class TrioNews:
    """For tasks of trio; whoever waits looks again after each."""

    def __init__(self) -> None:
        self._lot: Final = trio.lowlevel.ParkingLot()

    async def wait(self) -> None:
        """Wait for the next news."""
        await self._lot.park()

    def tell(self) -> None:
        """There are some; from tasks of either kind, and from callbacks."""
        self._lot.unpark_all()


class AsyncioNews:
    """The same for tasks of asyncio."""

    def __init__(self) -> None:
        self._waiting: dict[asyncio.Future[None], asyncio.Task[Any] | None] = {}

    async def wait(self) -> None:
        """Wait for the next news."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[future] = asyncio.current_task()
        try:
            await future
        finally:
            del self._waiting[future]

    def tell(self) -> None:
        """There are some."""
        for future in self._waiting:
            if not future.done():
                future.set_result(None)

    def reach(self, task: asyncio.Task[Any]) -> bool:
        """Whether that task waits for them."""
        return task in self._waiting.values()

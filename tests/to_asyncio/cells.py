"""Both sides, as the tables of docs/reference/linked-tasks.md name them.

A cell is what each side does; what comes of it is what each ends with. They run in the
actor that calls `run_cells`, one after the other.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final, NamedTuple

import trio
import trio.testing

from tractor.to_asyncio import (
    LinkedTaskChannel,
    TrioTaskExited,
    open_channel_from,
    run_task,
)

SAFETY: Final = 10  # seconds for one cell
ACTS: Final = {
    "returns",
    "raises",
    "is cancelled",
    "cancels the other",
    "closes the channel",
    "raises KeyboardInterrupt",
}
TURNS: Final = 3  # of the loop, after which each task is where it waits
NOTHING: Final = "nothing"


class Cell(NamedTuple):
    """One row of the tables, without its outcomes."""

    started: str  # yes, no, or "task" for `run_task`
    asyncio_side: str
    trio_side: str


class Bad(Exception):
    """What the asyncio side fails with."""


class Worse(Exception):
    """What trio fails with."""


# -- The asyncio side ------------------------------------------------------------------


async def is_cancelled(_: LinkedTaskChannel) -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(0)


async def cancels(chan: LinkedTaskChannel) -> None:
    chan.cancel_trio_task("enough")
    await asyncio.Event().wait()


async def closes(chan: LinkedTaskChannel) -> None:
    await chan.aclose()
    await asyncio.Event().wait()


async def raises(_: LinkedTaskChannel) -> None:
    raise Bad


async def interrupts(_: LinkedTaskChannel) -> None:
    raise KeyboardInterrupt


async def returns(_: LinkedTaskChannel) -> None:
    pass


async def receives(chan: LinkedTaskChannel) -> None:
    while True:
        await chan.get()


async def receives_in_group(chan: LinkedTaskChannel) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(receives(chan))
        group.create_task(receives(chan))


async def iterates(chan: LinkedTaskChannel) -> None:
    async for _ in chan:
        pass


async def sends(chan: LinkedTaskChannel) -> None:
    while True:
        await chan.send(0)


async def waits(_: LinkedTaskChannel) -> None:
    await asyncio.Event().wait()


async def goes_on(chan: LinkedTaskChannel) -> None:
    with suppress(TrioTaskExited):
        await chan.get()
    await asyncio.sleep(0)  # some clean-up


async def swallows(chan: LinkedTaskChannel) -> None:
    while True:
        with suppress(Exception):
            await chan.get()


async def returns_all_the_same(_: LinkedTaskChannel) -> None:
    with suppress(asyncio.CancelledError):
        await asyncio.Event().wait()


async def fails_in_cleanup(_: LinkedTaskChannel) -> None:
    try:
        await asyncio.Event().wait()
    finally:
        raise Bad


type AioSide = Callable[[LinkedTaskChannel], Awaitable[None]]

ASYNCIO: Final[dict[str, AioSide]] = {
    "returns": returns,
    "raises": raises,
    "is cancelled": is_cancelled,
    "cancels the other": cancels,
    "closes the channel": closes,
    "raises KeyboardInterrupt": interrupts,
    "receives": receives,
    "receives in a TaskGroup": receives_in_group,
    "iterates": iterates,
    "sends": sends,
    "waits": waits,
    "catches what it is told": goes_on,
    "catches every Exception": swallows,
    "catches its cancellation": returns_all_the_same,
    "fails in its clean-up": fails_in_cleanup,
}


# -- The trio side ---------------------------------------------------------------------


async def trio_receives(chan: LinkedTaskChannel) -> None:
    async for _ in chan:
        pass


async def trio_sends(chan: LinkedTaskChannel) -> None:
    while True:
        await chan.send(0)


async def trio_waits(_: LinkedTaskChannel) -> None:
    await trio.sleep_forever()


async def trio_awaits_result(chan: LinkedTaskChannel) -> None:
    await chan.wait_for_result()


async def trio_returns(_: LinkedTaskChannel) -> None:
    pass


async def trio_raises(_: LinkedTaskChannel) -> None:
    raise Worse


async def trio_cancels(chan: LinkedTaskChannel) -> None:
    chan.cancel_asyncio_task("enough")
    await trio_receives(chan)


async def trio_closes(chan: LinkedTaskChannel) -> None:
    await chan.aclose()
    await chan.wait_for_result()


async def trio_interrupts(_: LinkedTaskChannel) -> None:
    raise KeyboardInterrupt


async def trio_fails_in_cleanup(_: LinkedTaskChannel) -> None:
    try:
        await trio.sleep_forever()
    finally:
        raise Worse


IS_CANCELLED: Final = "is cancelled"
TRIO: Final[dict[str, AioSide]] = {
    "receives": trio_receives,
    "sends": trio_sends,
    "waits": trio_waits,
    "waits for the result": trio_awaits_result,
    "returns": trio_returns,
    "raises": trio_raises,
    IS_CANCELLED: trio_waits,
    "cancels the other": trio_cancels,
    "closes the channel": trio_closes,
    "raises KeyboardInterrupt": trio_interrupts,
    "fails in its clean-up": trio_fails_in_cleanup,
    "begins": trio_receives,
}


# -- A cell ----------------------------------------------------------------------------


class _Run:
    """One cell at work."""

    def __init__(self, cell: Cell) -> None:
        self.cell = cell
        self.in_place = trio.Event()
        self.scope = trio.CancelScope()
        self.told = {"asyncio": "hangs", "trio": "hangs"}

    async def on_asyncio(self, chan: Any) -> None:
        try:
            if self.cell.started == "yes":
                chan.started_nowait()
            self.in_place.set()
            await ASYNCIO[self.cell.asyncio_side](chan)
        except BaseException as error:
            self.told["asyncio"] = name_of(error)
            raise
        self.told["asyncio"] = NOTHING

    async def on_trio(self) -> None:
        try:
            with self.scope:
                try:
                    await self._link()
                except BaseException as error:
                    self.told["trio"] = name_of(error)
                    raise
            if not self.scope.cancelled_caught:
                self.told["trio"] = NOTHING
        except trio.Cancelled:
            raise
        except BaseException:  # noqa: BLE001 (it was noted)
            return

    async def _link(self) -> None:
        if self.cell.started == "task":
            await run_task(self.on_asyncio, None)
            return
        async with open_channel_from(self.on_asyncio) as (chan, _):
            if self.cell.trio_side in ACTS:
                for _ in range(TURNS):
                    await run_task(asyncio.sleep, 0)
            await TRIO[self.cell.trio_side](chan)

    async def cancel(self) -> None:
        await self.in_place.wait()
        await trio.testing.wait_all_tasks_blocked()
        self.scope.cancel()


def name_of(error: BaseException) -> str:
    """Of its class; of a group those of its members."""
    if isinstance(error, BaseExceptionGroup):
        return " and ".join(sorted(name_of(each) for each in error.exceptions))
    return type(error).__name__


async def run_cell(cell: Cell) -> tuple[str, str]:
    """What the block raises, and what the task."""
    run = _Run(cell)
    with trio.move_on_after(SAFETY):
        async with trio.open_nursery() as nursery:
            if cell.trio_side == IS_CANCELLED:
                nursery.start_soon(run.cancel)
            await run.on_trio()
    return run.told["trio"], run.told["asyncio"]


async def run_cells(cells: list[tuple[str, str, str]]) -> list[tuple[str, str]]:
    """The same for each."""
    return [await run_cell(Cell(*cell)) for cell in cells]

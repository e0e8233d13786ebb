"""Ends that come at a bad moment: no block waits for ever, and all is tidied up."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests._helpers import raises
from tests.to_asyncio.test_channel import idle, on_asyncio
from tractor import RuntimeFailure
from tractor.to_asyncio import (
    AsyncioRuntimeTranslationError,
    AsyncioTaskExited,
    LinkedTaskChannel,
    TrioCancelled,
    TrioTaskExited,
    _linked,
    open_channel_from,
    run_as_asyncio_guest,
    run_task,
)

# -- Of a block ------------------------------------------------------------------------


async def miss_the_end(
    chan: LinkedTaskChannel,
    limits: list[asyncio.Timeout],
    told: list[str],
    turns: int,
) -> None:
    """Wait for the channel until one's own time-out, and clean up after that."""
    try:
        async with asyncio.timeout(None) as limit:
            limits.append(limit)
            chan.started_nowait()
            try:
                await chan.receive()
            finally:
                for _ in range(turns):
                    await asyncio.sleep(0)
    except TimeoutError:
        told.append("late")


@on_asyncio
async def test_a_time_out_does_not_hide_the_end_of_the_block() -> None:
    """A task that hears of its own time-out only is cancelled where it waits next.

    Also if it takes some turns of the loop to clean up after that.
    """
    limits: list[asyncio.Timeout] = []
    told: list[str] = []

    async def target(chan: LinkedTaskChannel, turns: int) -> None:
        await miss_the_end(chan, limits, told, turns)
        await asyncio.Event().wait()

    for turns in (0, 5):
        async with open_channel_from(target, turns=turns):
            await wait_all_tasks_blocked()
            limits[-1].reschedule(0)  # runs between the end of the block and the task
    assert told == ["late", "late"]


@on_asyncio
async def test_who_has_heard_of_the_end_is_not_cancelled_as_well() -> None:
    """After its own time-out, a task is told by its channel, and tidies up in peace."""
    limits: list[asyncio.Timeout] = []
    told: list[str] = []

    async def target(chan: LinkedTaskChannel) -> None:
        await miss_the_end(chan, limits, told, turns=1)
        try:
            await chan.receive()
        except TrioTaskExited:
            for _ in range(20):
                await asyncio.sleep(0)
            told.append("tidied up")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_linked, "AGAIN", 0.0)
        async with open_channel_from(target):
            await wait_all_tasks_blocked()
            limits[-1].reschedule(0)
    assert told == ["late", "tidied up"]


@on_asyncio
async def test_who_waits_for_the_task_can_be_cancelled() -> None:
    """At the end of a block, too: the task is cancelled where it is by then."""
    told: list[str] = []

    async def target(chan: LinkedTaskChannel) -> None:
        chan.started_nowait()
        try:
            await chan.receive()
        except TrioTaskExited:
            told.append("left")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            told.append("cancelled")
            raise

    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:

            async def cancel() -> None:
                await wait_all_tasks_blocked(0.01)
                scope.cancel()

            async with open_channel_from(target):
                await wait_all_tasks_blocked()
                nursery.start_soon(cancel)
    assert scope.cancelled_caught
    assert told == ["left", "cancelled"]


@on_asyncio
async def test_a_block_that_is_cancelled_as_it_ends_says_so() -> None:
    """The task hears of the cancellation, and not of an orderly end."""
    told: list[type[BaseException]] = []

    async def target(chan: LinkedTaskChannel) -> None:
        chan.started_nowait()
        try:
            await chan.receive()
        except BaseException as exc:
            told.append(type(exc))
            raise

    with trio.CancelScope() as scope:
        async with open_channel_from(target):
            await wait_all_tasks_blocked()
            scope.cancel()
    assert scope.cancelled_caught
    assert told == [TrioCancelled]


@on_asyncio
async def test_a_nursery_in_the_block_may_send_in_vain() -> None:
    """That the task takes no more is no failure there either, but all else is."""

    async def target(chan: LinkedTaskChannel) -> None:
        chan.started_nowait()

    async def fail() -> None:
        raise ValueError

    for extra in ([], [fail]):
        errors: list[Any] = []
        try:
            async with (
                open_channel_from(target) as (chan, _),
                trio.open_nursery() as nursery,
            ):
                await chan.wait_for_result()
                nursery.start_soon(chan.send, 1)
                nursery.start_soon(chan.send, 2)
                for fn in extra:
                    nursery.start_soon(fn)
        except* ValueError as group:
            errors += group.exceptions
        assert len(errors) == len(extra)
    with raises(AsyncioTaskExited):
        async with open_channel_from(target) as (chan, _):
            await chan.wait_for_result()
            try:
                await chan.send(1)
            except AsyncioTaskExited:
                raise AsyncioTaskExited("of the program") from None


@on_asyncio
async def test_other_threads_are_refused() -> None:
    """They would wake nobody; the text names what does."""
    async with open_channel_from(idle) as (chan, _):
        for use in (
            lambda: chan.send_nowait(1),
            chan.started_nowait,
            chan.cancel_trio_task,
            chan.cancel_asyncio_task,
        ):
            with raises(RuntimeFailure, match="call_soon_threadsafe"):
                await trio.to_thread.run_sync(use)
        with trio.move_on_after(0):
            await chan.receive()


# -- Of a loop -------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["stops", "exits"])
def test_a_task_that_leaves_the_loop_at_its_end_holds_up_nobody(how: str) -> None:
    """All others are ended, and only then a SystemExit is raised."""
    started: list[asyncio.Future[None]] = []
    ended: list[str] = []

    async def leave() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            if how == "exits":
                raise SystemExit(3)
            asyncio.get_running_loop().stop()

    async def end_slowly() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            for _ in range(5):
                await asyncio.sleep(0)
            ended.append("task")

    async def main() -> str:
        started.extend(asyncio.ensure_future(fn()) for fn in (leave, end_slowly))
        asyncio.get_running_loop().run_in_executor(None, ended.append, "thread")
        await run_task(asyncio.sleep, 0)
        return "main"

    if how == "exits":
        with pytest.raises(SystemExit):
            run_as_asyncio_guest(main)
        assert isinstance(started[0].exception(), SystemExit)
    else:
        assert run_as_asyncio_guest(main) == "main"
    assert sorted(ended) == ["task", "thread"]


def test_generators_of_trio_stay_so_after_the_loop_was_left() -> None:
    """They are closed by trio, also those that are begun after that."""
    closed_by_trio: list[bool] = []
    kept: list[AsyncIterator[int]] = []

    async def count() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            closed_by_trio.append(trio.lowlevel.in_trio_task())

    async def begin_one() -> None:
        kept.append(count())
        await anext(kept[-1])

    async def main() -> None:
        await begin_one()
        asyncio.get_running_loop().stop()
        try:
            await trio.sleep_forever()
        finally:
            await begin_one()

    with pytest.raises(AsyncioRuntimeTranslationError):
        run_as_asyncio_guest(main)
    assert closed_by_trio == [True, True]

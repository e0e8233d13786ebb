"""Running a function of asyncio from trio: for its result, or to talk with it."""

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import outcome
import trio

from tractor.to_asyncio._channel import LinkedTaskChannel, ToTrio
from tractor.to_asyncio._linked import LinkedTask
from tractor.trionics import is_cancellation

QSIZE: Final = 64  # items; the window that streams between actors have


async def run_task[**P, T](
    func: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs
) -> T:
    """Run an async function of asyncio in a task of its own, and return its result.

    Args:
        func: The function, not what a call of it gives.
        *args: Its arguments.
        **kwargs: Likewise.

    Raises:
        RuntimeFailure: There is no asyncio here.
        TypeError: `func` is no function.
        AsyncioCancelled: The task was cancelled, but not by this call.
        BaseException: What it raised.

    Cancellation: the task is cancelled and waited for. If it returns all the same, so
    does this; what it fails with is raised.
    """
    _check(func)
    await trio.lowlevel.checkpoint_if_cancelled()
    linked = LinkedTask()
    linked.start(lambda: func(*args, **kwargs), _name_of(func))
    error: BaseException | None = None
    try:
        with linked.scope:
            await linked.let_run()
            await linked.wait_ended()
    except BaseException as exc:  # noqa: BLE001 (raised once the task has ended)
        error = exc
    final = await linked.end_block(error)
    if isinstance(linked.outcome, outcome.Value) and (
        final is None or is_cancellation(final)
    ):
        result: T = linked.outcome.value
        return result
    assert final is not None, "no outcome"
    raise final


@asynccontextmanager
async def open_channel_from(
    target: Callable[..., Awaitable[Any]],
    suppress_graceful_exits: bool = True,
    *,
    qsize: int = QSIZE,
    **target_kwargs: Any,
) -> AsyncIterator[tuple[LinkedTaskChannel, Any]]:
    """Run an async function of asyncio and talk with it while the block runs.

    The block begins when the function has called ``chan.started_nowait()``. When it is
    left, the function is told so, or cancelled, and waited for.

    Args:
        target: The function. It gets the channel as `chan`, or the halves of it as
            `to_trio` and `from_trio`: those that its signature names.
        suppress_graceful_exits: Whether it is no error if the function returns before
            the block ends, and if it lets through what it is told at the end of that.
        qsize: Most items that wait in each direction, ≥ 1.
        **target_kwargs: Arguments of `target`.

    Returns:
        A context manager that gives the channel and what `started_nowait` was given.

    Raises:
        RuntimeFailure: There is no asyncio here.
        TypeError: `target` is no function, or has no parameter for the channel.
        ValueError: `qsize` is out of range.
        AsyncioTaskExited: The function returned before it had started.
        AsyncioCancelled: Its task was cancelled, or has cancelled the block.
        BaseException: What it raised; together with an error of the block, as a group.

    Cancellation: the task is cancelled, and waited for.
    """
    if qsize < 1:
        msg = f"qsize ≥ 1, not {qsize!r}"
        raise ValueError(msg)
    _check(target)
    linked = LinkedTask(qsize, strict=not suppress_graceful_exits)
    chan = LinkedTaskChannel(linked)
    kwargs = target_kwargs | _parts_for(target, chan)
    await trio.lowlevel.checkpoint_if_cancelled()
    linked.start(lambda: target(**kwargs), _name_of(target))
    error: BaseException | None = None
    try:
        with linked.scope:
            first = await chan._wait_started()
            yield chan, first
    except BaseException as exc:  # noqa: BLE001 (raised once the task has ended)
        error = exc
    if suppress_graceful_exits:
        error = linked.without_refusals(error)
    if (final := await linked.end_block(error)) is not None:
        raise final


def _check(func: object) -> None:
    if not callable(func):
        hint = ""
        if inspect.iscoroutine(func):
            func.close()
            hint = "; give it the function, and its arguments by name"
        msg = f"an async function is wanted, not {func!r}{hint}"
        raise TypeError(msg)


def _name_of(func: Callable[..., object]) -> str:
    return getattr(func, "__qualname__", None) or repr(func)


def _parts_for(
    target: Callable[..., object], chan: LinkedTaskChannel
) -> dict[str, object]:
    """The parts of the channel that the signature of `target` names."""
    wanted = inspect.signature(target).parameters.keys()
    if not wanted & {"chan", "to_trio"}:
        msg = f"{_name_of(target)}() needs a parameter `chan`, or `to_trio`"
        raise TypeError(msg)
    parts = {"chan": chan, "to_trio": ToTrio(chan), "from_trio": chan}
    return {name: part for name, part in parts.items() if name in wanted}

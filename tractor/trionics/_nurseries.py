"""Nurseries that may be there already, and tasks that are cancelled as they start."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol, overload

import trio


class OpensNurseries[N](Protocol):
    """What `maybe_open_nursery` needs of a library: trio, or tractor."""

    @property
    def open_nursery(self) -> Callable[..., AbstractAsyncContextManager[N]]:
        """Opens one."""


@overload
def maybe_open_nursery[N](
    nursery: N | None = None, *, lib: OpensNurseries[N], **kwargs: Any
) -> AbstractAsyncContextManager[N]: ...
@overload
def maybe_open_nursery(
    nursery: trio.Nursery | None = None, *, shield: bool = False, **kwargs: Any
) -> AbstractAsyncContextManager[trio.Nursery]: ...
@asynccontextmanager
async def maybe_open_nursery(
    nursery: Any = None,
    *,
    shield: bool = False,
    lib: OpensNurseries[Any] = trio,
    **kwargs: Any,
) -> AsyncIterator[Any]:
    """Use `nursery`, or open one for the block where it is `None`.

    A nursery that was given is left as it is: the block does not wait for its tasks.

    Args:
        nursery: The one to use.
        shield: Whether the scope of a new one is shielded; trio's have one.
        lib: Whose ``open_nursery`` opens a new one, with the arguments `kwargs`.
        kwargs: See `lib`.
    """
    if nursery is not None:
        yield nursery
        return
    async with lib.open_nursery(**kwargs) as opened:
        if shield:
            opened.cancel_scope.shield = True
        yield opened


async def start_or_cancel(
    nursery: trio.Nursery,
    async_fn: Callable[..., Awaitable[object]],
    *args: Any,
    name: object = None,
) -> Any:
    """As ``nursery.start()``, but a cancelled start is cancelled.

    A task that is cancelled before it called ``task_status.started()`` and returns,
    as many do in order to end quietly, makes `start` raise an error that complains
    about the missing call. It is raised here only if the caller is not cancelled.

    Args:
        nursery: Where the task goes.
        async_fn: Called with `args` and a keyword argument ``task_status``.
        args: For `async_fn`.
        name: Of the task; by default that of `async_fn`.

    Returns:
        What `async_fn` gave to ``task_status.started()``.

    Raises:
        RuntimeError: The task returned before it called that.
        Exception: Whatever the task raised before that.
    """
    returned = False

    async def watched(*, task_status: trio.TaskStatus[Any]) -> None:
        nonlocal returned
        await async_fn(*args, task_status=task_status)
        returned = True

    try:
        return await nursery.start(watched, name=async_fn if name is None else name)
    except RuntimeError as error:
        if not returned:  # it is the task's own error
            raise
        complaint = error
    # Not in the `except`: the complaint would become the context of the `Cancelled`.
    await trio.lowlevel.checkpoint_if_cancelled()
    raise complaint

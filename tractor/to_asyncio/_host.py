"""The root on asyncio, and trio from asyncio."""

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import copy_context

import trio

from tractor._exceptions import RuntimeFailure
from tractor._guest import run_as_guest


def run_as_asyncio_guest[*Ts, T](
    trio_main: Callable[[*Ts], Awaitable[T]], *args: *Ts
) -> T:
    """Run the program's main function as `trio.run` does, on a loop of asyncio.

    So a root can run tasks of asyncio, as actors of `infect_asyncio=True` do. At its
    end asyncio's own tasks, generators and threads have one second to end, too.

    Args:
        trio_main: An async function of trio.
        *args: Its arguments.

    Raises:
        RuntimeFailure: A loop runs in this thread already.
        AsyncioRuntimeTranslationError: Somebody stopped the loop.
        BaseException: What `trio_main` raised, or what a task of asyncio let out of the
            loop: KeyboardInterrupt or SystemExit.
    """
    return run_as_guest(trio_main, *args)


def run_trio_task_in_future[*Ts, T](
    async_fn: Callable[[*Ts], Awaitable[T]], *args: *Ts
) -> "asyncio.Future[T]":
    """Run an async function of trio in a task of its own; call it from asyncio.

    Returns:
        A future of its result. To cancel it cancels the task, which is cancelled at the
        latest when the actor ends.

    Raises:
        RuntimeFailure: There is no trio here.
    """
    if not trio.lowlevel.in_trio_run():
        msg = "there is no trio here; this is for tasks of asyncio in an actor"
        raise RuntimeFailure(msg)
    future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
    scope = trio.CancelScope()
    name = getattr(async_fn, "__qualname__", repr(async_fn))

    async def run() -> None:
        try:
            with scope:
                value = await async_fn(*args)
                if not future.done():
                    future.set_result(value)
        except trio.Cancelled:
            future.cancel("the actor ends")
            raise
        except BaseException as exc:  # noqa: BLE001 (raised where it is awaited)
            if not future.done():
                future.set_exception(exc)

    future.add_done_callback(lambda _: scope.cancel())
    trio.lowlevel.spawn_system_task(run, name=name, context=copy_context())
    return future

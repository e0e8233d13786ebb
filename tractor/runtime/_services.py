"""What an actor does in the background.

Everything runs in one nursery of a system task. No cancel scope of the user's reaches
it, so that channels still carry news while everything else is being cancelled;
KeyboardInterrupt does not land there either. A service never raises.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from contextvars import Context, copy_context
from functools import partial
from typing import Any

import trio

from tractor.log import get_logger
from tractor.runtime._workers import Job, Workers

log = get_logger("actor")


class Services:
    """The background of one actor."""

    def __init__(self) -> None:
        self._nursery: trio.Nursery | None = None
        self._context = Context()
        self._token: trio.lowlevel.TrioToken | None = None
        self._workers = Workers(self.spawn)

    @property
    def run_here(self) -> bool:
        """Whether they and the caller are of the same `trio.run`."""
        return self._token is trio.lowlevel.current_trio_token()

    def spawn(
        self, fn: Callable[..., Any], *args: Any, name: str, inherit: bool = False
    ) -> None:
        """Run `fn(*args)` in the background; what it raises is logged.

        Args:
            fn: An async function.
            *args: Its arguments.
            name: Of the task.
            inherit: Whether it gets the context variables of the caller. What serves
                the whole actor must not: it outlives the caller.
        """
        assert self._nursery is not None, "the actor is not running"
        start = partial(self._nursery.start_soon, _service, fn, args, name=name)
        if inherit:
            start()
        else:
            self._context.copy().run(start)

    def serve(self, job: Job, *, name: str) -> None:
        """Run a job that serves a call in the background; see `Workers.run`."""
        self._workers.run(job, self._context, name=name)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run them around the block; afterwards nothing of them is left."""
        scope, up, down = trio.CancelScope(), trio.Event(), trio.Event()

        async def host() -> None:
            try:
                with scope:
                    async with trio.open_nursery() as nursery:
                        self._nursery = nursery
                        self._context = copy_context()
                        nursery.start_soon(trio.sleep_forever)
                        up.set()
            finally:
                down.set()

        self._token = trio.lowlevel.current_trio_token()
        trio.lowlevel.spawn_system_task(host, name="tractor services")
        try:
            # Ctrl-C may end either wait, and must not leave the services behind.
            with trio.CancelScope(shield=True):
                await up.wait()
            yield
        finally:
            scope.cancel()
            with trio.CancelScope(shield=True):
                await down.wait()


# trio raises Ctrl-C in whatever task runs, save in a system task; but tasks that such a
# one starts are none.
@trio.lowlevel.enable_ki_protection
async def _service(fn: Callable[..., Any], args: tuple[Any, ...]) -> None:
    try:
        await fn(*args)
    except Exception:  # a bug must not take the whole tree along
        log.exception("a service failed: %r", fn)

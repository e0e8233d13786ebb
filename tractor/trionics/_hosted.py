"""A context manager in a task of its own, with users in other tasks.

A block of ``async with`` belongs to one task. Here, a task called the host enters the
manager, holds it open and leaves it, so that those who use its value may come and go in
any order:

    hosted = Hosted(manager)
    hosted.start(nursery, name="the host")
    if await hosted.join(me):
        async with hosted.block() as value: ...

It is as near to an ``async with`` of the user's own as it can be:

- The last user to go makes the host leave the manager, waits for that and raises what
  the manager raises. Where that user is cancelled, so is the leaving.
- A manager that is over before it was asked to be (a task of its own failed, or its
  scope or that of the host's nursery was cancelled) ends its users' blocks. The first
  of them to go raises the manager's error, the others a `trio.BrokenResourceError`
  from it. Without an error the blocks just end, as blocks of a cancelled scope do.
- No error of the manager ends the host's nursery.
"""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    asynccontextmanager,
    contextmanager,
    suppress,
)
from contextvars import copy_context
from typing import NoReturn

import trio

from tractor.trionics._reraise import reraise


class Hosted[T]:
    """A context manager, its host and its users.

    Args:
        manager: Makes the manager; called by the host.
        on_gone: Called when it is left, or could not be entered.

    Attributes:
        leaving: Whether its value is not to be had any more.
        gone: Set when it is left, or could not be entered.
    """

    def __init__(
        self,
        manager: Callable[[], AbstractAsyncContextManager[T]],
        on_gone: Callable[[], object] = lambda: None,
    ) -> None:
        self.leaving = False
        self.gone = trio.Event()
        self._manager = manager
        self._on_gone = on_gone
        self._users = 0  # those who wait for the value included
        self._first: object = None  # the user that gets the value, or the error, first
        self._blocks: set[trio.CancelScope] = set()
        self._settled = trio.Event()  # entered, or never will be
        self._asked_to_leave = trio.Event()
        self._scope = trio.CancelScope()  # of the host
        self._cut_short = False  # the scope of the host's nursery was cancelled
        self._error: BaseException | None = None
        self._raised = False  # the error, in some user

    def start(self, nursery: trio.Nursery | None, name: str) -> None:
        """Start the host, in a system task where there is no nursery for it."""
        if nursery is not None:
            nursery.start_soon(self._host, name=name)
        else:
            trio.lowlevel.spawn_system_task(
                self._host, name=name, context=copy_context()
            )

    def cancel(self) -> None:
        """Cancel the manager, and its leaving."""
        self._scope.cancel()

    def claim(self, user: object) -> bool:
        """Whether `user` is the first; it becomes so if there is none."""
        if self._first is None:
            self._first = user
        return self._first is user

    async def join(self, user: object) -> bool:
        """Become a user, once the manager is entered.

        Returns:
            Whether there is a value. If not, `user` is no user.

        Raises:
            BaseException: The manager could not be entered, and `user` is the first.

        Cancellation: as in `block`; another user becomes the first.
        """
        self._users += 1
        try:
            await self._settled.wait()
            if not self.leaving:
                return True
            await self.gone.wait()
        except BaseException:
            if self._first is user:
                self._first = None
            with suppress(trio.Cancelled):
                await self._quit()
            raise
        self._users -= 1
        # Whoever is not the first may try anew. But somebody has to raise an error.
        if self._first is user or (self._error is not None and self.claim(user)):
            self._raise_end()
        return False

    @asynccontextmanager
    async def block(self) -> AsyncIterator[T]:
        """Use the value, after `join`.

        Raises:
            BaseException: Leaving the manager failed, and this was the last user.
            trio.BrokenResourceError: The manager was over before the block was.

        Cancellation: the last user cancels the leaving, and waits for its end.
        """
        try:
            with self._block_scope() as scope:
                yield self._value
            if scope.cancelled_caught:
                await self.gone.wait()
        except BaseException:
            with suppress(trio.Cancelled):  # the block's own error goes first
                await self._quit()
            raise
        await self._quit()
        if scope.cancelled_caught and (self._cut_short or self._error is not None):
            self._raise_end()

    @contextmanager
    def _block_scope(self) -> Iterator[trio.CancelScope]:
        with trio.CancelScope() as scope:
            self._blocks.add(scope)
            try:
                yield scope
            finally:
                self._blocks.remove(scope)

    async def _quit(self) -> None:
        """Be no user any more; the last one ends it."""
        self._users -= 1
        if self._users:
            return
        self.leaving = True
        self._asked_to_leave.set()
        try:
            await self.gone.wait()
        except trio.Cancelled:  # as it always is while the manager is being entered
            self._scope.cancel()
            with trio.CancelScope(shield=True):  # it knows that it is to be quick
                await self.gone.wait()
            raise
        finally:
            self._raise_error()

    def _raise_error(self) -> None:
        """Raise what the manager raised, if nobody has so far."""
        if self._error is not None and not self._raised:
            self._raised = True
            raise self._error

    def _raise_end(self) -> NoReturn:
        """Raise why there is no value any more."""
        self._raise_error()
        how = "was cancelled" if self._cut_short else "ended by itself"
        how = how if self._error is None else "failed"
        msg = f"the context manager behind this value {how} while it was in use"
        raise trio.BrokenResourceError(msg) from self._error

    async def _host(self) -> None:
        try:
            with self._scope:
                async with self._manager() as self._value:
                    self._settled.set()
                    await self._hold()
        except BaseException as exc:  # noqa: BLE001 (a user raises it)
            cancelled, self._error = _split(exc)
            if cancelled is not None:
                self._cut_short = True
                reraise(cancelled)
        finally:
            self.leaving = True
            self._on_gone()
            self._settled.set()
            self.gone.set()

    async def _hold(self) -> None:
        try:
            await self._asked_to_leave.wait()
        finally:
            self.leaving = True
            for block in self._blocks:
                block.cancel()


def _split(exc: BaseException) -> tuple[BaseException | None, BaseException | None]:
    """The cancellations in `exc`, and the errors."""
    if isinstance(exc, BaseExceptionGroup):
        return exc.split(trio.Cancelled)
    return (exc, None) if isinstance(exc, trio.Cancelled) else (None, exc)

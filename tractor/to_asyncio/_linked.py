"""A task of asyncio that belongs to a block of trio's; how each ends the other.

The rules are those of a nursery, and each side has its own words for them:

- The block is not left before the task has ended.
- What the task fails with cancels the block, and is raised at the end of that.
- When the block ends, however, the task is told so. If it waits for its channel, that
  raises; wherever else it waits, it is cancelled in asyncio's way.
- That a side ends because the other did is no failure. A failure of both is a group.

The tables of docs/reference/linked-tasks.md have every combination, and are a test.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Final
from weakref import WeakSet

import outcome
import trio

from tractor._aio_errors import AsyncioCancelled, AsyncioTaskExited, TrioTaskExited
from tractor._exceptions import RuntimeFailure
from tractor.log import get_logger
from tractor.to_asyncio._news import AsyncioNews, TrioNews
from tractor.trionics import is_cancellation

log: Final = get_logger("to_asyncio")

QUICK: Final = 3  # turns of both loops in which a task is made, runs, and is noticed
AGAIN: Final = 0.05  # seconds until a task that cleans up after a time-out is looked at

type TrioEnd = type[TrioTaskExited] | type[TrioCancelled]


class TrioCancelled(asyncio.CancelledError):
    """The trio side was cancelled, or failed.

    Raised in the asyncio task by what it does with its channel. It is a cancellation
    for asyncio as well, so `except Exception` does not stop it.
    """


class LinkedTask:
    """The task, the block, and what each knows of the other.

    Attributes:
        size: Most items that wait in each direction.
        to_aio: Items on their way.
        to_trio: Likewise.
        aio_news: Told when anything changes that may end a wait there.
        trio_news: Likewise.
        scope: Of the block.
        first: What the task gave to `started_nowait`.
        started: Whether it did.
        trio_end: How the block ended, once it has.
        trio_closed: Whether its side of the channel is.
        aio_closed: Likewise.
        outcome: Of the task, once it has ended.
        failure: What the block has to raise for the task.
        refusals: What the block was told when it sent in vain.
    """

    def __init__(self, size: int = 0, *, strict: bool = False) -> None:
        self.size = size
        self.to_aio: deque[Any] = deque()
        self.to_trio: deque[Any] = deque()
        self.aio_news = AsyncioNews()
        self.trio_news = TrioNews()
        self.scope = trio.CancelScope()
        self.first: Any = None
        self.started = False
        self.trio_end: TrioEnd | None = None
        self.trio_closed = False
        self.aio_closed = False
        self.outcome: outcome.Outcome[Any] | None = None
        self.failure: BaseException | None = None
        self.refusals: WeakSet[AsyncioTaskExited] = WeakSet()
        self._strict = strict
        self._cancel_asked = False
        self._told: WeakSet[asyncio.Task[Any]] = WeakSet()
        self._task: asyncio.Task[outcome.Outcome[Any]] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    # -- the asyncio task --------------------------------------------------------------

    def start(self, call: Callable[[], Awaitable[Any]], name: str) -> None:
        """Start the task.

        Raises:
            RuntimeFailure: There is no asyncio here.
        """
        # Not by the loop's factory: an eager one would run it inside of trio's task.
        self._loop = loop = running_loop()
        self._task = asyncio.Task(_capture(call), loop=loop, name=name)
        self._task.add_done_callback(self._note_end)

    @property
    def name(self) -> str:
        """Of the task."""
        assert self._task is not None, "it was not started"
        return self._task.get_name()

    def cancel_task(self, msg: str) -> None:
        """Cancel the task in asyncio's way, which then is no failure."""
        assert self._task is not None, "it was not started"
        self._cancel_asked = True
        self._task.cancel(msg or None)

    def cancel_block(self, msg: str) -> None:
        """Cancel the block, which raises that then."""
        if self.trio_end is None:
            text = f"asyncio task {self.name!r} cancelled the trio side"
            self.failure = AsyncioCancelled(f"{text}: {msg}" if msg else text)
            self.scope.cancel(reason=text)

    def check_thread(self) -> None:
        """Refuse what another thread asks for: nothing here has a lock.

        Raises:
            RuntimeFailure: The caller is not in the thread of both loops.
        """
        if asyncio._get_running_loop() is not self._loop:
            msg = (
                f"the channel of asyncio task {self.name!r} belongs to another thread; "
                "from here use loop.call_soon_threadsafe(chan.send_nowait, item)"
            )
            raise RuntimeFailure(msg)

    async def wait_in_asyncio(self) -> None:
        """Wait in a task of asyncio for news of trio."""
        try:
            await self.aio_news.wait()
        except asyncio.CancelledError:
            # That the block has ended came in the same moment, and is not heard.
            if self.trio_end is not None and asyncio.current_task() is self._task:
                running_loop().call_soon(self._tell_again)
            raise

    def _tell_again(self) -> None:
        """Cancel a task that lives on: what it got was a time-out of its own."""
        assert self._task is not None, "it was not started"
        if self._task.done() or self._task in self._told:
            return
        if self._task.cancelling():  # asyncio tells nobody when that is taken back
            running_loop().call_later(AGAIN, self._tell_again)
        else:
            self._task.cancel("the trio side has ended")

    def _note_end(self, task: asyncio.Task[outcome.Outcome[Any]]) -> None:
        if task.cancelled():  # before its first step
            self.outcome = outcome.Error(asyncio.CancelledError())
        elif (error := task.exception()) is not None:
            self.outcome = outcome.Error(error)
        else:
            self.outcome = task.result()
        self.failure = self._judge(self.outcome) or self.failure
        if self.failure is not None and self.trio_end is None:
            self.scope.cancel(reason=f"asyncio task {self.name!r} failed")
        self.trio_news.tell()

    def _judge(self, how: outcome.Outcome[Any]) -> BaseException | None:
        """What the block has to raise for it."""
        asked = self._cancel_asked or self.trio_closed or self.trio_end is not None
        if isinstance(how, outcome.Value):
            if asked or not self._strict:
                return None
            return AsyncioTaskExited(f"asyncio task {self.name!r} has returned")
        assert isinstance(how, outcome.Error)
        error = how.error
        if asked and _is_end(error):
            # Of an orderly end it may be told, but not of a cancellation.
            orderly = self.trio_end is not TrioCancelled and not self._cancel_asked
            tell = self._strict and orderly and isinstance(error, TrioTaskExited)
            return error if tell else None
        if isinstance(error, asyncio.CancelledError):
            text = f"asyncio task {self.name!r} was cancelled"
            cancelled = AsyncioCancelled(": ".join([text, *map(str, error.args)]))
            cancelled.__cause__ = error
            return cancelled
        return error

    # -- the block ---------------------------------------------------------------------

    async def let_run(self) -> None:
        """Give a task that never waits the time to end.

        While trio waits, its thread has to notice first that there is news for it.
        """
        for _ in range(QUICK):
            if self.outcome is None:
                await trio.lowlevel.checkpoint()

    async def wait_ended(self) -> None:
        """Wait until the task has."""
        while self.outcome is None:
            await self.trio_news.wait()

    def result(self) -> Any:
        """What the task has returned; raises what it has failed with.

        Nothing where it let through that this side is closed.
        """
        assert self.outcome is not None, "it still runs"
        if isinstance(self.outcome, outcome.Value):
            return self.outcome.value
        if self.failure is not None:
            raise self.failure
        assert isinstance(self.outcome, outcome.Error)
        if _is_end(self.outcome.error, TrioTaskExited):
            return None
        msg = f"asyncio task {self.name!r} was cancelled"
        raise AsyncioCancelled(msg)

    def refused(self, message: str) -> AsyncioTaskExited:
        """An error for a block that sends in vain, known again where it leaves that."""
        error = AsyncioTaskExited(message)
        self.refusals.add(error)
        return error

    def without_refusals(self, error: BaseException | None) -> BaseException | None:
        """What else the block failed with, its nurseries included."""
        if isinstance(error, BaseExceptionGroup):
            return error.split(self._is_refusal)[1]
        return None if error is not None and self._is_refusal(error) else error

    def _is_refusal(self, error: BaseException) -> bool:
        return isinstance(error, AsyncioTaskExited) and error in self.refusals

    async def end_block(self, error: BaseException | None) -> BaseException | None:
        """Tell the task how the block ended, and wait until it has, too.

        Returns:
            What the block raises.

        Cancellation: the task is cancelled, too. From then on, shielded: only Ctrl-C
        ends the wait, and an actor that insists on stopping; then the task is left
        alone with its cancellation.
        """
        cut_short = None
        if self.outcome is None and error is None and not self.scope.cancel_called:
            try:
                await trio.lowlevel.checkpoint_if_cancelled()
                self._tell_task(TrioTaskExited)
                await self.wait_ended()
            except BaseException as exc:  # noqa: BLE001 (raised once the task has ended)
                error = exc
        if self.outcome is None:
            self._tell_task(TrioCancelled)
            try:
                with trio.CancelScope(shield=True):
                    await self.wait_ended()
            except BaseException as exc:  # noqa: BLE001 (it is what the block raises)
                log.warning("asyncio task %s was left behind by its block", self.name)
                self.cancel_task("its block does not wait any more")
                cut_short = exc
        return _merge(error, self.failure, cut_short)

    def _tell_task(self, end: TrioEnd) -> None:
        assert self._task is not None, "it was not started"
        self.trio_end = end
        reached = self.aio_news.reach(self._task)
        self.aio_news.tell()
        if not reached:
            self._task.cancel("the trio side has ended")

    def end_error(self) -> TrioTaskExited | TrioCancelled:
        """What a task of asyncio is told when it talks to nobody any more.

        That the block was left is told once. Who goes on is cancelled.
        """
        if self.trio_end is None:
            return TrioTaskExited("the trio side has closed its channel")
        task = asyncio.current_task()
        knew = task in self._told
        if task is not None:
            self._told.add(task)
        if knew or self.trio_end is TrioCancelled:
            return TrioCancelled("the trio side was cancelled, or failed")
        return TrioTaskExited("the trio side has left its block")


def running_loop() -> asyncio.AbstractEventLoop:
    """The loop of asyncio under this task of trio.

    Raises:
        RuntimeFailure: There is none.
    """
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        msg = (
            "there is no asyncio here; start this actor with infect_asyncio=True, or "
            "run the root by tractor.to_asyncio.run_as_asyncio_guest()"
        )
        raise RuntimeFailure(msg) from None


async def _capture(call: Callable[[], Awaitable[Any]]) -> outcome.Outcome[Any]:
    # A KeyboardInterrupt or SystemExit that left a task would end the whole loop.
    try:
        return outcome.Value(await call())
    except BaseException as exc:  # noqa: BLE001 (the block raises it)
        return outcome.Error(exc)


def _is_end(
    error: BaseException,
    *ends: type[BaseException],
) -> bool:
    """Whether it only says that the other side has ended, or that it was cancelled."""
    ends = ends or (TrioTaskExited, asyncio.CancelledError)
    if isinstance(error, BaseExceptionGroup):
        return error.split(ends)[1] is None
    return isinstance(error, ends)


def _merge(
    body: BaseException | None,
    failure: BaseException | None,
    cut_short: BaseException | None,
) -> BaseException | None:
    """One error bare, several as a group; a cancellation only if there is none."""
    if isinstance(body, BaseExceptionGroup):
        heard, rest = body.split(lambda error: error is failure)
        body = body if heard is None else rest
    elif body is failure:
        body = None
    errors = [each for each in (body, failure, cut_short) if each is not None]
    failures = [error for error in errors if not is_cancellation(error)]
    # Each Ctrl-C is the same news.
    interrupts = [each for each in failures if isinstance(each, KeyboardInterrupt)]
    failures = [each for each in failures if each not in interrupts[1:]]
    if len(failures) > 1:
        return BaseExceptionGroup("a block and its asyncio task failed", failures)
    return next(iter(failures or errors), None)

"""Pools for async programs."""

import threading
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any, Self

import trio

from tractor._root import open_nursery
from tractor._types import Graces
from tractor.futures._crew import Crew
from tractor.futures._engine import Engine
from tractor.futures._executor import Executor, make_engine
from tractor.futures._future import Future
from tractor.futures._placement import DecisionTrace, RuntimeConfig, decide
from tractor.futures._watch import Watch, Watching, seconds_of
from tractor.trionics import collapse_eg


class Pool(Watching):
    """Runs calls in workers; got from `open_pool`, and closed with its block.

    Attributes:
        decision: Where its tasks run, and why.
    """

    def __init__(self, engine: Engine, decision: DecisionTrace) -> None:
        self.decision = decision
        self._engine = engine
        self._watch = Watch(engine)
        self._name: str | None = None
        self._limit: float | None = None

    async def run[**P](
        self, fn: Callable[P, Any], /, *args: P.args, **kwargs: P.kwargs
    ) -> Any:
        """Run ``fn(*args, **kwargs)`` in a worker and return its result.

        Args:
            fn: An async function is awaited there.
            *args: Passed on.
            **kwargs: Passed on.

        Raises:
            BaseException: What the function raised, where its class is known here;
                else `RemoteActorError`.
            WorkerDied: Its worker did.
            TaskTimeout: It ran for longer than its limit.

        Cancellation: the task is ended, wherever it is.
        """
        future = self.submit(fn, *args, **kwargs)
        try:
            return await future
        finally:
            if not future.done():
                future.cancel()

    def submit[**P, T](
        self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> Future[T]:
        """Run ``fn(*args, **kwargs)`` in a worker; returns at once.

        Raises:
            RuntimeError: The pool is closed.
            BrokenPool: No worker can be had.
        """
        return self._engine.submit(fn, args, kwargs, self._name, self._limit)

    async def map[T](
        self, fn: Callable[..., T], /, *iterables: Iterable[Any]
    ) -> AsyncIterator[T]:
        """Results of `fn` for the items of all iterables together, in order.

        All of them are submitted at once; what is left when the iteration ends early
        is cancelled.
        """
        items = zip(*iterables, strict=False)
        futures = [self.submit(fn, *item) for item in items]
        futures.reverse()
        try:
            while futures:
                result = await futures[-1]
                futures.pop()
                yield result
                del result
        finally:
            for future in futures:
                future.cancel()

    def options(
        self, *, name: str | None = None, timeout: float | str | None = None
    ) -> Self:
        """The same pool for tasks with a name, or with a limit of time.

        Args:
            name: Of the tasks.
            timeout: As for `Executor.options`.
        """
        other = type(self)(self._engine, self.decision)
        other._name = name
        other._limit = None if timeout is None else seconds_of(timeout)
        return other

    def executor(self) -> Executor:
        """A `concurrent.futures.Executor` for other threads, or for dask.

        Its `shutdown` ends its own use, and not the pool.
        """
        return Executor.over(self._engine, self.decision)

    async def wait_all(self, *, raise_on_error: bool = False) -> None:
        """Wait until every task so far has ended.

        Raises:
            TasksFailed: Some failed since `clear_failed`, with `raise_on_error`.
        """
        await trio.lowlevel.checkpoint()
        for future in self._watch.unsettled():
            if not future.done():
                await _ended(future)
        if raise_on_error:
            self._watch.raise_failed()

    def is_responsive(self, timeout: float = 60.0) -> bool:
        """Whether it takes tasks, and not all workers are stuck for so many seconds."""
        return self._watch.is_responsive(timeout)

    def workers(self) -> list[str]:
        """Names of the workers that there are now."""
        return self._engine.workers()

    def __repr__(self) -> str:
        return f"<Pool {self.decision.name!r} of {self.decision.resolved}>"


@asynccontextmanager
async def open_pool(  # noqa: PLR0913 (keyword options of the public interface)
    *,
    flavor: str = "auto",
    workers: int | None = None,
    name: str | None = None,
    config: RuntimeConfig | None = None,
    initializer: Callable[..., object] | None = None,
    initargs: tuple[Any, ...] = (),
    serializer: str | None = None,
) -> AsyncIterator[Pool]:
    """A pool of workers around the block.

    Leaving the block normally waits for its tasks; leaving it by an error cancels
    them. Afterwards none of its workers is left.

    Args:
        flavor: ``processes``, ``interpreters``, ``threads``, ``none`` (the caller
            itself), or ``auto``.
        workers: How many there are at most, ≥ 1; by default what the machine has.
        name: Of the pool, and the beginning of its workers' names.
        config: Instead of what the environment says.
        initializer: Called first in each worker.
        initargs: Its arguments.
        serializer: Name of a module with `dumps` and `loads`, ``pickle`` say, for
            what msgpack cannot carry. Use it for what you trust.

    Raises:
        ValueError: One of them is out of range; an environment variable, too.

    Cancellation: every task is cancelled, and every worker that is an actor stopped
    within the bound of the ladder.
    """
    decision = decide(flavor=flavor, workers=workers, name=name, config=config)
    engine = make_engine(decision, initializer, initargs, serializer)
    pool = Pool(engine, decision)
    if not isinstance(engine, Crew):
        engine.loop_thread = threading.get_ident()
        try:
            yield pool
            engine.close()
            await pool.wait_all()
        finally:
            await _end(engine)
        return
    async with (
        open_nursery(),
        collapse_eg(add_notes=False),
        trio.open_nursery() as nursery,
    ):
        await nursery.start(engine.run, name=f"pool {decision.name}")
        try:
            yield pool
        except BaseException:
            nursery.cancel_scope.cancel()
            raise
        engine.close()


async def _end(engine: Engine) -> None:
    """Let nothing of it go on, and wait for that within the bound of the ladder."""
    engine.abort()
    with trio.move_on_after(Graces().bound, shield=True):
        await trio.to_thread.run_sync(engine.wait_ended, abandon_on_cancel=True)


async def _ended(future: Future[Any]) -> None:
    """Wait until it has an outcome, whichever."""
    ended = trio.Event()
    token = trio.lowlevel.current_trio_token()

    def tell(_: object) -> None:
        try:
            token.run_sync_soon(ended.set)
        except trio.RunFinishedError:
            return  # who waited is gone

    future.add_done_callback(tell)
    await ended.wait()

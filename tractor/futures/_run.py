"""`Run`: a scope with an executor, for programs with a loop and for those without."""

from collections.abc import Callable
from concurrent import futures as cf
from contextvars import ContextVar, Token
from functools import partial
from types import TracebackType
from typing import Any, Final

import trio

from tractor.futures._errors import NestedWait
from tractor.futures._executor import Executor
from tractor.futures._placement import (
    DecisionTrace,
    RuntimeConfig,
    announce,
    check_flavor,
    check_workers,
)

type Trace = bool | Callable[[DecisionTrace], object] | None

_enclosing: Final[ContextVar["Run | None"]] = ContextVar("tractor_run", default=None)


class Run:
    """A scope that has an executor, and ends it.

    A scope inside another one uses its executor where it asks for the same flavor, or
    for ``auto``, and for nothing else. What the block raises is not changed.

    Args:
        flavor: As for `Executor`.
        executor: Use this one, and do not end it.
        max_workers: As for `Executor`.
        name: As for `Executor`.
        config: As for `Executor`.
        trace: Called with the decision of each entry; or true, for `trace` alone.

    Raises:
        ValueError: One of them is out of range.
    """

    def __init__(
        self,
        *,
        flavor: str = "auto",
        executor: cf.Executor | None = None,
        max_workers: int | None = None,
        name: str | None = None,
        config: RuntimeConfig | None = None,
        trace: Trace = None,
    ) -> None:
        check_flavor(flavor)
        check_workers(max_workers)
        self._flavor = flavor
        self._given = executor
        self._options: dict[str, Any] = {
            "max_workers": max_workers,
            "name": name,
            "config": config,
        }
        self._tell = trace
        self._owned: Executor | None = None
        self._entered: Token[Run | None] | None = None
        self._executor: cf.Executor | None = None
        self.trace: DecisionTrace | None = None

    def __enter__(self) -> cf.Executor:
        if self._entered is not None:
            msg = "this Run is entered already; make another one"
            raise RuntimeError(msg)
        executor = self._find()
        if callable(self._tell) and self.trace is not None:
            try:
                self._tell(self.trace)
            except BaseException:
                self._leave()
                raise
        self._executor = executor
        self._entered = _enclosing.set(self)
        return executor

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._reset()
        self._leave()

    async def __aenter__(self) -> cf.Executor:
        return self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Wait for what runs, without holding up the loop.

        After an error, and where the wait is cancelled, all tasks are; then it takes
        as long as it takes to stop them.
        """
        self._reset()
        owned, self._owned = self._owned, None
        if owned is None:
            return
        owned.shutdown(wait=False)
        if error is not None:
            owned.abort()
        # In a run of trio are tasks of asyncio as well, where that hosts it.
        if trio.lowlevel.in_trio_task():
            await _end_under_trio(owned)
        else:
            await _end_under_asyncio(owned)

    def _find(self) -> cf.Executor:
        if self._given is not None:
            self.trace = DecisionTrace(
                requested=self._flavor,
                resolved="provided",
                reason="the executor was given",
                workers=getattr(self._given, "_max_workers", 0),
                name=self._options["name"] or type(self._given).__name__,
            )
            announce(self.trace)
            return self._given
        outer = _enclosing.get()
        plain = all(value is None for value in self._options.values())
        if outer is not None and plain and (found := outer.shared(self._flavor)):
            self.trace = found.decision
            return found
        self._owned = Executor(flavor=self._flavor, **self._options)
        self.trace = self._owned.decision
        return self._owned

    def shared(self, flavor: str) -> Executor | None:
        """The executor that a scope inside this one may use, if any."""
        found = self._executor
        if not isinstance(found, Executor) or self._given is not None:
            return None
        return found if flavor in ("auto", self._flavor, found.flavor) else None

    def _reset(self) -> None:
        assert self._entered is not None
        try:
            _enclosing.reset(self._entered)
        except ValueError:  # left in another context than entered
            _enclosing.set(None)
        self._entered = self._executor = None

    def _leave(self) -> None:
        owned, self._owned = self._owned, None
        if owned is None:
            return
        try:
            owned.shutdown()
        except NestedWait:
            owned.shutdown(wait=False)
            raise


async def _end_under_trio(owned: Executor) -> None:
    wait = partial(trio.to_thread.run_sync, owned.shutdown, abandon_on_cancel=True)
    try:
        await wait()
    except trio.Cancelled:
        owned.abort()
        with trio.CancelScope(shield=True):
            await wait()
        raise


async def _end_under_asyncio(owned: Executor) -> None:
    import asyncio

    ending = asyncio.ensure_future(asyncio.to_thread(owned.shutdown))
    try:
        await asyncio.shield(ending)
    except asyncio.CancelledError:
        owned.abort()
        await ending
        raise

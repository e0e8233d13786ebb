"""`concurrent.futures.Executor` over a pool."""

import _interpreters
import os
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent import futures as cf
from typing import Any, Final, Self

from tractor.futures import _host
from tractor.futures._crew import Crew
from tractor.futures._engine import CLOSED, Engine, Setup
from tractor.futures._errors import BrokenPool, NestedWait
from tractor.futures._future import Future
from tractor.futures._placement import DecisionTrace, RuntimeConfig, decide
from tractor.futures._threads import Inline, Threads
from tractor.futures._watch import Watch, Watching, seconds_of


class Executor(Watching, cf.Executor):
    """Runs calls in a pool of actors, threads, or nowhere else.

    As the executors of `concurrent.futures`: `submit`, `map`, `shutdown`, ``with``.
    Workers are started when there is something for them to do. Beside that it can be
    watched, and what runs can be cancelled.

    Args:
        max_workers: How many there are at most, ≥ 1; by default what the machine has.
        flavor: ``processes``, ``interpreters``, ``threads``, ``none`` (the caller
            itself), or ``auto``.
        name: Of the pool, and the beginning of its workers' names.
        initializer: Called first in each worker.
        initargs: Its arguments.
        serializer: Name of a module with `dumps` and `loads`, ``pickle`` say, for
            what msgpack cannot carry. Use it for what you trust.
        config: Instead of what the environment says.

    Raises:
        ValueError: One of them is out of range; an environment variable, too.
    """

    def __init__(  # noqa: PLR0913 (keyword options of the public interface)
        self,
        max_workers: int | None = None,
        *,
        flavor: str = "auto",
        name: str | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        serializer: str | None = None,
        config: RuntimeConfig | None = None,
    ) -> None:
        if initializer is not None and not callable(initializer):
            msg = "initializer must be a callable"
            raise TypeError(msg)
        self.decision = decide(
            flavor=flavor, workers=max_workers, name=name, config=config
        )
        engine = make_engine(self.decision, initializer, initargs, serializer)
        self._adopt(engine, own=True)

    @classmethod
    def over(cls, engine: Engine, decision: DecisionTrace) -> Self:
        """A face of a pool that somebody else owns and ends."""
        made = cls.__new__(cls)
        made.decision = decision
        made._adopt(engine, own=False)
        return made

    def _adopt(self, engine: Engine, *, own: bool) -> None:
        self._engine = engine
        self._own = own
        self._closed = False
        self._started = not (own and isinstance(engine, Crew))
        self._start_lock = threading.Lock()
        self._watch = Watch(engine)
        self._finalizer = None
        if own:
            self._finalizer = weakref.finalize(self, _close, engine)
            self._finalizer.atexit = False
            _at_end.add(engine)

    # -- as the standard library has them ----------------------------------------------

    def submit[**P, T](
        self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> Future[T]:
        """Run ``fn(*args, **kwargs)`` in a worker; returns at once.

        Args:
            fn: An async function is awaited there.
            *args: Passed on.
            **kwargs: Passed on.

        Raises:
            RuntimeError: It was shut down.
            BrokenPool: No worker can be had.
        """
        return self.send(fn, args, kwargs, None, None)

    def send(
        self,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        name: str | None,
        limit: float | None,
    ) -> Future[Any]:
        """As `submit`, with a name and a limit (see `options`)."""
        if self._closed:
            raise RuntimeError(CLOSED)
        if not self._started:
            self._start()
        return self._engine.submit(fn, args, kwargs, name, limit)

    def options(
        self, *, name: str | None = None, timeout: float | str | None = None
    ) -> "Options":
        """The same executor for tasks with a name, or with a limit of time.

        Args:
            name: Of the tasks.
            timeout: Seconds that each may run, > 0, or a text such as ``"30s"``,
                ``"5m"``; then it is stopped, and fails with `TaskTimeout`.
        """
        return Options(self, name, None if timeout is None else seconds_of(timeout))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more tasks, and end when those that there are have ended.

        Args:
            wait: Whether to wait for that; then nothing of it is left.
            cancel_futures: Whether to cancel those that no worker has yet.

        Raises:
            NestedWait: This is one of its workers, or the thread of its loop.
        """
        why = self._engine.why_not_wait() if wait and self._own else ""
        if why and not self._engine.ended.is_set():
            raise NestedWait(why)
        self._closed = True
        if not self._own:
            return
        self._engine.close(cancel_pending=cancel_futures)
        if not self._started:
            self._engine.ended.set()
        _at_end.note(self._engine)
        if wait:
            self._engine.wait_ended()
            _host.join()
            _at_end.note(self._engine)

    def abort(self) -> None:
        """Take no more tasks, and cancel all that there are; returns at once.

        What runs is stopped as by `Future.cancel`; `shutdown` waits for the end.
        """
        self._closed = True
        if self._own:
            self._engine.abort()

    def __repr__(self) -> str:
        state = "closed" if self._closed else "open"
        return f"<Executor {self._engine.setup.name!r} of {self.flavor}, {state}>"

    # -- watching ----------------------------------------------------------------------

    @property
    def flavor(self) -> str:
        """What its workers are."""
        return self.decision.resolved

    @property
    def max_workers(self) -> int:
        """How many there are at most."""
        return self._engine.setup.workers

    @property
    def _max_workers(self) -> int:  # what dask looks at
        return self._engine.setup.workers

    def workers(self) -> list[str]:
        """Names of those that there are now."""
        return self._engine.workers()

    def wait_all(self, *, raise_on_error: bool = False) -> None:
        """Wait until every task so far has ended.

        Raises:
            TasksFailed: Some failed since `clear_failed`, with `raise_on_error`.
        """
        self._watch.wait_all(raise_on_error=raise_on_error)

    def is_responsive(self, timeout: float = 60.0) -> bool:
        """Whether it takes tasks, and not all workers are stuck for so many seconds."""
        return not self._closed and self._watch.is_responsive(timeout)

    def _start(self) -> None:
        with self._start_lock:
            if self._started:
                return
            self._started = True
        # Without the lock, since it may wait for a loop in which somebody else submits.
        # What is submitted in the meantime is done when the pool runs.
        crew = self._engine
        assert isinstance(crew, Crew)
        try:
            _host.start(crew)
        except BaseException as exc:
            self._started = False
            error = BrokenPool(f"pool {crew.setup.name!r} has no loop: {exc}")
            error.__cause__ = exc
            crew.fail_pending(error)
            if self._closed:
                crew.ended.set()
            raise


class Options(cf.Executor):
    """An executor whose tasks have a name or a limit; see `Executor.options`.

    It is one for whoever takes one. To shut it down shuts down the other one.
    """

    def __init__(
        self, executor: Executor, name: str | None, limit: float | None
    ) -> None:
        self._executor = executor
        self._name = name
        self._limit = limit
        self._max_workers = executor.max_workers  # what dask looks at

    def submit[**P, T](
        self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> Future[T]:
        """As `Executor.submit`."""
        return self._executor.send(fn, args, kwargs, self._name, self._limit)

    def map(self, *args: Any, **kwargs: Any) -> Iterator[Any]:
        """As `Executor.map`."""
        return _kept(self, super().map(*args, **kwargs))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """As `Executor.shutdown`."""
        self._executor.shutdown(wait, cancel_futures=cancel_futures)


def _kept[T](owner: object, results: Iterator[T]) -> Iterator[T]:
    """The results; a buffered `map` submits for as long as its executor is there."""
    yield from results
    del owner


def make_engine(
    decision: DecisionTrace,
    initializer: Callable[..., object] | None,
    initargs: tuple[Any, ...],
    serializer: str | None,
) -> Engine:
    """The engine that a decision is for."""
    kind: type[Engine] = {"threads": Threads, "none": Inline}.get(
        decision.resolved, Crew
    )
    return kind(
        Setup(
            name=decision.name,
            workers=decision.workers,
            serializer=serializer,
            initializer=initializer,
            initargs=initargs,
            start_method=decision.start_method,
        )
    )


# -- The end of the program ------------------------------------------------------------


class _AtEnd:
    """Pools that have to finish before the interpreter joins its threads."""

    def __init__(self) -> None:
        self._engines: weakref.WeakSet[Engine] = weakref.WeakSet()
        self._closing: set[Engine] = set()  # nobody else may hold them any more
        self._registered = False
        # For good, so not in sub-interpreters, which cannot fork and come and go.
        if _interpreters.get_current()[0] == _interpreters.get_main()[0]:
            os.register_at_fork(after_in_child=self._forget)

    def add(self, engine: Engine) -> None:
        """See to it."""
        self._engines.add(engine)
        if not self._registered:
            register: Any = threading._register_atexit  # type: ignore[attr-defined]
            register(self.finish)
            self._registered = True

    def note(self, engine: Engine) -> None:
        """It was told to end."""
        self._closing.add(engine)  # any thread may, also where memory is collected
        for one in list(self._closing):
            if one.ended.is_set():
                self._closing.discard(one)

    def finish(self) -> None:
        """Let each do what it has, and end."""
        for engine in {*self._engines, *self._closing}:
            engine.close()
        for engine in {*self._engines, *self._closing}:
            if engine.placed or engine.pending or engine.workers():
                engine.wait_ended()
        _host.join()

    def _forget(self) -> None:
        """This is the child of a fork, where there are no threads but this one."""
        for engine in {*self._engines, *self._closing}:
            engine.disown()
        self._engines.clear()
        self._closing.clear()
        _host.forget()
        _default.lock = threading.Lock()
        _default.executor = None


_at_end: Final = _AtEnd()


def _close(engine: Engine) -> None:
    engine.close()
    _at_end.note(engine)


class _Default:
    """The one mutable thing that belongs to the interpreter."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.executor: Executor | None = None


_default: Final = _Default()


def default_executor() -> Executor:
    """The executor of the interpreter, made when it is first asked for.

    It ends with the program.
    """
    with _default.lock:
        if _default.executor is None:
            _default.executor = Executor(name="default")
        return _default.executor


def set_default_executor(executor: Executor | None) -> None:
    """Use this one from now on; the one before is not shut down."""
    with _default.lock:
        _default.executor = executor


def peek_default_executor() -> Executor | None:
    """The one that there is; makes none."""
    return _default.executor

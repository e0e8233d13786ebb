"""Futures made of futures; none of this needs a pool."""

import threading
from collections.abc import Callable
from concurrent import futures as cf
from functools import partial
from typing import Any

from tractor.futures._future import Future, take_turns


def ready_future[T](value: T) -> Future[T]:
    """A future that has its result already."""
    made: Future[T] = Future("ready")
    _settle(made, lambda: value)
    return made


def shared_future[T](future: Future[T]) -> Future[T]:
    """`future` itself: anybody may read it, and as often as they like."""
    return future.share()


def then[T, R](future: Future[T], fn: Callable[[Future[T]], R]) -> Future[R]:
    """See `Future.then`."""
    made: Future[R] = Future(f"then {_name_of(fn)}")

    def step(source: Future[T]) -> None:
        if not _begin(made):
            return
        error = _error_of(source)
        _finish(made, partial(fn, source), error)

    future.add_done_callback(lambda _: take_turns(partial(step, future)))
    return made


def when_all(*inputs: cf.Future[Any]) -> Future[tuple[Any, ...]]:
    """A future of all results, in order; the first error is its error.

    The others go on, whatever one of them ends with.
    """
    made: Future[tuple[Any, ...]] = Future("when_all")
    if not inputs:
        _settle(made, tuple)
        return made
    lock = threading.Lock()
    left = len(inputs)

    def step(source: cf.Future[Any]) -> None:
        nonlocal left
        error = _error_of(source)
        with lock:
            left -= 1
            last = left == 0
        if error is not None:
            take_turns(partial(_settle, made, tuple, error))
        elif last:
            take_turns(
                partial(_settle, made, lambda: tuple(f.result(0) for f in inputs))
            )

    for source in inputs:
        source.add_done_callback(step)
    return made


def when_any(*inputs: cf.Future[Any]) -> "Future[tuple[int, list[cf.Future[Any]]]]":
    """A future of the place of the first that ended, and the list of all.

    Raises:
        ValueError: There is none to wait for.
    """
    if not inputs:
        msg = "when_any() needs at least one future; of none, none will be first"
        raise ValueError(msg)
    made: Future[tuple[int, list[cf.Future[Any]]]] = Future("when_any")

    def step(place: int, _: cf.Future[Any]) -> None:
        take_turns(partial(_settle, made, lambda: (place, list(inputs))))

    for place, source in enumerate(inputs):
        source.add_done_callback(partial(step, place))
    return made


def dataflow[R](
    fn: Callable[..., R], /, *inputs: cf.Future[Any], **kwargs: Any
) -> Future[R]:
    """A future of ``fn(*results, **kwargs)``, called once all inputs have a result.

    As `Future.then`: in the thread that has the news, and not after an error.
    """
    made = then(when_all(*inputs), lambda every: fn(*every.result(0), **kwargs))
    made.name = f"dataflow {_name_of(fn)}"
    return made


async def await_all(*inputs: Future[Any]) -> tuple[Any, ...]:
    """All results, in order; raises the first error. Under trio and asyncio."""
    return await when_all(*inputs)


async def await_any(*inputs: Future[Any]) -> tuple[int, list[cf.Future[Any]]]:
    """The place of the first that ended, and the list of all. Likewise."""
    return await when_any(*inputs)


# -- Inside ----------------------------------------------------------------------------


def _name_of(fn: Callable[..., Any]) -> str:
    return getattr(fn, "__qualname__", None) or repr(fn)


def _error_of(future: cf.Future[Any]) -> BaseException | None:
    try:
        return future.exception(0)
    except cf.CancelledError as error:
        return error


def _begin(future: Future[Any]) -> bool:
    """Whether nobody has cancelled it; from now on nobody can."""
    with future._condition:
        if future.running() or future.done():
            return False  # it was cancelled, or another input was faster
        return cf.Future.set_running_or_notify_cancel(future)


def _finish(
    future: Future[Any], make: Callable[[], Any], error: BaseException | None
) -> None:
    future.advance("placed")
    if error is None:
        try:
            result = make()
        except BaseException as exc:  # noqa: BLE001 (it is the future's)
            error = exc
        else:
            future.advance("done")
            future.fulfil(result)
            return
    future.advance("failed")
    future.fail(error)


def _settle(
    future: Future[Any],
    make: Callable[[], Any],
    error: BaseException | None = None,
) -> None:
    """Give it what `make` returns, or `error`, unless it has an outcome."""
    if _begin(future):
        _finish(future, make, error)

"""Time bounds for tests that say what the actors were doing when they were over.

The dump comes first and the cancellation after it: what is cancelled has left the place
where it was stuck. A thread does both, so the dump is made when the loop is stuck, too.
"""

import inspect
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import wraps
from typing import Any, Final, Self, overload

import trio

from tractor._root import open_root_actor
from tractor.devx import dump_to_text
from tractor.devx.debug import clocks_stood_still

PATIENCE: Final = 10.0  # seconds to wait for a dump under way when the block ends
TEST_TIMEOUT: Final = 30.0  # seconds; as for the peers of this decorator


class HangWatch:
    """A thread that makes a dump when the block takes too long, and then cancels.

    Args:
        what: Takes too long, in the dump.
        seconds: That are not too long; > 0.

    Attributes:
        dump: The text; empty while there is none.
        why: What its first line says.
    """

    def __init__(self, what: str, seconds: float) -> None:
        if not seconds > 0:
            msg = f"seconds must be > 0, not {seconds!r}"
            raise ValueError(msg)
        self.dump = ""
        self.why = f"{what} has taken {seconds:g} s"
        self._seconds = seconds
        self._over = threading.Event()
        self._cancels: list[Callable[[], object]] = []
        self._fired = False
        self._lock = threading.Lock()  # around the two above
        self._thread = threading.Thread(
            target=self._watch, name="tractor hang watch", daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._over.set()
        self._thread.join(PATIENCE)

    def cancel_then(self, scope: trio.CancelScope) -> None:
        """Cancel that scope of the current loop, once the dump is made, or at once."""
        token = trio.lowlevel.current_trio_token()
        with self._lock:
            if self._fired:
                scope.cancel()
            else:
                self._cancels.append(lambda: token.run_sync_soon(scope.cancel))

    def bound(self, fn: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        """`fn`, but one that takes too long is cancelled and raises `TooSlowError`.

        That is with trio; another event loop runs it as it is.
        """

        @wraps(fn)
        async def bounded(*args: Any, **kwargs: Any) -> Any:
            __tracebackhide__ = True
            if not trio.lowlevel.in_trio_run():
                return await fn(*args, **kwargs)
            with trio.CancelScope() as scope:
                self.cancel_then(scope)
                return await fn(*args, **kwargs)
            raise trio.TooSlowError(self.why)

        return bounded

    def _watch(self) -> None:
        began = time.monotonic()
        while not self._over.wait(min(self._seconds, threading.TIMEOUT_MAX)):
            if not clocks_stood_still(began):
                break  # else a person was in a debugger
            began = time.monotonic()
        else:
            return
        self.dump = dump_to_text(self.why)
        with self._lock:
            self._fired = True
        for cancel in self._cancels:
            with suppress(trio.RunFinishedError):
                cancel()


class BoundedBlock:
    """Fail the block after some seconds, with a dump of this actor and all below it.

    An async context manager. The dump is made, and then the block is cancelled.

    Args:
        seconds: Of the real clock; > 0.
        on_dump: Called with the text of the dump, in the task of the block; by default
            the text is a note of the error.

    Raises:
        trio.TooSlowError: The time was over, and the block was cancelled.
    """

    def __init__(
        self, seconds: float, *, on_dump: Callable[[str], object] | None = None
    ) -> None:
        self._watch = HangWatch("a block", seconds)
        self._scope = trio.CancelScope()
        self._on_dump = on_dump

    async def __aenter__(self) -> trio.CancelScope:
        self._watch.cancel_then(self._scope)
        self._scope.__enter__()
        self._watch.__enter__()
        return self._scope

    async def __aexit__(self, *exc_info: Any) -> bool:
        self._watch.__exit__()
        cancelled = self._scope.__exit__(*exc_info) or False
        if self._watch.dump and self._on_dump is not None:
            self._on_dump(self._watch.dump)
        if not (cancelled and self._watch.dump):
            return cancelled
        error = trio.TooSlowError(self._watch.why)
        if self._on_dump is None:
            error.add_note(self._watch.dump)
        raise error


@overload
def tractor_test[**P](
    fn: Callable[P, Awaitable[None]], *, timeout: float = ..., hide_tb: bool = ...
) -> Callable[P, None]: ...
@overload
def tractor_test[**P](
    fn: None = None, *, timeout: float = ..., hide_tb: bool = ...
) -> Callable[[Callable[P, Awaitable[None]]], Callable[P, None]]: ...
def tractor_test(
    fn: Callable[..., Awaitable[None]] | None = None,
    *,
    timeout: float = TEST_TIMEOUT,
    hide_tb: bool = True,
) -> Any:
    """Decorate an async test: it runs in the root of a tree, and for so long at most.

    It needs no plugin that runs async tests. If it has the fixtures `start_method`,
    `spawn_backend` or `loglevel` of our plugin, the tree is opened with them.

    Args:
        fn: The test.
        timeout: Seconds of the real clock, after which it fails with a dump; > 0.
        hide_tb: Whether pytest leaves our own frames out of its tracebacks.

    Raises:
        TypeError: `fn` is not an async function.
    """
    if fn is None:
        return lambda test: tractor_test(test, timeout=timeout, hide_tb=hide_tb)
    if not inspect.iscoroutinefunction(fn):
        msg = f"tractor_test is for async functions, not {fn!r}"
        raise TypeError(msg)

    @wraps(fn)
    def test(*args: Any, **kwargs: Any) -> None:
        __tracebackhide__ = hide_tb
        trio.run(_run_in_root, timeout, fn, args, kwargs, hide_tb)

    return test


async def _run_in_root(
    seconds: float,
    fn: Callable[..., Awaitable[None]],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    hide_tb: bool,
) -> None:
    __tracebackhide__ = hide_tb
    method = kwargs.get("start_method") or kwargs.get("spawn_backend")
    async with (
        open_root_actor(start_method=method, loglevel=kwargs.get("loglevel")),
        BoundedBlock(seconds),
    ):
        await fn(*args, **kwargs)

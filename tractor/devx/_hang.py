"""`dump_on_hang`: whatever takes too long tells where it is."""

import atexit
import inspect
import threading
import time
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, Final, Self

import trio

from tractor.devx._dump import Destination, dump_to_file
from tractor.devx.debug import clocks_stood_still

if TYPE_CHECKING:
    from pathlib import Path

PATIENCE: Final = 10.0  # seconds to wait for a dump under way when the block ends
PATIENCE_OF_LOOP: Final = 0.05  # the same; enough for a thread that has nothing to dump


class dump_on_hang:
    """Write a dump of the whole tree when a block, or a function, takes too long.

    A context manager (of ``with``, in async code as well) and a decorator of functions
    of both kinds. Nothing is cancelled, and after one dump there is no other. The dump
    is made by a thread, so it also comes when the event loop is stuck. It has the
    tasks, threads, calls and channels of this actor and of each actor below it that is
    ready to answer; see `enable_stack_on_sig`. Others are described from outside.

    A block that ends while its dump is being made waits for that, but not in a loop of
    trio, which goes on; `wait_dumped` in a thread waits there.

    Args:
        seconds: That are not too long; > 0.
        path: Of the file, to which the dump is added, and which only this user can read
            from then on; no symbolic link, and no pipe that nobody reads. By default a
            fresh one in the runtime directory. The log names it.
        all_threads: Whether other threads than the first one are shown, too.

    Attributes:
        dumped: The file, once it is written; `None` before, and when it cannot be.

    Raises:
        ValueError: `seconds` is out of range.
    """

    def __init__(
        self,
        seconds: float = 30.0,
        *,
        path: Destination = None,
        all_threads: bool = True,
    ) -> None:
        if not seconds > 0:
            msg = f"seconds must be > 0, not {seconds!r}"
            raise ValueError(msg)
        self.dumped: Path | None = None
        self._seconds = seconds
        self._path = path
        self._all_threads = all_threads
        self._what = "a block"
        self._written = threading.Event()
        # What watches each block that is not left; blocks may be within each other.
        self._watches: list[tuple[threading.Event, threading.Thread]] = []

    def __enter__(self) -> Self:
        if not self._watches:
            self.dumped = None
            self._written = threading.Event()  # a dump may still be made for the last
        over = threading.Event()
        thread = threading.Thread(
            target=self._watch,
            args=(over, self._written),
            name="tractor dump_on_hang",
            daemon=True,
        )
        thread.start()
        self._watches.append((over, thread))
        return self

    def __exit__(self, *exc_info: object) -> None:
        over, thread = self._watches.pop()
        over.set()
        thread.join(PATIENCE_OF_LOOP if trio.lowlevel.in_trio_run() else PATIENCE)

    def wait_dumped(self, timeout: float) -> bool:
        """Wait until the dump was made; whether that was within `timeout` seconds.

        It blocks the calling thread.
        """
        return self._written.wait(timeout)

    def __call__[F: Callable[..., Any]](self, fn: F) -> F:
        """Decorate a function: each call of it is a block of its own.

        Raises:
            TypeError: It is a generator, whose calls end before it does anything.
        """
        if inspect.isgeneratorfunction(fn) or inspect.isasyncgenfunction(fn):
            msg = f"dump_on_hang is for functions, not for a generator: {fn!r}"
            raise TypeError(msg)

        def block() -> dump_on_hang:
            options = {"path": self._path, "all_threads": self._all_threads}
            new = dump_on_hang(self._seconds, **options)  # type: ignore[arg-type]
            new._what = getattr(fn, "__qualname__", repr(fn))
            return new

        if inspect.iscoroutinefunction(fn):

            @wraps(fn)
            async def watched_async(*args: Any, **kwargs: Any) -> Any:
                with block():
                    return await fn(*args, **kwargs)

            return watched_async  # type: ignore[return-value]

        @wraps(fn)
        def watched(*args: Any, **kwargs: Any) -> Any:
            with block():
                return fn(*args, **kwargs)

        return watched  # type: ignore[return-value]

    def _watch(self, over: threading.Event, written: threading.Event) -> None:
        began = time.monotonic()
        while not over.wait(min(self._seconds, threading.TIMEOUT_MAX)):
            if not clocks_stood_still(began):
                break  # else a person was in a debugger
            began = time.monotonic()
        else:
            return
        thread = threading.current_thread()

        def finish() -> None:
            thread.join(PATIENCE)

        why = f"{self._what} has taken {self._seconds:g} s"
        atexit.register(finish)  # else the end of the program would cut it off
        try:
            dumped = dump_to_file(why, self._path, all_threads=self._all_threads)
            if written is self._written:
                self.dumped = dumped
        finally:
            atexit.unregister(finish)
            written.set()

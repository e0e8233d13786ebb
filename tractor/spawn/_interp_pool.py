"""Sub-interpreters that are ready to host an actor.

To make one takes hundreds of milliseconds, nearly all of it for the imports. So those
whose actor has ended are used again, and whoever takes the last one has the next one
made in the background.

The idle ones belong to the process and not to the interpreter that made them: any
interpreter can run code in any other. The pool is therefore a pipe that holds their
numbers; whoever reads one has it alone, whichever thread or interpreter it is in.

`_interpreters` is what the public `concurrent.interpreters` (Python 3.14) is made of.
It alone can set the configuration, which has to allow the daemon threads that actors
may start.
"""

import _interpreters
import atexit
import os
import select
import struct
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Literal

from tractor.log import get_logger

log: Final = get_logger("spawn")

type Gil = Literal["own", "shared"]

COPIED: Final = ("msgspec._core",)
"""Extension modules of which each interpreter has a copy for itself."""

_GILS: Final[tuple[Gil, ...]] = ("own", "shared")
_ID: Final = struct.Struct("=q")
LULL: Final = (
    0.1  # seconds in which one that just ended comes back; then a spare is made
)
MAKER: Final = "tractor interpreter maker"  # name of its threads
_PACKAGE: Final = Path(__file__).parents[1]
_PATH: Final = _PACKAGE / "interp" / "_copies.py"
_NAME: Final = "tractor.interp._copies"

_BOOT: Final = """
import sys, types
sys.path[:] = {path!r}
module = sys.modules[{name!r}] = types.ModuleType({name!r})
exec(compile({source!r}, {file!r}, "exec"), vars(module))
module.PrivateCopies({copied!r}).install()
"""
_IMPORTS: Final = ("trio", "msgspec", "tractor")
_READY: Final = """
from tractor.spawn._interp_pool import join_pools
from tractor._child import make_host
join_pools({fds!r})
make_host()
"""


class Pool:
    """The idle interpreters of one kind, in the whole process.

    Args:
        gil: Whose GIL they use.
        fds: Of the pipe, in an interpreter that is not the first one here.

    Attributes:
        fds: Of the pipe.
    """

    def __init__(self, gil: Gil, fds: tuple[int, int] | None = None) -> None:
        self.gil = gil
        self.fds = fds if fds is not None else os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._changed = threading.Condition()
        self._making = 0  # so many are being made
        self._waiting = 0  # for one
        self._failures: list[OSError] = []  # for those that wait
        self._unfinished: set[int] = set()
        self._makers: set[threading.Thread] = set()
        self._closed = False
        if fds is None:
            atexit.register(self.close)

    def take(self) -> int | None:
        """The number of an idle one, if there is any."""
        try:
            return int(_ID.unpack(os.read(self.fds[0], _ID.size))[0])
        except BlockingIOError:
            return None

    def give(self, number: int) -> None:
        """Take back one that is as good as new; from any interpreter."""
        os.write(self.fds[1], _ID.pack(number))
        self.wake()

    def wait(self, wanted: Callable[[], bool]) -> int | None:
        """The number of one, which is made if there is none; blocks until then.

        Args:
            wanted: Whether to go on waiting; looked at again after each `wake`.

        Raises:
            OSError: It cannot be made; the text says why.
        """
        with self._changed:
            self._waiting += 1
            self._changed.notify_all()  # a maker of a spare need not be patient now
            try:
                while (number := self.take()) is None and wanted():
                    if self._failures:
                        raise self._failures.pop()
                    while self._making < self._waiting:
                        self._start_maker()
                    self._changed.wait()
            finally:
                self._waiting -= 1
                if not self._waiting:
                    self._failures.clear()
        return number

    def wake(self) -> None:
        """Let whoever waits look again."""
        with self._changed:
            self._changed.notify_all()

    def make_spare(self) -> None:
        """See to it that one is idle, or is being made."""
        if self._closed or self._has_idle():
            return
        with self._changed, suppress(OSError):
            if not self._making:
                self._start_maker()

    def spares(self) -> set[int]:
        """Numbers of those that are idle, or are being made to be so."""
        idle = list(iter(self.take, None))
        for number in idle:
            self.give(number)
        return self._unfinished.union(idle)

    def close(self) -> None:
        """Destroy the idle ones; called when the process ends."""
        self._closed = True
        self.wake()
        for maker in list(self._makers):
            maker.join()
        while (number := self.take()) is not None:
            discard(number)

    # -- making ------------------------------------------------------------------------

    def _start_maker(self) -> None:
        maker = threading.Thread(target=self._make_one, name=MAKER, daemon=True)
        try:
            maker.start()
        except RuntimeError as error:  # there can be no more threads
            raise OSError(str(error)) from error
        self._making += 1
        self._makers.add(maker)
        atexit.register(maker.join)  # an interpreter ends no thread

    def _make_one(self) -> None:
        failure: OSError | None = None
        try:
            if self._is_wanted():
                self.give(self._make())
        except Exception as error:
            log.debug("an interpreter could not be made", exc_info=True)
            failure = OSError(str(error))
        with self._changed:
            self._making -= 1
            self._makers.discard(threading.current_thread())
            if failure is not None and self._waiting:
                self._failures.append(failure)
            self._changed.notify_all()

    def _is_wanted(self) -> bool:
        """Whether somebody waits for one, or none comes back by itself in a moment."""
        with self._changed:
            over = self._changed.wait_for(
                lambda: self._waiting or self._closed or self._has_idle(), LULL
            )
            return not over or self._waiting > 0

    def _has_idle(self) -> bool:
        poll = select.poll()
        poll.register(self.fds[0], select.POLLIN)
        return bool(poll.poll(0))

    def _make(self) -> int:
        try:
            number: int = _interpreters.create(_config(self.gil), reqrefs=False)
        except _interpreters.InterpreterError as error:
            msg = f"an interpreter could not be made: {error}"
            raise OSError(msg) from error
        self._unfinished.add(number)
        try:
            self._prepare(number)
        finally:
            self._unfinished.discard(number)
        return number

    def _prepare(self, number: int) -> None:
        for source in self._boot_sources():
            failure = None if self._closed else _interpreters.exec(number, source)
            if self._closed or failure is not None:
                discard(number)
                why = failure.formatted if failure is not None else "the process ends"
                msg = f"an interpreter could not be prepared: {why}"
                raise OSError(msg)

    def _boot_sources(self) -> Iterator[str]:
        yield _BOOT.format(
            path=[path for path in sys.path if isinstance(path, str)],
            name=_NAME,
            source=_PATH.read_text(),
            file=str(_PATH),
            copied=COPIED,
        )
        for name in _IMPORTS:  # one by one, so that the process need not wait for all
            yield f"import {name}"
        yield _READY.format(fds={gil: pool.fds for gil, pool in _pools.items()})


def discard(number: int) -> None:
    """Destroy one in which nothing runs."""
    with suppress(Exception):  # it stays, then
        _interpreters.destroy(number)


# -- The pools of this interpreter -----------------------------------------------------

_pools: Final[dict[Gil, Pool]] = {}


def get_pool(gil: Gil) -> Pool:
    """The pool of that kind."""
    if not _pools:
        _pools.update({gil: Pool(gil) for gil in _GILS})
    return _pools[gil]


def pools() -> list[Pool]:
    """All that there are here, to be looked at."""
    return list(_pools.values())


def join_pools(fds: dict[Gil, tuple[int, int]]) -> None:
    """Use the pools that there are already in this process."""
    _pools.update({gil: Pool(gil, ends) for gil, ends in fds.items()})


def _config(gil: Gil) -> Any:
    if gil == "own":
        return _interpreters.new_config("isolated", allow_daemon_threads=True)
    return _interpreters.new_config("legacy")

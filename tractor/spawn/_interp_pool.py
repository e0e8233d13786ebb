"""Sub-interpreters that are ready to host an actor.

To make one takes hundreds of milliseconds, nearly all of it for the imports. So those
whose actor has ended are used again, and one more is kept ready.

The idle ones belong to the process and not to the interpreter that made them: any
interpreter can run code in any other. The pool is therefore a pipe that holds their
numbers; whoever reads one has it alone, whichever thread or interpreter it is in.

How many there are depends on what the program does, never on how fast it goes:

1. Who needs one and finds none has one made, unless one is being made already.
2. Who takes the last idle one has a *spare* made, unless one is being made already.
   That another one may come back in a moment does not matter: whether it does depends
   on the load of the machine, and so would the memory that the program needs.
3. Spares are made by the main interpreter alone, for itself and for all others. In
   another one the end of an actor would have to wait for it.
4. None is given back before the process ends. What a destroyed one had leaves megabytes
   behind, so a smaller pool would in time need more memory.

So besides those that had to be abandoned or interrupted there is at most one more than
there ever were actors at once, those that were being started or ended included.
"""

import atexit
import os
import select
import struct
import threading
from collections.abc import Callable
from contextlib import nullcontext, suppress
from typing import Final

from tractor.log import get_logger
from tractor.spawn._interp_boot import (
    GILS,
    Gil,
    boot_sources,
    create,
    discard,
    run_in,
    turns,
)

log: Final = get_logger("spawn")

MAKER: Final = "tractor interpreter maker"  # name of its threads
LULL: Final = 0.1  # seconds in which an actor that just started is left undisturbed

_ID: Final = struct.Struct("=q")


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
        self._makes_spares = fds is None
        self._changed = threading.Condition()
        self._making = 0  # so many are being made
        self._waiting = 0  # for one
        self._failures: list[OSError] = []  # for those that wait
        self._unfinished: set[int] = set()
        self._creating = threading.Lock()
        self._makers: set[threading.Thread] = set()
        self._closed = False
        if fds is None:
            atexit.register(self.close)

    def take(self) -> int | None:
        """The number of an idle one, if there is any."""
        number = self._pop()
        if number is not None:
            self.make_spare()
        return number

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
                while (number := self._pop()) is None and wanted():
                    if self._failures:
                        raise self._failures.pop()
                    while self._making < self._waiting:
                        self._start_maker()
                    self._changed.wait()
            finally:
                self._waiting -= 1
                if not self._waiting:
                    self._failures.clear()
        if number is not None:
            self.make_spare()
        return number

    def wake(self) -> None:
        """Let whoever waits look again."""
        with self._changed:
            self._changed.notify_all()

    def make_spare(self, lull: float = LULL) -> None:
        """See to it that one is idle, or is being made.

        Args:
            lull: Seconds before that begins, unless somebody waits for it.
        """
        with self._changed, suppress(OSError):
            enough = self._making or self._waiting or self._has_idle()
            if self._makes_spares and not self._closed and not enough:
                self._start_maker(lull)

    def spares(self) -> set[int]:
        """Numbers of those that are idle, are being made to be so, or destroyed."""
        with self._changed:  # or who looks for one would find none meanwhile
            idle = list(iter(self._pop, None))
            for number in idle:
                self.give(number)
        with self._creating:
            return self._unfinished.union(idle)

    def close(self) -> None:
        """Destroy the idle ones; called when the process ends."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for maker in list(self._makers):
            maker.join()
        while (number := self._pop()) is not None:
            discard(number)

    def destroy(self, number: int) -> None:
        """Destroy one in which nothing runs; returns at once."""
        with self._changed:
            self._unfinished.add(number)
            with suppress(OSError):
                self._start(self._destroy_one, number)
                return
        self._destroy_one(number)

    # -- making and destroying ---------------------------------------------------------

    def _start[T](self, work: Callable[[T], object], arg: T) -> None:
        maker = threading.Thread(target=work, args=(arg,), name=MAKER, daemon=True)
        try:
            maker.start()
        except RuntimeError as error:  # there can be no more threads
            raise OSError(str(error)) from error
        self._makers.add(maker)
        atexit.register(maker.join)  # an interpreter ends no thread

    def _destroy_one(self, number: int) -> None:
        discard(number)
        with self._changed:
            self._unfinished.discard(number)
            self._makers.discard(threading.current_thread())
            self._changed.notify_all()

    def _start_maker(self, lull: float = 0) -> None:
        self._start(self._make_one, lull)
        self._making += 1

    def _make_one(self, lull: float) -> None:
        failure: OSError | None = None
        try:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closed, lull)
            if not self._closed:
                self.give(self._make())
        except Exception as error:
            log.debug("an interpreter could not be made", exc_info=True)
            failure = OSError(str(error))
        with self._changed:
            self._making -= 1
            self._makers.discard(threading.current_thread())
            if failure is None:  # what it made may be taken already
                self.make_spare()
            elif self._waiting:
                self._failures.append(failure)
            self._changed.notify_all()

    def _pop(self) -> int | None:
        try:
            return int(_ID.unpack(os.read(self.fds[0], _ID.size))[0])
        except BlockingIOError:
            return None

    def _has_idle(self) -> bool:
        poll = select.poll()
        poll.register(self.fds[0], select.POLLIN)
        return bool(poll.poll(0))

    def _make(self) -> int:
        with self._creating:  # or it were there and nobody knew what for
            number = create(self.gil)
            self._unfinished.add(number)
        # Others leave it alone: they could not know who resets it when.
        hasty = self._makes_spares and self.gil == "shared"
        try:
            with turns.short() if hasty else nullcontext():
                self._prepare(number)
        finally:
            self._unfinished.discard(number)
        return number

    def _prepare(self, number: int) -> None:
        for source in boot_sources({gil: pool.fds for gil, pool in _pools.items()}):
            why = "the process ends" if self._closed else run_in(number, source)
            if why is not None:
                discard(number)
                msg = f"an interpreter could not be prepared: {why}"
                raise OSError(msg)


# -- The pools of this interpreter -----------------------------------------------------

_pools: Final[dict[Gil, Pool]] = {}


def get_pool(gil: Gil) -> Pool:
    """The pool of that kind."""
    if not _pools:
        _pools.update({gil: Pool(gil) for gil in GILS})
    return _pools[gil]


def pools() -> list[Pool]:
    """All that there are here, to be looked at."""
    return list(_pools.values())


def join_pools(fds: dict[Gil, tuple[int, int]]) -> None:
    """Use the pools that there are already in this process."""
    _pools.update({gil: Pool(gil, ends) for gil, ends in fds.items()})

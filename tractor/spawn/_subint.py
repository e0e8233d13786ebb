"""The backends `subint` and `subint_legacy`: each child is a sub-interpreter.

It runs in this process, on a thread of its own, the *driver*. What signals are to a
process, a warden thread inside is to it (see `tractor.interp`). Nothing can kill it:
Python code can be interrupted, and what is blocked in C for good can only be left
behind, in a way that holds up neither the parent nor the end of the process.
"""

import _interpreters
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final

import trio

from tractor._orders import CANCEL, CUT_OFF, INTERRUPT, LAST_WORDS
from tractor._types import ExitStatus
from tractor.log import get_logger
from tractor.spawn._backend import ChildSpec, Traits
from tractor.spawn._exit_guard import arm_exit_guard
from tractor.spawn._hosted import hosted
from tractor.spawn._interp_boot import Gil
from tractor.spawn._interp_pool import Pool, get_pool

log: Final = get_logger("spawn")

_HOST: Final = "__import__('tractor.interp').interp.host({link}, {control}, {copies})"
_NUMBERS_SIZE: Final = 64  # bytes; exit code, whether it is clean, threads left
_NO_REPORT: Final = (1, 0, 1)


class SubintBackend:
    """Starts actors in sub-interpreters of this process.

    Args:
        key: Its name.
        gil: Whether each child has a GIL of its own, or all share the main one.
    """

    def __init__(self, key: str, gil: Gil) -> None:
        self.key = key
        self.traits = Traits(
            can_kill=False,
            can_interrupt=True,
            own_process=False,
            own_gil=gil == "own",
            inherits_fds=False,
            main_thread=False,
        )
        self._gil: Gil = gil

    def unavailable(self) -> str | None:
        """What is missing here, if anything."""
        if sys.version_info < (3, 14):
            return "Python 3.14, for concurrent.interpreters"
        if os.name != "posix":
            return "POSIX: the pool of interpreters is a pipe"
        return None

    def warm_up(self) -> None:
        """Have the first interpreter made in the background; returns at once."""
        get_pool(self._gil).make_spare(lull=0)

    @trio.lowlevel.enable_ki_protection
    async def start(self, spec: ChildSpec) -> "Interpreter":
        """Start a child.

        `spec.options` may have `private_copies`: names of extension modules that were
        not made for sub-interpreters, of which this child gets copies for itself.

        Raises:
            OSError: It could not be started; nothing is left behind.
            TypeError: `spec.options` has something else.

        Cancellation: before anything exists, or while an interpreter is made for it,
        which goes to the pool then.
        """
        with spec.link:
            copies = self._private_copies(**spec.options)
            await trio.lowlevel.checkpoint()
            child = Interpreter(get_pool(self._gil), copies)
            child.start(spec.link.detach(), spec.aid.name)
        await child.made()
        return child

    def _private_copies(
        self, private_copies: Iterable[str] = (), **others: object
    ) -> tuple[str, ...]:
        names = tuple(private_copies)
        if others or not all(isinstance(name, str) for name in names):
            given = ", ".join(others) or f"private_copies={private_copies!r}"
            msg = (
                f"spawn backend {self.key!r} takes proc_kwargs private_copies, the "
                f"names of extension modules, and not {given}"
            )
            raise TypeError(msg)
        return names


class Interpreter:
    """A child that is a sub-interpreter.

    Args:
        pool: Where it comes from, and goes to afterwards.
        copies: Extension modules that it gets copies of.
    """

    def __init__(self, pool: Pool, copies: tuple[str, ...]) -> None:
        self._pool = pool
        self._copies = copies
        self._token = trio.lowlevel.current_trio_token()
        self._ours, self._theirs = socket.socketpair()
        self._ours.setblocking(False)
        self._made = trio.Event()
        self._gone = trio.Event()
        self._wanted = True
        self._failure: OSError | None = None
        self._status = ExitStatus()
        self._stderr = ""

    @property
    def pid(self) -> int:
        """The process that hosts it, which is this one."""
        return os.getpid()

    async def wait(self) -> ExitStatus:
        """Wait until it is gone, and its interpreter in the pool or being destroyed."""
        await self._gone.wait()
        return self._status

    def terminate(self) -> None:
        """Have its warden ask it to stop; this needs no link."""
        self._tell_warden(CANCEL)

    def interrupt(self) -> None:
        """Have its warden break into the Python code that runs in it."""
        self._tell_warden(INTERRUPT)

    def kill(self) -> None:
        """Do the most that there is: interrupt it."""
        self.interrupt()

    def abandon(self) -> None:
        """Let its own children go, and see to it that the process can end."""
        self._tell_warden(CUT_OFF)
        arm_exit_guard()

    def stderr_tail(self) -> str:
        """What broke the interpreter, or ended its actor as no end should be.

        What else it wrote to stderr is not known.
        """
        return self._stderr

    # -- starting ----------------------------------------------------------------------

    def start(self, link: int, name: str) -> None:
        """Start the driver, which owns descriptor `link` from then on."""
        number = self._pool.take()
        driver = threading.Thread(
            target=self._drive,
            args=(link, number),
            name=f"tractor actor {name}",
            daemon=True,  # it may be stuck for good
        )
        try:
            driver.start()
        except RuntimeError as error:  # there can be no more threads
            os.close(link)
            self._close()
            if number is not None:
                self._pool.give(number)
            raise OSError(str(error)) from error
        hosted.add(self)
        if number is not None:
            self._made.set()

    async def made(self) -> None:
        """Wait until there is an interpreter; OSError if there will be none.

        Cancellation: it will end as soon as it can.
        """
        try:
            await self._made.wait()
        except BaseException:
            self._wanted = False
            self._pool.wake()
            self.terminate()
            raise
        if self._failure is not None:
            raise self._failure

    # -- in the driver's thread --------------------------------------------------------

    def _drive(self, link: int, number: int | None) -> None:
        try:
            if number is None:
                number = self._find(link)
            if number is not None:
                self._host(number, link)
        finally:  # whatever happens: somebody waits for it
            self._in_loop(self._finish)

    def _find(self, link: int) -> int | None:
        number = None
        try:
            number = self._pool.wait(lambda: self._wanted)
        except OSError as error:
            self._failure = error
        if number is not None and self._wanted:
            self._in_loop(self._made.set)
            return number
        os.close(link)
        if number is not None:
            self._pool.give(number)
        return None

    def _host(self, number: int, link: int) -> None:
        control = self._theirs.detach()
        source = _HOST.format(link=link, control=control, copies=self._copies)
        try:
            failure = _interpreters.exec(number, source)
        except _interpreters.InterpreterError as error:  # it is no more
            self._stderr = str(error)
            self._status = ExitStatus(exit_code=1)
            os.close(link)
            os.close(control)
            return
        if failure is not None:
            self._stderr = failure.errdisplay
        code, clean, left = self._report()
        if code:
            self._status = ExitStatus(exit_code=code)
        if clean:
            self._pool.give(number)
        elif left:
            log.error(
                "%d threads are left in interpreter %d, which is kept for them: "
                "end in an actor what it starts",
                left,
                number,
            )
            arm_exit_guard()
        else:  # which takes long, on a busy machine longer than its last grace
            self._pool.destroy(number)

    def _report(self) -> tuple[int, int, int]:
        try:
            report = self._ours.recv(_NUMBERS_SIZE + LAST_WORDS)
            numbers, _, words = report.partition(b"\n")
            code, clean, left = map(int, numbers.split())
        except (OSError, ValueError):
            return _NO_REPORT
        self._stderr = self._stderr or words.decode(errors="replace")
        return code, clean, left

    def _in_loop(self, fn: Callable[[], object]) -> None:
        try:
            self._token.run_sync_soon(fn)
        except trio.RunFinishedError:
            self._close()

    # -- in the loop's thread ----------------------------------------------------------

    def _finish(self) -> None:
        hosted.discard(self)
        self._close()
        self._made.set()
        self._gone.set()

    def _close(self) -> None:
        self._ours.close()
        self._theirs.close()

    def _tell_warden(self, command: bytes) -> None:
        with suppress(OSError):  # it is gone, or has been told often enough
            self._ours.send(command)


backend: Final = SubintBackend("subint", "own")
legacy_backend: Final = SubintBackend("subint_legacy", "shared")

"""The REPL of one actor: pdbp, or pdb where that is not installed.

It holds the terminal exactly while it shows a prompt. Between two stops of a stepping
person (`n`, `s`) the program runs as always, and Ctrl-C means the tree again.
"""

import pdb
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from types import FrameType, TracebackType
from typing import Any, Final

from msgspec import Struct

from tractor.devx.debug._errors import DebugRequestError
from tractor.devx.debug._frames import is_inside
from tractor.devx.debug._lease import Lease
from tractor.devx.debug._options import ReplOptions
from tractor.devx.debug._terminal import at_terminal
from tractor.log import get_logger

log = get_logger("devx")

# Nobody wants to step through these.
SKIPPED: Final = ("tractor.*", "trio.*", "outcome.*", "greenback.*", "contextlib")


def base() -> type[pdb.Pdb]:
    """The class of pdbp, where that works, or that of pdb."""
    try:
        import readline  # noqa: F401 (it needs that as soon as it shows a prompt)

        import pdbp  # type: ignore[import-untyped]  # of the extra [debug]
    except ImportError:  # sub-interpreters cannot load it, for one
        return pdb.Pdb
    found: type[pdb.Pdb] = pdbp.Pdb
    return found


class Seat(Struct):
    """Where a REPL is shown, and how.

    Attributes:
        new_lease: Of its actor; where no tree is, the REPL is at the standard streams.
        lease: Of the terminal; it is waited for if it is not ours.
        header: What to show before the first prompt.
        options: How it is opened.
        error: What it shows, if it was opened for that.
    """

    new_lease: Callable[[], Lease] | None = None
    lease: Lease | None = None
    header: str = ""
    options: ReplOptions = ReplOptions()
    error: BaseException | None = None


class _Terminal:
    """What makes a debugger wait for the terminal before it shows a prompt."""

    _seat = Seat()  # of the debuggers that pdb makes for itself, in `debug`

    def interaction(self, frame: Any, tb_or_exc: Any) -> None:
        """Show a prompt, and obey until the program is to go on."""
        this: Any = self
        seat = self._seat
        # In a program that goes on after it; else it has stopped for good.
        stops = frame is not None and tb_or_exc is None and seat.error is None
        asked = seat.lease is None  # by a call at this line
        try:
            with self._turn(may_step=stops), seat.options.entered(seat.error) as wanted:
                if wanted:
                    with self._at():
                        super().interaction(frame, tb_or_exc)  # type: ignore[misc]
                elif stops:
                    this.set_continue()
        except DebugRequestError as exc:
            if asked or not stops:
                raise
            log.error("the debugger lets the program run on: %s", exc)
            this.set_continue()

    @contextmanager
    def _turn(self, *, may_step: bool) -> Iterator[None]:
        """Let it be one's turn at the terminal of the tree, if there is one."""
        seat = self._seat
        if seat.new_lease is None:
            yield
            return
        lease = seat.lease = seat.lease or seat.new_lease()
        lease.acquire()
        try:
            yield
        finally:
            if not (may_step and self._steps()):
                lease.release()

    @contextmanager
    def _at(self) -> Iterator[None]:
        """Read and write there, and hold it for just as long."""
        this: Any = self
        if (lease := self._seat.lease) is None:
            self._show_header()
            yield
            return
        path = lease.open()
        try:
            with at_terminal(path, self._interrupt) as streams:
                this.stdin, this.stdout = streams
                this.use_rawinput = True
                self._show_header()
                yield
        finally:
            this.stdin, this.stdout = sys.stdin, sys.stdout
            lease.step()

    def _show_header(self) -> None:
        this: Any = self
        if self._seat.header:
            this.message(self._seat.header)
            self._seat.header = ""

    def get_stack(self, f: Any, t: Any) -> tuple[list[tuple[Any, int]], int]:
        """The stack, and which frame of it is shown first."""
        stack, index = super().get_stack(f, t)  # type: ignore[misc]
        own = index
        while t is not None and own > 0 and is_inside(stack[own][0]):
            own -= 1
        if is_inside(stack[own][0]):
            return stack, index
        if not self._seat.options.hide_tb:
            return stack, own
        shown = [at for at, entry in enumerate(stack) if not is_inside(entry[0])]
        return [stack[at] for at in shown], shown.index(own)

    def _steps(self) -> bool:
        this: Any = self
        goes_on = this.quitting or this.stoplineno == -1
        return sys.gettrace() is not None and not goes_on

    def _interrupt(self) -> None:
        this: Any = self
        if this.allow_kbdint:
            raise KeyboardInterrupt


@lru_cache(1)
def repl_class() -> type[pdb.Pdb]:
    """Of all REPLs of this actor; to make it takes long, the first time."""
    return type("Repl", (_Terminal, base()), {})


def show(crash: tuple[FrameType | None, TracebackType | None], seat: Seat) -> None:
    """Show a prompt where an error was raised, until it is left.

    Args:
        crash: The frame that waits for it, if that is to be shown, and its traceback.
        seat: Where and how.
    """
    if isinstance(getattr(sys.gettrace(), "__self__", None), pdb.Pdb):
        sys.settrace(None)  # who stepped up to here has arrived
    repl = make(seat)
    repl.reset()
    repl.interaction(*crash)


def make(seat: Seat) -> Any:
    """A REPL that is not open yet."""
    alone = seat.new_lease is None  # then pdb may handle Ctrl-C in its own way
    repl: Any = repl_class()(nosigint=not alone, skip=SKIPPED)
    repl._seat = seat
    return repl

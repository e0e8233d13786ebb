"""The REPL of one actor: pdbp, or pdb where that is not installed.

It has the terminal exactly while it shows a prompt. Between two stops of a stepping
person (`n`, `s`) the program runs as always, and Ctrl-C means the tree again.
"""

import pdb
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from types import FrameType, TracebackType
from typing import Any, Final

from msgspec import Struct

from tractor.devx.debug._frames import is_inside
from tractor.devx.debug._lease import Lease, Leases
from tractor.devx.debug._options import ReplOptions
from tractor.devx.debug._terminal import at_terminal

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
        leases: Of its actor; where no tree is, the REPL is at the standard streams.
        lease: Of the terminal; it is waited for if it is not ours.
        header: What to show before the first prompt.
        options: How it is opened.
        error: What it shows, if it was opened for that.
    """

    leases: Leases | None = None
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
        stops = tb_or_exc is None  # in a program that goes on after it
        with (
            self._turn(may_step=stops) as path,
            self._seat.options.entered(self._seat.error) as wanted,
        ):
            if wanted:
                with self._at(path):
                    super().interaction(frame, tb_or_exc)  # type: ignore[misc]
            elif stops:
                this.set_continue()

    @contextmanager
    def _turn(self, *, may_step: bool) -> Iterator[str | None]:
        """Have the terminal of the tree, if there is one; its path."""
        seat = self._seat
        if seat.leases is None:
            yield None
            return
        lease = seat.lease = seat.leases.again(seat.lease)
        try:
            yield lease.acquire()
        finally:
            if may_step and self._steps():
                seat.leases.keep(lease)
            else:
                lease.release()

    @contextmanager
    def _at(self, path: str | None) -> Iterator[None]:
        """Read and write there."""
        this: Any = self
        if path is None:
            self._show_header()
            yield
            return
        try:
            with at_terminal(path, self._interrupt) as streams:
                this.stdin, this.stdout = streams
                this.use_rawinput = True
                self._show_header()
                yield
        finally:
            this.stdin, this.stdout = sys.stdin, sys.stdout

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
def _repl_class() -> type[pdb.Pdb]:
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
    alone = seat.leases is None  # then pdb may handle Ctrl-C in its own way
    repl: Any = _repl_class()(nosigint=not alone, skip=SKIPPED)
    repl._seat = seat
    return repl

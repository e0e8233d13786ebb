"""The REPL of one actor: pdbp, or pdb where that is not installed.

It has the terminal exactly while it shows a prompt. Between two stops of a stepping
person (`n`, `s`) the program runs as always, and Ctrl-C means the tree again.
"""

import pdb
import sys
from functools import lru_cache
from types import FrameType, TracebackType
from typing import Any, Final

from tractor.devx.debug._frames import is_inside
from tractor.devx.debug._lease import Lease, Leases
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


class _Terminal:
    """What makes a debugger wait for the terminal before it shows a prompt."""

    _leases: Leases
    _lease: Lease
    _header: str

    def interaction(self, frame: Any, tb_or_exc: Any) -> None:
        """Show a prompt, and obey until the program is to go on."""
        this: Any = self
        lease = self._lease = self._leases.again(self._lease)
        try:
            with at_terminal(lease.acquire(), self._interrupt) as streams:
                this.stdin, this.stdout = streams
                this.use_rawinput = True
                if self._header:
                    this.message(self._header)
                    self._header = ""
                super().interaction(frame, tb_or_exc)  # type: ignore[misc]
        finally:
            this.stdin, this.stdout = sys.stdin, sys.stdout
            if tb_or_exc is None and self._steps():
                self._leases.keep(lease)
            else:
                lease.release()

    def get_stack(self, f: Any, t: Any) -> tuple[list[tuple[Any, int]], int]:
        """The stack, and which frame of it is shown first."""
        stack, index = super().get_stack(f, t)  # type: ignore[misc]
        own = index
        while t is not None and own > 0 and is_inside(stack[own][0]):
            own -= 1
        return stack, index if is_inside(stack[own][0]) else own

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


def stop_at(frame: FrameType, leases: Leases, lease: Lease, header: str) -> None:
    """Show a prompt at the line that this frame is at, as soon as it goes on.

    Args:
        frame: Of the calling thread.
        leases: Of the actor.
        lease: Of the terminal; it is waited for if it is not ours.
        header: What to show before the first prompt.
    """
    _make(leases, lease, header).set_trace(frame)


def show(
    crash: tuple[FrameType | None, TracebackType | None],
    leases: Leases,
    lease: Lease,
    header: str,
) -> None:
    """Show a prompt where an error was raised, until it is left.

    Args:
        crash: The frame that waits for it, if that is to be shown, and its traceback.
        leases: As for `stop_at`.
        lease: Likewise.
        header: Likewise.
    """
    if isinstance(getattr(sys.gettrace(), "__self__", None), pdb.Pdb):
        sys.settrace(None)  # who stepped up to here has arrived
    repl = _make(leases, lease, header)
    repl.reset()
    repl.interaction(*crash)


def _make(leases: Leases, lease: Lease, header: str) -> Any:
    repl: Any = _repl_class()(nosigint=True, skip=SKIPPED)
    repl._leases, repl._lease, repl._header = leases, lease, header
    return repl

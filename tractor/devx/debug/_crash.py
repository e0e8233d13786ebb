"""`open_crash_handler`: a REPL for what a block raises, with and without actors."""

import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

import trio
from msgspec import Struct

from tractor.devx.debug._debugger import slot
from tractor.devx.debug._pause import debug_mode

type Errors = Collection[type[BaseException]]

IGNORED: Errors = frozenset({KeyboardInterrupt, trio.Cancelled})


class BoxedMaybeException(Struct):
    """What a block of `open_crash_handler` raised, if anything.

    Attributes:
        value: The error.
        raise_on_exit: Whether it goes on from the block: for all errors, or for those
            of some types.
    """

    value: BaseException | None = None
    raise_on_exit: bool | tuple[type[BaseException], ...] = True

    def goes_on(self) -> bool:
        """Whether the block raises it."""
        if isinstance(self.raise_on_exit, bool):
            return self.raise_on_exit
        return isinstance(self.value, self.raise_on_exit)


@contextmanager
def open_crash_handler(
    catch: Errors = frozenset({BaseException}),
    ignore: Errors = IGNORED,
    *,
    raise_on_exit: bool | tuple[type[BaseException], ...] = True,
) -> Iterator[BoxedMaybeException]:
    """Open a REPL when the block raises; also where no actor runs.

    Args:
        catch: Types of errors for which it opens.
        ignore: Types for which it does not all the same.
        raise_on_exit: Whether they go on after it, or which of them.

    Returns:
        A box that has the error when the block is left.

    Raises:
        DebugRequestError: There is no terminal.
    """
    box = BoxedMaybeException(raise_on_exit=raise_on_exit)
    try:
        yield box
    except tuple(ignore):
        raise
    except tuple(catch) as exc:
        box.value = exc
        _post_mortem(exc)
        if box.goes_on():
            raise


@contextmanager
def maybe_open_crash_handler(
    pdb: bool | None = None,
    *,
    catch: Errors = frozenset({BaseException}),
    ignore: Errors = IGNORED,
    raise_on_exit: bool | tuple[type[BaseException], ...] = True,
) -> Iterator[BoxedMaybeException]:
    """`open_crash_handler`, or nothing.

    Args:
        pdb: Which of the two; by default the first one in debug mode.
        catch: As there.
        ignore: As there.
        raise_on_exit: As there.

    Returns:
        A box, which stays empty if it is nothing.
    """
    if not (debug_mode() if pdb is None else pdb):
        yield BoxedMaybeException(raise_on_exit=raise_on_exit)
        return
    with open_crash_handler(catch, ignore, raise_on_exit=raise_on_exit) as box:
        yield box


def _post_mortem(error: BaseException) -> None:
    if slot.debugger is not None:
        slot.debugger.post_mortem(error, slot.debugger.leases.new())
        return
    from tractor.devx.debug._repl import base  # local: it takes long

    repl: Any = base()()
    repl.reset()
    repl.interaction(None, error.__traceback__)
    sys.stdout.flush()

"""`open_crash_handler`: a REPL for what a block raises, with and without actors."""

import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager

import trio

from tractor.devx.debug._debugger import slot
from tractor.devx.debug._errors import DebugRequestError
from tractor.devx.debug._options import (
    BoxedMaybeException,
    ReplFixture,
    ReplOptions,
    make_options,
)
from tractor.devx.debug._pause import debug_mode
from tractor.log import get_logger

log = get_logger("devx")

type Errors = Collection[type[BaseException]]

IGNORED: Errors = frozenset({KeyboardInterrupt, trio.Cancelled})


@contextmanager
def open_crash_handler(
    catch: Errors = frozenset({BaseException}),
    ignore: Errors = IGNORED,
    *,
    hide_tb: bool | None = None,
    repl_fixture: ReplFixture | None = None,
    raise_on_exit: bool | tuple[type[BaseException], ...] = True,
) -> Iterator[BoxedMaybeException]:
    """Open a REPL when the block raises; also where no actor runs.

    Where there can be none, in a tree without a terminal say, the error is what counts
    all the same.

    Args:
        catch: Types of errors for which it opens.
        ignore: Types for which it does not all the same.
        hide_tb: As for `pause`.
        repl_fixture: As for `pause`.
        raise_on_exit: Whether they go on after it, or which of them.

    Returns:
        A box that has the error when the block is left.
    """
    box = BoxedMaybeException(raise_on_exit=raise_on_exit)
    try:
        yield box
    except tuple(ignore):
        raise
    except tuple(catch) as exc:
        box.value = exc
        tree = None if slot.debugger is None else slot.debugger.options
        try:
            _post_mortem(exc, make_options(hide_tb, repl_fixture, tree))
        except DebugRequestError as refusal:
            log.devx("no REPL for %r: %s", exc, refusal)
        if box.goes_on():
            raise


@contextmanager
def maybe_open_crash_handler(
    pdb: bool | None = None,
    *,
    catch: Errors = frozenset({BaseException}),
    ignore: Errors = IGNORED,
    hide_tb: bool | None = None,
    repl_fixture: ReplFixture | None = None,
    raise_on_exit: bool | tuple[type[BaseException], ...] = True,
) -> Iterator[BoxedMaybeException]:
    """`open_crash_handler`, or nothing.

    Args:
        pdb: Which of the two; by default the first one in debug mode.
        catch: As there.
        ignore: As there.
        hide_tb: As there.
        repl_fixture: As there.
        raise_on_exit: As there.

    Returns:
        A box, which stays empty if it is nothing.
    """
    if not (debug_mode() if pdb is None else pdb):
        yield BoxedMaybeException(raise_on_exit=raise_on_exit)
        return
    with open_crash_handler(
        catch,
        ignore,
        hide_tb=hide_tb,
        repl_fixture=repl_fixture,
        raise_on_exit=raise_on_exit,
    ) as box:
        yield box


def _post_mortem(error: BaseException, options: ReplOptions) -> None:
    if slot.debugger is not None:
        slot.debugger.post_mortem(error, slot.debugger.new_lease(), options)
        return
    from tractor.devx.debug._repl import Seat, show  # local: it takes long

    show((None, error.__traceback__), Seat(options=options, error=error))
    sys.stdout.flush()

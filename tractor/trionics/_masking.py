"""Errors that a cancellation hides.

An error on its way out passes clean-up code. If that awaits something in a scope that
is cancelled, a `Cancelled` goes on in place of the error, which is then only found as
its ``__context__``:

    try:
        raise ValueError
    finally:
        await stream.send_eof()  # raises Cancelled: the ValueError is hidden

The same context is there when a task is cancelled while it deals with an error, as
every polling loop does, and then nothing is hidden:

    except KeyError:
        await trio.sleep(1)  # raises Cancelled

So what counts is the kind of handler that the `Cancelled` was raised in. An ``except``
clause is taken to deal with what it caught, also where it has a `raise` further down.

Theory of operation. The handlers that were active, and the chain of contexts, both lead
from the inside out, but not in step: a chain also has the contexts of the errors in it,
and one error may be handled in several functions at once (the end of an ``async with``,
and the generator behind it). What a handler handles has its frame in the traceback,
though, and two handlers of one function never handle the same error.
"""

import sys
import traceback
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from types import FrameType, MappingProxyType
from typing import Final

import trio

from tractor.log import get_logger
from tractor.trionics._groups import AnyGroup, is_cancellation, replace_members
from tractor.trionics._handlers import active_handlers
from tractor.trionics._reraise import reraise

type ExceptionTypes = tuple[type[BaseException], ...]
type Pairs = Mapping[type[BaseException], type[BaseException]]

NEVER_WARN_ON: Final[Pairs] = MappingProxyType(
    {KeyboardInterrupt: trio.Cancelled, trio.Cancelled: trio.Cancelled}
)

_TRIO: Final = ("trio", "outcome")  # what raises `Cancelled`

log = get_logger("trionics")


def masked_error(cancelled: BaseException) -> Exception | None:
    """The error that `cancelled` hides, or `None` where it hides none.

    Of a group of cancellations, the first that hides one tells.
    """
    if not is_cancellation(cancelled):
        return None
    hidden = _hidden_by(cancelled, (trio.Cancelled,))
    return hidden if isinstance(hidden, Exception) else None


class Unmasked:
    """What `maybe_raise_from_masking_exc` found.

    Attributes:
        value: The exception that was hidden, or the group with it, or `None`.
    """

    def __init__(self) -> None:
        self.value: BaseException | None = None


@asynccontextmanager
async def maybe_raise_from_masking_exc(
    unmask_from: ExceptionTypes = (trio.Cancelled,),
    *,
    raise_unmasked: bool = True,
    extra_note: str = "",
    always_warn_on: Collection[type[BaseException]] = (trio.Cancelled,),
    never_warn_on: Pairs = NEVER_WARN_ON,
) -> AsyncIterator[Unmasked]:
    """Raise what a `Cancelled` hides, in its place.

    Of a group, each member is looked at; one that hides nothing stays. What was being
    handled already when the block was entered is not hidden in it.

    Yields:
        A box for the exception that was found.

    Args:
        unmask_from: Classes of exceptions that hide others.
        raise_unmasked: Whether to raise what was hidden; the box has it in any case.
        extra_note: Added to the note that the exception gets, which says what hid it.
        always_warn_on: Where one of these hid something, a warning is logged,
        never_warn_on: except where a key of this was hidden by its value.

    Raises:
        ValueError: `unmask_from` is not a tuple.
    """
    if not isinstance(unmask_from, tuple):
        msg = f"unmask_from must be a tuple of exception classes, not {unmask_from!r}"
        raise ValueError(msg)
    search = _Search(unmask_from, extra_note)
    box = Unmasked()
    try:
        yield box
    except BaseException as exc:
        found = search.unmask(exc)
        if found is exc:
            raise
        search.warn(tuple(always_warn_on), never_warn_on)
        box.value = found
        if not raise_unmasked:
            raise
        reraise(found)


class _Search:
    """Looks behind exceptions, and remembers what was found."""

    def __init__(self, masks: ExceptionTypes, extra_note: str) -> None:
        self._masks = masks
        self._extra_note = extra_note
        self._outer = sys.exception()
        self._found: list[tuple[BaseException, BaseException]] = []

    def unmask(self, exc: BaseException) -> BaseException:
        """What `exc` hides, or `exc` itself."""
        if isinstance(exc, BaseExceptionGroup):
            return replace_members(exc, self._unmask_one)
        return self._unmask_one(exc)

    def warn(self, always: ExceptionTypes, never: Pairs) -> None:
        """Log what was found, as far as it is wanted."""
        for mask, hidden in self._found:
            expected = any(
                isinstance(hidden, one) and isinstance(mask, other)
                for one, other in never.items()
            )
            if isinstance(mask, always) and not expected:
                log.warning("%r was hidden by %r; shield clean-up", hidden, mask)

    def _unmask_one(self, exc: BaseException) -> BaseException:
        if not isinstance(exc, self._masks):
            return exc
        hidden = _hidden_by(exc, self._masks, self._outer)
        if hidden is None:
            return exc
        self._found.append((exc, hidden))
        hidden.add_note(f"(hidden by {exc!r}{_where(exc)}){self._extra_note}")
        return hidden


# -- What hides what -------------------------------------------------------------------


def _hidden_by(
    exc: BaseException, masks: ExceptionTypes, outer: BaseException | None = None
) -> BaseException | None:
    """What was on its way out when `exc`, a mask or a group of them, was raised.

    Args:
        exc: Where to look.
        masks: Classes of exceptions that hide others, and are not what is hidden.
        outer: Where to look no further: this one is no concern of ours.
    """
    if isinstance(exc, BaseExceptionGroup):
        found = (_hidden_by(member, masks, outer) for member in exc.exceptions)
        return next((each for each in found if each is not None), None)
    if (hidden := exc.__context__) is None:
        return None  # as most often; reading the bytecode takes a while
    handled_in: set[FrameType] = set()  # the functions that `hidden` is matched with
    caught = False
    for frame, kind in active_handlers(exc.__traceback__):
        while hidden is not None and (
            frame in handled_in or frame not in _frames_of(hidden)
        ):
            hidden, handled_in, caught = hidden.__context__, set(), False
        if hidden is None or hidden is outer:
            return None
        handled_in.add(frame)
        caught = caught or kind == "except"
        if not caught and (error := _error_in(hidden, masks, outer)) is not None:
            return error
    return None


def _error_in(
    hidden: BaseException, masks: ExceptionTypes, outer: BaseException | None
) -> BaseException | None:
    """What of `hidden` is not a mask, or what is behind it."""
    if isinstance(hidden, GeneratorExit):
        return None  # how a generator is closed; no error
    others: BaseException | AnyGroup | None = hidden
    if isinstance(hidden, BaseExceptionGroup):
        _, others = hidden.split(masks)
    elif isinstance(hidden, masks):
        others = None
    return others if others is not None else _hidden_by(hidden, masks, outer)


def _frames_of(exc: BaseException) -> set[FrameType]:
    return {frame for frame, _ in traceback.walk_tb(exc.__traceback__)}


def _where(exc: BaseException) -> str:
    """The line of ours that raised `exc`, or called trio to that effect."""
    ours = [
        f", raised at {frame.f_code.co_filename}:{line} in {frame.f_code.co_name}"
        for frame, line in traceback.walk_tb(exc.__traceback__)
        if frame.f_globals.get("__name__", "").partition(".")[0] not in _TRIO
    ]
    return ours[-1] if ours else ""

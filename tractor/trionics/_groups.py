"""Exception groups: those with one exception in them, and those of cancellations.

trio wraps the error of a nursery in a group even if it is the only one. Where just one
task can fail, the group only hides which error it was:

    async with collapse_eg(), trio.open_nursery() as nursery:
        ...  # a lone error comes out as itself
"""

from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from typing import Literal

import trio

from tractor.trionics._reraise import reraise

type AnyGroup = BaseExceptionGroup[BaseException]
type ExceptionTypes = Collection[type[BaseException]]


def get_collapsed_eg(beg: AnyGroup) -> BaseException | None:
    """The lone exception in nested groups of one member each, or `None`."""
    found: BaseException = beg
    while isinstance(found, BaseExceptionGroup):
        if len(found.exceptions) != 1:
            return None
        found = found.exceptions[0]
    return found


@asynccontextmanager
async def collapse_eg(
    *, ignore: ExceptionTypes = (), add_notes: bool = True
) -> AsyncIterator[None]:
    """Raise the lone exception in nested groups of one member each as itself.

    Cancellations beside it do not count: whether one arrives at the same time is a
    matter of luck, and their scope needs none of them to go on being cancelled. Its own
    context and cause stay. Groups with several errors stay what they are.

    Args:
        ignore: A lone exception of one of these classes stays in its group.
        add_notes: Whether the exception gets a note that names its group.
    """
    try:
        yield
    except BaseExceptionGroup as group:
        lone = get_collapsed_eg(group)
        if lone is None:
            _, errors = group.split(trio.Cancelled)
            lone = errors and get_collapsed_eg(errors)
        if lone is None or isinstance(lone, tuple(ignore)):
            raise
        if add_notes:
            lone.add_note(f"(the only exception of the group {group.message!r})")
        reraise(lone)


def is_multi_cancelled(
    beg: AnyGroup, ignore_nested: ExceptionTypes = frozenset()
) -> AnyGroup | Literal[False]:
    """Whether there is nothing but `trio.Cancelled` in a group, at any depth.

    Returns:
        The group if so, which is always true, or `False`.

    Args:
        beg: The group.
        ignore_nested: Further classes that count as cancellation.
    """
    cancellation: tuple[type[BaseException], ...] = (trio.Cancelled, *ignore_nested)
    _, others = beg.split(cancellation)
    return beg if others is None else False


def is_cancellation(error: BaseException) -> bool:
    """Whether `error` is a `trio.Cancelled`, or a group with nothing else in it."""
    if isinstance(error, BaseExceptionGroup):
        return is_multi_cancelled(error) is not False
    return isinstance(error, trio.Cancelled)


def replace_members(
    group: AnyGroup, replace: Callable[[BaseException], BaseException]
) -> AnyGroup:
    """`group` with each exception in it replaced, at any depth.

    The groups keep their text, notes, traceback, cause and context. Where `replace`
    gave back all that it was given, the group is the same object.
    """
    members = [
        replace_members(each, replace)
        if isinstance(each, BaseExceptionGroup)
        else replace(each)
        for each in group.exceptions
    ]
    if all(new is old for new, old in zip(members, group.exceptions, strict=True)):
        return group
    derived: AnyGroup = group.derive(members)
    derived.__traceback__ = group.__traceback__
    derived.__context__ = group.__context__
    derived.__cause__ = group.__cause__
    derived.__suppress_context__ = group.__suppress_context__
    for note in getattr(group, "__notes__", ()):
        derived.add_note(note)
    return derived

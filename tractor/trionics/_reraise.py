"""Raise an exception that exists already, as it is."""

from typing import NoReturn


def reraise(exc: BaseException) -> NoReturn:
    """Raise `exc` without making what is being handled now its context.

    A plain `raise` replaces the context that `exc` has. The replacement says nothing
    where `exc` was found inside of what is being handled; and it is even wrong where
    that was found in the context of `exc`.
    """
    context = exc.__context__
    try:
        raise exc
    finally:
        exc.__context__ = context

"""Running a function with a value of the main thread, and nothing of it gets away.

A traceback has the variables of its functions, the value among them. It goes to a
waiter in another thread, where the last reference might then die: so they are cleared.
"""

import traceback
from collections.abc import Callable
from typing import Any

from tractor.pinned._registry import registry


def use_value(
    home: str,
    number: int,
    fn: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    """What ``fn(value, *args, **kwargs)`` returns. On the main thread.

    Raises:
        ResourceClosed: The value is gone.
        TypeError: `fn` returned the value itself.
        BaseException: Whatever `fn` raises.
    """
    try:
        return _used(registry.get(home, number), fn, args, kwargs)
    except BaseException as exc:
        _clear_frames(exc)
        raise


def _used(
    value: Any, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    result = fn(value, *args, **kwargs)
    if result is value:
        name = getattr(fn, "__qualname__", repr(fn))
        msg = (
            f"{name!r} returned the pinned value itself, which stays on the main "
            "thread; return what others may have of it"
        )
        raise TypeError(msg)
    return result


def _clear_frames(error: BaseException) -> None:
    """Forget the variables of all functions that have ended with it."""
    waiting: list[BaseException | None] = [error]
    seen = set()
    while waiting:
        exc = waiting.pop()
        if exc is None or id(exc) in seen:
            continue
        seen.add(id(exc))
        traceback.clear_frames(exc.__traceback__)
        waiting += [exc.__cause__, exc.__context__]
        if isinstance(exc, BaseExceptionGroup):
            waiting += exc.exceptions

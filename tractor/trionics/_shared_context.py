"""One value for all tasks that want the same.

The values live in a cache of the trio run, which is that of the actor. What happens
when users come and go at the same time is the business of `Hosted`; here is how a value
is found, and who opens it.
"""

from collections.abc import AsyncIterator, Callable, Hashable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from types import MappingProxyType
from typing import Any, Final

import trio

from tractor.trionics._hosted import Hosted

type Manages[T] = Callable[..., AbstractAsyncContextManager[T]]
type Key = Hashable | Callable[..., Hashable]

NO_KWARGS: Final[Mapping[str, Any]] = MappingProxyType({})

_cache: Final = trio.lowlevel.RunVar[dict[Hashable, Hosted[Any]]]("shared contexts")


@asynccontextmanager
async def maybe_open_context[T](
    acm_func: Manages[T],
    kwargs: Mapping[str, Any] = NO_KWARGS,
    key: Key | None = None,
    tn: trio.Nursery | None = None,
) -> AsyncIterator[tuple[bool, T]]:
    """Share the value of a context manager with all tasks of the actor.

    The first user opens ``acm_func(**kwargs)``, in a task of its own. The last one to
    leave its block makes it exit, waits for that, and raises what the exit raises; if
    this user is cancelled, the exit is. In detail:

    - Who comes while it is being opened waits for it. If opening fails, its first
      user gets the error, and each of the others tries anew. If the first user is
      cancelled, opening goes on for the others.
    - Who comes while it exits waits for the end of that, and opens it anew.
    - The blocks of its users are cancelled if it ends by itself. The first of them to
      end raises its error, the others `trio.BrokenResourceError`.

    Yields:
        Whether the value was there already, and the value. The former is false for
        exactly one user of each value, who may prepare it for the others.

    Args:
        acm_func: Makes the context manager. The same means the same object, or method
            of the same object.
        kwargs: For `acm_func`.
        key: Users share a value if they have the same `acm_func` and key: this one, or
            what it returns for `kwargs` if it can be called. By default it is `kwargs`.
        tn: Nursery of the task that hosts the manager, if it is opened by this call.
            By default it belongs to none and lives as long as it has users.

    Raises:
        RuntimeError: The calling task is not below `tn`, so that it might outlive it.
        TypeError: The key is not hashable.
        trio.BrokenResourceError: It ended by itself, or its `tn` was cancelled.
    """
    if tn is not None and not _is_below(tn):
        msg = "maybe_open_context(tn=) needs a nursery that the calling task is below"
        raise RuntimeError(msg)
    place = acm_func, _key_of(kwargs, key)
    opening = partial(acm_func, **kwargs)
    user = object()
    while True:
        hosted = _find_or_open(place, opening, user, tn)
        if hosted.leaving:
            await hosted.gone.wait()
        elif await hosted.join(user):
            break
    hit = not hosted.claim(user)
    async with hosted.block() as value:
        yield hit, value


def _key_of(kwargs: Mapping[str, Any], key: Key | None) -> Hashable:
    found = frozenset(kwargs.items()) if key is None else key
    if callable(key):
        found = key(**kwargs)
    return found


def _find_or_open[T](
    place: Hashable,
    opening: partial[AbstractAsyncContextManager[T]],
    user: object,
    tn: trio.Nursery | None,
) -> Hosted[T]:
    cache = _cached()
    if (found := cache.get(place)) is not None:
        return found
    hosted = Hosted(opening, on_gone=partial(cache.pop, place))
    hosted.claim(user)
    hosted.start(tn, name=f"host of {opening.func!r}")
    cache[place] = hosted
    return hosted


def _cached() -> dict[Hashable, Hosted[Any]]:
    try:
        return _cache.get()
    except LookupError:
        cache: dict[Hashable, Hosted[Any]] = {}
        _cache.set(cache)
        return cache


def _is_below(tn: trio.Nursery) -> bool:
    """Whether the calling task ends before `tn` does, wherever that is."""
    task = trio.lowlevel.current_task()
    if tn in task.child_nurseries:
        return True
    while (nursery := task.parent_nursery) is not None:
        task = nursery.parent_task
        nested = task.child_nurseries  # each within those before it
        if tn in nested[: nested.index(nursery) + 1]:
            return True
    return False

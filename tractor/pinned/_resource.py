"""Handles of values that never leave the main thread.

A handle crosses as data: two fields, by which the root finds the value again. msgspec
asks a dataclass for a field that its instance does not have, and the handle that is
made in the root does not have `number`: so it learns that it is being encoded, from
where on there may be copies in other actors (`_registry`).
"""

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Concatenate, Self

from tractor.pinned import verbs
from tractor.pinned._main_thread import may_have_main_thread, on_main_thread
from tractor.pinned._packing import check_plain, pack_call, path_of, unpack_result
from tractor.pinned._registry import registry
from tractor.pinned._root_loop import attend, run_on_main_thread
from tractor.pinned._use import use_value
from tractor.runtime import current_actor


@dataclass(init=False, eq=False, repr=False)
class PinnedResource[T]:
    """A value that is made, used and dropped on the main thread only.

    The handle goes anywhere, and the value nowhere. Where the annotation of a
    parameter, a result or a payload says `PinnedResource` it arrives as one, elsewhere
    as a mapping.

    The value is dropped, on the main thread, when it is closed, or when this handle is
    gone. If the handle was sent to another actor or pickled, the value stays until it
    is closed, or until the tree has ended.

    Args:
        value: Anything. To be made here, so on the main thread.

    Attributes:
        home: The process to which it belongs.
        number: Which of its values it is.

    Raises:
        RuntimeError: This is not the main thread of the root.
    """

    home: str
    number: int

    def __init__(self, value: T) -> None:
        _check_here("made")
        attend()
        self.home = registry.home
        self._number = registry.add(value)
        # Not a bound method: it would keep the handle alive.
        gone = weakref.finalize(self, registry.note_gone, self._number)
        gone.atexit = False

    @property
    def value(self) -> T:
        """The value, on the main thread.

        Raises:
            RuntimeError: This is not the main thread of the root; use `call`.
            ResourceClosed: It is gone.
        """
        _check_here("read")
        found: T = registry.get(*self._key)
        return found

    async def call[**P, R](
        self,
        fn: Callable[Concatenate[T, P], R],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R:
        """Run ``fn(value, *args, **kwargs)`` on the main thread; its result.

        As `tractor.pinned.call`, with the value as the first argument.

        Raises:
            ResourceClosed: The value is gone; from other actors, in a
                `RemoteActorError`, as all that is raised there.
            TypeError: `fn` is async, or returned the value.
            Exception: As for `tractor.pinned.call`.

        Cancellation: as there.
        """
        check_plain(fn)
        actor = current_actor()
        if actor.is_root:
            run = partial(use_value, *self._key, fn, args, kwargs)
            result: R = await run_on_main_thread(actor, run)
            return result
        path = path_of(fn)
        data = pack_call(path, args, kwargs)
        answer = await actor.get_parent().run(verbs.use, *self._key, path, data)
        returned: R = unpack_result(fn, path, answer)
        return returned

    def close(self) -> None:
        """Drop the value at once, on the main thread; it may be gone already.

        Raises:
            RuntimeError: This is not the main thread of the root; use `aclose`.
        """
        _check_here("closed by close()")
        registry.drop(*self._key)

    async def aclose(self) -> None:
        """Drop the value after the calls that wait, from anywhere; it may be gone.

        Raises:
            Exception: As for `tractor.pinned.call`, of which it is one.

        Cancellation: as there, so the value may stay.
        """
        await verbs.close(*self._key)

    @property
    def _key(self) -> tuple[str, int]:
        """Both fields, without being noted as sent."""
        mine = vars(self)
        return self.home, mine.get("_number") or mine["number"]

    def __getattr__(self, name: str) -> Any:
        if name != "number":
            msg = f"{type(self).__name__!r} object has no attribute {name!r}"
            raise AttributeError(msg)
        attend()
        registry.note_sent(self._number)
        return self._number

    def __reduce__(self) -> tuple[Callable[..., Self], tuple[str, int]]:
        return type(self)._remade, (self.home, self.number)

    @classmethod
    def _remade(cls, home: str, number: int) -> Self:
        made = cls.__new__(cls)
        made.home, made.number = home, number
        return made

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PinnedResource):
            return NotImplemented
        return self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    def __repr__(self) -> str:
        return f"<PinnedResource {self._key[1]}>"


def _check_here(done: str) -> None:
    if not (on_main_thread() and may_have_main_thread()):
        msg = (
            f"a pinned value is {done} on the main thread of the root; run a function "
            "there, by tractor.pinned.call() or PinnedResource.call()"
        )
        raise RuntimeError(msg)

"""Handles of values, and who may look at them.

A handle is a number and no more: it may be copied, compared and sent anywhere. What it
stands for is in one worker, or in the scope, and is put into the handle for as long as
a behaviour holds it. Who looks at it at another time, or from another task or thread
than that of the behaviour, gets an error.
"""

from collections.abc import Callable, Generator
from contextvars import ContextVar
from typing import Any, Final, Protocol, Self

from tractor.cowns._errors import NotHeld


class Keeper(Protocol):
    """Who knows what a handle stands for: the scope, or the inside of a worker."""

    def adopt(self, value: Any, *, pinned: bool) -> int:
        """Keep a new value; its number."""

    def let_go(self, number: int) -> None:
        """A handle is gone; from any thread."""

    def export(self, number: int) -> None:
        """A handle is being packed, and may come back from anywhere."""

    def handle(self, kind: "type[Cown[Any]]", number: int) -> "Cown[Any]":
        """The handle of a number that arrived."""

    async def read(self, number: int) -> Any:
        """Wait for a copy of the value."""


ambient: Final[ContextVar[Keeper | None]] = ContextVar("tractor_cowns", default=None)
"""The scope in whose block, or in whose behaviour, this is."""

holding: Final[ContextVar[object]] = ContextVar("tractor_behaviour", default=None)
"""What identifies the behaviour that runs here."""


def current_keeper() -> Keeper:
    """Where this code belongs to.

    Raises:
        RuntimeError: To none.
    """
    keeper = ambient.get()
    if keeper is None:
        msg = "this is for the block of `open_cowns()`, and for behaviours"
        raise RuntimeError(msg)
    return keeper


class Cown[T]:
    """A handle of one value, which behaviours take turns to hold.

    Handles are equal if they stand for the same value, and they may be part of other
    values. `await cown` is `read()`.

    Args:
        value: Is packed at once, and so copied.

    Raises:
        RuntimeError: Outside of the block of `open_cowns`, and of behaviours.
        MsgTypeError: The value cannot be packed.
    """

    __slots__ = (
        "__weakref__",
        "_changed",
        "_failed",
        "_holder",
        "_keeper",
        "_number",
        "_packed",
        "_value",
    )

    _pinned = False

    _keeper: Keeper | None  # who is told when the handle is gone
    _holder: object  # who may look at the value
    _number: int
    _packed: tuple[int, bytes] | None  # what the value is made of, if that was not done
    _value: Any
    _failed: bool
    _changed: bool

    def __init__(self, value: T) -> None:
        self._keeper = None
        self._holder = None
        keeper = current_keeper()
        self._number = keeper.adopt(value, pinned=self._pinned)
        self._keeper = keeper

    @classmethod
    def of(cls, number: int, keeper: Keeper | None) -> Self:
        """One more handle; `keeper` is told of its end (for the package)."""
        handle = cls.__new__(cls)
        handle._number = number
        handle._keeper = keeper
        handle._holder = None
        return handle

    @property
    def value(self) -> T:
        """The value; for the behaviour that holds it. May be assigned.

        It is the exception, where a behaviour failed whose result this is.

        Raises:
            NotHeld: It is not held here and now.
        """
        if self._holder is None or self._holder is not holding.get():
            raise self._not_held()
        value: T = self._value
        return value

    @value.setter
    def value(self, value: T) -> None:
        if self._holder is None or self._holder is not holding.get():
            raise self._not_held()
        self._value = value
        self._failed = False
        self._changed = True

    @property
    def exception(self) -> bool:
        """Whether the value is the error of a behaviour that failed.

        Assigning a value makes it false.

        Raises:
            NotHeld: It is not held here and now.
        """
        if self._holder is None or self._holder is not holding.get():
            raise self._not_held()
        return self._failed

    async def read(self) -> T:
        """Wait for what has been scheduled over it so far, and return a copy.

        Only for the program that opened the scope: a behaviour waits for nothing.

        Raises:
            BaseException: That of the behaviour, if it failed whose result this is.
            CownPoisoned: The value is lost.
            BehaviourDropped: The scope ended before.
            TypeError: The value is pinned, and so has no copy.

        Cancellation: nothing happened.
        """
        if self._keeper is None:
            msg = "a behaviour waits for nothing; schedule another one over this cown"
            raise RuntimeError(msg)
        value: T = await self._keeper.read(self._number)
        return value

    def __await__(self) -> Generator[Any, Any, T]:
        return self.read().__await__()

    def __del__(self) -> None:
        keeper = getattr(self, "_keeper", None)
        if keeper is not None:
            keeper.let_go(self._number)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Cown):
            return NotImplemented
        return self._number == other._number

    def __lt__(self, other: "Cown[Any]") -> bool:
        if not isinstance(other, Cown):
            return NotImplemented
        return self._number < other._number

    def __hash__(self) -> int:
        return hash(self._number)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {number_str(self._number)}>"

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        current_keeper().export(self._number)
        return _arrived, (type(self), self._number)

    def _not_held(self) -> NotHeld:
        return NotHeld(
            f"{self!r} is not held here: its value is for behaviours over it"
        )


class PinnedCown[T](Cown[T]):
    """A handle of a value that stays on the main thread of the root.

    It is never packed: behaviours over it get the very same object, and run there.

    Args:
        value: Anything.

    Raises:
        RuntimeError: Elsewhere than in the block of `open_cowns` in the root.
    """

    __slots__ = ()
    _pinned = True


def _arrived(kind: type[Cown[Any]], number: int) -> Cown[Any]:
    return current_keeper().handle(kind, number)


def number_of(cown: Cown[Any]) -> int:
    """What it stands for (for the package)."""
    return cown._number


def number_str(number: int) -> str:
    """A number for people: who gave it, and which of theirs it is."""
    maker, own = number >> 32, number & 0xFFFFFFFF
    return f"{maker}.{own}" if maker else str(own)

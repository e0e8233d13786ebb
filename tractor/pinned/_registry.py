"""The values that live on the main thread, by number.

A value is kept for its handle, the one that `PinnedResource` made. Once that has been
encoded somebody elsewhere may have a copy, of which nothing is known here: then the
value is kept until it is closed, or until the tree has ended and nobody elsewhere is
left.
"""

from functools import partial
from itertools import count
from typing import Any, Final
from uuid import uuid4

from tractor.pinned._errors import ResourceClosed
from tractor.pinned._main_thread import main


class _Entry:
    __slots__ = ("held", "sent", "value")

    def __init__(self, value: Any) -> None:
        self.value = value
        self.held = True  # its first handle is alive
        self.sent = False  # and others may be, in other actors


class Registry:
    """All of this process; values are touched on the main thread alone.

    Attributes:
        home: Tells handles of this process from those of others.
    """

    def __init__(self) -> None:
        self.home = uuid4().hex
        self._entries: dict[int, _Entry] = {}
        self._numbers = count(1)

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, value: Any) -> int:
        """Keep a value; its number. On the main thread."""
        number = next(self._numbers)
        self._entries[number] = _Entry(value)
        return number

    def get(self, home: str, number: int) -> Any:
        """The value. On the main thread.

        Raises:
            ResourceClosed: It is gone, or never was here.
        """
        if home != self.home:
            msg = f"pinned resource {number} does not belong to this tree of actors"
            raise ResourceClosed(msg)
        entry = self._entries.get(number)
        if entry is None:
            msg = (
                f"pinned resource {number} is gone: it was closed, its handle in the "
                "root was dropped before another actor had one, or its tree has ended"
            )
            raise ResourceClosed(msg)
        return entry.value

    def drop(self, home: str, number: int) -> None:
        """Let the value go, if it is here. On the main thread."""
        if home == self.home:
            self._entries.pop(number, None)

    # -- in any thread -----------------------------------------------------------------

    def note_sent(self, number: int) -> None:
        """A handle is being encoded."""
        if (entry := self._entries.get(number)) is not None:
            entry.sent = True

    def note_gone(self, number: int) -> None:
        """The first handle is gone."""
        if (entry := self._entries.get(number)) is not None:
            entry.held = False
            if not entry.sent:
                self._drop_soon(number)

    def end_tree(self) -> None:
        """Nobody elsewhere has a handle any more."""
        for number, entry in list(self._entries.items()):
            entry.sent = False
            if not entry.held:
                self._drop_soon(number)

    def _drop_soon(self, number: int) -> None:
        main.run_soon(partial(self.drop, self.home, number))


registry: Final = Registry()

"""The notice board of a scope: small facts that every behaviour may read.

The scope has the board and is the only one that changes it, so changes are atomic; each
worker has a copy, which it gets before the behaviours that were scheduled later. What
one behaviour sees of it stays the same until its end, whatever happens meanwhile, and
so it does not see its own changes.
"""

from collections.abc import Callable, Mapping
from enum import Enum
from types import MappingProxyType
from typing import Any, Final

from tractor.cowns._cown import holding
from tractor.cowns._functions import find, known
from tractor.cowns._values import Codec
from tractor.log import get_logger

log: Final = get_logger("cowns")


class Removed(Enum):
    """See `REMOVED`."""

    REMOVED = 0

    def __repr__(self) -> str:
        return "REMOVED"


REMOVED: Final = Removed.REMOVED
"""What a function for `Notices.update` returns to remove the key."""

type Change = tuple[str, str, bytes, str]  # what, key, data, path of a function


class Notices:
    """Keys and values that everybody may read and change.

    Values are packed as those of cowns are, and what one gets is a copy: to change it
    changes nothing.

    Args:
        codec: Of its side.
        change: Is told of each change.
    """

    def __init__(self, codec: Codec, change: Callable[[Change], None]) -> None:
        self._codec = codec
        self._change = change
        self._packed: dict[str, bytes] = {}
        self._board: Mapping[str, Any] = {}
        self._views: dict[object, Mapping[str, Any]] = {}

    # -- for programs ------------------------------------------------------------------

    def snapshot(self) -> Mapping[str, Any]:
        """The board; in a behaviour always the same one."""
        reader = holding.get()
        if reader is None:
            return MappingProxyType(self._board)
        return MappingProxyType(self._views.setdefault(reader, self._board))

    def read(self, key: str, default: Any = None) -> Any:
        """One value of the `snapshot`."""
        return self.snapshot().get(key, default)

    def write(self, key: str, value: Any) -> None:
        """Set a value; returns at once.

        Raises:
            TypeError: The key is no text.
            MsgTypeError: The value cannot be packed.
        """
        self._tell("write", key, self._codec.encode(value))

    def delete(self, key: str) -> None:
        """Remove a key, if it is there; returns at once."""
        self._tell("delete", key, b"")

    def update(self, key: str, fn: Callable[[Any], Any], default: Any = None) -> None:
        """Set a value to ``fn(value)``, with nothing in between; returns at once.

        It is called where the scope is, so it should be short. If it raises, that is
        logged, and nothing changes; if it returns `REMOVED` the key is removed.

        Args:
            key: Of the value.
            fn: At the top level of a module, or local as a behaviour may be.
            default: Instead of a value that is not there.
        """
        if self._codec.serializer is None:
            path, data = known(fn).path, self._codec.encode(default)
        else:
            path, data = "", self._codec.encode((fn, default))
        self._tell("update", key, data, path)

    def seed(self, key: str, value: Any) -> None:
        """Set a value before any behaviour can look.

        Raises:
            RuntimeError: In a behaviour.
        """
        if holding.get() is not None:
            msg = "seed() is for the program; a behaviour uses write()"
            raise RuntimeError(msg)
        self.write(key, value)

    def _tell(self, what: str, key: str, data: bytes, path: str = "") -> None:
        if not isinstance(key, str):
            msg = f"the key of a notice is a text, not {key!r}"
            raise TypeError(msg)
        self.snapshot()  # from now on, for who must not see its own change
        self._change((what, key, data, path))

    # -- for the package ---------------------------------------------------------------

    def forget_reader(self, reader: object) -> None:
        """A behaviour has ended."""
        if self._views:
            self._views.pop(reader, None)

    def put(self, key: str, data: bytes) -> None:
        """A value has changed; no data means that it was removed."""
        board = dict(self._board)
        if data:
            board[key] = self._codec.decode(data)
            self._packed[key] = data
        else:
            board.pop(key, None)
            self._packed.pop(key, None)
        self._board = board

    def packed(self) -> list[tuple[str, bytes]]:
        """All of it, for a worker that is new."""
        return list(self._packed.items())

    def made_of(self, change: Change) -> bytes | None:
        """Data of the value that a change leads to; `None` where it leads to none."""
        what, key, data, path = change
        if what != "update":
            return data
        try:
            if path:
                fn, old = find(path), self._codec.decode(data)
            else:
                fn, old = self._codec.decode(data)
            if (packed := self._packed.get(key)) is not None:
                old = self._codec.decode(packed)
            new = fn(old)
            return b"" if new is REMOVED else self._codec.encode(new)
        except (Exception, SystemExit, GeneratorExit):
            log.exception("a notice was not updated: %s", key)
            return None

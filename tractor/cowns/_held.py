"""Handles while a behaviour holds them: their values come, and go again."""

from collections.abc import Callable
from typing import Any, Final

from tractor.cowns import _records as r
from tractor.cowns._cown import Cown
from tractor.cowns._functions import find
from tractor.cowns._values import Codec
from tractor.cowns._when import Shape
from tractor.futures import PayloadError

# What nobody can change from within; all else is looked upon as changed.
SCALARS: Final = frozenset((type(None), bool, int, float, str, bytes))


class Unreadable(PayloadError):
    """The value of a cown could not be unpacked, and is lost."""


class Functions:
    """Finds functions, once each."""

    def __init__(self, codec: Codec) -> None:
        self._codec = codec
        self._found: dict[str, Callable[..., Any]] = {}

    def get(self, path: str, data: bytes) -> tuple[Callable[..., Any], Any]:
        """The function and its captures.

        Raises:
            BaseException: Whatever an import or the serializer raises.
        """
        if not path:
            return self._codec.decode(data)  # type: ignore[no-any-return]
        fn = self._found.get(path)
        if fn is None:
            fn = self._found[path] = find(path)
        return fn, self._codec.decode(data) if data else ()


def arranged(
    shape: Shape, handles: dict[int, Cown[Any]]
) -> tuple[list[Any], list[Cown[Any]]]:
    """What the function gets, and all handles in it."""
    args: list[Any] = []
    held: list[Cown[Any]] = []
    for part in shape:
        if type(part) is int:
            cown = handles[part]
            args.append(cown)
            held.append(cown)
        else:
            group = [handles[number] for number in part]  # type: ignore[union-attr]
            args.append(group)
            held += group
    return args, held


def numbers_in(shape: Shape) -> list[int]:
    """All numbers that it has, flat."""
    for part in shape:
        if type(part) is not int:
            return [n for part in shape for n in _numbers(part)]
    return shape  # type: ignore[return-value]


def _numbers(part: int | list[int]) -> list[int]:
    return part if isinstance(part, list) else [part]


def fill(cown: Cown[Any], codec: Codec) -> None:
    """Unpack its value, if that has not been done.

    Raises:
        Unreadable: It cannot be.
    """
    packed = cown._packed
    if packed is None:
        return
    failed, data = packed
    try:
        if failed:
            cown._value = codec.decode_error(failed, data)
        else:
            cown._value = codec.decode(data)
    except BaseException as exc:
        msg = f"the value of {cown!r} could not be unpacked: {exc!r}"
        raise Unreadable(msg) from exc
    cown._failed = bool(failed)
    cown._packed = None


def acquire(
    held: list[Cown[Any]], holder: object, codec: Codec
) -> tuple[Cown[Any], Unreadable] | None:
    """Let somebody hold them all; else say which one cannot be read, and hold none."""
    for cown in held:
        if cown._packed is not None:
            try:
                fill(cown, codec)
            except Unreadable as exc:
                return cown, exc
    for cown in held:
        cown._changed = False
        cown._holder = holder
    return None


def is_changed(cown: Cown[Any]) -> bool:
    """Whether the value may be another one than that which came."""
    return cown._changed or not (cown._failed or type(cown._value) in SCALARS)


def state_of(cown: Cown[Any], codec: Codec) -> r.State:
    """Its value, packed; or why that is impossible."""
    try:
        return cown._number, 0, codec.encode(cown._value)
    except BaseException as exc:  # noqa: BLE001 (whatever a serializer raises)
        return broken(cown, exc, codec)


def broken(cown: Cown[Any], error: BaseException, codec: Codec) -> r.State:
    """The state of a cown whose value is lost."""
    return cown._number, r.BROKEN, r.pack(codec.encode_error(error))

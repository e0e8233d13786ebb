"""What one sees of shared memory: bytes, an array, a list."""

import struct
from collections.abc import Iterable, Iterator, Sequence
from math import prod
from typing import Any, ClassVar, Final, Self, overload

import msgspec

from tractor.ipc._shm_keep import keep, note
from tractor.ipc._shm_memory import Memory
from tractor.ipc._shm_token import (
    ShmArrayToken,
    ShmListToken,
    ShmMismatch,
    ShmToken,
    dtype_name,
    item_size,
    numpy,
    read_token,
    view_format,
)

CLAIM_TIMEOUT: Final = 30.0  # seconds for which what was handed over is kept

_HEAD: Final = struct.Struct("=I")  # bytes of an item, before it
_LEAST_WIDTH: Final = 16  # bytes; every number fits

type Item = bool | int | float | str | bytes | None


class _Shared[T: ShmToken]:
    """What all kinds have in common; a context manager that closes it."""

    _kind: ClassVar[type[ShmToken]]

    def __init__(self, memory: Memory, **layout: Any) -> None:
        self._memory = memory
        self._layout = layout

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __reduce__(self) -> Any:
        msg = f"a {type(self).__name__} cannot be sent or copied; send its token"
        raise TypeError(msg)

    def __repr__(self) -> str:
        what = "closed" if self.closed else f"{self.size} bytes"
        return f"<{type(self).__name__} {self._memory.key[:8]}, {what}>"

    @property
    def size(self) -> int:
        """Bytes of the content."""
        return self._memory.size

    @property
    def readonly(self) -> bool:
        """Whether it can only be read here."""
        return self._memory.readonly

    @property
    def closed(self) -> bool:
        """Whether it was closed or handed over here."""
        return self._memory.closed

    @property
    def token(self) -> T:
        """What to send to others, who can attach it while it is open here.

        Raises:
            ValueError: It was closed.
        """
        return self._token(self._memory.facts())

    def hand_over(self, *, claim_timeout: float = CLAIM_TIMEOUT) -> T:
        """Give it away: a token for exactly one other, and it is closed here.

        Nobody else should have it: whoever takes it cannot know. What this side still
        has of it, a slice or an array say, is not to be used any more.

        Args:
            claim_timeout: Seconds for which this actor keeps it for the other one; at
                the end of its trio run it goes in any case.

        Raises:
            ValueError: It was closed, or attached to be read.
            RuntimeError: There is no trio run here.
        """
        if self.readonly:
            msg = "it was attached to be read, and so is not this side's to give away"
            raise ValueError(msg)
        facts = self._memory.facts()
        turn = keep(self._memory, claim_timeout)
        return self._token(facts | {"turn": turn})

    def is_shared(self) -> bool:
        """Whether somebody else has it open or mapped at this moment.

        Somebody who has a token and is about to attach it is not seen.

        Raises:
            ValueError: It was closed.
        """
        return self._memory.is_shared()

    def close(self) -> None:
        """Give it up here; others who have it keep it, and the last one frees it.

        Does nothing the second time. So does dropping it; and the end of the trio run
        in which it was opened, if that comes first.
        """
        self._memory.close()

    def _token(self, facts: dict[str, Any]) -> T:
        kind: Any = self._kind
        made: T = kind(**facts, **self._layout)
        return made


# -- Bytes -----------------------------------------------------------------------------


class ShmBuffer(_Shared[ShmToken]):
    """Bytes in shared memory; see `open_shm_buffer` and `attach_shm_buffer`."""

    _kind = ShmToken

    @property
    def view(self) -> memoryview:
        """The bytes themselves.

        Raises:
            ValueError: It was closed.
        """
        return self._memory.view

    def write(self, data: Any, offset: int = 0) -> None:
        """Copy bytes into it, from `offset` on.

        The first time this takes a fraction of what it takes to fill the `view`.

        Args:
            data: Anything contiguous that has a buffer.
            offset: Where, in bytes.

        Raises:
            ValueError: They do not fit, or it was closed.
            TypeError: It can only be read here.
        """
        self._memory.write(data, offset)


def open_shm_buffer(size: int) -> ShmBuffer:
    """Make a buffer of so many bytes, all zero, that other actors can attach.

    Raises:
        ValueError: The size is less than 0, or more than the system can share.
        ShmError: There is no shared memory on this system.
    """
    return ShmBuffer(note(Memory.create(size)))


def attach_shm_buffer(token: object, *, readonly: bool = False) -> ShmBuffer:
    """The bytes that a token stands for, also of an array or a list; nothing is copied.

    Args:
        token: As it arrived, also as the plain data that it is without an annotation.
        readonly: Whether writing is to be an error.

    Raises:
        ShmGone: The memory is not there any more.
        ShmOutOfReach: It is of another host, container or user.
        ShmMismatch: The token is none, or its memory is not what it says.
    """
    found = read_token(token, ShmToken)
    return ShmBuffer(note(Memory.attach(found, readonly=readonly)))


# -- Arrays ----------------------------------------------------------------------------


class ShmArray(_Shared[ShmArrayToken]):
    """An array in shared memory; see `open_shm_array` and `attach_shm_array`.

    Attributes:
        dtype: Type of its elements, in the form ``<f8``.
        shape: Its length in each dimension.
    """

    _kind = ShmArrayToken

    def __init__(self, memory: Memory, dtype: str, shape: tuple[int, ...]) -> None:
        super().__init__(memory, dtype=dtype, shape=shape)
        self.dtype = dtype
        self.shape = shape

    @property
    def view(self) -> memoryview:
        """A `memoryview` with that type and shape, which needs no numpy.

        Raises:
            ValueError: It was closed.
            TypeError: Only numpy knows the type.
        """
        if (code := view_format(self.dtype)) is None:
            msg = f"a memoryview knows no elements of {self.dtype}; numpy does"
            raise TypeError(msg)
        return self._memory.view.cast(code, self.shape)  # type: ignore[call-overload,no-any-return]

    @property
    def array(self) -> Any:
        """A numpy array on the memory; where there is no numpy it is the `view`.

        Raises:
            ValueError: It was closed.
            TypeError: Only numpy knows the type, and it is not here.
        """
        if (np := numpy()) is None:
            return self.view
        # By `frombuffer`, which holds the memory; `ndarray(buffer=)` would not, and be
        # left with an address where nothing is.
        return np.frombuffer(self._memory.view, self.dtype).reshape(self.shape)


def open_shm_array(shape: int | Sequence[int], dtype: object = "float64") -> ShmArray:
    """Make an array, all zero, that other actors can attach.

    Args:
        shape: Its length in each dimension, at least 1.
        dtype: The type of its elements: a name like ``int32`` or ``float64``, a code of
            `struct`, `bool`, `int`, `float`, or what numpy knows beyond that.

    Raises:
        ValueError: There is no such shape, or not so much memory.
        TypeError: There is no such type of elements.
        ShmError: There is no shared memory on this system.
    """
    lengths = (shape,) if isinstance(shape, int) else tuple(shape)
    if not 1 <= len(lengths) <= 32 or min(lengths) < 1:  # noqa: PLR2004 (numpy's limit)
        msg = f"a shape has 1 to 32 lengths of at least 1, not {shape!r}"
        raise ValueError(msg)
    name = dtype_name(dtype)
    memory = Memory.create(prod(lengths) * item_size(name))
    return ShmArray(note(memory), name, lengths)


def attach_shm_array(token: object, *, readonly: bool = False) -> ShmArray:
    """The array that a token stands for; options and errors of `attach_shm_buffer`."""
    found = read_token(token, ShmArrayToken)
    memory = Memory.attach(found, readonly=readonly)
    return ShmArray(note(memory), found.dtype, found.shape)


# -- Lists -----------------------------------------------------------------------------


class ShmList(_Shared[ShmListToken], Sequence[Item]):
    """A list of fixed length in shared memory, of numbers, texts, bytes and `None`.

    Items can be replaced by others, also of another type, that are not longer than
    `width` allows. See `open_shm_list` and `attach_shm_list`.

    Attributes:
        width: Bytes for each item, with 4 for its length.
    """

    _kind = ShmListToken

    def __init__(self, memory: Memory, count: int, width: int) -> None:
        super().__init__(memory, count=count, width=width)
        self._count = count
        self.width = width

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> list[Item]: ...
    def __getitem__(self, index: int | slice) -> Item | list[Item]:
        if isinstance(index, slice):
            return [self._read(each) for each in range(*index.indices(self._count))]
        return self._read(range(self._count)[index])

    @overload
    def __setitem__(self, index: int, value: Item) -> None: ...
    @overload
    def __setitem__(self, index: slice, value: Iterable[Item]) -> None: ...
    def __setitem__(self, index: int | slice, value: Any) -> None:
        places: Sequence[int]
        if isinstance(index, slice):
            places, values = range(self._count)[index], list(value)
            if len(values) != len(places):
                msg = f"{len(values)} items for {len(places)} places: its length stays"
                raise ValueError(msg)
        else:
            places, values = (range(self._count)[index],), [value]
        # First all are encoded, so that it is all or none.
        data = [_encode(each, self.width) for each in values]
        for place, item in zip(places, data, strict=True):
            begin = place * self.width
            self._memory.view[begin : begin + len(item)] = item

    def __iter__(self) -> Iterator[Item]:
        return map(self._read, range(self._count))

    def _read(self, place: int) -> Item:
        begin = place * self.width
        slot = bytes(self._memory.view[begin : begin + self.width])
        length = _HEAD.unpack_from(slot)[0]
        try:
            item = _decode(slot[_HEAD.size : _HEAD.size + length])
        except msgspec.DecodeError as exc:
            raise ShmMismatch(f"item {place} {_UNREADABLE}") from exc
        if not isinstance(item, Item.__value__):
            raise ShmMismatch(f"item {place} {_UNREADABLE}")
        return item  # type: ignore[no-any-return]


def open_shm_list(values: Iterable[Item], *, width: int | None = None) -> ShmList:
    """Make a list of these values that other actors can attach.

    Args:
        values: Booleans, integers of 64 bits, floats, texts, bytes, `None`.
        width: Bytes for each item; by default 16, or what the longest one needs.

    Raises:
        ValueError: A value needs more than that.
        TypeError: There are others among them.
        ShmError: There is no shared memory on this system.
    """
    data = [_encode(each, width) for each in values]
    if width is None:
        width = max([_LEAST_WIDTH, *map(len, data)])
    width = -(-width // 8) * 8
    made = ShmList(note(Memory.create(len(data) * width)), len(data), width)
    for place, item in enumerate(data):
        made._memory.view[place * width : place * width + len(item)] = item
    return made


def attach_shm_list(token: object, *, readonly: bool = False) -> ShmList:
    """The list that a token stands for; options and errors of `attach_shm_buffer`."""
    found = read_token(token, ShmListToken)
    memory = Memory.attach(found, readonly=readonly)
    return ShmList(note(memory), found.count, found.width)


_decode: Final = msgspec.msgpack.Decoder().decode
_UNREADABLE: Final = "cannot be read; does somebody write it at this moment?"


def _encode(value: Item, width: int | None) -> bytes:
    """What is put into the place of an item."""
    if not isinstance(value, Item.__value__):
        kind = type(value).__name__
        msg = f"a shared list has numbers, texts, bytes and None, and no {kind!r}"
        raise TypeError(msg)
    try:
        data = msgspec.msgpack.encode(value)
    except OverflowError as exc:
        msg = f"{value} needs more than 64 bits"
        raise ValueError(msg) from exc
    if width is not None and _HEAD.size + len(data) > width:
        msg = f"{value!r:.40} needs {_HEAD.size + len(data)} bytes of {width}"
        raise ValueError(msg)
    return _HEAD.pack(len(data)) + data

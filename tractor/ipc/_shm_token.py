"""Tokens of shared memory: what travels instead of it, and what can be wrong with one.

A token is plain data. It says where the memory can be opened, as a descriptor of a
process, and by which random key it is to be recognised there. It grants nothing: what
lets somebody in is being the same user of the same host.
"""

import os
import re
from functools import cache
from math import prod
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from tractor._exceptions import TractorError

_BOOT: Final = Path("/proc/sys/kernel/random/boot_id")
_PIDS: Final = Path("/proc/self/ns/pid")

# Of numpy's `array interface`: byte order, kind, bytes (of texts: characters), unit.
_TYPE_NAME: Final = re.compile(
    r"[<>|]([biufcmMSUV])([1-9][0-9]{0,8})(\[[0-9a-zA-Z]+\])?"
)
_BYTES_OF_CHARACTER: Final = 4

type Natural = Annotated[int, Meta(ge=0, lt=2**62)]
type Positive = Annotated[int, Meta(ge=1, lt=2**62)]
type Key = Annotated[str, Meta(pattern=r"^[0-9a-f]{32}\Z")]
type TypeName = Annotated[str, Meta(pattern=rf"^{_TYPE_NAME.pattern}\Z")]
type Number = Annotated[int, Meta(ge=0, lt=2**31)]  # of a process or a descriptor


# -- Errors ----------------------------------------------------------------------------


class ShmError(TractorError):
    """Base of the errors of shared memory; raised itself where there can be none."""


class ShmGone(ShmError):
    """Raised by ``attach_…``: the memory of this token is not there any more."""


class ShmOutOfReach(ShmError):
    """Raised by ``attach_…``: the memory is of another host, container or user."""


class ShmMismatch(ShmError, ValueError):
    """Raised by ``attach_…``: the token is none, or its memory is not what it says."""


ERRORS: Final = (ShmError, ShmGone, ShmOutOfReach, ShmMismatch)


# -- Tokens ----------------------------------------------------------------------------


class ShmToken(msgspec.Struct, frozen=True, kw_only=True, tag_field="shm", tag="bytes"):
    """Where a buffer is; may be sent, pickled, compared and used as a key of a dict.

    Attributes:
        host: The machine since it was booted, and the process ids that are known there.
        user: Number of the user whose it is.
        pid: The process that has it open.
        fd: Its descriptor there.
        key: By which it is recognised.
        size: In bytes.
        turn: Which hand-over this is, for a token that can be used once.
    """

    host: str
    user: Natural
    pid: Number
    fd: Number
    key: Key
    size: Natural
    turn: Natural | None = None


class ShmArrayToken(ShmToken, frozen=True, kw_only=True, tag="array"):
    """Where an array is.

    Attributes:
        dtype: Type of its elements, in the form ``<f8``.
        shape: Its length in each dimension.
    """

    dtype: TypeName
    shape: Annotated[tuple[Positive, ...], Meta(min_length=1, max_length=32)]


class ShmListToken(ShmToken, frozen=True, kw_only=True, tag="list"):
    """Where a list is.

    Attributes:
        count: How many items it has.
        width: Bytes for each of them.
    """

    count: Natural
    width: Annotated[int, Meta(ge=8, lt=2**31)]


def read_token[T: ShmToken](token: object, wanted: type[T]) -> T:
    """A checked token of that kind, also from what msgpack makes of one.

    Raises:
        ShmMismatch: It is none, or contradicts itself.
        ShmOutOfReach: It is of another host, container or user.
    """
    try:
        plain = msgspec.to_builtins(token)
        found = msgspec.convert(plain, ShmToken | ShmArrayToken | ShmListToken)
    except (TypeError, ValueError, RecursionError) as exc:
        msg = f"this is no token of shared memory: {exc}"
        raise ShmMismatch(msg) from exc
    if not isinstance(found, wanted):
        kind, other = (_tag(cls) for cls in (type(found), wanted))
        msg = f"it is a token of {kind} where one of {other} is expected"
        raise ShmMismatch(msg)
    _check_layout(found)
    _check_reach(found)
    return found


def host_id() -> str:
    """What is the same exactly for those who can open each other's memory.

    Raises:
        ShmError: This system cannot share memory so.
    """
    if not hasattr(os, "memfd_create"):
        msg = "memory can be shared on Linux only, for want of memfd_create() here"
        raise ShmError(msg)
    try:
        return _host_id()
    except OSError as exc:
        msg = f"memory cannot be shared without /proc: {exc}"
        raise ShmError(msg) from exc


@cache  # of what cannot change while the process lives
def _host_id() -> str:
    return f"{_BOOT.read_text().strip()}/{_PIDS.stat().st_ino}"


def _tag(cls: type[ShmToken]) -> Any:
    return cls.__struct_config__.tag


def _check_layout(token: ShmToken) -> None:
    match token:
        case ShmArrayToken():
            size = prod(token.shape) * item_size(token.dtype)
        case ShmListToken():
            size = token.count * token.width
        case _:
            return
    if size != token.size:
        msg = f"the token contradicts itself: {size} bytes by layout, {token.size} said"
        raise ShmMismatch(msg)


def _check_reach(token: ShmToken) -> None:
    if token.host != host_id():
        where, here = token.host, host_id()
        what = "container" if where.split("/")[0] == here.split("/")[0] else "host"
        msg = f"the memory is of another {what}; send the bytes themselves"
        raise ShmOutOfReach(msg)
    if token.user != os.geteuid():
        msg = f"the memory is of user {token.user}, and this is user {os.geteuid()}"
        raise ShmOutOfReach(msg)


# -- Types of elements -----------------------------------------------------------------

# Of what a memoryview knows; everything else is for numpy.
_CODES: Final = {
    **{"|b1": "?", "|i1": "b", "|u1": "B", "<i2": "h", "<u2": "H", "<i4": "i"},
    **{"<u4": "I", "<i8": "q", "<u8": "Q", "<f2": "e", "<f4": "f", "<f8": "d"},
}
_NAMES: Final = {
    **{"bool": "|b1", "int8": "|i1", "uint8": "|u1", "int16": "<i2", "uint16": "<u2"},
    **{"int32": "<i4", "uint32": "<u4", "int64": "<i8", "uint64": "<u8"},
    **{"float16": "<f2", "float32": "<f4", "float64": "<f8"},
    **{code: name for name, code in _CODES.items()},
    **{name: name for name in _CODES},
}
_CLASSES: Final[dict[object, str]] = {bool: "|b1", int: "<i8", float: "<f8"}


def dtype_name(dtype: object) -> str:
    """The name of a type of elements, as numpy's `array interface` spells it.

    Raises:
        TypeError: There is no such type, or only with numpy, or only in one process.
    """
    plain = _NAMES.get(dtype) if isinstance(dtype, str) else None
    if plain is None and isinstance(dtype, type):
        plain = _CLASSES.get(dtype)
    return plain if plain is not None else _name_by_numpy(dtype)


def item_size(name: str) -> int:
    """Bytes of one element of a type of that name; 0 for none."""
    if (match := _TYPE_NAME.fullmatch(name)) is None:
        return 0
    return int(match[2]) * (_BYTES_OF_CHARACTER if match[1] == "U" else 1)


def view_format(name: str) -> str | None:
    """The format by which a `memoryview` knows it, if it does."""
    return _CODES.get(name)


def numpy() -> Any:
    """The package, or `None` where it cannot be imported; many interpreters cannot."""
    try:
        import numpy as found  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        return None
    return found


def _name_by_numpy(dtype: object) -> str:
    if (np := numpy()) is None:
        known = ", ".join(name for name in _NAMES if len(name) >= len("int8"))
        msg = f"no type of elements without numpy: {dtype!r}; there are {known}"
        raise TypeError(msg)
    found = np.dtype(dtype)
    name: str = found.str
    if found.hasobject or found.fields or not _TYPE_NAME.fullmatch(name):
        msg = (
            f"elements of {found} cannot be shared as such; share bytes, and view them"
        )
        raise TypeError(msg)
    return name

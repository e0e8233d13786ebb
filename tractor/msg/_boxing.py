"""Exceptions to data, and data to exceptions.

`box` never raises, whatever the exception does: its own methods may be hostile, its
group may have a million members, its arguments may not be encodable. Nothing is ever
unpickled; `unbox` never raises either, whatever a peer sends, and an error is rebuilt
only when somebody asks. Its class is found by name in an allow-list (builtins, trio,
ours, and what the user registered), and of its constructors only that of the builtin
class below it runs, which sets what builtin errors keep outside of their attributes.
"""

import builtins
import traceback
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import Any, Final, TypeIs

import msgspec
import trio

from tractor import _aio_errors, _exceptions
from tractor._exceptions import ContextCancelled, RemoteActorError
from tractor._types import ErrorInfo, Uid

MAX_TEXT: Final = 64 * 1024  # characters, or bytes, of each thing that is sent
MEMBER_TEXT: Final = 4 * 1024  # the same for each member of a group
SHORT_TEXT: Final = 256  # the same where nothing longer fits into a frame
MAX_MEMBERS: Final = 256  # members of all groups in one error; the rest are counted
MAX_DEPTH: Final = 16  # levels of nested groups that are sent
MAX_CHAIN: Final = 16  # causes of one error that its traceback shows

_CAUSED: Final = "\nThe above exception was the direct cause of the next one:\n\n"
_DURING: Final = "\nDuring handling of the above exception, the next one occurred:\n\n"

# What builtin errors and `trio.Cancelled` keep outside of `vars()` and `args`.
_HIDDEN: Final = (
    *("errno", "strerror", "filename", "filename2", "name", "path"),
    *("source", "source_task", "reason"),
)
_MODULES: Final = (builtins, _exceptions, _aio_errors, trio)
_PLAIN: Final = (type(None), bool, int, float, str, bytes)
_registered: Final[dict[str, type[BaseException]]] = {}


def reg_err_types(types: Iterable[type[BaseException]]) -> None:
    """Let errors of these classes be rebuilt when they come from other actors.

    Raises:
        TypeError: One of them is not an exception class.
    """
    for cls in types:
        if not (isinstance(cls, type) and issubclass(cls, BaseException)):
            msg = f"reg_err_types() takes exception classes, not {cls!r}"
            raise TypeError(msg)
        _registered[_path_of(cls)] = cls


def forget_err_types() -> None:
    """Undo every `reg_err_types`."""
    _registered.clear()


def get_err_type(type_path: str) -> type[BaseException] | None:
    """The class behind ``module:QualName``, if it is on the allow-list."""
    if (known := _registered.get(type_path)) is not None:
        return known
    for module in _MODULES:
        found = getattr(module, type_path.partition(":")[2], None)
        if (
            isinstance(found, type)
            and issubclass(found, BaseException)
            and _path_of(found) == type_path
        ):
            return found
    return None


def box(exc: BaseException, uid: Uid, *, canceller: Uid | None = None) -> ErrorInfo:
    """`exc` as data, sent by the actor `uid`; never raises."""
    unreadable = _info("builtins:Exception", "<it cannot be read>", uid, canceller)
    return _safely(lambda: _box(exc, uid, canceller, 0, MAX_MEMBERS), unreadable)


def unbox(info: ErrorInfo) -> RemoteActorError:
    """The error that a waiter in this actor gets."""
    cancelled = info.type_path == _path_of(ContextCancelled)
    cls = ContextCancelled if cancelled else RemoteActorError
    error = cls(
        info,
        boxed_type=get_err_type(info.type_path),
        src_type=get_err_type(info.src_type_path),
    )
    error._rebuilder = partial(_rebuild, info)  # its one writer
    return error


def shorten(info: ErrorInfo) -> ErrorInfo:
    """The same error in a few hundred bytes."""
    return msgspec.structs.replace(
        info,
        type_path=_cut(info.type_path, SHORT_TEXT),
        message=_cut(info.message, SHORT_TEXT),
        tb_str=_cut(info.tb_str, SHORT_TEXT),
        src_type_path=_cut(info.src_type_path, SHORT_TEXT),
        args=b"\x90",
        attrs={},
        members=None,
        omitted=0,
        notes=[],
    )


def cancelled_info(uid: Uid, canceller: Uid | None, what: str) -> ErrorInfo:
    """What a peer is told when `what` was cancelled here by request."""
    by = "its own actor" if canceller in (None, uid) else f"actor {canceller[0]!r}"
    message = f"{what} was cancelled by {by}"
    return _info(_path_of(ContextCancelled), message, uid, canceller)


def _info(path: str, message: str, uid: Uid, canceller: Uid | None) -> ErrorInfo:
    return ErrorInfo(
        type_path=path,
        message=message,
        tb_str="",
        src_type_path=path,
        src_uid=uid,
        relay_path=[uid],
        canceller=canceller,
    )


# -- boxing ----------------------------------------------------------------------------


def _box(
    exc: BaseException, uid: Uid, canceller: Uid | None, depth: int, room: int
) -> ErrorInfo:
    """As `box`, for a member `depth` levels down whose own get `room` in all."""
    kind = type(exc)  # not by `isinstance`, which asks the exception, and it may lie
    limit = MEMBER_TEXT if depth else MAX_TEXT
    if issubclass(kind, RemoteActorError):
        return _relay(exc, uid, limit)  # type: ignore[arg-type]
    type_path = _safely(lambda: _cut(_path_of(kind)), "builtins:Exception")
    message = _cut(_text_of(exc), limit)
    members, omitted = _safely(lambda: _members(exc, uid, depth, room), _NONE)
    return ErrorInfo(
        type_path=type_path,
        message=message,
        tb_str=_safely(lambda: _cut(_traceback(exc, members), limit), ""),
        src_type_path=type_path,
        src_uid=uid,
        relay_path=[uid],
        args=_safely(lambda: _args(exc, limit), msgspec.msgpack.encode([message])),
        attrs=_safely(lambda: _attrs(exc, limit), {}),
        members=members,
        omitted=omitted,
        canceller=canceller,
        notes=[_cut(note, limit) for note in _notes(exc)],
    )


_NONE: Final[tuple[list[ErrorInfo] | None, int]] = (None, 0)


def _relay(exc: RemoteActorError, uid: Uid, limit: int) -> ErrorInfo:
    """Its source stays what it was, its path grows."""
    cancelled = issubclass(type(exc), ContextCancelled)
    return msgspec.structs.replace(
        exc.info,
        type_path=_path_of(ContextCancelled if cancelled else RemoteActorError),
        relay_path=[*exc.info.relay_path, uid],
        tb_str=_safely(lambda: _cut(_traceback(exc, None), limit), ""),
    )


def _members(
    exc: BaseException, uid: Uid, depth: int, room: int
) -> tuple[list[ErrorInfo] | None, int]:
    """What is sent of its members, and how many are not."""
    if not _is_group(exc):
        return None, 0
    sent = exc.exceptions[:room] if depth < MAX_DEPTH else ()
    share = (room - len(sent)) // max(1, len(sent))
    infos = [_box(member, uid, None, depth + 1, share) for member in sent]
    return infos, len(exc.exceptions) - len(infos)


def _is_group(exc: BaseException) -> TypeIs[BaseExceptionGroup[BaseException]]:
    return issubclass(type(exc), BaseExceptionGroup)


def _text_of(exc: BaseException) -> str:
    # That of a group without the number of members.
    read = partial(getattr, exc, "message") if _is_group(exc) else partial(str, exc)
    return _safely(lambda: _cut(read()), "<its text cannot be read>")


def _args(exc: BaseException, limit: int) -> bytes:
    """msgpack of its arguments.

    Raises:
        ValueError: It is too long.
    """
    if _is_group(exc):
        return b"\x90"  # the members travel by themselves
    encoded = msgspec.msgpack.encode([_plain(arg, 0) for arg in exc.args[:32]])
    if len(encoded) > limit:
        raise ValueError
    return encoded


def _attrs(exc: BaseException, limit: int) -> dict[str, Any]:
    """As many of its public attributes made of builtins as fit."""
    values = {name: value for name in _HIDDEN if (value := _read(exc, name)) is not exc}
    values |= vars(exc)
    attrs: dict[str, Any] = {}
    for name, value in values.items():
        if type(value) in _PLAIN and not name.startswith("_"):
            plain = {_cut(name): _plain(value, 0)}
            size = len(msgspec.msgpack.encode(plain))
            if size <= limit:
                limit -= size
                attrs |= plain
    return attrs


def _read(exc: BaseException, name: str) -> Any:
    """An attribute; `exc` itself where it has none."""
    return _safely(lambda: getattr(exc, name), exc)


def _plain(value: Any, depth: int) -> Any:
    """`value` where it is made of builtins that msgpack carries, else its repr."""
    if type(value) is int and not -(2**63) <= value < 2**64:
        return repr(value)
    if type(value) is str:
        return _cut(value)
    if type(value) in _PLAIN:
        return value
    if depth < MAX_DEPTH:
        if type(value) in (list, tuple):
            return [_plain(item, depth + 1) for item in value]
        if type(value) is dict:
            return {_key(k): _plain(v, depth + 1) for k, v in value.items()}
    return _safely(lambda: _cut(repr(value)), f"<{type(value).__name__}>")


def _notes(exc: BaseException) -> list[str]:
    nothing: list[str] = []
    return _safely(lambda: [_cut(str(note)) for note in exc.__notes__[:8]], nothing)


def _key(key: Any) -> Any:
    return _plain(key, 0) if type(key) in _PLAIN else _cut(repr(key))


def _traceback(exc: BaseException, members: list[ErrorInfo] | None) -> str:
    """The tracebacks of `exc` and of what led to it, the latter first.

    Not by `traceback.format_exception`, which walks all members of each group on its
    way, and takes minutes where there are a million.
    """
    lines: list[str] = []
    for link, follows in _chain(exc):
        if link.__traceback__ is not None:
            lines.append("Traceback (most recent call last):\n")
            lines += traceback.format_tb(link.__traceback__)
        lines.append(f"{_name_of(type(link))}: {_text_of(link)}\n")
        lines += [f"{note}\n" for note in _notes(link)]
        lines.append(follows)
    for number, member in enumerate(members or (), 1):
        lines.append(f"  member {number}:\n")
        lines += [f"    {line}\n" for line in member.tb_str.splitlines()]
    return "".join(lines)


def _chain(exc: BaseException) -> list[tuple[BaseException, str]]:
    """`exc`, last, and what led to it; each with how the next one follows."""
    chain = [(exc, "")]
    seen = {id(exc)}
    while len(chain) < MAX_CHAIN:
        last = chain[-1][0]
        before, follows = last.__cause__, _CAUSED
        if before is None and not last.__suppress_context__:
            before, follows = last.__context__, _DURING
        if before is None or id(before) in seen:
            break
        seen.add(id(before))
        chain.append((before, follows))
    return chain[::-1]


def _cut(text: str, limit: int = MAX_TEXT) -> str:
    """`text` within bounds and encodable as UTF-8; the middle goes first."""
    text = str.__str__(text)  # of a subclass, no method is to be trusted
    if len(text) > limit:
        half = limit // 2
        text = f"{text[:half]}\n… {len(text) - limit} characters …\n{text[-half:]}"
    return text.encode("utf-8", "backslashreplace").decode()


def _safely[T](read: Callable[[], T], fallback: T) -> T:
    """What `read` returns, or `fallback` where it raises anything.

    As it awaits nothing, even a `Cancelled` is of its own making.
    """
    try:
        return read()
    except BaseException:  # noqa: BLE001
        return fallback


def _path_of(cls: type) -> str:
    # A child that imported the program again calls its main module `__mp_main__`.
    module = "__main__" if cls.__module__ == "__mp_main__" else cls.__module__
    return f"{module}:{cls.__qualname__}"


def _name_of(cls: type) -> str:
    """As in the tracebacks of the interpreter."""
    if cls.__module__ in ("builtins", "__main__"):
        return cls.__qualname__
    return f"{cls.__module__}.{cls.__qualname__}"


# -- rebuilding ------------------------------------------------------------------------


def _rebuild(info: ErrorInfo) -> BaseException | None:
    """The first error again; `None` where that cannot be."""
    return _safely(lambda: _rebuilt(info), None)


def _rebuilt(info: ErrorInfo) -> BaseException | None:
    cls = get_err_type(info.src_type_path)
    if cls is None:
        return None
    group = issubclass(cls, BaseExceptionGroup)
    error = _rebuild_group(cls, info) if group else _rebuild_single(cls, info)
    for name, value in info.attrs.items():
        # What is right already is left alone: to set `filename` of an OSError to the
        # None that it is, for one, shows.
        if not name.startswith("_") and _read(error, name) != value:
            with suppress(Exception):  # a read-only view of something in `args`
                setattr(error, name, value)
    for note in info.notes:
        error.add_note(note)
    error.__cause__ = _exceptions.RemoteTraceback(info.tb_str)
    return error


def _rebuild_single(cls: type[BaseException], info: ErrorInfo) -> BaseException:
    args = tuple(msgspec.msgpack.decode(info.args))
    builtin: Any = cls
    while builtin.__module__ != "builtins":
        builtin = builtin.__base__
    error: BaseException = builtin.__new__(cls, *args)
    with suppress(Exception):  # a class of the user's may have other arguments
        builtin.__init__(error, *args)
    error.args = args
    return error


def _rebuild_group(cls: type[BaseException], info: ErrorInfo) -> BaseException:
    members = [_rebuild_member(member) for member in info.members or ()]
    if info.omitted:
        text = f"and {info.omitted} more errors, not sent"
        members.append(_exceptions.TractorError(text))
    new: Any = BaseExceptionGroup.__new__
    group: BaseException = new(cls, info.message, members)
    return group


def _rebuild_member(info: ErrorInfo) -> BaseException:
    """A member that was itself from another actor stays a `RemoteActorError`."""
    relayed = len(info.relay_path) > 1
    return (None if relayed else _rebuild(info)) or unbox(info)

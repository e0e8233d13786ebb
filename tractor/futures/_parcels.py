"""How a task goes to a worker, and how its outcome comes back.

By default all of it is msgpack: a function goes by module and name, arguments and the
result as typed payloads, an error as data. Nothing is executed by decoding it.

With ``serializer=`` the three are what the named module makes of them, ``pickle`` or
`cloudpickle` say: a module with `dumps` and `loads`. Its bytes are opaque to the
runtime, and nobody but the pool and the workers that it started unpacks them
(docs/adr/0014).
"""

import inspect
import sys
import traceback
from collections.abc import Callable
from functools import lru_cache
from importlib import import_module
from types import ModuleType
from typing import Any, Final, Literal

import msgspec
from msgspec import Raw, Struct

from tractor._exceptions import RemoteTraceback
from tractor._types import ErrorInfo, Uid
from tractor.futures._errors import PayloadError
from tractor.msg import ANY, PayloadType, box, shorten, unbox

MAIN: Final = "__main__"
REPLAYED_MAIN: Final = "__mp_main__"
CACHED: Final = 1024  # functions whose paths and types are remembered

type Kind = Literal["result", "error", "boxed", "cancelled"]
"""What an outcome's bytes are; `error` was made by the serializer."""

KINDS: Final[tuple[Kind, ...]] = ("result", "error", "boxed", "cancelled")

_AS_THEY_ARE: Final = (Any, object, None, inspect.Parameter.empty)
_encode: Final = msgspec.msgpack.Encoder().encode
_decode_error: Final = msgspec.msgpack.Decoder(ErrorInfo).decode


class Parcel(Struct, frozen=True):
    """A task, packed.

    Attributes:
        path: ``module:function``; empty where the serializer has packed it, too.
        data: The arguments.
        types: How the result is read.
    """

    path: str
    data: bytes
    types: PayloadType[Any] = ANY


class Packer:
    """Packs and unpacks, in the way of one pool.

    Args:
        serializer: Name of a module with `dumps` and `loads`; `None` for msgpack.
    """

    def __init__(self, serializer: str | None) -> None:
        self.serializer = serializer
        self._module: Any = None if serializer is None else import_module(serializer)

    # -- the way there -----------------------------------------------------------------

    def pack(
        self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Parcel:
        """A call, as it goes to a worker.

        Raises:
            ValueError: A worker could not find the function.
            MsgTypeError: An argument cannot be encoded.
            Exception: Whatever the serializer raises.
        """
        if self._module is not None:
            return Parcel("", self._module.dumps((fn, args, kwargs)))
        path = path_of(fn)
        data = ANY.encode((args, kwargs), f"an argument of {path!r}")
        return Parcel(path, bytes(data), _result_type(fn))

    def unpack(
        self, path: str, data: bytes
    ) -> tuple[Callable[..., Any], list[Any], dict[str, Any]]:
        """The call again, in the worker.

        Raises:
            BaseException: Whatever an import or the serializer raises.
        """
        if self._module is not None:
            return self._module.loads(data)  # type: ignore[no-any-return]
        fn = find(path)
        args, kwargs = ANY.decode(data, f"the arguments of {path!r}")
        return fn, *_typed(fn, args, kwargs, path)

    # -- the way back ------------------------------------------------------------------

    def pack_result(self, value: Any, path: str) -> bytes:
        """A result, as it comes back.

        Raises:
            MsgTypeError: It cannot be encoded.
            BaseException: Whatever the serializer raises.
        """
        if self._module is not None:
            return self._module.dumps(value)  # type: ignore[no-any-return]
        return bytes(ANY.encode(value, f"the result of {path!r}"))

    def pack_error(self, error: BaseException, uid: Uid) -> tuple[Kind, bytes]:
        """An error, as it comes back; as data where the serializer refuses it."""
        if self._module is not None:
            text = "".join(traceback.format_exception(error))
            try:
                data = self._module.dumps((error, text))
                self._module.loads(data)  # or the waiter could not read it
            except Exception:  # noqa: BLE001 (then as data)
                pass
            else:
                return "error", data
        return "boxed", _encode(box(error, uid))

    def unpack_result(self, parcel_types: PayloadType[Any], data: bytes) -> Any:
        """The result again.

        Raises:
            MsgTypeError: It does not fit the annotation of the function.
            PayloadError: The serializer cannot read it.
        """
        if self._module is None:
            return parcel_types.decode(Raw(data), "the result of a task")
        return self._load(data)

    def unpack_error(self, kind: Kind, data: bytes) -> BaseException:
        """The error again: the original, where its class is known here."""
        if kind == "boxed":
            return rebuilt(_decode_error(data))
        try:
            error, text = self._load(data)
        except PayloadError as exc:
            return exc
        if not isinstance(error, BaseException):
            return PayloadError(f"{self.serializer} made {error!r} of an error")
        error.__cause__ = RemoteTraceback(text)
        return error

    def _load(self, data: bytes) -> Any:
        try:
            return self._module.loads(data)
        except KeyboardInterrupt:
            raise  # that of the program, whose main thread this may be
        except BaseException as exc:
            msg = f"{self.serializer} could not read what a worker sent: {exc!r}"
            raise PayloadError(msg) from exc


def box_short(error: BaseException, uid: Uid) -> bytes:
    """An error as data, in a few hundred bytes."""
    return _encode(shorten(box(error, uid)))


def rebuilt(info: ErrorInfo) -> BaseException:
    """The error that was sent, where its class is known here; else what stands for it.

    Its ``__cause__`` is the remote traceback.
    """
    stand_in = unbox(info)
    try:
        error = stand_in.unwrap()
    except RuntimeError:
        return stand_in
    error.__cause__ = RemoteTraceback(info.tb_str)
    return error


# -- Functions -------------------------------------------------------------------------


def path_of(fn: Callable[..., Any]) -> str:
    """``module:qualified.name`` by which a worker finds `fn`.

    Raises:
        ValueError: It cannot be found so; the text says what to try.
    """
    try:
        return _path_of(fn)
    except TypeError:  # it has no hash
        return _path_of.__wrapped__(fn)


@lru_cache(CACHED)
def _path_of(fn: Callable[..., Any]) -> str:
    name = getattr(fn, "__qualname__", None)
    module = getattr(fn, "__module__", None)
    if name is not None and module is not None:
        path = f"{MAIN if module == REPLAYED_MAIN else module}:{name}"
        try:
            if find(path) is fn:
                return path
        except (ImportError, AttributeError, KeyError):
            pass
    msg = (
        f"{name or fn!r} is not found by module and name, as a worker would look for "
        "it; move it to the top level of a module, or give the pool a serializer="
    )
    raise ValueError(msg)


def find(path: str) -> Any:
    """What a path of `path_of` stands for.

    Raises:
        ImportError: There is no such module.
        AttributeError: It has nothing of that name.
    """
    module, _, name = path.partition(":")
    found: Any = _module(module)
    for part in name.split("."):
        found = getattr(found, part)
    return found


def _module(name: str) -> ModuleType:
    if name == MAIN and REPLAYED_MAIN in sys.modules:
        return sys.modules[REPLAYED_MAIN]
    return sys.modules.get(name) or import_module(name)


# -- Types -----------------------------------------------------------------------------


def _result_type(fn: Callable[..., Any]) -> PayloadType[Any]:
    return _types(fn)[""]


def _typed(
    fn: Callable[..., Any], args: list[Any], kwargs: dict[str, Any], path: str
) -> tuple[list[Any], dict[str, Any]]:
    types = _types(fn)
    if len(types) == 1:
        return args, kwargs

    def one(name: str, value: Any) -> Any:
        if (needed := types.get(name)) is None:
            return value
        what = f"argument {name!r} of {path!r}"
        return needed.decode(ANY.encode(value, what), what)

    names = list(types["*"].spec)
    begun = [one(name, value) for name, value in zip(names, args, strict=False)]
    return begun + args[len(begun) :], {
        name: one(name, v) for name, v in kwargs.items()
    }


def _types(fn: Callable[..., Any]) -> dict[str, PayloadType[Any]]:
    try:
        return _types_of(fn)
    except TypeError:  # it has no hash
        return {"": ANY}


@lru_cache(CACHED)
def _types_of(fn: Callable[..., Any]) -> dict[str, Any]:
    """Types of the parameters by name, of the result under "", and names under "*"."""
    try:
        signature = inspect.signature(fn, eval_str=True)
    except Exception:  # noqa: BLE001 (an annotation that is nobody's business here)
        return {"": ANY}
    found: dict[str, Any] = {"": _type_for(signature.return_annotation)}
    names = []
    for name, parameter in signature.parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if parameter.kind is not parameter.KEYWORD_ONLY:
            names.append(name)
        if (needed := _type_for(parameter.annotation)) is not ANY:
            found[name] = needed
    if len(found) > 1:
        found["*"] = _Names(tuple(names))
    return found


class _Names(Struct, frozen=True):
    spec: tuple[str, ...]


def _type_for(annotation: Any) -> PayloadType[Any]:
    if any(annotation is plain for plain in _AS_THEY_ARE):
        return ANY
    try:
        return PayloadType(annotation)
    except TypeError:
        return ANY

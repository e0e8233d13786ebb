"""Calls of other actors, and their results, as msgpack; annotations say of what types.

The function goes by module and name. Actors on the way pass on bytes.
"""

import inspect
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

from msgspec import Struct

from tractor._exceptions import ModuleNotExposed
from tractor.msg import ANY, NamespacePath, PayloadType
from tractor.runtime import Actor, find_defined

CACHED: Final = 1024  # functions whose annotations are remembered


class Shape(Struct, frozen=True):
    """What the annotations of a function say.

    Attributes:
        order: Its parameters that may be given by position.
        types: Of parameters, by name.
        result: `ANY` where there is none.
    """

    order: tuple[str, ...]
    types: dict[str, PayloadType[Any]]
    result: PayloadType[Any]


def check_plain(fn: object) -> None:
    """Check that it can run on the main thread.

    Raises:
        TypeError: It cannot be called, or is async.
    """
    if not callable(fn):
        msg = f"the main thread runs functions, not {fn!r}"
        raise TypeError(msg)
    if inspect.iscoroutinefunction(fn) or inspect.isasyncgenfunction(fn):
        name = getattr(fn, "__qualname__", repr(fn))
        msg = (
            f"{name!r} is async; the main thread runs plain functions, and "
            "may have no loop of trio at all"
        )
        raise TypeError(msg)


def path_of(fn: Callable[..., Any]) -> str:
    """``module:name`` at which the root finds `fn`.

    Raises:
        TypeError: It is an instance, or bound to one.
        ValueError: It is not at the top level of a module.
    """
    path = NamespacePath.from_ref(fn)
    if "." in path.to_tuple()[1]:
        msg = f"{path} is inside a class; move it to the top level of its module"
        raise ValueError(msg)
    return str(path)


def find(actor: Actor, path: str) -> Callable[..., Any]:
    """The function behind a path, in the root.

    Raises:
        ModuleNotExposed: Its module is not enabled in the root, or it is private, or
            it comes from another module.
        AttributeError: There is no such function.
        ValueError: That is no path.
    """
    ns, name = NamespacePath(path).to_tuple()
    if ns not in actor.exposure.modules:
        msg = (
            f"module {ns!r} is not exposed by the root; "
            f"add it there: open_root_actor(enable_modules=[{ns!r}])"
        )
        raise ModuleNotExposed(msg)
    fn = find_defined(ns, name)
    if not callable(fn):
        msg = f"{path} cannot be called"
        raise ModuleNotExposed(msg)
    return fn  # type: ignore[no-any-return]


# -- The way there ---------------------------------------------------------------------


def pack_call(path: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
    """Arguments for the root.

    Raises:
        MsgTypeError: One cannot be encoded.
    """
    return bytes(ANY.encode((args, kwargs), f"an argument of {path!r}"))


def unpack_call(
    fn: Callable[..., Any], path: str, data: bytes, skip: int = 0
) -> tuple[list[Any], dict[str, Any]]:
    """The arguments again, of the types that `fn` says.

    Args:
        fn: The function.
        path: Its path.
        data: The arguments.
        skip: How many parameters of `fn` are not among them.

    Raises:
        MsgTypeError: One does not fit.
    """
    args, kwargs = ANY.decode(data, f"the arguments of {path!r}")
    shape = _shape_of(fn)

    def one(name: str, value: Any) -> Any:
        if (needed := shape.types.get(name)) is None:
            return value
        what = f"argument {name!r} of {path!r}"
        return needed.decode(ANY.encode(value, what), what)

    named = [one(*pair) for pair in zip(shape.order[skip:], args, strict=False)]
    return (
        named + args[len(named) :],
        {name: one(name, value) for name, value in kwargs.items()},
    )


# -- The way back ----------------------------------------------------------------------


def pack_result(path: str, value: Any) -> bytes:
    """A result for another actor.

    Raises:
        MsgTypeError: It cannot be encoded.
    """
    return bytes(ANY.encode(value, _result_of(path)))


def unpack_result(fn: Callable[..., Any], path: str, data: bytes) -> Any:
    """The result again, of the type that `fn` says.

    Raises:
        MsgTypeError: It does not fit.
    """
    return _shape_of(fn).result.decode(data, _result_of(path))


def _result_of(path: str) -> str:
    return f"the result of {path!r}"


@lru_cache(CACHED)
def _shape_of(fn: Callable[..., Any]) -> Shape:
    try:
        signature = inspect.signature(fn, eval_str=True)
    except Exception:  # noqa: BLE001 (an annotation that is nobody's business here)
        return Shape((), {}, ANY)
    order, types = [], {}
    for name, parameter in signature.parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if parameter.kind is not parameter.KEYWORD_ONLY:
            order.append(name)
        if (needed := _type_for(parameter.annotation)) is not ANY:
            types[name] = needed
    # What calling a class returns is one of it.
    returned = fn if isinstance(fn, type) else signature.return_annotation
    return Shape(tuple(order), types, _type_for(returned))


def _type_for(annotation: Any) -> PayloadType[Any]:
    if annotation is inspect.Parameter.empty or annotation is Any:
        return ANY
    try:
        return PayloadType(annotation)
    except TypeError:
        return ANY

"""Types of plain calls: arguments and results of types that msgpack does not know.

msgpack carries numbers, texts, bytes, lists and mappings as they are. A tuple, a set,
an Enum, a dataclass or a `msgspec.Struct` arrives as one of those, and is made into
what the function's annotations say: arguments at the callee, the result at the caller.
Annotations that change nothing cost nothing, and those that msgspec cannot handle are
left alone.
"""

import inspect
import types
from collections.abc import Callable
from functools import lru_cache
from inspect import Parameter
from typing import Any, Final, Union, get_args, get_origin

from msgspec import Struct

from tractor.msg import ANY, PayloadType

_AS_THEY_ARE: Final = frozenset(
    {Any, object, None, type(None), bool, int, float, str, bytes, list, dict}
)
_OF_SUCH: Final = frozenset({list, dict, Union, types.UnionType})
_BY_POSITION: Final = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
_ANY_NUMBER: Final = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
_CACHED: Final = 1024  # functions whose annotations are remembered


class CallTypes(Struct, frozen=True):
    """Which arguments of a function, and whether its result, need a type to arrive.

    Attributes:
        params: By name, only those that need one.
        names: Of the parameters that may be given by position, in order.
        result: Of a generator, each item; `ANY` where the annotation changes nothing.
    """

    params: dict[str, PayloadType[Any]]
    names: list[str]
    result: PayloadType[Any]

    def converted(
        self, args: list[Any], kwargs: dict[str, Any], path: str
    ) -> tuple[list[Any], dict[str, Any]]:
        """Arguments of the annotated types.

        Raises:
            MsgTypeError: One of them does not fit.
        """
        if not self.params:
            return args, kwargs
        named = zip(self.names, args, strict=False)
        begun = [self._one(name, value, path) for name, value in named]
        rest = args[len(begun) :]
        given = {name: self._one(name, v, path) for name, v in kwargs.items()}
        return begun + rest, given

    def _one(self, name: str, value: Any, path: str) -> Any:
        if (payload_type := self.params.get(name)) is None:
            return value
        what = f"argument {name!r} of {path!r}"
        return payload_type.decode(ANY.encode(value, what), what)


@lru_cache(_CACHED)
def call_types(fn: Callable[..., Any]) -> CallTypes:
    """What the annotations of `fn` say; never raises."""
    try:
        signature = inspect.signature(fn, eval_str=True)
    except Exception:  # noqa: BLE001 (an annotation that is nobody's business here)
        return CallTypes({}, [], ANY)
    params = {}
    names = []
    for name, parameter in signature.parameters.items():
        if parameter.kind in _BY_POSITION:
            names.append(name)
        if parameter.kind in _ANY_NUMBER:
            continue
        if (needed := _type_for(parameter.annotation)) is not ANY:
            params[name] = needed
    returned = signature.return_annotation
    if inspect.isasyncgenfunction(fn):
        returned = (*get_args(returned), Any)[0]
    return CallTypes(params, names, _type_for(returned))


def _type_for(annotation: Any) -> PayloadType[Any]:
    if annotation is Parameter.empty or _arrives_as_it_is(annotation):
        return ANY
    try:
        return PayloadType(annotation)
    except TypeError:
        return ANY


def _arrives_as_it_is(annotation: Any) -> bool:
    if get_origin(annotation) in _OF_SUCH:
        return all(_arrives_as_it_is(inner) for inner in get_args(annotation))
    try:
        return annotation in _AS_THEY_ARE
    except TypeError:  # unhashable
        return False

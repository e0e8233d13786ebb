"""Types that msgspec does not know, on their way to builtins and back.

A value whose class is one of the `ext_types` travels as a msgpack *extension* of code
`EXT_CODE`, whose data is the msgpack of ``[name, what enc_hook made of it]``; the name
is the ``__qualname__`` of the class. So it is found again wherever it is, inside any
container and whatever the spec. The receiver looks the name up among its own
`ext_types` and nowhere else: nothing is imported or evaluated because of what arrived.

Other custom types are allowed where the spec names them. They travel as what
`enc_hook` makes of them, and the spec says where they are: the way of msgspec itself.

`NamespacePath` is the one custom type that needs no hooks. Elsewhere than among the
`ext_types` it is plain text.
"""

from collections.abc import Callable, Iterable, Iterator
from enum import Enum
from typing import Any, Final, get_origin
from uuid import UUID

import msgspec
from msgspec import inspect
from msgspec.msgpack import Decoder, Encoder, Ext

from tractor.msg._ptr import NamespacePath

type EncHook = Callable[[Any], Any]
type DecHook = Callable[[type, Any], Any]

EXT_CODE: Final = 116  # of the 128 that msgpack leaves to applications

# msgspec encodes these and their subclasses by itself and so never asks a hook.
_ENCODED_BY_BASE: Final = (list, tuple, dict, set, frozenset, UUID, Enum)

# What msgpack carries; a class that one of these is an instance of needs no hook.
_CARRIED: Final = (type(None), bool, int, float, str, bytes, list, dict)


class Hooks:
    """The hooks that msgspec calls, around those of the user.

    Args:
        enc_hook: Turns a custom object into what msgspec encodes, or raises.
        dec_hook: Gets a custom type and what arrived, and returns an instance.
        ext_types: Classes that are marked as such on the wire.
        typed: Whether a spec tells where other custom types are.

    Raises:
        TypeError: The `ext_types` cannot be told apart, need no hook, or have none.
    """

    __slots__ = (
        "_classes",
        "_names",
        "_pair",
        "_typed",
        "dec_hook",
        "enc_hook",
        "encoder",
    )

    def __init__(
        self,
        enc_hook: EncHook | None,
        dec_hook: DecHook | None,
        ext_types: Iterable[type] | None,
        *,
        typed: bool,
    ) -> None:
        self.enc_hook = enc_hook
        self.dec_hook = dec_hook
        self._classes = _by_name(ext_types or (), hooked=bool(enc_hook or dec_hook))
        self._names = {cls: name for name, cls in self._classes.items()}
        self._typed = typed
        self.encoder = Encoder(enc_hook=self.encode)
        self._pair = Decoder(tuple[str, Any], ext_hook=self.decode_ext)

    @property
    def ext_types(self) -> tuple[type, ...]:
        """The classes that are marked on the wire."""
        return tuple(self._names)

    def encode(self, obj: Any) -> Any:
        """`enc_hook` for msgspec: something that it can encode, instead of `obj`."""
        for cls in type(obj).__mro__:
            if (name := self._names.get(cls)) is not None:
                data = self.encoder.encode((name, self._simplify(obj)))
                return Ext(EXT_CODE, data)
        if self._typed or isinstance(obj, NamespacePath):
            return self._simplify(obj)
        raise TypeError(_unsupported(obj))

    def decode(self, type_: Any, obj: Any) -> Any:
        """`dec_hook` for msgspec, which checks what it returns."""
        cls = get_origin(type_) or type_
        return obj if isinstance(obj, cls) else self._rebuild(type_, cls, obj)

    def decode_ext(self, code: int, data: memoryview) -> Any:
        """`ext_hook` for msgspec: the object that an extension stands for."""
        if code != EXT_CODE:
            return Ext(code, bytes(data))
        name, value = self._pair.decode(data)
        cls = self._classes.get(name)
        if cls is None:
            msg = f"it holds a {name!r}, which is not one of the ext_types here"
            raise ValueError(msg)
        found = self._rebuild(cls, cls, value)
        if not isinstance(found, cls):
            kind = type(found).__qualname__
            msg = f"dec_hook made a {kind!r} where a {name!r} was asked for"
            raise ValueError(msg)
        return found

    def can_decode(self, cls: type) -> bool:
        """Whether anything that arrives can become an instance of a custom type."""
        if self.dec_hook is not None or issubclass(cls, NamespacePath):
            return True
        try:
            return any(issubclass(carried, cls) for carried in _CARRIED)
        except TypeError:
            return False  # a Protocol that cannot be checked at run time

    def _simplify(self, obj: Any) -> Any:
        if isinstance(obj, NamespacePath):
            return str(obj)
        if self.enc_hook is None:
            raise TypeError(_unsupported(obj))
        return self.enc_hook(obj)

    def _rebuild(self, type_: Any, cls: type, obj: Any) -> Any:
        if issubclass(cls, NamespacePath):
            return cls(obj)
        return obj if self.dec_hook is None else self.dec_hook(type_, obj)


def custom_types(spec: Any) -> set[type]:
    """The types in `spec` that msgspec leaves to hooks.

    Raises:
        TypeError: msgspec does not support `spec`.
    """
    waiting: list[Any] = [inspect.type_info(spec)]
    seen: set[int] = set()
    found = set()
    while waiting:
        info = waiting.pop()
        if id(info) in seen:
            continue  # types may contain themselves
        seen.add(id(info))
        if isinstance(info, inspect.CustomType):
            found.add(info.cls)
        waiting.extend(_parts_of(info))
    return found


def _parts_of(info: msgspec.Struct) -> Iterator[Any]:
    for value in msgspec.structs.astuple(info):
        for part in value if isinstance(value, tuple) else (value,):
            if isinstance(part, inspect.Type | inspect.Field):
                yield part


def _by_name(ext_types: Iterable[type], *, hooked: bool) -> dict[str, type]:
    classes: dict[str, type] = {}
    for cls in ext_types:
        if not isinstance(cls, type):
            msg = f"ext_types are classes, not {cls!r}"
            raise TypeError(msg)
        name = cls.__qualname__
        if issubclass(cls, _ENCODED_BY_BASE) or cls not in custom_types(cls):
            msg = (
                f"{name!r} is no extension type, as msgspec encodes it by itself; to "
                f"receive it as one, put it into the spec"
            )
            raise TypeError(msg)
        if not (hooked or issubclass(cls, NamespacePath)):
            msg = f"ext_types need an enc_hook or a dec_hook; {name!r} has neither"
            raise TypeError(msg)
        if classes.setdefault(name, cls) is not cls:
            msg = f"two ext_types are named {name!r}, by which they are told apart"
            raise TypeError(msg)
    return classes


def _unsupported(obj: Any) -> str:
    return f"Encoding objects of type {type(obj).__qualname__} is unsupported"

"""How values of users become payloads and payloads become values.

A payload is checked twice: by its sender, so that the error is raised where the value
was made, and by its receiver, who need not trust the sender. Either way a value that
does not fit costs one dialogue a `MsgTypeError` and leaves the channel usable.
"""

from collections.abc import Buffer, Iterable
from typing import Any, Final, NamedTuple, cast, overload

import msgspec
from msgspec import Raw
from msgspec.msgpack import Decoder, Encoder

from tractor._exceptions import MsgTypeError
from tractor.msg._ext import DecHook, EncHook, Hooks, custom_types

MAX_REASON: Final = 300  # characters of a foreign error's text, or of a spec

_HINT: Final = "send builtins, dataclasses or msgspec.Struct, or give ext_types"


BULK: Final = 32 * 1024  # bytes from which a payload is worth its own way
BYTES_FOLLOW: Final = b"\xc6"  # msgpack: bytes follow, and their number before them


class Bulk(NamedTuple):
    """A large payload that is not copied into its envelope, nor out of it.

    Attributes:
        head: How it begins, in the record.
        body: The rest, beside the record; never changed by anybody.
    """

    head: Raw
    body: bytes


class PayloadType[T]:
    """How one kind of value crosses; prepared once, immutable, for any thread.

    The hooks are called as those of msgspec, and only for types that msgspec does not
    know. With ``ext_types=[Complex]`` such values may be anywhere, also where the spec
    is `Any`; without, only where the spec names the type. A subclass of one of the
    `ext_types` crosses as that type.

    Args:
        spec: Any type that msgspec supports. Names in quotes must be resolved before.
        enc_hook: Turns a custom object into something that msgspec encodes.
        dec_hook: Gets a custom type and what arrived, and returns an instance of it.
        ext_types: Custom classes that are marked by name on the wire; both sides list
            them.

    Raises:
        TypeError: `spec` or `ext_types` cannot cross; the text says why.
    """

    __slots__ = (
        "_check",
        "_decode",
        "_decoder",
        "_encode",
        "_hooks",
        "_spec",
        "_takes_bytes",
    )

    @overload
    def __init__(
        self: "PayloadType[T]",
        spec: type[T],
        *,
        enc_hook: EncHook | None = None,
        dec_hook: DecHook | None = None,
        ext_types: Iterable[type] | None = None,
    ) -> None: ...

    @overload
    def __init__(
        self: "PayloadType[Any]",
        spec: Any = ...,
        *,
        enc_hook: EncHook | None = None,
        dec_hook: DecHook | None = None,
        ext_types: Iterable[type] | None = None,
    ) -> None: ...

    def __init__(
        self,
        spec: Any = Any,
        *,
        enc_hook: EncHook | None = None,
        dec_hook: DecHook | None = None,
        ext_types: Iterable[type] | None = None,
    ) -> None:
        self._spec = spec
        self._check = spec is not Any and spec is not object
        self._takes_bytes = spec in (Any, bytes, bytearray, memoryview)
        self._hooks = Hooks(enc_hook, dec_hook, ext_types, typed=self._check)
        self._decoder = _make_decoder(spec, self._hooks)
        # One attribute and one call from the user's value to C, as each item of each
        # stream passes here.
        self._encode = self._hooks.encoder.encode
        self._decode = self._decoder.decode

    @property
    def spec(self) -> Any:
        """What it was made of."""
        return self._spec

    @property
    def spec_str(self) -> str:
        """The same for people."""
        return type_str(self._spec)

    @property
    def hooks(self) -> Hooks:
        """The hooks and `ext_types` it was made with."""
        return self._hooks

    @property
    def encoder(self) -> Encoder:
        """What encodes; checks nothing."""
        return self._hooks.encoder

    @property
    def decoder(self) -> "Decoder[Any]":
        """What decodes; its errors are those of msgspec and of the hooks."""
        return self._decoder

    def as_bulk(self, value: Any) -> Bulk | None:
        """`value` as a payload in two parts, if it is large and may be so.

        Only `bytes` may: nobody changes them while they wait to be sent.
        """
        if type(value) is bytes and len(value) >= BULK and self._takes_bytes:
            return Bulk(Raw(BYTES_FOLLOW + len(value).to_bytes(4)), value)
        return None

    def encode(self, value: Any, what: str) -> Raw:
        """`value` as a payload that a receiver with the same type can decode.

        Args:
            value: To be sent; not changed.
            what: What it is, for the error: ``the result of 'mod:fn'``.

        Raises:
            MsgTypeError: It cannot be encoded, or does not fit the type.
        """
        try:
            raw = Raw(self._encode(value))
        except Exception as exc:
            msg = (
                f"{what} cannot be encoded as msgpack: {_reason(exc)} "
                f"(the value is a {_kind(value)}); {_HINT}"
            )
            raise MsgTypeError(msg) from exc
        if self._check:
            self._try(raw, value, what)
        return raw

    def decode(self, raw: Buffer | Bulk, what: str) -> T:
        """The value in a payload.

        Raises:
            MsgTypeError: It is not msgpack, or does not fit the type.
        """
        if isinstance(raw, Bulk):
            if self._spec in (Any, bytes):
                return cast("T", raw.body)
            raw = b"".join(raw)
        try:
            value: T = self._decode(raw)
        except Exception as exc:
            msg = (
                f"{what} does not fit {self.spec_str}: {_reason(exc)}; "
                "both sides need the same types"
            )
            raise MsgTypeError(msg) from exc
        return value

    def check_parity(self, value: Any, raw: Raw, what: str) -> None:
        """Check that a receiver of `raw` gets something equal to `value`.

        Raises:
            MsgTypeError: It gets something else (a tuple becomes a list where the spec
                does not say otherwise), or the two cannot be compared.
        """
        received = self.decode(raw, what)
        try:
            if received == value:
                return
            reason = f"it arrives as a {_kind(received)} that does not equal it"
        except Exception as exc:
            msg = self._unequal(value, what, f"it cannot be compared: {_reason(exc)}")
            raise MsgTypeError(msg) from exc
        raise MsgTypeError(self._unequal(value, what, reason))

    def _try(self, raw: Raw, value: Any, what: str) -> None:
        try:
            self._decode(raw)
        except Exception as exc:
            msg = (
                f"{what} does not fit {self.spec_str}: {_reason(exc)} "
                f"(the value is a {_kind(value)}); send what it names, or change it"
            )
            raise MsgTypeError(msg) from exc

    def _unequal(self, value: Any, what: str, reason: str) -> str:
        return (
            f"{what} does not keep its value as {self.spec_str}: {reason} "
            f"(the value is a {_kind(value)}); send it as it is to arrive, or name its "
            "type in the spec"
        )

    def __repr__(self) -> str:
        return f"<PayloadType of {self.spec_str}>"


def type_str(spec: Any) -> str:
    """A type, for people, in one line."""
    if isinstance(spec, type):
        return _class_str(spec)
    return _one_line(repr(spec))


def _make_decoder(spec: Any, hooks: Hooks) -> "Decoder[Any]":
    try:
        decoder = Decoder(spec, dec_hook=hooks.decode, ext_hook=hooks.decode_ext)
        customs = custom_types(spec)
    except Exception as exc:  # TypeError, NameError, RecursionError, those of the spec
        msg = (
            f"{type_str(spec)} cannot be the type of a payload: {_reason(exc)}; use a "
            "type that msgspec supports, with names in quotes resolved"
        )
        raise TypeError(msg) from exc
    for cls in customs:
        if not hooks.can_decode(cls):
            msg = (
                f"{type_str(spec)} cannot be the type of a payload: msgspec does not "
                f"know {_class_str(cls)}; give enc_hook and dec_hook for it"
            )
            raise TypeError(msg)
    return decoder


def _kind(value: Any) -> str:
    return _class_str(type(value))


def _class_str(cls: type) -> str:
    if cls.__module__ == "builtins":
        return cls.__qualname__
    return f"{cls.__module__}.{cls.__qualname__}"


def _reason(exc: Exception) -> str:
    """Text of an error that may come from a hook."""
    try:
        text = _one_line(str(exc))
    except Exception:  # noqa: BLE001 (its own text is no reason to fail differently)
        text = ""
    if text and isinstance(exc, msgspec.MsgspecError | TypeError):
        return text
    return f"{type(exc).__name__}: {text}" if text else type(exc).__name__


def _one_line(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= MAX_REASON else f"{text[:MAX_REASON]}…"


ANY: Final[PayloadType[Any]] = PayloadType(Any)
"""Anything that msgspec encodes; arrives as builtins."""

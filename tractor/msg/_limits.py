"""Codecs that users make, and the payload type that a task's dialogues use.

All of them stand on `PayloadType`. Records have a codec of their own, which users do
not change: a codec made here is about the payloads inside.
"""

from collections.abc import Buffer, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from types import ModuleType
from typing import Any, Final

import msgspec
from msgspec import Raw
from msgspec.msgpack import Decoder, Encoder

from tractor.msg._ext import DecHook, EncHook
from tractor.msg._payload import ANY, PayloadType


class MsgDec:
    """Decodes payloads of one type; made by `mk_dec`."""

    __slots__ = ("_payload_type",)

    def __init__(self, payload_type: PayloadType[Any]) -> None:
        self._payload_type = payload_type

    @property
    def payload_type(self) -> PayloadType[Any]:
        """What it stands on."""
        return self._payload_type

    @property
    def dec(self) -> "Decoder[Any]":
        """The decoder of msgspec."""
        return self._payload_type.decoder

    @property
    def hook(self) -> DecHook | None:
        """The `dec_hook` it was made with."""
        return self._payload_type.hooks.dec_hook

    @property
    def pld_spec(self) -> Any:
        """Type of what it decodes."""
        return self._payload_type.spec

    @property
    def pld_spec_str(self) -> str:
        """The same for people."""
        return self._payload_type.spec_str

    spec = pld_spec
    spec_str = pld_spec_str

    def decode(self, data: Buffer) -> Any:
        """The value in a payload.

        Raises:
            MsgTypeError: It is not msgpack, or does not fit the type.
        """
        return self._payload_type.decode(data, "the payload")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.pld_spec_str}>"


class MsgCodec(MsgDec):
    """Encodes and decodes payloads of one type; made by `mk_codec`.

    Attributes:
        limit: How dialogues under this codec carry values: as `payload_type`, unless
            another one was given.
    """

    __slots__ = ("limit",)

    lib: Final[ModuleType] = msgspec

    def __init__(
        self, payload_type: PayloadType[Any], limit: PayloadType[Any] | None = None
    ) -> None:
        super().__init__(payload_type)
        self.limit = payload_type if limit is None else limit

    @property
    def enc(self) -> Encoder:
        """The encoder of msgspec."""
        return self._payload_type.encoder

    def encode(self, obj: Any) -> bytes:
        """`obj` as msgpack.

        Raises:
            MsgTypeError: It cannot be encoded, or does not fit the type.
        """
        return bytes(self._payload_type.encode(obj, "the payload"))


def mk_dec(
    spec: Any,
    dec_hook: DecHook | None = None,
    ext_types: Iterable[type] | None = None,
) -> MsgDec:
    """A decoder of payloads.

    Args:
        spec: Type of what it decodes; `None` for anything, with `ext_types` in it.
        dec_hook: As for `PayloadType`.
        ext_types: As for `PayloadType`.

    Raises:
        TypeError: `spec` is `None` or there is a `dec_hook`, but no `ext_types`; or as
            for `PayloadType`.
    """
    if not ext_types and (spec is None or dec_hook is not None):
        given = "a spec of None" if spec is None else "a dec_hook"
        msg = f"{given} needs ext_types; name the classes: ext_types=[Complex]"
        raise TypeError(msg)
    spec = Any if spec is None else spec
    return MsgDec(PayloadType(spec, dec_hook=dec_hook, ext_types=ext_types))


def mk_codec(
    ipc_pld_spec: Any = Raw,
    *,
    enc_hook: EncHook | None = None,
    ext_types: Iterable[type] | None = None,
    ext_dec: MsgDec | None = None,
) -> MsgCodec:
    """A codec for payloads.

    Args:
        ipc_pld_spec: Type of what it decodes. `msgspec.Raw` leaves that undecoded;
            dialogues under such a codec carry anything.
        enc_hook: As for `PayloadType`.
        ext_types: As for `PayloadType`; those of `ext_dec` by default.
        ext_dec: Whose `dec_hook` to use.

    Raises:
        TypeError: There is an `enc_hook` but no `ext_types`; or as for `PayloadType`.
    """
    dec_hook = None
    if ext_dec is not None:
        dec_hook = ext_dec.hook
        ext_types = ext_types or ext_dec.payload_type.hooks.ext_types
    if enc_hook is not None and not ext_types:
        msg = "an enc_hook needs ext_types; name the classes: ext_types=[Complex]"
        raise TypeError(msg)
    make = partial(
        PayloadType,
        enc_hook=enc_hook,
        dec_hook=dec_hook,
        ext_types=tuple(ext_types or ()),
    )
    return MsgCodec(make(ipc_pld_spec), make(Any) if ipc_pld_spec is Raw else None)


# -- What this task uses ---------------------------------------------------------------

_DEFAULT: Final = MsgCodec(ANY)
_active: Final[ContextVar[MsgCodec | None]] = ContextVar("tractor_codec", default=None)


@contextmanager
def apply_codec(codec: MsgCodec) -> Iterator[MsgCodec]:
    """Let dialogues of this task use `codec` instead of types of their own.

    Tasks that are started inside the block do so, too.
    """
    token = _active.set(codec)
    try:
        yield codec
    finally:
        _active.reset(token)


def current_codec() -> MsgCodec:
    """The codec of this task."""
    return _active.get() or _DEFAULT


@contextmanager
def limit_plds(
    spec: Any,
    *,
    dec_hook: DecHook | None = None,
    enc_hook: EncHook | None = None,
    ext_types: Iterable[type] | None = None,
) -> Iterator[PayloadType[Any]]:
    """Let contexts and streams of this task carry only values of this type.

    It replaces the types that they have themselves, for what is sent and for
    what is received inside the block, also by tasks that are started there.

    Args:
        spec: As for `PayloadType`.
        dec_hook: As for `PayloadType`.
        enc_hook: As for `PayloadType`.
        ext_types: As for `PayloadType`.

    Raises:
        TypeError: As for `PayloadType`.
    """
    payload_type = PayloadType(
        spec, dec_hook=dec_hook, enc_hook=enc_hook, ext_types=ext_types
    )
    with apply_codec(MsgCodec(payload_type)):
        yield payload_type


def current_limit() -> PayloadType[Any] | None:
    """The payload type that `limit_plds` or `apply_codec` set for this task."""
    codec = _active.get()
    return None if codec is None else codec.limit

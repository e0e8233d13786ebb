"""Bytes to records and back; values of users to payloads and back.

The encoder and the record decoder are immutable and serve the whole interpreter.
Failures of the first kind are protocol errors of a peer, failures of the second are
type errors of whoever made the value.
"""

from typing import Any, Final

import msgspec
from msgspec import Raw

from tractor._exceptions import FrameTooLarge, MsgTypeError, RemoteProtocolError
from tractor.msg._payload import BYTES_FOLLOW, Bulk
from tractor.msg.types import EMPTY, AnyRecord, Record, Return, Started, Yield

HEADER: Final = 4  # bytes; the length of what follows, little-endian, unsigned

BULK_HEAD: Final = 16  # bytes at most before the large ones; `find_bulk`

_THREE: Final = 0x93  # msgpack: an array of three
_ENDING_IN_PAYLOAD: Final = frozenset(
    kind.__struct_config__.tag for kind in (Started, Yield, Return)
)
_WIDTH_OF_INT: Final = {0xCC: 2, 0xCD: 3, 0xCE: 5, 0xCF: 9}  # by its first byte; else 1

_encoder: Final = msgspec.msgpack.Encoder()
_record_decoder: Final = msgspec.msgpack.Decoder(AnyRecord.__value__)
_any_decoder: Final = msgspec.msgpack.Decoder()

# What the encoder raises for a value that it cannot take: an unknown type, a number or
# a text out of range (lone surrogates), nesting deeper than the stack.
_ENCODE_ERRORS: Final = (TypeError, ValueError, OverflowError, RecursionError)

# What the decoders raise: `msgspec.DecodeError` and the error of invalid UTF-8, which
# are ValueErrors both, and for nesting deeper than the stack.
_DECODE_ERRORS: Final = (ValueError, RecursionError)


def encode_frame(record: Record, max_frame: int, more: int = 0) -> bytearray:
    """The bytes of one frame, header included, but for the last `more` of its bytes.

    Raises:
        FrameTooLarge: The record exceeds `max_frame` bytes.
    """
    frame = bytearray(64)
    _encoder.encode_into(record, frame, HEADER)
    size = len(frame) - HEADER + more
    if size > max_frame:
        raise FrameTooLarge(size, max_frame)
    frame[:HEADER] = size.to_bytes(HEADER, "little")
    return frame


def decode_record(frame: bytes | bytearray | memoryview) -> AnyRecord:
    """The record in the body of a frame; its payloads are views into `frame`.

    Raises:
        RemoteProtocolError: It is not one of ours.
    """
    try:
        record: AnyRecord = _record_decoder.decode(frame)
    except _DECODE_ERRORS as exc:
        msg = f"the peer sent something that is not a record: {exc}"
        raise RemoteProtocolError(msg) from exc
    return record


def find_bulk(begin: bytes, size: int) -> int:
    """Where in a record the large bytes begin with which it ends; 0 if it does not.

    Args:
        begin: Its first bytes; with fewer than `BULK_HEAD` of them nobody can tell.
        size: How many it has.
    """
    if len(begin) < BULK_HEAD:
        return 0
    # [tag, cid, payload] whose payload is bytes, with a length of four bytes.
    if begin[0] != _THREE or begin[1] not in _ENDING_IN_PAYLOAD:
        return 0
    at = 2 + _WIDTH_OF_INT.get(begin[2], 1)
    start = at + len(BYTES_FOLLOW) + 4
    length = int.from_bytes(begin[at + 1 : start])
    fits = begin.startswith(BYTES_FOLLOW, at) and start + length == size
    return start if fits else 0


def decode_bulk(head: bytes, body: bytes) -> AnyRecord:
    """The record of a frame that ends with large bytes.

    Args:
        head: What is before them.
        body: They.

    Raises:
        RemoteProtocolError: It is not one of ours.
    """
    at = len(head) - len(BYTES_FOLLOW) - 4
    record: Any = decode_record(head[:at] + EMPTY)
    # To all but those who decode it, a payload is just an object.
    bulk: Any = Bulk(Raw(head[at:]), body)
    envelope: AnyRecord = type(record)(record.cid, bulk)
    return envelope


def encode_payload(value: Any, what: str) -> Raw:
    """A value of a user as a payload.

    Args:
        value: Builtins, or anything else that msgspec encodes.
        what: What it is, for the error: ``the result of 'mod:fn'``.

    Raises:
        MsgTypeError: It cannot be encoded.
    """
    try:
        return Raw(_encoder.encode(value))
    except _ENCODE_ERRORS as exc:
        kind = type(value)
        msg = (
            f"{what} cannot be encoded as msgpack: {exc} "
            f"(the value is a {kind.__module__}.{kind.__qualname__}); "
            "send builtins, dataclasses or msgspec.Struct"
        )
        raise MsgTypeError(msg) from exc


def decode_payload(payload: Raw, what: str) -> Any:
    """A payload as builtins.

    Raises:
        MsgTypeError: It is not valid msgpack.
    """
    try:
        return _any_decoder.decode(payload)
    except _DECODE_ERRORS as exc:
        msg = f"{what} cannot be decoded: {exc}"
        raise MsgTypeError(msg) from exc

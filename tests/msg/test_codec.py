"""Records to bytes and back, and what is refused on the way."""

import struct
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, get_args

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tractor._exceptions import FrameTooLarge, MsgTypeError, RemoteProtocolError
from tractor._types import Aid, ErrorInfo
from tractor.msg import (
    HEADER,
    decode_payload,
    decode_record,
    encode_frame,
    encode_payload,
)
from tractor.msg import types as t

UID: Final = ("worker", "0" * 32)
AID: Final = Aid(*UID, 1)
ERROR: Final = ErrorInfo("m:E", "text", "tb", "m:E", UID, [UID])
RAW: Final = msgspec.Raw(b"\x93\x01\x02\x03")

# One of each kind, with every field away from its default.
RECORDS: Final[list[t.AnyRecord]] = [
    t.SpawnSpec(
        version=t.PROTOCOL_VERSION,
        aid=AID,
        parent=Aid("root", "1" * 32),
        runtime_vars=t.RuntimeVars(root=AID, start_method="trio", loglevel="info"),
        enable_modules=["a", "b"],
        main=t.MainModule("a", None),
        sys_path=[],
        argv=[],
        network=t.NetworkVars(b"s" * 32, b"/folder", UID),
    ),
    t.Stage("import"),
    t.Ready(1),
    t.BootError("import", ERROR),
    t.Start(2, "mod", "fn", RAW),
    t.Started(2, RAW),
    t.Yield(2, RAW),
    t.Stop(2),
    t.Return(2, RAW),
    t.Error(2, ERROR),
    t.Cancel(2, UID, 1.5),
    t.CancelAck(2),
    t.CancelActor(UID, float("inf")),
    t.Credit(2, 64),
    t.Ping(1),
    t.Pong(1),
    t.Bye(ERROR),
    t.Greet(AID, 1.5, 1024, member=True),
]


def nested(depth: int) -> list[Any]:
    made: list[Any] = []
    for _ in range(depth):
        made = [made]
    return made


def flatten(value: list[Any]) -> None:
    """Take it apart by hand: to free it would nest as deeply again."""
    while value:
        value = value.pop()


def decode_or_refuse(body: bytes | bytearray) -> None:
    with suppress(RemoteProtocolError):
        decode_record(body)


# -- Records ---------------------------------------------------------------------------


def test_there_is_a_sample_of_every_record() -> None:
    """The round trip below covers the whole wire."""
    assert [type(record) for record in RECORDS] == list(get_args(t.AnyRecord.__value__))


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_every_record_survives_the_round_trip(record: t.AnyRecord) -> None:
    """Header and body: what is encoded is decoded again (architecture §5)."""
    frame = encode_frame(record, 10_000)
    assert struct.unpack("<I", frame[:HEADER]) == (len(frame) - HEADER,)
    decoded = decode_record(memoryview(frame)[HEADER:])
    assert type(decoded) is type(record)
    for name, value in t.as_dict(record).items():
        same = getattr(decoded, name)
        if isinstance(value, msgspec.Raw):
            assert bytes(same) == bytes(value)
        else:
            assert same == value


def test_a_frame_over_the_limit_is_refused_by_its_sender() -> None:
    """`FrameTooLarge` names both sizes (reliability D7)."""
    record = t.Return(0, encode_payload(b"x" * 1000, "it"))
    size = len(encode_frame(record, 2000)) - HEADER
    assert encode_frame(record, size)
    with pytest.raises(FrameTooLarge, match=f"{size} bytes") as caught:
        encode_frame(record, size - 1)
    assert (caught.value.size, caught.value.limit) == (size, size - 1)


@given(st.binary(max_size=200))
@example(b"")
@example(b"GET / HTTP/1.1\r\n\r\n")
@example(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")  # a TLS hello
@example(b"\xdd\xff\xff\xff\xff")  # an array of 4 billion
@example(b"\x93\x09\x02\xdf\xff\xff\xff\xff")
@example(b"\x93\x08\x02" + b"\x91" * 1_000_000)
def test_garbage_is_a_protocol_error(garbage: bytes) -> None:
    """Any bytes decode to a record or raise `RemoteProtocolError` (reliability D5)."""
    decode_or_refuse(garbage)


@given(st.integers(0, len(RECORDS) - 1), st.data())
def test_a_damaged_record_is_a_protocol_error(number: int, data: st.DataObject) -> None:
    """One wrong byte anywhere gives a record or `RemoteProtocolError` (D8)."""
    body = encode_frame(RECORDS[number], 10_000)[HEADER:]
    body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    decode_or_refuse(body)


def test_an_unknown_tag_is_a_protocol_error() -> None:
    """A record of a later version says so (reliability D8)."""
    with pytest.raises(RemoteProtocolError, match="not a record"):
        decode_record(msgspec.msgpack.encode([99, 1]))


# -- Payloads --------------------------------------------------------------------------


@dataclass
class Point:
    x: int


@pytest.mark.parametrize(
    ("value", "same"),
    [
        (None, None),
        ([1, 2.5, "é", b"\x00", True], [1, 2.5, "é", b"\x00", True]),
        ((1, {2: 3}), [1, {2: 3}]),
        (Point(1), {"x": 1}),
        (2**64 - 1, 2**64 - 1),
    ],
)
def test_builtins_and_what_msgspec_knows_cross(value: object, same: object) -> None:
    """Payloads are msgpack: tuples become lists, dataclasses become maps."""
    assert decode_payload(encode_payload(value, "it"), "it") == same


@pytest.mark.parametrize(
    "value", [object(), [1, object()], 2**64, "\ud800", {1j: 2}, print]
)
def test_what_msgpack_cannot_carry_is_a_type_error(value: object) -> None:
    """`MsgTypeError` names what it was and its type (semantics §4.4)."""
    with pytest.raises(MsgTypeError, match=r"^the result of 'm\.f' .* is a builtins\."):
        encode_payload(value, "the result of 'm.f'")


def test_nesting_of_a_thousand_crosses() -> None:
    """1,000 levels are no trouble (reliability D3)."""
    made = nested(1000)
    assert decode_payload(encode_payload(made, "it"), "it") == made


def test_nesting_beyond_the_stack_is_a_type_error() -> None:
    """Deeper than the interpreter can go raises, on either side (reliability D3)."""
    depth = 300_000
    made = nested(depth)
    try:
        with pytest.raises(MsgTypeError, match="cannot be encoded"):
            encode_payload(made, "it")
    finally:
        flatten(made)
    with pytest.raises(MsgTypeError, match="cannot be decoded"):
        decode_payload(msgspec.Raw(b"\x91" * depth + b"\x90"), "it")


def test_a_cut_payload_is_a_type_error() -> None:
    """What does not decode is the dialogue's trouble and not the channel's."""
    with pytest.raises(MsgTypeError, match="an item cannot be decoded"):
        decode_payload(msgspec.Raw(b"\x93\x01"), "an item")

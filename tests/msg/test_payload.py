"""Payloads: what crosses does so unchanged, and what does not is a `MsgTypeError`."""

import datetime as dt
import enum
import re
import uuid
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import PurePath, PurePosixPath
from typing import (
    Annotated,
    Any,
    Final,
    Literal,
    NamedTuple,
    Never,
    Protocol,
    TypedDict,
)

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Meta, Raw
from msgspec.msgpack import Ext

from tractor._exceptions import MsgTypeError
from tractor.msg import ANY, EXT_CODE, PayloadType

QUICK: Final = settings(max_examples=25, deadline=None)


class Color(enum.Enum):
    """An enum."""

    RED = "red"
    BLUE = "blue"


class Options(TypedDict):
    """A typed dict."""

    a: int


class Pair(NamedTuple):
    """A named tuple."""

    a: int
    b: str


@dataclass
class Data:
    """A dataclass."""

    a: int
    b: list[str]


class Node(msgspec.Struct):
    """A struct, of a recursive type."""

    a: int
    below: "Node | None" = None


class Complex:
    """A class that msgspec does not know."""

    def __init__(self, real: Any, imag: Any = 0) -> None:
        self.real = real
        self.imag = imag

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Complex) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((self.real, self.imag))


class Sub(Complex):
    """One below it."""


class Holder(msgspec.Struct):
    """A struct with one inside."""

    z: Complex


class Shape(Protocol):
    """A protocol, which nothing can be checked against at run time."""

    area: float


class Unresolved(msgspec.Struct):
    """A struct that refers to nothing."""

    x: "NoSuchName"  # type: ignore[name-defined]  # noqa: F821


def enc_hook(obj: Any) -> Any:
    """Complex to builtins."""
    if isinstance(obj, Complex):
        return [obj.real, obj.imag]
    raise NotImplementedError


def dec_hook(cls: type, obj: Any) -> Any:
    """Builtins to Complex."""
    if cls is Complex:
        return Complex(*obj)
    raise NotImplementedError


def cross(payload_type: PayloadType[Any], value: Any) -> Any:
    """What arrives when both sides use the same type."""
    return payload_type.decode(payload_type.encode(value, "it"), "it")


EXT: Final = PayloadType(enc_hook=enc_hook, dec_hook=dec_hook, ext_types=[Complex])

INTS: Final = st.integers(-(2**63), 2**64 - 1)
FLOATS: Final = st.floats(allow_nan=False)
SCALARS: Final = st.none() | st.booleans() | INTS | FLOATS | st.text() | st.binary()
PLAIN: Final = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text() | INTS, inner)
)
NODES: Final = st.recursive(
    st.builds(Node, INTS, st.none()), lambda inner: st.builds(Node, INTS, inner)
)
TYPED: Final[list[tuple[Any, st.SearchStrategy[Any]]]] = [
    (None, st.none()),
    (bool, st.booleans()),
    (int, INTS),
    (float, FLOATS),
    (str, st.text()),
    (bytes, st.binary()),
    (bytearray, st.builds(bytearray, st.binary())),
    (dt.datetime, st.datetimes() | st.datetimes(timezones=st.just(dt.UTC))),
    (dt.date, st.dates()),
    (dt.time, st.times()),
    (dt.timedelta, st.timedeltas(dt.timedelta(-999), dt.timedelta(999))),
    (uuid.UUID, st.uuids()),
    (Decimal, st.decimals(allow_nan=False)),
    (Color, st.sampled_from(Color)),
    (Literal["a", 1], st.sampled_from(["a", 1])),
    (int | str | None, INTS | st.text() | st.none()),
    (list[int], st.lists(INTS)),
    (set[int], st.sets(INTS)),
    (frozenset[str], st.frozensets(st.text())),
    (tuple[int, str], st.tuples(INTS, st.text())),
    (tuple[int, ...], st.lists(INTS).map(tuple)),
    (dict[int, str], st.dictionaries(INTS, st.text())),
    (Options, st.builds(Options, a=INTS)),
    (Pair, st.builds(Pair, INTS, st.text())),
    (Data, st.builds(Data, INTS, st.lists(st.text()))),
    (Node, NODES),
    (list[Node] | None, st.none() | st.lists(NODES)),
    (object, PLAIN),
]


# -- What crosses ----------------------------------------------------------------------


@QUICK
@given(PLAIN)
def test_builtins_cross_unchanged(value: Any) -> None:
    """With no type given, builtins arrive as they were."""
    assert cross(ANY, value) == value


@pytest.mark.parametrize(("spec", "strategy"), TYPED, ids=lambda each: repr(each)[:30])
@QUICK
@given(data=st.data())
def test_typed_values_cross_unchanged(
    spec: Any, strategy: st.SearchStrategy[Any], data: st.DataObject
) -> None:
    """Each kind of type that msgspec supports arrives as what it was."""
    value = data.draw(strategy)
    payload_type = PayloadType(spec)
    raw = payload_type.encode(value, "it")
    payload_type.check_parity(value, raw, "it")
    assert type(payload_type.decode(raw, "it")) is type(value)


def test_a_payload_may_stay_undecoded() -> None:
    """With `Raw`, whoever passes a payload on need not understand it."""
    raw = ANY.encode([1], "it")
    passed = PayloadType(Raw).encode(PayloadType(Raw).decode(raw, "it"), "it")
    assert ANY.decode(passed, "it") == [1]


def test_the_types_are_told() -> None:
    """The spec is kept, and printed for people."""
    assert PayloadType(int).spec is int
    assert PayloadType(Node | None).spec_str == f"{__name__}.Node | None"
    assert repr(ANY) == "<PayloadType of typing.Any>"
    assert repr(PayloadType(Node)) == f"<PayloadType of {__name__}.Node>"


def test_it_cannot_be_changed() -> None:
    """One of them serves many dialogues."""
    with pytest.raises(AttributeError):
        ANY.spec = int  # type: ignore[misc]
    with pytest.raises(AttributeError):
        ANY.note = "x"  # type: ignore[attr-defined]


# -- What does not ---------------------------------------------------------------------


def nested(depth: int) -> list[Any]:
    """Lists in lists."""
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    "value",
    [
        object(),
        {1: Complex(1)},
        lambda: None,
        2**64,
        "\ud800",
        {"\udfff": 1},
        nested,  # called in the test: a million lists are slow to keep, for all tests
    ],
    ids=lambda value: value.__name__ if value is nested else type(value).__name__,
)
@pytest.mark.parametrize("payload_type", [ANY, PayloadType(list)], ids=repr)
def test_what_cannot_be_encoded_is_a_type_error(
    payload_type: PayloadType[Any], value: Any
) -> None:
    """The text is one line: what, why, the value's type, and what to try."""
    if value is nested:
        value = nested(1_000_000)
    with pytest.raises(MsgTypeError) as caught:
        payload_type.encode(value, "the result of 'm:f'")
    assert re.fullmatch(
        r"the result of 'm:f' cannot be encoded as msgpack: \S.* "
        r"\(the value is a [\w.]+\); send builtins, .*",
        str(caught.value),
    )
    assert caught.value.__cause__ is not None


def test_the_sender_is_told_what_does_not_fit() -> None:
    """The error comes before anything is sent, and names all that matters."""
    payload_type = PayloadType(dict[str, int])
    with pytest.raises(MsgTypeError) as caught:
        payload_type.encode({"a": "1"}, "an item of 'm:f'")
    assert str(caught.value) == (
        "an item of 'm:f' does not fit dict[str, int]: Expected `int`, got `str` - at "
        "`$[...]` (the value is a dict); send what it names, or change it"
    )
    assert isinstance(caught.value.__cause__, msgspec.ValidationError)


@pytest.mark.parametrize(
    ("spec", "value"),
    [
        (int, "1"),
        (int, True),
        (str, b"a"),
        (list[int], [1, None]),
        (Node, {"b": 1}),
        (Node, Node("a")),  # type: ignore[arg-type]
        (Color, "green"),
        (int | None, 1.5),
        (None, 0),
        (Literal["a"], "b"),
        (Annotated[int, Meta(gt=3)], 1),
    ],
)
def test_both_sides_refuse_what_does_not_fit(spec: Any, value: Any) -> None:
    """The sender by itself, and the receiver if the sender did not."""
    payload_type = PayloadType(spec)
    with pytest.raises(MsgTypeError, match="it does not fit"):
        payload_type.encode(value, "it")
    with pytest.raises(MsgTypeError, match=r"it does not fit .*; both sides need"):
        payload_type.decode(ANY.encode(value, "it"), "it")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        b"\x01\x01",
        b"\xa1\xff",  # text that is not UTF-8
        b"\x81\x80\x01",  # a key that is a map
        b"\xdd\xff\xff\xff\xff",  # four billion items, of which none is there
        b"\x91" * 1_000_000,
        b"\xc7\x0c\xff" + b"\xff" * 12,  # a time out of range
        b"\xc7\x01" + bytes([EXT_CODE]) + b"\x01",  # an extension that is no pair
    ],
    ids=lambda data: data[:4].hex(),
)
@pytest.mark.parametrize(
    "payload_type", [ANY, EXT, PayloadType(list[Node])], ids=["any", "ext", "typed"]
)
def test_what_is_no_payload_is_a_type_error(
    payload_type: PayloadType[Any], data: bytes
) -> None:
    """A receiver gets that and nothing else, whatever arrives."""
    with pytest.raises(MsgTypeError, match="it does not fit"):
        payload_type.decode(Raw(data), "it")


@settings(max_examples=300, deadline=None)
@given(st.binary())
def test_any_bytes_are_a_value_or_a_type_error(data: bytes) -> None:
    """No third thing comes out of decoding."""
    for payload_type in (ANY, EXT, PayloadType(Node)):
        try:
            payload_type.decode(data, "it")
        except MsgTypeError as exc:
            assert exc.__cause__ is not None  # noqa: PT017 (most bytes do raise)


# -- Parity ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("payload_type", "value"),
    [(ANY, (1, 2)), (ANY, {"a": {1, 2}}), (ANY, Node(1)), (PayloadType(list), (1,))],
)
def test_parity_refuses_what_arrives_different(
    payload_type: PayloadType[Any], value: Any
) -> None:
    """A tuple that becomes a list is told to those who ask."""
    raw = payload_type.encode(value, "it")
    with pytest.raises(
        MsgTypeError, match=r"it does not keep its value .*: it arrives"
    ):
        payload_type.check_parity(value, raw, "it")


def test_parity_survives_a_hostile_comparison() -> None:
    """Values that cannot be compared are refused, too."""

    class Hostile(dict[str, int]):
        def __eq__(self, other: object) -> bool:
            raise ValueError("which of them?")

        __hash__ = None

    raw = ANY.encode(Hostile(), "it")
    with pytest.raises(MsgTypeError, match="cannot be compared: ValueError: which of"):
        ANY.check_parity(Hostile(), raw, "it")


# -- Specs that cannot be --------------------------------------------------------------


type Endless = int | list[Endless]


@pytest.mark.parametrize(
    "spec",
    [
        3,
        "int",
        list["int"],
        Never,
        lambda: None,
        list[int] | set[int],
        Unresolved,
        Endless,
        Complex | int,
    ],
    ids=str,
)
def test_an_unsupported_spec_is_refused_at_once(spec: Any) -> None:
    """Where it is written, not where the first value is sent."""
    with pytest.raises(TypeError, match=r"cannot be the type of a payload: .*; use a"):
        PayloadType(spec, dec_hook=dec_hook)


@pytest.mark.parametrize(
    "spec", [Complex, list[Complex], Holder, Shape, Callable[[], int]]
)
def test_a_custom_type_needs_a_hook(spec: Any) -> None:
    """A type whose values could never arrive is refused."""
    with pytest.raises(TypeError, match=r"msgspec does not know .*; give enc_hook and"):
        PayloadType(spec, enc_hook=enc_hook)


def test_an_abstract_type_of_builtins_needs_none() -> None:
    """It is no custom type for what crosses."""
    assert cross(PayloadType(Hashable), "a") == "a"
    with pytest.raises(MsgTypeError):
        cross(PayloadType(Hashable), [])


# -- Custom types ----------------------------------------------------------------------


CUSTOM: Final = st.recursive(
    SCALARS,
    lambda inner: (
        st.builds(Complex, inner, inner)
        | st.lists(inner)
        | st.dictionaries(st.text(), inner)
    ),
)


@QUICK
@given(CUSTOM)
def test_ext_types_cross_anywhere(value: Any) -> None:
    """Inside any container, and inside each other, with no spec to say where."""
    assert cross(EXT, value) == value


@pytest.mark.parametrize("spec", [dict[str, list[Complex | None]], Any, object])
def test_hooks_and_specs_go_together(spec: Any) -> None:
    """The same values cross with a spec and without; the two can be mixed."""
    value = {"a": [Complex(1, 2), None]}
    hooks: Any = {"enc_hook": enc_hook, "dec_hook": dec_hook, "ext_types": [Complex]}
    payload_type = PayloadType(spec, **hooks)
    assert cross(payload_type, value) == value
    assert EXT.decode(payload_type.encode(value, "it"), "it") == value


def test_a_spec_alone_says_where_custom_types_are() -> None:
    """Then nothing marks them on the wire."""
    payload_type = PayloadType(Holder, enc_hook=enc_hook, dec_hook=dec_hook)
    assert cross(payload_type, Holder(Complex(1))) == Holder(Complex(1))
    raw = payload_type.encode(Holder(Complex(1)), "it")
    assert ANY.decode(raw, "it") == {"z": [1, 0]}


def test_a_receiver_may_list_less_than_the_sender() -> None:
    """What is marked fits a spec that names it; an unknown mark is a type error."""
    raw = EXT.encode(Complex(1), "it")
    with pytest.raises(MsgTypeError, match="a 'Complex', which is not one of the ext_"):
        ANY.decode(raw, "it")


def test_other_extensions_are_left_alone() -> None:
    """The other codes are the program's."""
    found = cross(EXT, [Ext(5, b"ab")])[0]
    assert (found.code, found.data) == (5, b"ab")
    assert type(found.data) is bytes  # of its own: a view would keep the frame alive


def test_keys_may_be_custom() -> None:
    """As any other value."""
    assert cross(EXT, {Complex(1): 1}) == {Complex(1): 1}


def test_a_subclass_crosses_as_the_type_that_is_listed() -> None:
    """Listing `PurePath` is enough for all paths."""
    payload_type = PayloadType(
        enc_hook=str, dec_hook=lambda cls, obj: cls(obj), ext_types=[PurePath]
    )
    assert cross(payload_type, [PurePosixPath("/a")]) == [PurePath("/a")]
    assert cross(EXT, Sub(1)) == Complex(1)


def test_without_a_spec_custom_types_must_be_listed() -> None:
    """A hook that makes builtins of them would lose what they are."""
    payload_type = PayloadType(enc_hook=enc_hook, dec_hook=dec_hook)
    with pytest.raises(MsgTypeError, match="type Complex is unsupported"):
        payload_type.encode(Complex(1), "it")


class Twin:
    """Holds a class of a name that is taken."""

    Complex = type("Complex", (), {"__qualname__": "Complex"})


@pytest.mark.parametrize(
    ("ext_types", "text"),
    [
        ([Node], "'Node' is no extension type, as msgspec encodes it by itself"),
        ([Color], "'Color' is no extension type"),
        ([type("L", (list,), {})], "'L' is no extension type"),
        ([Complex(1)], "ext_types are classes, not"),
        ([Complex, Twin.Complex], "two ext_types are named 'Complex'"),
    ],
)
def test_ext_types_that_could_not_work_are_refused(
    ext_types: list[Any], text: str
) -> None:
    """What msgspec encodes by itself would arrive as builtins, without a word."""
    with pytest.raises(TypeError, match=text):
        PayloadType(enc_hook=enc_hook, dec_hook=dec_hook, ext_types=ext_types)


def test_ext_types_need_a_hook() -> None:
    """Without one they could not cross."""
    with pytest.raises(TypeError, match="ext_types need an enc_hook or a dec_hook"):
        PayloadType(ext_types=[Complex])


# -- Hostile hooks ---------------------------------------------------------------------


class Unprintable(Exception):
    """An error whose text is an error."""

    def __str__(self) -> str:
        raise RuntimeError


def raises(error: Exception) -> Callable[..., Any]:
    """A hook that fails."""

    def hook(*args: Any) -> Any:
        raise error

    return hook


def endless(*args: Any) -> Any:
    """A hook that never comes to an end."""
    return endless(*args)


HOSTILE: Final[list[Callable[..., Any]]] = [
    raises(KeyError("a")),
    raises(ValueError("two\nlines")),
    raises(StopIteration()),
    raises(Unprintable()),
    raises(MemoryError()),
    endless,
    lambda *args: args[-1],  # gives back what it got
    lambda *args: object(),
]


@pytest.mark.parametrize("hook", HOSTILE)
@pytest.mark.parametrize("spec", [Any, Complex])
def test_a_failing_enc_hook_is_a_type_error(
    spec: Any, hook: Callable[..., Any]
) -> None:
    """The hook's own error is the cause, and the text stays one line."""
    payload_type = PayloadType(
        spec, enc_hook=hook, dec_hook=dec_hook, ext_types=[Complex]
    )
    with pytest.raises(MsgTypeError) as caught:
        payload_type.encode(Complex(1), "it")
    assert caught.value.__cause__ is not None
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("hook", HOSTILE)
@pytest.mark.parametrize("spec", [Any, Complex, list[Complex]])
def test_a_failing_dec_hook_is_a_type_error(
    spec: Any, hook: Callable[..., Any]
) -> None:
    """On the receiving side as well."""
    payload_type = PayloadType(
        spec, enc_hook=enc_hook, dec_hook=hook, ext_types=[Complex]
    )
    value = [Complex(1)] if spec == list[Complex] else Complex(1)
    with pytest.raises(MsgTypeError) as caught:
        payload_type.decode(EXT.encode(value, "it"), "it")
    assert caught.value.__cause__ is not None
    assert len(str(caught.value).splitlines()) == 1


def test_a_long_reason_is_cut() -> None:
    """The text of an error has its bounds."""
    payload_type = PayloadType(
        Complex, enc_hook=raises(ValueError("x" * 10_000)), dec_hook=dec_hook
    )
    with pytest.raises(MsgTypeError) as caught:
        payload_type.encode(Complex(1), "it")
    assert len(str(caught.value)) < 1000


def test_a_chain_of_custom_values_ends() -> None:
    """Nesting deeper than the stack is a type error on either side."""
    value = Complex(1)
    for _ in range(100_000):
        value = Complex(value)
    with pytest.raises(MsgTypeError, match="RecursionError"):
        EXT.encode(value, "it")
    name = msgspec.msgpack.encode("Complex")
    data = msgspec.msgpack.encode([1, 0])
    for _ in range(2000):
        inner = Ext(EXT_CODE, b"\x92" + name + data)
        data = b"\x92" + msgspec.msgpack.encode(inner) + b"\x00"
    with pytest.raises(MsgTypeError, match="RecursionError"):
        EXT.decode(data, "it")


def test_an_interrupt_is_not_a_type_error() -> None:
    """Ctrl-C that comes while a hook runs is passed on."""
    payload_type = PayloadType(
        Complex,
        enc_hook=raises(KeyboardInterrupt()),  # type: ignore[arg-type]
        dec_hook=dec_hook,
    )
    with pytest.raises(KeyboardInterrupt):
        payload_type.encode(Complex(1), "it")

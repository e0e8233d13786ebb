"""Structs of users: shown, copied, cast and compared."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from msgspec import UNSET

from tractor.msg import ANY, DiffDump, NamespacePath, PayloadType, Struct


class Point(Struct, frozen=True):
    """A small one."""

    x: int
    y: float = 0.0


class Line(Struct, kw_only=True):
    """One with others inside."""

    start: Point
    end: Point | None = None
    names: list[str] = []  # noqa: RUF012 (msgspec copies it)
    hook: Callable[[], None] | None = None
    ref: NamespacePath | None = None


class Row(Struct, array_like=True, rename="upper"):
    """One whose form on the wire is not that of its fields."""

    a: int
    b: str = ""


class Loop(Struct):
    """One that can contain itself."""

    me: Any = None


class Empty(Struct):
    """One without fields."""


# -- Shown -----------------------------------------------------------------------------


def test_each_field_has_a_line() -> None:
    """Structs inside are indented, other values are as `repr` has them."""
    line = Line(start=Point(1), names=["a", "b"])
    assert line.pformat() == (
        "Line(\n  start=Point(\n    x=1,\n    y=0.0,\n  ),\n  end=None,\n"
        "  names=['a', 'b'],\n  hook=None,\n  ref=None,\n)"
    )


def test_one_without_fields_is_shown() -> None:
    """It stays on its line."""
    assert Empty().pformat() == "Empty()"


def test_one_that_contains_itself_is_shown() -> None:
    """It ends where it begins again."""
    loop = Loop()
    loop.me = loop
    assert loop.pformat() == "Loop(\n  me=Loop(…),\n)"


def test_one_that_appears_twice_is_shown_twice() -> None:
    """Only what contains itself is cut."""
    point = Point(1)
    assert "…" not in Line(start=point, end=point).pformat()


def test_repr_is_one_line() -> None:
    """Logs and errors keep theirs."""
    assert repr(Point(1)) == "Point(x=1, y=0.0)"


def test_fields_as_a_dict() -> None:
    """Values are the very ones of the struct."""
    line = Line(start=Point(1))
    fields = line.to_dict()
    assert list(fields) == ["start", "end", "names", "hook", "ref"]
    assert fields["start"] is line.start


# -- Copied ----------------------------------------------------------------------------


def test_a_copy_is_equal_and_another() -> None:
    """Changing it leaves the first alone."""
    row = Row(1)
    copied = row.copy()
    copied.a = 2
    assert row == Row(1)


@pytest.mark.parametrize(
    ("struct", "update", "expected"),
    [
        (Point(1), {"x": 2}, Point(2)),
        (Point(1), {"y": 3}, Point(1, 3.0)),
        (Row(1, "b"), {"a": 5}, Row(5, "b")),
        (Line(start=Point(1)), {"names": ("a",)}, Line(start=Point(1), names=["a"])),
        (
            Line(start=Point(1)),
            {"end": Point(2), "ref": "a:b"},
            Line(start=Point(1), end=Point(2), ref=NamespacePath("a:b")),
        ),
    ],
)
def test_a_copy_has_the_new_values(
    struct: Struct, update: dict[str, Any], expected: Struct
) -> None:
    """They arrive as their annotation says."""
    assert struct.copy(update) == expected


def test_a_copy_keeps_functions() -> None:
    """Fields that never cross may hold anything of their type."""
    copied = Line(start=Point(1)).copy({"hook": print})
    assert copied.hook is print


@pytest.mark.parametrize(
    ("update", "text"),
    [
        ({"z": 1}, r"there is no field Point\.z; its fields are x, y"),
        ({"x": "1"}, r"Point\.x cannot be '1': Expected `int`, got `str`"),
        ({"x": None}, r"Point\.x cannot be None"),
    ],
)
def test_a_copy_refuses_what_does_not_fit(update: dict[str, Any], text: str) -> None:
    """The error names the field, the value and the type."""
    with pytest.raises(TypeError, match=text):
        Point(1).copy(update)


def test_the_update_is_left_alone() -> None:
    """A mapping of the caller's is read only."""
    update = {"y": 3}
    Point(1).copy(update)
    assert update == {"y": 3}
    assert type(update["y"]) is int


# -- Cast ------------------------------------------------------------------------------


def test_values_are_cast() -> None:
    """Text, as from a command line, becomes what the annotations say."""
    cast = Point("1", "2.5").typecast()  # type: ignore[arg-type]
    assert cast == Point(1, 2.5)


def test_what_cannot_be_cast_is_refused() -> None:
    """The error names the field."""
    with pytest.raises(TypeError, match=r"Point\.x cannot be 'one'"):
        Point("one").typecast()  # type: ignore[arg-type]


# -- Compared --------------------------------------------------------------------------


def test_differences_are_listed() -> None:
    """Each with both values, left first."""
    assert Point(1, 2.0) - Point(1, 3.0) == [("y", 2.0, 3.0)]
    assert Point(1).fields_diff(Point(1)) == []


def test_fields_of_different_classes_are_compared() -> None:
    """What one of them lacks is `UNSET`."""
    assert Point(1) - Row(1) == [
        ("x", 1, UNSET),
        ("y", 0.0, UNSET),
        ("a", UNSET, 1),
        ("b", UNSET, ""),
    ]


def test_differences_are_readable() -> None:
    """One line for each."""
    assert repr(Point(1) - Point(2)) == "DiffDump[\n  x: 1 -> 2\n]"
    assert repr(DiffDump()) == "DiffDump[]"


def test_only_structs_are_compared() -> None:
    """Anything else is no operand."""
    with pytest.raises(TypeError, match="unsupported operand"):
        Point(1) - 1  # type: ignore[operator]


# -- On the wire -----------------------------------------------------------------------


@pytest.mark.parametrize("struct", [Point(1), Row(1, "b"), Line(start=Point(1))])
def test_it_crosses_as_any_struct(struct: Struct) -> None:
    """Its methods are no fields; a typed receiver gets it back."""
    payload_type = PayloadType(type(struct), dec_hook=lambda _, obj: obj)  # for `hook`
    raw = payload_type.encode(struct, "it")
    assert payload_type.decode(raw, "it") == struct
    assert bytes(raw) == msgspec.msgpack.encode(struct)
    assert ANY.decode(raw, "it")

"""Typed functions and contexts that tests use in other actors; quick to import."""

import dataclasses
import datetime
import decimal
import enum
import uuid
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, Literal, NewType, TypedDict

import msgspec

import tractor
from tractor import Context, MsgTypeError
from tractor.msg import NamespacePath, limit_plds

if TYPE_CHECKING:
    from fractions import Fraction


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclasses.dataclass
class Point:
    x: int
    y: tuple[int, ...] = ()


class Box(msgspec.Struct):
    label: str
    points: list[Point]
    colors: set[Color] = set()


class Options(TypedDict):
    deep: bool


class Unknown:
    """Nothing that msgspec knows."""


Id = NewType("Id", int)


# -- Plain functions -------------------------------------------------------------------


async def kinds(*args: Any, **kwargs: Any) -> tuple[list[str], dict[str, str]]:
    """What the arguments are when they arrive without annotations."""
    return (
        [type(arg).__name__ for arg in args],
        {name: type(value).__name__ for name, value in kwargs.items()},
    )


async def by_position(p: Point, c: Color, t: tuple[int, str], /) -> list[str]:
    return [repr(p), repr(c), repr(t)]


async def in_any_way(p: Point, *more: Point, c: Color = Color.RED, **rest: Any) -> Any:
    return [type(each).__name__ for each in (p, c, *more, *rest.values())]


async def boxed(box: Box, options: Options | None = None) -> Box:
    assert isinstance(box, Box)
    assert all(isinstance(point, Point) for point in box.points)
    assert options is None or options["deep"]
    return Box(box.label.upper(), box.points[::-1], box.colors)


async def many(  # noqa: PLR0913, PLR0917 (one of each type)
    day: datetime.date,
    span: datetime.timedelta,
    price: decimal.Decimal,
    key: uuid.UUID,
    number: Id,
    way: Literal["up", "down"],
    function: NamespacePath,
    floats: frozenset[float],
    maybe: Color | None,
    mapping: dict[str, tuple[int, int]],
) -> tuple[Any, ...]:
    """One of each."""
    assert [type(each).__name__ for each in (day, span, price, key, number)] == [
        *("date", "timedelta", "Decimal", "UUID", "int"),
    ]
    assert isinstance(function, NamespacePath)
    assert isinstance(floats, frozenset)
    assert isinstance(mapping["a"], tuple)
    return day, span, price, key, number, way, function, floats, maybe, mapping


async def described(value: "Fraction | int") -> str:  # a name that is not there
    return type(value).__name__


async def unknown(value: Unknown, other: tuple[int, int]) -> list[str]:
    return [type(value).__name__, type(other).__name__]


async def wrong_result() -> Point:
    return "no point"  # type: ignore[return-value]


async def some_points(count: int) -> AsyncIterator[Point]:
    for number in range(count):
        yield Point(number, (number,))


# -- Contexts --------------------------------------------------------------------------


@tractor.context
async def annotated(ctx: Context[Point, Color, tuple[int, ...]], what: str) -> Box:
    """Start with a point, receive colors, send tuples, return a box."""
    if what == "start":
        try:
            await ctx.started("no point")  # type: ignore[arg-type]
        except MsgTypeError as exc:
            await ctx.started(Point(len(str(exc)) and 1))
    else:
        await ctx.started(Point(1, (2, 3)))
    async with ctx.open_stream() as stream:
        async for color in stream:
            assert isinstance(color, Color)
            if what == "send":
                try:
                    await stream.send("no tuple")  # type: ignore[arg-type]
                except MsgTypeError:
                    await stream.send((1, 2))
            await stream.send((3, 4))
    return "no box" if what == "return" else Box("b", [])  # type: ignore[return-value]


@tractor.context
async def with_arguments(
    ctx: Context, p: Point, c: Color, *, t: tuple[int, ...] = ()
) -> list[str]:
    await ctx.started()
    return [repr(each) for each in (p, c, t)]


@tractor.context
async def context_in_the_middle(
    p: Point, ctx: Context, t: tuple[int, ...]
) -> list[str]:
    await ctx.started()
    return [repr(p), repr(t)]


@tractor.context
async def context_by_keyword(p: Point, *, ctx: Context, c: Color) -> list[str]:
    await ctx.started()
    return [repr(p), repr(c)]


@tractor.context(pld_spec=int | str)
async def one_spec(ctx: Context) -> Any:
    """One type for everything."""
    await ctx.started("go")
    async with ctx.open_stream() as stream:
        async for item in stream:
            await stream.send(item)
    return 1


@tractor.context
async def untyped(ctx: Context, start: Any) -> Any:
    """Send back whatever comes."""
    await ctx.started(start)
    async with ctx.open_stream() as stream:
        async for item in stream:
            await stream.send(item)
    return start


@tractor.context
async def limited(ctx: Context) -> int:
    """A limit of the callee's own."""
    with limit_plds(int):
        try:
            await ctx.started("text")
        except MsgTypeError:
            await ctx.started(1)
        async with ctx.open_stream() as stream:
            return int(await stream.receive())


@tractor.context
async def strict(ctx: Context, kind: str) -> None:
    value = {"tuple": (1, 2), "set": {1}, "Point": Point(1)}[kind]
    await ctx.started(value, strict_pld_parity=True)


def simplify(value: Any) -> list[float]:
    if isinstance(value, complex):
        return [value.real, value.imag]
    raise NotImplementedError


def rebuild(cls: type, value: Any) -> Any:
    return cls(*value)


@tractor.context(enc_hook=simplify, dec_hook=rebuild, ext_types=[complex])
async def of_complex(ctx: Context) -> Any:
    await ctx.started(1j)
    async with ctx.open_stream() as stream:
        item = await stream.receive()
        assert isinstance(item["deep"][0], complex)
        await stream.send(item)
    return [2j]

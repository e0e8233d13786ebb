"""Plain calls: arguments and results arrive as what the annotations say (§4, §8)."""

import datetime
import decimal
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import pytest

from tests._helpers import open_tree
from tests.runtime import typed
from tests.runtime.typed import Box, Color, Point
from tractor import MsgTypeError, Portal, RemoteActorError
from tractor.msg import NamespacePath
from tractor.runtime._signature import call_types

TYPED: Final = typed.__name__


@asynccontextmanager
async def a_child(start_method: str) -> AsyncIterator[Portal]:
    """An actor that serves `typed`, in a tree of its own."""
    async with open_tree(start_method) as an:
        yield await an.start_actor("child", enable_modules=[TYPED])
        await an.cancel()


async def test_arguments_arrive_as_annotated(start_method: str) -> None:
    """By position, by keyword, nested, with defaults left out."""
    async with a_child(start_method) as portal:
        run = portal.run
        assert await run(typed.by_position, Point(1, (2,)), Color.RED, (1, "a")) == [
            "Point(x=1, y=(2,))",
            "<Color.RED: 'red'>",
            "(1, 'a')",
        ]
        assert await run(typed.in_any_way, Point(1), c=Color.BLUE) == ["Point", "Color"]
        assert await run(typed.in_any_way, c=Color.BLUE, p=Point(1)) == [
            "Point",
            "Color",
        ]
        box = Box("b", [Point(1), Point(2)], {Color.RED})
        back = await run(typed.boxed, box, {"deep": True})
        assert back == Box("B", [Point(2), Point(1)], {Color.RED})


async def test_without_annotations_builtins_arrive(start_method: str) -> None:
    """Nothing is guessed; also for those of ``*args`` and ``**kwargs``."""
    async with a_child(start_method) as portal:
        got = await portal.run(typed.kinds, (1,), Point(1), Color.RED, s={1}, n=None)
        assert got == (["list", "dict", "str"], {"s": "list", "n": "NoneType"})
        assert await portal.run(
            typed.in_any_way, Point(1), Point(2), extra=Color.RED
        ) == ["Point", "Color", "dict", "str"]


async def test_types_of_msgspec_cross(start_method: str) -> None:
    """Each one arrives equal, and of its own class, there and back (§8)."""
    values: tuple[Any, ...] = (
        datetime.date(2024, 2, 29),
        datetime.timedelta(hours=1),
        decimal.Decimal("1.10"),
        uuid.UUID(int=1),
        typed.Id(1),
        "up",
        NamespacePath.from_ref(typed.many),
        frozenset({1.5}),
        None,
        {"a": (1, 2)},
    )
    async with a_child(start_method) as portal:
        back = await portal.run(typed.many, *values)
    # The result is annotated as a tuple of anything, so only some survive as such.
    assert back[:2] == ("2024-02-29", "PT3600S")
    assert back[8:] == (None, {"a": [1, 2]})


async def test_a_wrong_argument_is_refused_before_the_function(
    start_method: str,
) -> None:
    """The error names the argument, and the actor lives on (semantics §4.3)."""
    async with a_child(start_method) as portal:
        wrong: Any = Point("a")  # type: ignore[arg-type]
        with pytest.raises(RemoteActorError, match="argument 'p' of") as caught:
            await portal.run(typed.by_position, wrong, Color.RED, (1, "a"))
        assert caught.value.boxed_type is MsgTypeError
        with pytest.raises(RemoteActorError, match="argument 'way'"):
            await portal.run_from_ns(TYPED, "many", way="left")
        with pytest.raises(RemoteActorError) as caught:
            await portal.run_from_ns(TYPED, "boxed", nonsense=1)
        assert caught.value.boxed_type is TypeError


async def test_items_of_a_generator_arrive_as_annotated(start_method: str) -> None:
    """`open_stream_from` gives what the annotation promises to type checkers."""
    async with (
        a_child(start_method) as portal,
        portal.open_stream_from(typed.some_points, 2) as stream,
    ):
        assert [item async for item in stream] == [Point(0, (0,)), Point(1, (1,))]


async def test_a_wrong_result_is_the_callers_error(start_method: str) -> None:
    """What does not fit the annotation is a `MsgTypeError`; the channel lives on."""
    async with a_child(start_method) as portal:
        with pytest.raises(MsgTypeError, match="wrong_result"):
            await portal.run(typed.wrong_result)
        assert await portal.run(typed.in_any_way, Point(1)) == ["Point", "Color"]


async def test_annotations_that_help_nobody_are_left_alone(start_method: str) -> None:
    """Names that are not there, and classes that msgspec does not know."""
    async with a_child(start_method) as portal:
        assert await portal.run(typed.described, 1) == "int"
        assert await portal.run_from_ns(
            TYPED, "unknown", value={"a": 1}, other=[1, 2]
        ) == ["dict", "tuple"]


def test_annotations_that_change_nothing_cost_nothing() -> None:
    """There is no type for what msgpack carries as it is."""

    async def plain(a: int, b: list[dict[str, float | None]], c: Any, d) -> str:  # type: ignore[no-untyped-def] # noqa: ANN001
        return f"{a}{b}{c}{d}"

    types = call_types(plain)
    assert not types.params
    args: list[Any] = [1, [], None, 2]
    assert types.converted(args, {}, "plain") == (args, {})
    assert types.converted(args, {}, "plain")[0] is args

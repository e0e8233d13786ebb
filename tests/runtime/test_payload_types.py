"""Typed payloads of contexts between real actors: `semantics.md` §8."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import pytest

from tests._helpers import open_tree, raises
from tests.runtime import typed
from tests.runtime.typed import Box, Color, Point
from tractor import MsgTypeError, Portal, RemoteActorError
from tractor.msg import encode_payload, limit_plds
from tractor.msg import types as t

TYPED: Final = typed.__name__


@asynccontextmanager
async def a_child(start_method: str) -> AsyncIterator[Portal]:
    """An actor that serves `typed`, in a tree of its own."""
    async with open_tree(start_method) as an:
        yield await an.start_actor("child", enable_modules=[TYPED])
        await an.cancel()


async def test_builtins_cross_as_they_are(start_method: str) -> None:
    """Without a spec anything that msgspec encodes is sent, and builtins arrive."""
    async with (
        a_child(start_method) as portal,
        portal.open_context(typed.untyped, {"a": 1}) as (ctx, first),
        ctx.open_stream() as stream,
    ):
        assert first == {"a": 1}
        for value in (None, True, 1, 1.5, "a", b"b", [1, [2]], {"k": {"l": 1}}):
            await stream.send(value)
            assert await stream.receive() == value
        await stream.send(Point(1, (2,)))
        assert await stream.receive() == {"x": 1, "y": [2]}
        await stream.aclose()
        assert await ctx.wait_for_result() == {"a": 1}


async def test_annotations_are_the_types(start_method: str) -> None:
    """Of the first value, of items both ways, and of the result."""
    async with (
        a_child(start_method) as portal,
        portal.open_context(typed.annotated, "nothing wrong") as (ctx, first),
        ctx.open_stream() as stream,
    ):
        assert first == Point(1, (2, 3))
        await stream.send(Color.RED)
        assert await stream.receive() == (3, 4)
        await stream.aclose()
        assert await ctx.wait_for_result() == Box("b", [])


async def test_the_sender_is_told_what_does_not_fit(start_method: str) -> None:
    """`MsgTypeError` where the bug is; nothing was sent, and the stream goes on."""
    async with a_child(start_method) as portal:
        async with portal.open_context(typed.annotated, "start") as (ctx, first):
            assert first == Point(1)
            async with ctx.open_stream() as stream:
                with pytest.raises(MsgTypeError, match="an item of"):
                    await stream.send("no color")  # type: ignore[arg-type]
                await stream.send(Color.RED)
                assert await stream.receive() == (3, 4)
        async with (
            portal.open_context(typed.annotated, "send") as (ctx, _),
            ctx.open_stream() as stream,
        ):
            await stream.send(Color.RED)
            assert await stream.receive() == (1, 2)
            assert await stream.receive() == (3, 4)


async def test_a_result_that_does_not_fit(start_method: str) -> None:
    """Its function has ended, so the caller is told; the channel lives on."""
    async with a_child(start_method) as portal:
        with raises(RemoteActorError, match="the result of") as caught:
            async with (
                portal.open_context(typed.annotated, "return") as (ctx, _),
                ctx.open_stream(),
            ):
                pass
        assert caught.value.boxed_type is MsgTypeError
        async with portal.open_context(typed.untyped, 1) as (_, first):
            assert first == 1


async def test_the_receiver_need_not_trust_the_sender(start_method: str) -> None:
    """What comes and does not fit is used up; the stream goes on."""
    async with a_child(start_method) as portal:
        with limit_plds(str):
            async with (
                portal.open_context(typed.untyped, "a") as (ctx, _),
                ctx.open_stream() as stream,
            ):
                for value in (1, "fine"):
                    ctx.end.send(t.Yield(ctx.cid, encode_payload(value, "it")))
                with pytest.raises(MsgTypeError, match="does not fit str"):
                    await stream.receive()
                assert await stream.receive() == "fine"


async def test_one_spec_is_for_everything(start_method: str) -> None:
    """`pld_spec` binds what both sides send and decode."""
    async with (
        a_child(start_method) as portal,
        portal.open_context(typed.one_spec) as (ctx, first),
        ctx.open_stream() as stream,
    ):
        assert first == "go"
        for value in (1, "two"):
            await stream.send(value)
            assert await stream.receive() == value
        with pytest.raises(MsgTypeError, match=r"does not fit int \| str"):
            await stream.send(1.5)
        await stream.aclose()
        assert await ctx.wait_for_result() == 1


async def test_a_task_limits_what_it_sends_and_gets(start_method: str) -> None:
    """`limit_plds` binds the dialogues of its block, on either side."""
    async with a_child(start_method) as portal:
        async with portal.open_context(typed.limited) as (ctx, first):
            assert first == 1
            async with ctx.open_stream() as stream:
                with limit_plds(str), pytest.raises(MsgTypeError):
                    await stream.send(1)
                await stream.send(2)
            assert await ctx.wait_for_result() == 2
        with raises(MsgTypeError, match="the first value"), limit_plds(str):
            async with portal.open_context(typed.untyped, 1):
                pass


async def test_custom_types_cross_by_hooks(start_method: str) -> None:
    """`enc_hook`, `dec_hook` and `ext_types`, anywhere in a value."""
    async with (
        a_child(start_method) as portal,
        portal.open_context(typed.of_complex) as (ctx, first),
        ctx.open_stream() as stream,
    ):
        assert first == 1j
        item: Any = {"deep": [1 + 2j]}
        await stream.send(item)
        assert await stream.receive() == item
        assert await ctx.wait_for_result() == [2j]


@pytest.mark.parametrize("value", [(1, 2), {1}, Point(1)])
async def test_parity_is_a_choice(start_method: str, value: Any) -> None:
    """`started(strict_pld_parity=True)` refuses what would arrive as another thing."""
    async with a_child(start_method) as portal:
        with raises(RemoteActorError, match="does not keep its value") as caught:
            async with portal.open_context(typed.strict, type(value).__name__):
                pass
        assert caught.value.boxed_type is MsgTypeError


POINT: Final = "Point(x=1, y=())"
RED: Final = "<Color.RED: 'red'>"


@pytest.mark.parametrize(
    ("fn", "args", "kwargs", "arrive"),
    [
        ("with_arguments", [Point(1), Color.RED], {"t": (1,)}, [POINT, RED, "(1,)"]),
        ("with_arguments", [Point(1)], {"c": Color.RED}, [POINT, RED, "()"]),
        ("context_in_the_middle", [Point(1), (1,)], {}, [POINT, "(1,)"]),
        ("context_in_the_middle", [], {"p": Point(1), "t": (1,)}, [POINT, "(1,)"]),
        ("context_by_keyword", [Point(1)], {"c": Color.RED}, [POINT, RED]),
    ],
)
async def test_arguments_of_contexts_arrive_as_annotated(
    start_method: str, fn: str, args: Any, kwargs: Any, arrive: list[str]
) -> None:
    """Wherever the parameter is that takes the context itself."""
    context: Any = getattr(typed, fn)
    async with (
        a_child(start_method) as portal,
        portal.open_context(context, *args, **kwargs) as (ctx, _),
    ):
        assert await ctx.wait_for_result() == arrive

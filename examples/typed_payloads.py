"""Types of what crosses: annotations are checked, on the side that made the mistake.

A cook in another actor gets orders and sends dishes. Amounts are fractions, which
msgpack knows nothing of, and so they need a hook for each way.
"""

from dataclasses import dataclass
from enum import Enum
from fractions import Fraction
from typing import Any

import trio
from msgspec import Struct

import tractor


class Unit(Enum):
    """Of amounts."""

    CUP = "cup"
    PIECE = "piece"


@dataclass
class Ingredient:
    """What a dish is made of."""

    name: str
    amount: Fraction
    unit: Unit


class Dish(Struct):
    """What the cook sends."""

    name: str
    ingredients: tuple[Ingredient, ...]


class Order(Struct):
    """What the guests send."""

    dish: str
    guests: int


def simplify(value: Any) -> str:
    """A fraction as text, which msgpack knows."""
    if isinstance(value, Fraction):
        return str(value)
    raise TypeError(f"a {type(value).__name__} cannot be sent")


def rebuild(cls: type, text: str) -> Any:
    """The way back."""
    return cls(text)


@tractor.context(enc_hook=simplify, dec_hook=rebuild, ext_types=[Fraction])
async def cook(ctx: tractor.Context[set[str], Order, Dish]) -> Fraction:
    """Start with the menu, receive orders, send dishes; how many cups that took."""
    cups = Fraction(0)
    await ctx.started({"pancakes", "soup"})
    async with ctx.open_stream() as hatch:
        async for order in hatch:
            if order.dish == "soup":  # a mistake, which mypy sees, too
                await hatch.send("soup")  # type: ignore[arg-type]
            flour = Ingredient("flour", Fraction(order.guests, 3), Unit.CUP)
            eggs = Ingredient("eggs", Fraction(order.guests, 2), Unit.PIECE)
            await hatch.send(Dish(order.dish, (flour, eggs)))
            cups += flour.amount
    return cups


async def split(prices: tuple[int, ...], guests: int) -> tuple[int, int]:
    """Annotations of plain calls count, too."""
    return divmod(sum(prices), guests)


async def dine(portal: tractor.Portal) -> None:
    """Values arrive as what they are, and our mistake is noticed here."""
    async with portal.open_context(cook) as (ctx, menu):
        print("on the menu:", *sorted(menu))
        async with ctx.open_stream() as hatch:
            try:
                await hatch.send(Order("pancakes", "four"))  # type: ignore[arg-type]
            except tractor.MsgTypeError as error:
                print("not sent:", error)
            await hatch.send(Order("pancakes", 4))  # the stream goes on
            for ingredient in (await hatch.receive()).ingredients:
                print(" ", ingredient)
        print("cups:", repr(await ctx.wait_for_result()))


async def have_soup(portal: tractor.Portal) -> None:
    """The cook's mistake is noticed over there, and ends the cook."""
    try:
        async with portal.open_context(cook) as (ctx, _), ctx.open_stream() as hatch:
            await hatch.send(Order("soup", 4))
            await hatch.receive()
    except tractor.RemoteActorError as error:
        print("over there:", error)
        print("its class:", error.boxed_type)


async def main() -> None:
    """Order twice, and pay."""
    async with tractor.open_nursery() as an:
        portal = await an.start_actor("cook", enable_modules=[__name__])
        await dine(portal)
        await have_soup(portal)
        print("each of us pays:", await portal.run(split, (9, 4), guests=4))
        await portal.cancel_actor()


if __name__ == "__main__":
    trio.run(main)

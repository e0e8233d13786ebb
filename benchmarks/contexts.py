"""What a context costs, from its opening to its end, next to a call."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

import tractor
from benchmarks import _served
from benchmarks._harness import Case, Group, Setting, Target, main
from benchmarks._ways import each_of, open_callee

CALL: Final = "Portal.run"
EXCHANGE: Final = "context, one item each way"


async def just_open(portal: tractor.Portal) -> None:
    """Open a context and come to its end."""
    async with portal.open_context(_served.just_start):
        pass


async def exchange(portal: tractor.Portal) -> None:
    """The same, with a stream and an item each way."""
    async with (
        portal.open_context(_served.answer) as (ctx, _),
        ctx.open_stream() as stream,
    ):
        await stream.send(1)
        await stream.receive()


@asynccontextmanager
async def open_contexts(setting: Setting) -> AsyncIterator[Sequence[Case]]:
    """One context after the other, and items in one that is open."""
    count = setting.size(500, 30)
    async with (
        open_callee(setting) as portal,
        portal.open_context(_served.answer) as (ctx, _),
        ctx.open_stream() as stream,
    ):

        async def there_and_back() -> None:
            await stream.send(1)
            await stream.receive()

        target = Target("context with one item each way", 4, CALL, stretch=3)
        yield [
            Case(
                CALL, "µs", partial(each_of, partial(portal.run, _served.noop), count)
            ),
            Case(
                "context",
                "µs",
                partial(each_of, partial(just_open, portal), count),
                CALL,
            ),
            Case(
                EXCHANGE,
                "µs",
                partial(each_of, partial(exchange, portal), count),
                CALL,
                (target,),
            ),
            Case(
                "item there and back",
                "µs",
                partial(each_of, there_and_back, count),
                CALL,
            ),
        ]


GROUPS: Final = (Group("contexts", open_contexts),)

if __name__ == "__main__":
    main(__doc__, GROUPS)

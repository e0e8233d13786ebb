"""What it costs to watch: calls with subscribers to the runtime's events, and without.

The subscriber does nothing, so that this is the cost of the events themselves. What an
unwatched call must not cost is counted, not timed, by `tests/test_costs.py`.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

import tractor
from benchmarks import _served
from benchmarks._harness import Case, Group, Setting, main
from benchmarks._ways import each_of, open_callee
from tractor._instrument import Event, hub

OFF: Final = "nobody subscribed"
SUBSCRIBERS: Final = (1, 4)


def ignore(event: Event) -> None:
    """A subscriber."""
    del event


async def watched(portal: tractor.Portal, subscribers: int, count: int) -> list[float]:
    """Microseconds of calls with so many subscribers at the caller."""
    if subscribers:
        with hub.subscribed(ignore):
            return await watched(portal, subscribers - 1, count)
    return await each_of(partial(portal.run, _served.noop), count)


async def watched_there(portal: tractor.Portal, count: int) -> list[float]:
    """Microseconds of calls with one subscriber at either end."""
    async with portal.open_context(_served.watch):
        found = await watched(portal, 1, count)
        await portal.run(_served.unwatch)
    return found


@asynccontextmanager
async def open_calls(setting: Setting) -> AsyncIterator[Sequence[Case]]:
    """One callee."""
    count = setting.size(1000, 50)
    async with open_callee(setting) as portal:
        yield [
            Case(OFF, "µs", partial(watched, portal, 0, count)),
            *(
                Case(
                    f"{number} at the caller",
                    "µs",
                    partial(watched, portal, number, count),
                    OFF,
                )
                for number in SUBSCRIBERS
            ),
            Case("1 at either end", "µs", partial(watched_there, portal, count), OFF),
        ]


GROUPS: Final = (Group("instrumentation", open_calls, rounds=15, backends=("trio",)),)

if __name__ == "__main__":
    main(__doc__, GROUPS)

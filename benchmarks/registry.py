"""What it costs to find an actor by its name.

Seen from one child of the root that looks for another: whom it talks with already it
finds by itself; others it asks the registrar for, which is the root, and connects with.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

import tractor
from benchmarks import _served
from benchmarks._harness import Case, Group, Setting, main
from benchmarks._ways import MODULES

CALL: Final = "a call of it"


@asynccontextmanager
async def open_actors(setting: Setting) -> AsyncIterator[Sequence[Case]]:
    """Two actors, of which one looks for the other."""
    async with tractor.open_nursery(start_method=setting.backend) as an:
        await an.start_actor("wanted", enable_modules=MODULES)
        seeker = await an.start_actor("seeker", enable_modules=MODULES)
        count, few = setting.size(500, 20), setting.size(50, 5)

        def look_up(how: str) -> Callable[[], Awaitable[list[float]]]:
            return partial(seeker.run, _served.look_up, how, "wanted", count)

        connect = partial(seeker.run, _served.connect, "wanted", few)
        yield [
            Case(CALL, "µs", look_up("call")),
            Case("find_actor, connected", "µs", look_up("find"), CALL),
            Case("query_actor, which asks the registrar", "µs", look_up("query"), CALL),
            Case("find_actor, to be connected", "µs", connect, CALL),
        ]
        await an.cancel()


GROUPS: Final = (Group("look-up", open_actors, backends=("trio", "subint")),)

if __name__ == "__main__":
    main(__doc__, GROUPS)

"""Several actors of one kind at once."""

import os
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import trio

from tractor._root import open_nursery
from tractor.runtime import Portal, current_actor


@asynccontextmanager
async def open_actor_cluster(
    modules: Iterable[str],
    count: int | None = None,
    names: Sequence[str] | None = None,
    *,
    start_method: str | None = None,
    infect_asyncio: bool = False,
    proc_kwargs: dict[str, Any] | None = None,
    **runtime_kwargs: Any,
) -> AsyncIterator[dict[str, Portal]]:
    """Start several actors that serve the same modules, all at the same time.

    They are stopped when the block ends.

    Args:
        modules: Modules that each of them serves.
        count: How many, ≥ 1; by default one per processor that this process may use.
        names: Their names, each prefixed with that of this actor; by default
            ``worker_0`` and so on.
        start_method: Key of a spawn backend; by default the tree's.
        infect_asyncio: As for `ActorNursery.start_actor`, for each of them.
        proc_kwargs: As for `ActorNursery.start_actor`, likewise.
        **runtime_kwargs: For `open_root_actor`, where no actor runs yet.

    Returns:
        Portals by full name, in order.

    Raises:
        ValueError: `names` and `count` do not agree, or `count` is out of range.
        SpawnError: One of them did not become ready; the others were stopped.

    Cancellation: all of them are stopped within the bound of the ladder.
    """
    wanted = _names(count, names)
    served = list(modules)
    async with open_nursery(**runtime_kwargs) as an:
        prefix = current_actor().name
        portals: dict[str, Portal] = {f"{prefix}.{name}": _NONE for name in wanted}

        async def start(name: str) -> None:
            portals[name] = await an.start_actor(
                name,
                enable_modules=served,
                start_method=start_method,
                infect_asyncio=infect_asyncio,
                proc_kwargs=proc_kwargs,
            )

        async with trio.open_nursery() as starting:
            for name in portals:
                starting.start_soon(start, name)
        yield portals
        await an.cancel()


_NONE: Any = None  # a place in the order, until the actor is up


def _names(count: int | None, names: Sequence[str] | None) -> list[str]:
    if names is not None:
        if count is not None and len(names) != count:
            msg = f"{len(names)} names for count={count}; give one of the two"
            raise ValueError(msg)
        if len(set(names)) != len(names):
            msg = "names of a cluster have to differ"
            raise ValueError(msg)
        count = len(names)
    if count is None:
        count = os.process_cpu_count() or 1
    if count < 1:
        msg = f"a cluster has at least one actor, not {count}"
        raise ValueError(msg)
    return list(names) if names is not None else [f"worker_{i}" for i in range(count)]

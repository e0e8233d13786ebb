"""Opening a scope."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import trio
from msgspec import structs

from tractor._root import open_nursery
from tractor.cowns._cown import ambient
from tractor.cowns._scope import Scope
from tractor.futures import DecisionTrace
from tractor.futures.parts import decide
from tractor.spawn import DEFAULT_BACKEND
from tractor.trionics import collapse_eg

FLAVORS: Final = ("auto", "processes", "interpreters")


@asynccontextmanager
async def open_cowns(
    *,
    workers: int | None = None,
    flavor: str = "auto",
    serializer: str | None = None,
    name: str | None = None,
) -> AsyncIterator[Scope]:
    """A scope for cowns around the block.

    Leaving the block normally waits for all behaviours; leaving it by an error drops
    what has not begun. Afterwards none of its workers is left.

    Args:
        workers: How many there are at most, ≥ 1; by default one for each processor.
            They are started when there is work for them.
        flavor: ``processes``, ``interpreters``, or ``auto``.
        serializer: Name of a module with `dumps` and `loads`, ``pickle`` say, for
            what msgpack cannot carry. Use it for what you trust.
        name: Of the scope, and the beginning of its workers' names.

    Raises:
        ValueError: One of them is out of range; an environment variable, too.

    Cancellation: async behaviours are cancelled, and every worker is stopped within
    the bound of the ladder; what has not begun ends with `BehaviourDropped`.
    """
    if flavor not in FLAVORS:
        msg = f"cowns have no flavor {flavor!r}; there are {', '.join(FLAVORS)}"
        raise ValueError(msg)
    decision = _with_actors(
        decide(flavor=flavor, workers=workers, name=name, config=None), workers
    )
    async with (
        open_nursery(),
        collapse_eg(add_notes=False),
        trio.open_nursery() as nursery,
    ):
        scope = Scope(decision, serializer)
        scope.open(nursery)
        token = ambient.set(scope)
        try:
            yield scope
            await scope.quiesce()
        finally:
            ambient.reset(token)
            scope.close()
            nursery.cancel_scope.cancel(reason="the scope of cowns is closed")


def _with_actors(decision: DecisionTrace, workers: int | None) -> DecisionTrace:
    """The decision; with processes, where it is for workers that are no actors."""
    if decision.start_method is not None:
        return decision
    return structs.replace(
        decision,
        resolved="processes",
        reason=f"{decision.reason}; cowns need actors",
        workers=workers or os.process_cpu_count() or 1,
        start_method=DEFAULT_BACKEND,
    )

"""What actors do in tests of tracing. Children import this, so it imports little."""

import gc
import sys
from collections import Counter
from collections.abc import AsyncIterator
from types import CodeType
from typing import Final

import trio

import tractor
from tests._misbehaviours import ring

AT_ONCE: Final = 50  # calls under way


async def leaf(number: int) -> int:
    """The lowest level."""
    return number


async def fail() -> None:
    """Raise."""
    raise LookupError("nothing here")


async def call_leaves(calls: int, leaves: int) -> int:
    """The middle level: call so often, in actors of its own; the sum of what they say.

    Args:
        calls: How many in all.
        leaves: How many actors.
    """
    answers: list[int] = []

    async def call(portal: tractor.Portal, numbers: range) -> None:
        answers.extend([await portal.run(leaf, number) for number in numbers])

    async with tractor.open_nursery() as an:
        portals = [
            await an.start_actor(f"leaf-{at}", enable_modules=[__name__])
            for at in range(leaves)
        ]
        async with trio.open_nursery() as nursery:
            for lane in range(AT_ONCE):
                mine = range(lane, calls, AT_ONCE)
                nursery.start_soon(call, portals[lane % leaves], mine)
        await an.cancel()
    return sum(answers)


async def run_below() -> int:
    """One more level, by `run_in_actor`."""
    async with tractor.open_nursery() as an:
        portal = await an.run_in_actor(leaf, number=1, name="below")
        return int(await portal.wait_for_result())


async def in_spans(names: list[str]) -> None:
    """Spans, one inside the other."""
    from tractor.tracing import span

    if names:
        with span(names[0], left=len(names) - 1):
            await in_spans(names[1:])


async def spans_and_waits(bell: str) -> None:
    """A span that ends, and one that does not."""
    from tractor.tracing import span

    with span("over"):
        pass
    with span("going on"):
        ring(bell)
        await trio.sleep_forever()


def spanned(name: str) -> None:
    """A task of a pool, with a span in it."""
    from tractor.tracing import span

    with span(name):
        pass


async def count_to(number: int) -> AsyncIterator[int]:
    """A stream."""
    for each in range(number):
        yield each


async def follow_me(victim: str, path: str) -> None:
    """Try to have another actor than a child of this one write a file."""
    async with tractor.find_actor(victim) as portal:
        assert portal is not None
        await portal.run_from_ns(
            "tractor.tracing.verbs", "follow", path=path.encode(), key="k", epoch=0
        )


async def is_loaded(module: str) -> bool:
    """Whether this actor has imported it."""
    return module in sys.modules


# -- Counting --------------------------------------------------------------------------


class Frames:
    """Counts entries into functions of Python while it is on."""

    def __init__(self) -> None:
        self.counts: Counter[CodeType] = Counter()

    def start(self) -> None:
        """From now on."""
        gc.collect()
        gc.disable()
        self.counts.clear()
        monitoring = sys.monitoring
        monitoring.use_tool_id(4, "frames")
        for event in (monitoring.events.PY_START, monitoring.events.PY_RESUME):
            monitoring.register_callback(4, event, self._entered)
        monitoring.set_events(
            4, monitoring.events.PY_START | monitoring.events.PY_RESUME
        )

    def stop(self) -> dict[str, int]:
        """How often each function ran, by name."""
        sys.monitoring.set_events(4, 0)
        sys.monitoring.free_tool_id(4)
        gc.enable()
        found: Counter[str] = Counter()
        for code, count in self.counts.items():
            found[f"{code.co_filename}:{code.co_qualname}"] += count
        return dict(found)

    def _entered(self, code: CodeType, *_: object) -> None:
        self.counts[code] += 1


frames: Final = Frames()


async def start_frames() -> None:
    """Count here."""
    frames.start()


async def stop_frames() -> dict[str, int]:
    """What was counted."""
    return frames.stop()


async def blocks() -> int:
    """Blocks of memory in use here."""
    gc.collect()
    return sys.getallocatedblocks()

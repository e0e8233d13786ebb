"""What is counted in an actor, and what is counted: the part of `_costs` it serves."""

import gc
import sys
import tracemalloc
from collections import Counter
from types import CodeType
from typing import Final

import trio

import tractor

# -- Counters: `start_x`, `stop_x`, and `mark_x` where it begins later -----------------


class Steps(trio.abc.Instrument):
    """Counts tasks, and how often any of them got a turn."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def task_spawned(self, task: trio.lowlevel.Task) -> None:
        """A task begins."""
        del task
        self.counts["tasks"] += 1

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """A task gets a turn."""
        del task
        self.counts["turns"] += 1


class Frames:
    """Counts entries into functions of Python, resumed coroutines included."""

    def __init__(self) -> None:
        self.counts: Counter[CodeType] = Counter()
        self._tool = next(
            each for each in range(6) if not sys.monitoring.get_tool(each)
        )
        events = sys.monitoring.events
        self._events = events.PY_START | events.PY_RESUME | events.PY_THROW

    def start(self) -> None:
        """Begin."""
        monitoring = sys.monitoring
        monitoring.use_tool_id(self._tool, "costs")
        for event in (1 << bit for bit in range(self._events.bit_length())):
            if event & self._events:
                monitoring.register_callback(self._tool, event, self._entered)
        monitoring.set_events(self._tool, self._events)

    def stop(self) -> None:
        """End."""
        sys.monitoring.set_events(self._tool, 0)
        sys.monitoring.free_tool_id(self._tool)

    def _entered(self, code: CodeType, *_: object) -> None:
        self.counts[code] += 1


class Counting:
    """What is counted here at the moment."""

    def __init__(self) -> None:
        self.frames: Frames | None = None
        self.steps: Steps | None = None
        self.before = 0


counting: Final = Counting()


async def start_frames() -> None:
    """Count frames from now on."""
    gc.disable()
    counting.frames = Frames()
    counting.frames.start()


async def stop_frames() -> dict[str, int]:
    """How often each function ran, by ``file:name``."""
    assert counting.frames is not None
    counting.frames.stop()
    gc.enable()
    found: Counter[str] = Counter()
    for code, count in counting.frames.counts.items():
        found[f"{code.co_filename}:{code.co_qualname}"] += count
    return dict(found)


async def start_steps() -> None:
    """Count tasks and their turns from now on."""
    counting.steps = Steps()
    trio.lowlevel.add_instrument(counting.steps)


async def stop_steps() -> dict[str, int]:
    """How many there were."""
    assert counting.steps is not None
    trio.lowlevel.remove_instrument(counting.steps)
    return dict(counting.steps.counts)


async def start_blocks() -> None:
    """Note how many blocks of memory are in use."""
    gc.collect()
    counting.before = sys.getallocatedblocks()


async def stop_blocks() -> dict[str, int]:
    """How many more there are."""
    gc.collect()
    return {"blocks": sys.getallocatedblocks() - counting.before}


async def start_garbage() -> None:
    """Note the same, and leave cycles alone from now on."""
    gc.collect()
    gc.disable()
    counting.before = sys.getallocatedblocks()


async def stop_garbage() -> dict[str, int]:
    """How many more there are, those in cycles included."""
    found = {"blocks": sys.getallocatedblocks() - counting.before}
    gc.enable()
    return found


async def start_peak() -> None:
    """Watch how much memory is in use from now on."""
    gc.collect()
    gc.disable()
    tracemalloc.start()


async def mark_peak() -> None:
    """Begin with the most that is in use."""
    tracemalloc.reset_peak()
    counting.before = tracemalloc.get_traced_memory()[0]


async def stop_peak() -> dict[str, int]:
    """The most bytes that were in use, beyond those of the beginning."""
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    gc.enable()
    return {"peak": peak - counting.before}


async def modules() -> list[str]:
    """What this actor has imported."""
    return sorted(sys.modules)


# -- What is done ----------------------------------------------------------------------


async def noop() -> None:
    """What is called."""


@tractor.context
async def just_start(ctx: tractor.Context) -> None:
    """Begin, and be over."""
    await ctx.started()


@tractor.context
async def answer(ctx: tractor.Context) -> None:
    """Send back each item."""
    await ctx.started()
    async with ctx.open_stream() as stream:
        async for item in stream:
            await stream.send(item)

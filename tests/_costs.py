"""What the runtime does for one call, counted and not timed.

A program of its own, `python -m tests._costs`, because tests have instruments in their
loop. It prints the figures of both actors, per operation; with the name of an operation
also which functions run for it, and how often. The figures of N operations are those
of 2 N of them less those of N, so that what begins and ends the counting does not
matter.
"""

import gc
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

import trio

import tractor
from tests import _counters

FEW: Final = 100  # operations; and twice as many
WARM_UP: Final = 50
MANY: Final = 1000  # for what is left behind, which is little of one
BOUND: Final = 60  # seconds for all; a safety net
MARK: Final = "/tractor-costs/"  # no file; asking for it shows in a trace

PACKAGE: Final = str(Path(tractor.__file__).parent)
PROGRAM: Final = "tests._costs"
SERVED: Final = _counters.__name__

type Operation = Callable[[], Awaitable[object]]
type Figures = dict[str, float]


# -- Operations ------------------------------------------------------------------------


@asynccontextmanager
async def open_operations() -> AsyncIterator[
    tuple[tractor.Portal, dict[str, Operation]]
]:
    """An actor, and what is done with it."""
    async with AsyncExitStack() as stack:
        an = await stack.enter_async_context(
            tractor.open_nursery(start_method="trio", loglevel="warning")
        )
        stack.push_async_callback(an.cancel)
        portal = await an.start_actor("callee", enable_modules=[SERVED])
        pair = portal.open_context(_counters.answer)
        ctx, _ = await stack.enter_async_context(pair)
        stream = await stack.enter_async_context(ctx.open_stream())

        async def call() -> None:
            await portal.run(_counters.noop)

        async def context() -> None:
            async with portal.open_context(_counters.just_start):
                pass

        async def item() -> None:
            await stream.send(1)
            await stream.receive()

        yield portal, {"call": call, "context": context, "item": item}


async def repeat(operation: Operation, times: int) -> None:
    """Do it so many times."""
    for _ in range(times):
        await operation()


# -- Figures of operations -------------------------------------------------------------


def counter(what: str) -> tuple[Any, Any]:
    """How that one is started and stopped."""
    module = _counters
    return getattr(module, f"start_{what}"), getattr(module, f"stop_{what}")


async def difference(
    portal: tractor.Portal, operation: Operation, what: str
) -> tuple[Counter[str], Counter[str]]:
    """What `FEW` operations take here and there, by a counter of that name."""
    start, stop = counter(what)
    totals: tuple[Counter[str], Counter[str]] = Counter(), Counter()
    for sign, times in ((-1, FEW), (1, 2 * FEW)):
        await portal.run(start)
        await start()
        await repeat(operation, times)
        for total, found in zip(
            totals, (await stop(), await portal.run(stop)), strict=True
        ):
            for name, count in found.items():
                total[name] += sign * count
    return totals


async def between(
    portal: tractor.Portal, operation: Operation, what: str, times: int
) -> tuple[int, int]:
    """What changes here and there meanwhile, by a counter of one figure."""
    start, stop = counter(what)
    begin = getattr(_counters, f"mark_{what}", _counters.noop)
    await portal.run(start)
    await start()
    await repeat(operation, WARM_UP)
    await portal.run(begin)
    await begin()
    await repeat(operation, times)
    here, there = await stop(), await portal.run(stop)
    return here[next(iter(here))], there[next(iter(there))]


async def measure(portal: tractor.Portal, operation: Operation) -> Figures:
    """All that is counted of one operation, in both actors."""
    found: Figures = {}
    await repeat(operation, WARM_UP)
    for side, frames in zip(
        ("caller", "callee"), await difference(portal, operation, "frames"), strict=True
    ):
        ours = sum(n for name, n in frames.items() if name.startswith(PACKAGE))
        watching = sum(
            n
            for name, n in frames.items()
            if any(
                part in name for part in ("/_instrument.py:", "/logging/", "/log.py:")
            )
        )
        found[f"frames, {side}"] = frames.total() / FEW
        found[f"frames of tractor, {side}"] = ours / FEW
        found[f"frames of events and logs, {side}"] = watching / FEW
    for side, steps in zip(
        ("caller", "callee"), await difference(portal, operation, "steps"), strict=True
    ):
        found[f"tasks, {side}"] = steps["tasks"] / FEW
        found[f"turns, {side}"] = steps["turns"] / FEW
    for what, name, times in (
        ("blocks", "blocks left", MANY),
        ("garbage", "blocks in cycles", MANY),
        ("peak", "bytes at most", 1),
    ):
        both = await between(portal, operation, what, times)
        for side, figure in zip(("caller", "callee"), both, strict=True):
            found[f"{name}, {side}"] = figure / times
    return found


async def measure_imports(portal: tractor.Portal) -> Figures:
    """What a child imports beyond trio and msgspec."""
    script = "import sys, trio, msgspec; print(*sys.modules)"
    argv = [sys.executable, "-c", script]
    done = await trio.run_process(argv, capture_stdout=True)
    known = {*done.stdout.decode().split(), "tests", SERVED}
    new = set(await portal.run(_counters.modules)) - known
    ours = {name for name in new if name.partition(".")[0] == "tractor"}
    return {"modules of tractor": len(ours), "other modules": len(new - ours)}


async def measure_all() -> dict[str, Figures]:
    """Everything but what only the kernel sees."""
    with trio.fail_after(BOUND):
        async with open_operations() as (portal, operations):
            found = {"child": await measure_imports(portal)}
            for name, operation in operations.items():
                found[name] = await measure(portal, operation)
            return found


async def show_functions(name: str) -> None:
    """Print how often functions run for one operation, by actor."""
    with trio.fail_after(BOUND):
        async with open_operations() as (portal, operations):
            await repeat(operations[name], WARM_UP)
            both = await difference(portal, operations[name], "frames")
    for side, counts in zip(("caller", "callee"), both, strict=True):
        print(f"{side}: {counts.total() / FEW:.2f}")
        for function, count in counts.most_common():
            if count >= FEW / 10:
                print(f"  {count / FEW:6.2f}  {function.removeprefix(sys.prefix)}")


# -- What only the kernel sees ---------------------------------------------------------


async def run_marked() -> None:
    """Do operations with marks between them, to be traced."""
    gc.disable()
    with trio.fail_after(BOUND):
        async with open_operations() as (_, operations):
            for name, operation in operations.items():
                await repeat(operation, WARM_UP)
                mark(name)
                await repeat(operation, FEW)
                mark("end")


def mark(text: str) -> None:
    """Show in a trace."""
    os.access(MARK + text, os.F_OK)


def trace(folder: Path, env: dict[str, str]) -> dict[str, Figures]:
    """System calls, and bytes sent, of each operation.

    Raises:
        subprocess.CalledProcessError: `strace` must not trace here.
    """
    log = folder / "trace"
    argv = ["strace", "-f", "-qq", "-s", "0", "-o", str(log)]
    subprocess.run(
        [*argv, sys.executable, "-m", PROGRAM, "marked"],
        check=True,
        capture_output=True,
        cwd=Path(__file__).parents[1],
        env=env,
        timeout=BOUND,
    )
    found: dict[str, Figures] = {}
    current: Figures | None = None
    for line in log.read_text().splitlines():
        if MARK in line:
            name = line.partition(MARK)[2].partition('"')[0]
            current = None
            if name != "end":
                current = found[name] = {"system calls": 0, "bytes on the wire": 0}
        elif current is not None and "<unfinished" not in line and "---" not in line:
            current["system calls"] += 1 / FEW
            if "sendto" in line or "sendmsg" in line:
                current["bytes on the wire"] += int(line.rpartition("= ")[2]) / FEW
    return found


if __name__ == "__main__":
    match sys.argv[1:]:
        case []:
            print(json.dumps(trio.run(measure_all), indent=1))
        case ["marked"]:
            trio.run(run_marked)
        case [operation_name]:
            trio.run(show_functions, operation_name)

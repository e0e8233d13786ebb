"""What behaviours over data cost, next to bocpy, which has the same model.

Its values are packed again for each behaviour; ours stay where they were used last, and
so a large one that is used again and again costs next to nothing. Ours run in actors,
and its in sub-interpreters of its process; it is in a process of its own here, and left
out where it is not installed.
"""

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any, Final

import trio

from benchmarks import _references
from benchmarks._harness import Case, Group, Measure, Setting, Target, main
from benchmarks._machine import cores
from tractor.cowns import Cown, Scope, open_cowns

WORKERS: Final = 2
SPAWN_METHOD: Final = "TRACTOR_SPAWN_METHOD"
CELLS: Final = 64  # cowns, where there are many
LENGTH: Final = 100_000  # of a list

BOCPY: Final = "bocpy"
ONE_WORKER: Final = "1 worker"

type Body = Callable[..., Any]


def add(cown: Cown[int]) -> None:
    """A tiny behaviour."""
    cown.value += 1


def change(cown: Cown[list[int]]) -> None:
    """Touch a large value."""
    cown.value[0] += 1


def burn(cown: Cown[int], steps: int) -> None:
    """Compute."""
    value = cown.value
    for number in range(steps):
        value = (value + number * number) % 1_000_003
    cown.value = value


@asynccontextmanager
async def opened(setting: Setting, workers: int = WORKERS) -> AsyncIterator[Scope]:
    """A scope on the backend that is measured."""
    flavor = "interpreters" if setting.backend.startswith("subint") else "processes"
    before = os.environ.get(SPAWN_METHOD)
    os.environ[SPAWN_METHOD] = setting.backend
    try:
        async with open_cowns(workers=workers, flavor=flavor) as scope:
            yield scope
    finally:
        os.environ.pop(SPAWN_METHOD)
        if before is not None:
            os.environ[SPAWN_METHOD] = before


def ours(scope: Scope, body: Body, cowns: list[Cown[Any]], count: int) -> Measure:
    """Behaviours per second, from the first scheduling to the last end."""

    async def measure() -> list[float]:
        began = perf_counter()
        for turn in range(count):
            scope.schedule(body, cowns[turn % len(cowns)])
        await scope.quiesce()
        return [count / (perf_counter() - began)]

    return measure


@contextmanager
def bocpy() -> Iterator[Callable[[str, int], Measure] | None]:
    """The other one, if it is there."""
    if _references.installed("bocpy") is None:
        yield None
        return
    script = str(Path(__file__).with_name("_bocpy.py"))
    command = [sys.executable, script, str(WORKERS)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()

        def ask(what: str, count: int) -> list[float]:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(f"{what} {count}\n")
            process.stdin.flush()
            return [count / float(process.stdout.readline())]

        def measured(what: str, count: int) -> Measure:
            return partial(trio.to_thread.run_sync, ask, what, count)

        yield measured
        process.stdin.close()


@asynccontextmanager
async def open_against(
    setting: Setting, *, what: str, full: int, quick: int, target: Target
) -> AsyncIterator[Sequence[Case]]:
    """Ours and theirs."""
    count = setting.size(full, quick)
    async with AsyncExitStack() as stack:
        theirs = stack.enter_context(bocpy())
        scope = await stack.enter_async_context(opened(setting))
        body, cowns = _made(what)
        reference = BOCPY if theirs is not None else None
        run = ours(scope, body, cowns, count)
        cases = [Case("cowns", "/s", run, reference, (target,))]
        if theirs is not None:
            cases.append(Case(BOCPY, "/s", theirs(what, count)))
        yield cases


def _made(what: str) -> tuple[Body, list[Cown[Any]]]:
    if what == "list":
        return change, [Cown(list(range(LENGTH)))]
    return add, [Cown(0) for _ in range(CELLS if what == "many" else 1)]


@asynccontextmanager
async def open_computing(setting: Setting) -> AsyncIterator[Sequence[Case]]:
    """The same work by one worker and by two."""
    steps = setting.size(40_000, 2_000)
    count = setting.size(64, 8)
    counts = [number for number in (1, 2) if number <= cores()]
    async with AsyncExitStack() as stack:
        cases = []
        for workers in counts:
            scope = await stack.enter_async_context(opened(setting, workers))
            cowns = [scope.cown(0) for _ in range(8)]
            run = _computing(scope, cowns, count, steps)
            target = Target("behaviours on two workers", 1.7, ONE_WORKER, at_least=True)
            cases.append(
                Case(
                    ONE_WORKER if workers == 1 else f"{workers} workers",
                    "/s",
                    run,
                    ONE_WORKER,
                    (target,) if workers == 2 else (),
                )
            )
        yield cases


def _computing(scope: Scope, cowns: list[Cown[int]], count: int, steps: int) -> Measure:
    async def measure() -> list[float]:
        began = perf_counter()
        for turn in range(count):
            scope.schedule(burn, cowns[turn % len(cowns)], captures=(steps,))
        await scope.quiesce()
        return [count / (perf_counter() - began)]

    return measure


def against(what: str, full: int, quick: int, target: Target) -> Any:
    """A group's way to open."""
    return partial(open_against, what=what, full=full, quick=quick, target=target)


TINY: Final = Target("tiny behaviours, against bocpy", 1 / 3, BOCPY, at_least=True)
LARGE: Final = Target("a large list again and again", 20, BOCPY, at_least=True)

GROUPS: Final = (
    Group("one int", against("one", 20_000, 500, TINY)),
    Group("many ints", against("many", 20_000, 500, TINY)),
    Group("a list of 100 000", against("list", 200, 20, LARGE)),
    Group("computing", open_computing, rounds=15),
)

if __name__ == "__main__":
    main(__doc__, GROUPS)

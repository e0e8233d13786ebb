"""What tasks of pools cost, next to the executors of the standard library.

Each flavor of ours beside the one of the same kind: processes, interpreters, threads.
Sub-interpreters are left out where this Python has none. Every pool has two workers,
save where their number is what is asked about. Our functions go by name and msgpack,
as is the default; those of the standard library are pickled, which is theirs.
"""

import concurrent.futures as cf
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from functools import partial
from time import perf_counter
from typing import Any, Final

from benchmarks import _ends, _references
from benchmarks._harness import Case, Group, Measure, Setting, Target, main
from benchmarks._machine import cores
from benchmarks._ways import with_callers
from tractor.futures import (
    Executor,
    detect_capabilities,
    open_pool,
    ready_future,
    when_all,
)

WORKERS: Final = 2
OUTSTANDING: Final = 64
ROOM: Final = (1, 2, 4)  # workers, where their number is what is asked about
LINKS: Final = 100  # of a chain
BOUND: Final = 60  # seconds for a row of tasks; a safety net

PROCESSES: Final = "ProcessPoolExecutor"
INTERPRETERS: Final = "InterpreterPoolExecutor"
THREADS: Final = "ThreadPoolExecutor"
BY_HAND: Final = "add_done_callback by hand"

KINDS: Final = {"processes": PROCESSES, "interpreters": INTERPRETERS}
KINDS_AND_THREADS: Final = {**KINDS, "threads": THREADS}

# How often the same work is done there as by the standard library.
NOOP_BOUNDS: Final = {"processes": 2.0, "interpreters": 1.5}


# -- Pools -----------------------------------------------------------------------------


def standard(kind: str, workers: int = WORKERS) -> cf.Executor:
    """A pool of the standard library."""
    if kind == PROCESSES:
        return cf.ProcessPoolExecutor(workers, mp_context=_references.FORKSERVER)
    made: Callable[[int], cf.Executor] = getattr(cf, kind)
    return made(workers)


def flavors(kinds: dict[str, str]) -> dict[str, str]:
    """Those that there are here, with what they are compared with."""
    can = detect_capabilities().interpreters and hasattr(cf, INTERPRETERS)
    return {name: kinds[name] for name in kinds if can or name != "interpreters"}


@contextmanager
def started(executor: cf.Executor, workers: int) -> Iterator[cf.Executor]:
    """With all of its workers: tasks that last go to one each."""
    with executor:
        for each in [executor.submit(_ends.count, 500_000) for _ in range(workers)]:
            each.result()
        yield executor


def both(
    stack: AsyncExitStack, kinds: dict[str, str], workers: int = WORKERS
) -> dict[str, cf.Executor]:
    """Ours and theirs, by name."""
    found: dict[str, cf.Executor] = {}
    for flavor, theirs in flavors(kinds).items():
        found[ours(flavor)] = Executor(workers, flavor=flavor)
        found[theirs] = standard(theirs, workers)
    return {
        name: stack.enter_context(started(executor, workers))
        for name, executor in found.items()
    }


def ours(flavor: str) -> str:
    """Name of our case of that flavor."""
    return f"Executor of {flavor}"


def beside(name: str) -> str:
    """Name of what that one is compared with, which may be itself."""
    return {ours(flavor): kind for flavor, kind in KINDS_AND_THREADS.items()}.get(
        name, name
    )


# -- What is measured ------------------------------------------------------------------


def one_call(executor: cf.Executor) -> None:
    """Submit, and wait for the result."""
    executor.submit(_ends.noop).result()


def mapped(executor: cf.Executor, count: int) -> Measure:
    """Items per second, of a `map`."""

    async def measure() -> list[float]:
        began = perf_counter()
        done = sum(1 for _ in executor.map(_ends.count, [0] * count))
        return [done / (perf_counter() - began)]

    return measure


def fanned_out(executor: cf.Executor, count: int) -> Measure:
    """Tasks per second, all submitted before any is waited for."""

    async def measure() -> list[float]:
        began = perf_counter()
        futures = [executor.submit(_ends.noop) for _ in range(count)]
        if isinstance(executor, Executor):
            when_all(*futures).result()
        else:
            cf.wait(futures)
        return [count / (perf_counter() - began)]

    return measure


def computed(executor: cf.Executor, tasks: int, steps: int) -> Measure:
    """Millions of steps per second, by so many tasks at once."""

    async def measure() -> list[float]:
        began = perf_counter()
        futures = [executor.submit(_ends.count, steps) for _ in range(tasks)]
        for each in futures:
            each.result()
        return [tasks * steps / (perf_counter() - began) / 1e6]

    return measure


def chained(link: Callable[[cf.Future[int]], cf.Future[int]], count: int) -> Measure:
    """Microseconds of each link, of chains that are made and then walked along."""

    async def measure() -> list[float]:
        found = []
        for _ in range(count):
            began = perf_counter()
            last: cf.Future[int] = ready_future(0)
            for _ in range(LINKS):
                last = link(last)
            assert last.result() == LINKS
            found.append((perf_counter() - began) / LINKS * 1e6)
        return found

    return measure


def then(future: cf.Future[int]) -> cf.Future[int]:
    """One link, of ours."""
    follow: Any = future
    made: cf.Future[int] = follow.then(one_more)
    return made


def by_hand(future: cf.Future[int]) -> cf.Future[int]:
    """One link, as one would make it without us."""
    following: cf.Future[int] = cf.Future()

    def follow(done: cf.Future[int]) -> None:
        try:
            following.set_result(one_more(done))
        except BaseException as exc:  # noqa: BLE001 (it is the other future's)
            following.set_exception(exc)

    future.add_done_callback(follow)
    return following


def one_more(future: cf.Future[int]) -> int:
    """What a link does."""
    return future.result() + 1


def in_a_row(executor: Any, count: int) -> Measure:
    """Microseconds of each task, when each is submitted by what follows the one before.

    Nobody waits but for the last one.
    """

    async def measure() -> list[float]:
        over: cf.Future[None] = cf.Future()
        left = count

        def step(_: Any) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                over.set_result(None)
            else:
                executor.submit(_ends.noop).add_done_callback(step)

        began = perf_counter()
        step(None)
        over.result(BOUND)
        return [(perf_counter() - began) / count * 1e6]

    return measure


# -- Groups ----------------------------------------------------------------------------


@asynccontextmanager
async def open_one(setting: Setting) -> AsyncIterator[Sequence[Case]]:
    """One task at a time."""
    count = setting.size(300, 20)
    async with AsyncExitStack() as stack:
        yield [
            Case(
                name,
                "µs",
                _references.blocking(partial(one_call, executor), count),
                of=beside(name),
            )
            for name, executor in both(stack, KINDS_AND_THREADS).items()
        ]


@asynccontextmanager
async def open_many(setting: Setting) -> AsyncIterator[Sequence[Case]]:
    """Tasks that do nothing, many under way."""
    count = setting.size(6_000, 512)
    async with AsyncExitStack() as stack:
        targets = {
            ours(flavor): Target(
                f"64 tasks, {ours(flavor)}", bound, KINDS[flavor], at_least=True
            )
            for flavor, bound in NOOP_BOUNDS.items()
        }
        yield [
            Case(
                name,
                "/s",
                _references.pool_rate(executor, count, OUTSTANDING),
                of=beside(name),
                targets=(targets[name],) if name in targets else (),
            )
            for name, executor in both(stack, KINDS_AND_THREADS).items()
        ]


@asynccontextmanager
async def open_pools(setting: Setting) -> AsyncIterator[Sequence[Case]]:
    """The same in an async program, by 64 tasks that call one after the other."""
    count = setting.size(6_000, 512)
    async with AsyncExitStack() as stack:
        cases = []
        for flavor, kind in flavors(KINDS_AND_THREADS).items():
            theirs = stack.enter_context(started(standard(kind), WORKERS))
            pool = await stack.enter_async_context(
                open_pool(flavor=flavor, workers=WORKERS)
            )
            run = partial(pool.run, _ends.noop)
            cases += [
                Case(
                    f"Pool.run of {flavor}",
                    "/s",
                    partial(with_callers, run, count, OUTSTANDING),
                    of=kind,
                ),
                Case(
                    kind,
                    "/s",
                    _references.pool_rate(theirs, count, OUTSTANDING),
                    of=kind,
                ),
            ]
        yield cases


@asynccontextmanager
async def open_all_at_once(
    setting: Setting, *, way: Callable[[cf.Executor, int], Measure]
) -> AsyncIterator[Sequence[Case]]:
    """As many tasks as there are, and nobody waits before the last is submitted."""
    count = setting.size(4_000, 256)
    async with AsyncExitStack() as stack:
        yield [
            Case(name, "/s", way(executor, count), of=beside(name))
            for name, executor in both(stack, KINDS_AND_THREADS).items()
        ]


@asynccontextmanager
async def open_chains(setting: Setting) -> AsyncIterator[Sequence[Case]]:
    """Futures of futures, without a worker."""
    count = setting.size(100, 5)
    yield [
        Case("then", "µs", chained(then, count), of=BY_HAND),
        Case(BY_HAND, "µs", chained(by_hand, count)),
    ]


@asynccontextmanager
async def open_rows(setting: Setting) -> AsyncIterator[Sequence[Case]]:
    """Tasks that follow one another without anybody who waits."""
    count = setting.size(500, 50)
    async with AsyncExitStack() as stack:
        yield [
            Case(name, "µs", in_a_row(executor, count), of=beside(name))
            for name, executor in both(stack, KINDS_AND_THREADS).items()
        ]


@asynccontextmanager
async def open_sizes(setting: Setting) -> AsyncIterator[Sequence[Case]]:
    """How the rate of tasks that do nothing depends on the number of workers."""
    count = setting.size(4_000, 256)
    async with AsyncExitStack() as stack:
        yield [
            Case(
                f"{name}, {workers}",
                "/s",
                _references.pool_rate(executor, count, OUTSTANDING),
                of=f"{name}, {ROOM[0]}",
            )
            for workers in ROOM
            for name, executor in both(stack, KINDS, workers).items()
        ]


@asynccontextmanager
async def open_computing(setting: Setting) -> AsyncIterator[Sequence[Case]]:
    """How much more two workers compute than one."""
    steps = setting.size(500_000, 50_000)
    async with AsyncExitStack() as stack:
        cases = []
        for name, executor in both(stack, KINDS_AND_THREADS).items():
            one = f"{name}, 1 task"
            cases.append(Case(one, "M/s", computed(executor, 1, steps), one))
            if cores() < WORKERS:
                continue
            what = f"computing on two workers, {name}"
            target = Target(what, 1.7, one, stretch=1.9, at_least=True)
            parallel = name in {ours(flavor) for flavor in KINDS}
            measure = computed(executor, WORKERS, steps)
            cases.append(
                Case(
                    f"{name}, 2 tasks",
                    "M/s",
                    measure,
                    of=one,
                    targets=(target,) if parallel else (),
                )
            )
        yield cases


GROUPS: Final = (
    Group("one task", open_one, backends=()),
    Group("64 tasks", open_many, backends=()),
    Group("64 tasks, async", open_pools, backends=()),
    Group("map", partial(open_all_at_once, way=mapped), backends=()),
    Group("fan-out", partial(open_all_at_once, way=fanned_out), backends=()),
    Group("then", open_chains, backends=()),
    Group("one after the other", open_rows, backends=()),
    Group("workers", open_sizes, backends=()),
    Group("computing in tasks", open_computing, rounds=30, backends=()),
)

if __name__ == "__main__":
    main(__doc__, GROUPS)

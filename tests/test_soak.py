"""Long runs: nothing is left of actors, however they end (reliability G1, G2).

They are short in the suite. The long ones, in the words of a shell:

    TRACTOR_SOAK_CYCLES=500 make test ARGS="tests/test_soak.py -k cycles -rP"
    TRACTOR_CHAOS_SECONDS=60 make test ARGS="tests/test_soak.py -k chaos -rP"

The second one prints its seed; with ``TRACTOR_CHAOS_SEED`` it takes the same steps.
"""

import os
import secrets
from collections import Counter
from functools import partial
from itertools import chain
from pathlib import Path

import pytest
import trio

import tractor
from tests import _misbehaviours as mis
from tests._chaos import run_chaos
from tests._helpers import MODULES, QUICK, events, raises, strike
from tractor import ActorDied
from tractor.testing import Census, faults, find_leaks, take_census

CYCLES = int(os.environ.get("TRACTOR_SOAK_CYCLES", "10"))
CHAOS_SECONDS = float(os.environ.get("TRACTOR_CHAOS_SECONDS", "3"))
CHAOS_SEED = os.environ.get("TRACTOR_CHAOS_SEED") or secrets.token_hex(4)

WORKERS = 2
WARM_UP = 6  # cycles before the first look at the memory
MEMORY = 8.0  # MiB that it may grow by, however many cycles there are
# MiB that a sub-interpreter leaves behind that was interrupted, and so destroyed.
LOST = 16.0

pytestmark = pytest.mark.slow


def memory() -> float:
    """What this process holds of it, in MiB."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGESIZE") / 2**20


async def cycle(number: int) -> None:
    """Start an actor, and end it in one of several ways."""
    match number % 4:
        case 0:
            async with tractor.open_nursery() as an:
                await an.start_actor("daemon")
                await an.cancel()
        case 1:
            async with tractor.open_nursery() as an:
                portal = await an.run_in_actor(mis.behaves)
                await portal.wait_for_result()
        case 2:
            with raises(ActorDied):
                async with tractor.open_nursery() as an:
                    strike(await an.start_actor("victim"))
                    await trio.sleep_forever()
        case 3:
            with faults.hold_at("import", MODULES) as held:
                async with tractor.open_nursery() as an, trio.open_nursery() as tasks:
                    tasks.start_soon(partial(an.start_actor, "late", **held.options))
                    await held.wait_reached()
                    tasks.cancel_scope.cancel()


@pytest.mark.timeout(120 + 2 * CYCLES)
async def test_nothing_piles_up_over_many_cycles(start_method: str) -> None:
    """Descriptors, threads, zombies, files and memory are as after the first ones."""
    numbers = iter(range(CYCLES))
    figures: list[float] = []
    before: Census | None = None

    async def work() -> None:
        for number in numbers:
            with trio.fail_after(30):
                await cycle(number)
            if number == WARM_UP:
                figures.append(memory())

    async with tractor.open_root_actor(start_method=start_method, graces=QUICK):
        await cycle(0)  # makes what the runtime keeps
        before = take_census()
        with events("exit") as exits:
            async with trio.open_nursery() as nursery:
                for _ in range(WORKERS):
                    nursery.start_soon(work)
        assert find_leaks(before) == []
        figures.append(memory())
    reports = [event.data["report"] for event in exits]
    ends = Counter(report.outcome for report in reports if report is not None)
    print(f"{CYCLES} cycles; {figures[0]:.1f} MiB, then {figures[-1]:.1f} MiB; {ends}")
    assert figures[-1] - figures[0] < MEMORY + LOST * ends["interrupted"]


@pytest.mark.timeout(120 + 2 * CHAOS_SECONDS)
async def test_chaos(start_method: str) -> None:
    """Whatever happens to actors, all that is seen of it is what was promised."""
    print(f"TRACTOR_CHAOS_SEED={CHAOS_SEED} TRACTOR_CHAOS_SECONDS={CHAOS_SECONDS}")
    before = take_census()
    done = await run_chaos(start_method, CHAOS_SEED, CHAOS_SECONDS, slots=3)
    assert find_leaks(before) == []
    steps = Counter(chain.from_iterable(done))
    print(f"{steps.total()} steps: {dict(steps)}")
    assert steps["spawn"] > 0


async def test_a_seed_gives_the_same_steps(start_method: str) -> None:
    """So a failure of the chaos can be replayed; only the end is the clock's."""
    runs = [await run_chaos(start_method, "again", 0.7, slots=1) for _ in range(2)]
    (first,), (second,) = ([steps[:-1] for steps in run] for run in runs)
    assert min(first, second, key=len)
    assert all(a == b for a, b in zip(first, second, strict=False))

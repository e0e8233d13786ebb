"""What goes wrong in bocpy 0.14, and must not here; and a storm over real workers."""

import random
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.cowns import _bodies as do
from tests.cowns._scopes import BACKENDS, scoped
from tractor import MsgTypeError
from tractor.cowns import Cown, CownPoisoned, NotHeld


async def test_what_cannot_be_packed_wedges_nothing() -> None:
    """1: neither a result nor a value; successors are told, and the scope ends."""
    async with scoped() as scope:
        cown = Cown([0])
        bad = scope.schedule(do.unsendable)
        scope.schedule(do.spoil, cown)
        successors = [scope.schedule(do.look, cown) for _ in range(3)]
        with pytest.raises(MsgTypeError):
            await bad
        for one in successors:
            with pytest.raises((CownPoisoned, MsgTypeError)):
                await one
        assert await scope.schedule(do.add, Cown(1)) == 2


async def test_a_wait_that_is_over_leaves_all_as_it_is(tmp_path: Path) -> None:
    """2: while a behaviour holds what the caller has in a variable."""
    go = str(tmp_path / "go")
    async with scoped() as scope:
        cown = Cown(1)
        scope.schedule(do.wait_for, cown, captures=(go,))
        later = scope.schedule(do.add, cown)
        with pytest.raises(TimeoutError):
            await scope.quiesce(0.02)
        do.touch(go)
        assert await later == 2


async def test_who_reads_waits_for_its_turn() -> None:
    """3: it does not make others fail, and they do not make it fail."""
    async with scoped(workers=2) as scope:
        cown = Cown(0)
        seen: list[int] = []

        async def look() -> None:
            seen.append(await cown)

        async with trio.open_nursery() as nursery:
            for _ in range(20):
                scope.schedule(do.add, cown)
                nursery.start_soon(look)
                await trio.lowlevel.checkpoint()
        assert await cown == 20
        assert sorted(seen) == seen


async def test_silence_changes_no_ownership() -> None:
    """4: after it, behaviours run as before, and nobody else may look."""
    async with scoped() as scope:
        cowns: list[Cown[int]] = [Cown(0), Cown(0)]
        for turn in range(3):
            await scope.quiesce()
            assert await scope.schedule(do.total, cowns) == 2 * turn
            for cown in cowns:
                scope.schedule(do.add, cown)
                with pytest.raises(NotHeld):
                    _ = cown.value


@pytest.mark.parametrize("backend", BACKENDS)
async def test_behaviours_use_what_the_runtime_uses(backend: str) -> None:
    """6: `msgspec` and trio, in sub-interpreters as well."""
    async with scoped(backend) as scope:
        assert await scope.schedule(do.use_msgspec, Cown([1])) == [1]
        assert await scope.schedule(do.add_later, Cown(1)) == 2


# -- A storm ---------------------------------------------------------------------------


def write_down(*args: Any) -> int:
    """Note one's number in each of these."""
    *cowns, number = args
    for cown in cowns:
        cown.value.append(number)
    return int(number)


async def write_down_later(*args: Any) -> int:
    """The same across a checkpoint."""
    *cowns, number = args
    for cown in cowns:
        await trio.lowlevel.checkpoint()
        cown.value.append(number)
    return int(number)


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("backend", BACKENDS)
async def test_each_cown_sees_the_order_of_scheduling(
    backend: str, workers: int
) -> None:
    """I1 to I4 and I6: plain and async ones over one to four of six cowns."""
    chance = random.Random(7)
    async with scoped(backend, workers=workers) as scope:
        cowns: list[Cown[list[int]]] = [Cown([]) for _ in range(6)]
        expected: list[list[int]] = [[] for _ in cowns]
        results = []
        for number in range(400):
            some = chance.sample(range(6), chance.randint(1, 4))
            for one in some:
                expected[one].append(number)
            body = write_down if chance.random() < 0.9 else write_down_later
            wanted = [cowns[one] for one in some]
            results.append(scope.schedule(body, *wanted, captures=(number,)))
            if not number % 50:
                await trio.lowlevel.checkpoint()
        assert [await one for one in results] == list(range(400))
        assert [await cown for cown in cowns] == expected
        stats = scope.stats()
        assert (stats.scheduled, stats.finished, stats.poisoned) == (400, 400, 0)


async def test_what_is_resident_is_not_sent_again() -> None:
    """A large value that one worker uses goes there once."""
    async with scoped() as scope:
        cown = Cown(list(range(50_000)))
        for _ in range(100):
            scope.schedule(do.append, cown, captures=(1,))
        await scope.quiesce()
        stats = scope.stats()
        assert (stats.misses, stats.hits) == (1, 99)
        assert 50_000 < stats.bytes_moved < 500_000
        assert len(await cown) == 50_100


async def test_a_slow_one_holds_up_nothing_behind_it(tmp_path: Path) -> None:
    """What waits in its lane without need is given back, and done by another worker."""
    go = str(tmp_path / "go")
    async with scoped(workers=2) as scope:
        cowns = [Cown(0) for _ in range(10)]
        for _ in range(30):  # so that each gets many at once
            for cown in cowns:
                scope.schedule(do.add, cown)
        await scope.quiesce()
        blocked = scope.schedule(do.wait_for, Cown(0), captures=(go,))
        results = [scope.schedule(do.add, cown) for cown in cowns * 3]
        assert [await one for one in results][-1] == 33
        do.touch(go)
        await blocked

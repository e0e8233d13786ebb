"""Workers that are killed: exactly what they held is lost, and all are told."""

import os
import signal
from pathlib import Path

import pytest
import trio

from tests.cowns import _bodies as do
from tests.cowns._scopes import scoped
from tractor import ActorDied, current_actor
from tractor.cowns import Cown, CownPoisoned
from tractor.futures import BrokenPool, WorkerDied

KILLABLE = ("trio", "mp_forkserver")


async def there(path: str) -> None:
    """Wait until there is a file."""
    await trio.to_thread.run_sync(do.wait_for, path)


@pytest.mark.parametrize("backend", KILLABLE)
async def test_a_kill_in_mid_body_loses_what_was_held(
    backend: str, tmp_path: Path
) -> None:
    """And nothing else: neither what is resident, nor what is queued elsewhere."""
    begun = str(tmp_path / "begun")
    async with scoped(backend) as scope:
        held, also, resident = Cown([1]), Cown([2]), Cown([3])
        for cown in (held, also, resident):
            scope.schedule(do.append, cown, captures=(0,))
        pid = await scope.schedule(do.pid)
        changed = scope.schedule(do.append, resident, captures=("unsaved until then",))
        running = scope.schedule(do.touch_and_block, held, also, captures=(begun,))
        successors = [scope.schedule(do.look, held), scope.schedule(do.look, also)]
        unbegun = scope.schedule(do.append, resident, captures=("later",))
        await there(begun)
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(WorkerDied, match="in the midst of it") as died:
            await running
        assert isinstance(died.value.__cause__, ActorDied)
        for successor in successors:
            with pytest.raises(CownPoisoned) as lost:
                await successor
            assert isinstance(lost.value.__cause__, WorkerDied)
        assert await changed == 3
        assert await unbegun == 4
        assert await resident == [3, 0, "unsaved until then", "later"]
        assert scope.stats().poisoned == 2
        assert scope.stats().deaths == 1
        seen = scope.schedule(do.seen, running)
        assert (await seen)[0] is True
        assert await scope.schedule(do.pid) != pid


async def test_a_long_lane_is_done_by_others() -> None:
    """What nobody had begun runs once, and what had ended is not run again."""
    async with scoped() as scope:
        cowns = [Cown(0) for _ in range(20)]
        for _ in range(40):  # so that it gets many at once
            for cown in cowns:
                scope.schedule(do.add, cown)
        await scope.quiesce()
        doomed = Cown(0)
        results = [scope.schedule(do.add, cown) for cown in cowns]
        death = scope.schedule(do.die, doomed)
        results += [scope.schedule(do.add, cown) for cown in cowns]
        assert [await one for one in results] == [41] * 20 + [42] * 20
        with pytest.raises(WorkerDied):
            await death
        assert scope.stats().poisoned == 1


async def test_async_ones_die_together(tmp_path: Path) -> None:
    """Each of them had begun, and all that they held is lost."""
    begun = [str(tmp_path / name) for name in ("one", "two")]
    async with scoped() as scope:
        cowns = [Cown(0), Cown(0), Cown(0)]
        pid = await scope.schedule(do.pid)
        results = [
            scope.schedule(do.touch_and_sleep, cown, captures=(path, path + "-cleaned"))
            for cown, path in zip(cowns, begun, strict=False)
        ]
        for path in begun:
            await there(path)
        os.kill(pid, signal.SIGKILL)
        for result in results:
            with pytest.raises(WorkerDied):
                await result
        assert await cowns[2] == 0
        assert scope.stats().poisoned == 2


async def test_many_deaths_lose_nothing_else() -> None:
    """Each behaviour ran once, or its result says why not."""
    rounds, others = 5, 10
    async with scoped(workers=2) as scope:
        cowns = [Cown(0) for _ in range(others)]
        deaths, results = [], []
        for _ in range(rounds):
            for _ in range(20):
                results += [scope.schedule(do.add, cown) for cown in cowns]
            deaths.append(scope.schedule(do.die, Cown(0)))
            await scope.quiesce()
        for death in deaths:
            with pytest.raises(WorkerDied):
                await death
        assert [await cown for cown in cowns] == [rounds * 20] * others
        assert scope.stats().deaths == rounds


async def test_workers_that_do_not_start() -> None:
    """Break the scope: what waits gets that error, and nothing more is taken."""
    async with scoped(serializer="tests.cowns._no_worker") as scope:
        waiting = scope.schedule(do.add, Cown(0))
        with pytest.raises(BrokenPool, match="did not start"):
            await waiting
        with pytest.raises(BrokenPool):
            scope.schedule(do.add, Cown(0))


async def test_a_large_state_is_safe_before_the_next_body(tmp_path: Path) -> None:
    """Also one that is too large for the log."""
    begun = str(tmp_path / "begun")
    async with scoped() as scope:
        large = Cown(list(range(50_000)))
        pid = await scope.schedule(do.pid)
        for _ in range(3):
            scope.schedule(do.append, large, captures=("mine",))
        running = scope.schedule(do.touch_and_block, Cown(0), captures=(begun,))
        await there(begun)
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(WorkerDied):
            await running
        assert len(await large) == 50_003
        assert scope.stats().poisoned == 1


async def test_a_broken_link_is_a_death(tmp_path: Path) -> None:
    """Who was running is lost, the rest is done by another worker."""
    begun = str(tmp_path / "begun")
    async with scoped() as scope:
        held, other = Cown(0), Cown(0)
        running = scope.schedule(do.touch_and_block, held, captures=(begun,))
        later = scope.schedule(do.add, other)
        await there(begun)
        (post,) = scope._crew.posts
        peers = current_actor().peers
        link = next(p for p in peers if p.aid.name == post.name)
        link.channel.close()
        with pytest.raises(WorkerDied):
            await running
        assert await later == 1
        with pytest.raises(CownPoisoned):
            await held

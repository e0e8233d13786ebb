"""`monitor`: one piece of news for each who asks, whenever they do (semantics §3.5)."""

import signal

import pytest
import trio

import tractor
from tests._helpers import MODULES, T_DETECT, events, open_tree, raises, within
from tests._misbehaviours import behaves, dies
from tractor import ActorDied, Down, TransportClosed
from tractor.testing import faults

process = pytest.mark.requires_trait("own_process", "can_kill")


@process
async def test_a_death_is_told_to_everyone_once(start_method: str) -> None:
    """Each who waits gets one `Down`, and it says how the actor died."""
    news: list[Down] = []

    async def watch(portal: tractor.Portal) -> None:
        news.append(await tractor.monitor(portal))

    with raises(ActorDied):
        async with open_tree(start_method) as an:
            portal = await an.start_actor("x")
            with trio.CancelScope(shield=True):
                async with trio.open_nursery() as nursery:
                    for _ in range(3):
                        nursery.start_soon(watch, portal)
                    await trio.testing.wait_all_tasks_blocked()
                    assert news == []
                    faults.kill(portal)
                    with within(T_DETECT):
                        while len(news) < 3:
                            await tractor.monitor(portal)
    for down in news:
        assert (down.aid, down.reason) == (portal.aid, "died")
        assert isinstance(down.error, ActorDied)
        assert down.error.signal == signal.SIGKILL


@process
async def test_news_of_one_that_is_dead_already(start_method: str) -> None:
    """It comes at once, and again for whoever asks again."""
    with raises(ActorDied):
        async with open_tree(start_method) as an:
            portal = await an.start_actor("x", enable_modules=MODULES)
            with trio.CancelScope(shield=True):
                with pytest.raises(ActorDied):
                    await portal.run(dies, signal.SIGKILL)
                await an.cancel()
                for _ in range(2):
                    down = await tractor.monitor(portal)
                    assert down.reason == "died"


async def test_an_end_in_order(start_method: str) -> None:
    """It is no death, and callers get `TransportClosed`."""
    async with open_tree(start_method) as an:
        portal = await an.start_actor("x", enable_modules=MODULES)
        assert await portal.cancel_actor()
        down = await tractor.monitor(portal)
        assert (down.aid, down.reason) == (portal.aid, "ended")
        assert type(down.error) is TransportClosed
        with pytest.raises(TransportClosed):
            await portal.run(behaves)


async def test_watching_changes_nothing(start_method: str) -> None:
    """One who stops waiting takes nothing from the others, nor from the actor."""
    async with open_tree(start_method) as an:
        portal = await an.start_actor("x", enable_modules=MODULES)
        with events("rung") as rungs:
            with trio.move_on_after(0) as scope:
                await tractor.monitor(portal)
            assert scope.cancelled_caught
            await portal.run(behaves)
            assert rungs == []
        await an.cancel()
        assert (await tractor.monitor(portal)).reason == "ended"

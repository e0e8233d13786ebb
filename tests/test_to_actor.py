"""One function, one actor."""

import signal
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
import trio

import tractor
from tests import _actors as do
from tests import _misbehaviours as mis
from tests._helpers import SAFETY, Bell, events, is_gone, open_tree
from tractor import ActorDied, NoRuntime, RemoteActorError, to_actor


@pytest.fixture
def bell() -> Iterator[Bell]:
    with Bell() as bell:
        yield bell


# -- Calling ---------------------------------------------------------------------------


async def test_it_returns_the_result(start_method: str) -> None:
    """Arguments go there and the result comes back (semantics §2.3)."""
    async with open_tree(start_method):
        assert await to_actor.run(do.describe, 1, 2) == ("describe", [1, 2], {})
        told = await to_actor.run(partial(do.describe, 1, word="x"), 2, name="me")
        assert told == ("me", [1, 2], {"word": "x"})


async def test_it_boots_a_runtime_for_the_call(
    start_method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no actor runs it runs one, and afterwards none (semantics §2.3)."""
    monkeypatch.setenv("TRACTOR_SPAWN_METHOD", start_method)
    with trio.fail_after(SAFETY), events("exit") as exits:
        assert await to_actor.run(do.factorial, 3) == 6
    assert is_gone(exits[0].aid)
    with pytest.raises(NoRuntime):
        tractor.current_actor()


async def test_many_at_once(start_method: str) -> None:
    """Each call has an actor of its own (semantics §2.4)."""
    async with open_tree(start_method):
        with events("exit") as exits:
            async with trio.open_nursery() as nursery:
                for number in range(4):
                    nursery.start_soon(to_actor.run, do.describe, number)
        assert len({event.aid for event in exits}) == 4


# -- Failing ---------------------------------------------------------------------------


async def test_an_error_is_raised_bare(start_method: str) -> None:
    """What the function raises is raised, and harms nobody else (semantics §2.3)."""
    async with open_tree(start_method) as an:
        with pytest.raises(RemoteActorError, match="on purpose") as caught:
            await to_actor.run(mis.fails)
        assert caught.value.boxed_type is ValueError
        assert not an.cancel_called


@pytest.mark.requires_trait("own_process")
async def test_a_death_is_raised_bare(start_method: str) -> None:
    """A dead actor is an error of the call (semantics §2.3)."""
    async with open_tree(start_method):
        with pytest.raises(ActorDied, match="SIGKILL"):
            await to_actor.run(mis.dies, signal.SIGKILL)


async def test_what_cannot_be_called_starts_nothing(start_method: str) -> None:
    """The function is checked before anything is started (semantics §2.3)."""
    refused: list[Any] = [open_tree, lambda: None, 5, partial(open_tree)]
    with events("spawn") as spawned:
        async with open_tree(start_method):
            for fn in refused:
                with pytest.raises(TypeError, match="async def"):
                    await to_actor.run(fn)
    assert spawned == []


async def test_a_cancelled_call_leaves_nothing(start_method: str, bell: Bell) -> None:
    """Its actor is gone when the call is (semantics §2.3)."""
    async with open_tree(start_method):
        with events("exit") as exits:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(to_actor.run, mis.waits, bell.path)
                assert int(await bell.heard())
                nursery.cancel_scope.cancel()
        assert [event.data["report"].outcome for event in exits] == ["cancelled"]
        assert is_gone(exits[0].aid)


async def test_options_of_the_actor(start_method: str) -> None:
    """Modules and backend may be given for the one call (semantics §1.5, §2.1)."""
    async with open_tree(start_method):
        with pytest.raises(ModuleNotFoundError):
            await to_actor.run(do.describe, enable_modules=["nowhere"])
        with pytest.raises(ValueError, match="unknown spawn backend"):
            await to_actor.run(do.describe, start_method="nope")
        await to_actor.run(do.describe, start_method=start_method)

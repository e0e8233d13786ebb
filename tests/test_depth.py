"""The bound of a teardown is that of one ladder: at any depth, for any number.

`pytest -rP tests/test_depth.py` shows the figures.
"""

import os
from collections.abc import Iterator
from functools import partial
from time import perf_counter

import pytest
import trio

import tractor
from tests import _misbehaviours as mis
from tests._helpers import T_DOWN, Bell, events, open_tree, raises, stubborn, within
from tractor import RemoteActorError, RuntimeFailure
from tractor.spawn import Traits
from tractor.testing import wait_for_end

pytestmark = pytest.mark.slow

CHILDREN = 25


@pytest.fixture
def bell() -> Iterator[Bell]:
    with Bell() as bell:
        yield bell


@pytest.fixture
def leaves(traits: Traits) -> tuple[str, str]:
    """The worst that this backend can still end."""
    return stubborn(traits)


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
async def test_the_bound_at_each_depth(
    start_method: str, bell: Bell, leaves: tuple[str, str], depth: int
) -> None:
    """Trees with leaves that do not stop are gone in one bound (reliability §1)."""
    async with open_tree(start_method) as an:
        for fn in leaves:
            if depth == 1:
                await an.run_in_actor(getattr(mis, fn), bell=bell.path)
            else:
                await an.run_in_actor(
                    mis.has_child, name=fn, fn=fn, bell=bell.path, depth=depth - 1
                )
        pids = {int(await bell.heard()) for _ in leaves} - {os.getpid()}
        began = perf_counter()
        with within(T_DOWN, slack=1):
            await an.cancel()
            assert wait_for_end(pids) == []
        print(f"depth {depth}: {perf_counter() - began:.2f} s")


async def test_many_children_have_one_bound(
    start_method: str, bell: Bell, leaves: tuple[str, str]
) -> None:
    """When one fails, 24 others that fail as well, or do not stop, take no longer."""
    began = 0.0
    with raises(ExceptionGroup) as caught:
        async with open_tree(start_method) as an:
            async with trio.open_nursery() as nursery:
                for number in range(CHILDREN - 1):
                    name = "fails_in_cleanup" if number % 2 else leaves[0]
                    start = partial(an.run_in_actor, name=f"{number}", bell=bell.path)
                    nursery.start_soon(start, getattr(mis, name))
            for _ in range(CHILDREN - 1):
                await bell.heard()
            portal = await an.start_actor("last", enable_modules=[mis.__name__])
            began = perf_counter()
            await portal.run(mis.fails)
    took = perf_counter() - began
    print(f"{CHILDREN} children: {took:.2f} s")
    assert took <= T_DOWN
    assert len(caught.value.exceptions) == 1 + CHILDREN // 2


# -- Limits ----------------------------------------------------------------------------


async def test_a_limit_of_children(start_method: str) -> None:
    """One child too many is refused before it exists, and nobody is hurt (E5)."""
    with events("spawn") as spawned:
        async with open_tree(start_method, max_children=2) as an:
            first = await an.start_actor("a")
            async with tractor.open_nursery() as inner:
                await inner.start_actor("b")
                for nursery in (an, inner):
                    with raises(RuntimeFailure, match=r"'c': .* max_children=2"):
                        await nursery.start_actor("c")
                await inner.cancel()
            await first.cancel_actor()
            await tractor.monitor(first)
            await an.start_actor("d")
            await an.cancel()
    assert [event.aid.name for event in spawned] == ["a", "b", "d"]


async def test_children_that_start_at_once_are_counted(start_method: str) -> None:
    """Of many that are started together, only so many are (E5)."""
    refused: list[RuntimeFailure] = []

    async def start(an: tractor.ActorNursery, name: str) -> None:
        try:
            await an.start_actor(name)
        except RuntimeFailure as exc:
            refused.append(exc)

    with events("spawn") as spawned:
        async with open_tree(start_method, max_children=5) as an:
            with within(1):
                async with trio.open_nursery() as nursery:
                    for number in range(200):
                        nursery.start_soon(start, an, f"{number}")
            await an.cancel()
    assert (len(spawned), len(refused)) == (5, 195)


async def test_a_limit_of_depth(start_method: str, bell: Bell) -> None:
    """A level too deep is refused there, and the error climbs (E5)."""
    async with open_tree(start_method, max_depth=2) as an:
        with raises(RemoteActorError, match="max_depth=2") as caught:
            portal = await an.start_actor("top", enable_modules=[mis.__name__])
            await portal.run(mis.has_child, "waits", bell.path, 2)
        assert caught.value.src_type is RuntimeFailure
        assert len(caught.value.relay_path) == 2
        await an.cancel()


@pytest.mark.parametrize("limit", ["max_children", "max_depth"])
async def test_wrong_limits_are_refused(start_method: str, limit: str) -> None:
    """They are errors at the call."""
    with raises(ValueError, match=f"{limit} must be > 0"):
        async with open_tree(start_method, **{limit: 0}):
            pass

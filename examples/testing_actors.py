"""Tests of a shop that is an actor; pytest runs them, or this program does.

python examples/testing_actors.py --spawn-backend all
"""

import sys

import pytest
import trio

import tractor
from tractor.testing import expect_ctxc, faults, tractor_test

stock = {"bread": 3}


async def sell(what: str) -> int:
    """Sell one of these, and say how many are left."""
    if not stock.get(what):
        raise ValueError(f"no {what}")
    stock[what] -= 1
    return stock[what]


@tractor.context
async def bake(ctx: tractor.Context) -> None:
    """Begin, and then think better of it."""
    await ctx.started()
    await ctx.cancel()


@tractor_test
async def test_a_shop_sells_what_it_has(spawn_backend: str, census: None) -> None:
    """Two are left of three; what was never there cannot be had."""
    async with tractor.open_nursery() as an:
        shop = await an.start_actor("shop", enable_modules=[__name__])
        assert await shop.run(sell, what="bread") == 2
        with pytest.raises(tractor.RemoteActorError, match="no cake"):
            await shop.run(sell, what="cake")
        await shop.cancel_actor()


@tractor_test
async def test_baking_is_called_off(spawn_backend: str) -> None:
    """Whoever waits for it gets to know, and the shop stays open."""
    async with tractor.open_nursery() as an:
        shop = await an.start_actor("shop", enable_modules=[__name__])
        async with expect_ctxc(), shop.open_context(bake):
            await trio.sleep_forever()
        assert await shop.run(sell, what="bread") == 2
        await shop.cancel_actor()


async def lose_a_shop() -> None:
    """Have one killed, and wait for what may come."""
    async with tractor.open_nursery() as an:
        shop = await an.start_actor("shop", enable_modules=[__name__])
        faults.kill(shop)
        await trio.sleep_forever()


@pytest.mark.requires_trait("can_kill")
@tractor_test(timeout=10)
async def test_the_end_of_a_shop_is_noticed(spawn_backend: str) -> None:
    """Its nursery fails; an interpreter cannot be killed, so there it is skipped."""
    with pytest.raises(tractor.ActorDied, match="SIGKILL"):
        await lose_a_shop()


if __name__ == "__main__":
    sys.exit(pytest.main([__file__, "-q", "-p", "no:cacheprovider", *sys.argv[1:]]))

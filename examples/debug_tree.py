"""A tree with a mistake in it; with --debug a person can look into each actor of it."""

import sys

import trio

import tractor

PRICES = {"apple": 3, "pear": 5}


async def add_up(order: list[str], stop: bool) -> int:
    """The price of an order; runs in the till."""
    total = 0
    for fruit in order:
        if stop:
            breakpoint()
        total += PRICES[fruit]
    return total


async def serve(order: list[str], stop: bool) -> int:
    """Let a till of our own add up; runs in the shop."""
    async with tractor.open_nursery() as an:
        till = await an.run_in_actor(add_up, name="till", order=order, stop=stop)
        total: int = await till.wait_for_result()
        return total


async def main() -> None:
    """Order what there is, and what there is not."""
    stop = "--stop" in sys.argv
    order = ["apple", "pear"] if stop else ["apple", "plum"]
    async with tractor.open_nursery(debug_mode="--debug" in sys.argv) as an:
        shop = await an.start_actor("shop", enable_modules=[__name__])
        try:
            print("to pay:", await shop.run(serve, order, stop))
        except tractor.RemoteActorError as error:
            print(f"no sale: {error}")
        await an.cancel()


if __name__ == "__main__":
    trio.run(main)

"""The two kinds of actor: one that serves until it is cancelled, one that runs a
function and ends.

The module-level dict of `shelf` shows that an actor has a memory of its own: it is the
keeper's, and the root never sees it change.
"""

import trio

import tractor

shelf: dict[str, int] = {}


async def put(name: str, count: int) -> int:
    """Put something on the shelf of this actor; how many there are now."""
    shelf[name] = shelf.get(name, 0) + count
    return shelf[name]


async def weigh(names: list[str]) -> int:
    """A task with an end."""
    await trio.lowlevel.checkpoint()
    return sum(len(name) for name in names)


async def main() -> None:
    """Keep one actor, and take the results of two others."""
    async with tractor.open_nursery() as an:
        keeper = await an.start_actor("keeper", enable_modules=[__name__])
        await keeper.run(put, "apples", 3)
        print("apples at the keeper:", await keeper.run(put, "apples", 4))
        print("apples here:", shelf.get("apples", 0))

        scales = [
            await an.run_in_actor(weigh, name=f"scale {number}", names=names)
            for number, names in enumerate([["apple", "pear"], ["melon"]])
        ]
        print("weights:", [await scale.wait_for_result() for scale in scales])

        # The scales have ended by themselves; without this the block would wait for
        # the keeper for ever.
        await keeper.cancel_actor()
    print("nobody is left")


if __name__ == "__main__":
    trio.run(main)

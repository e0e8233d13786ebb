"""A tree of actors in which one leaf fails: what the root gets, and how soon.

Each actor of it runs a task that is linked with one of its parent, so all of them act
as nested nurseries do: the error goes up, cancellation goes down, and nobody is left.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from tempfile import TemporaryDirectory
from time import monotonic  # that of the machine, the same for all processes

import trio

import tractor
from tractor.trionics import gather_contexts, unboxed

TWIGS = ["a", "b"]  # of each branch; their full names are root.a, root.a.b and so on
ILL = "root.b.a"


class BlightError(Exception):
    """What befalls a leaf; its argument is when."""


tractor.reg_err_types([BlightError])


@asynccontextmanager
async def branch(diary: trio.Path, depth: int) -> AsyncIterator[int]:
    """Its twigs, each in an actor of its own; how many leaves they have."""
    async with (
        tractor.open_actor_cluster([__name__], names=TWIGS) as twigs,
        gather_contexts(
            twig.open_context(grow, str(diary), depth - 1) for twig in twigs.values()
        ) as grown,
    ):
        yield sum(leaves for _, leaves in grown)


@tractor.context
async def grow(ctx: tractor.Context[int], folder: str, depth: int) -> None:
    """Be a branch or a leaf until cancelled; a certain leaf fails by itself."""
    name, diary = tractor.current_actor().name, trio.Path(folder)
    try:
        if depth:
            async with branch(diary, depth) as leaves:
                await ctx.started(leaves)
                await trio.sleep_forever()
        await ctx.started(1)
        if name == ILL:
            await trio.sleep(0.1)
            raise BlightError(monotonic())
        await trio.sleep_forever()
    finally:
        with trio.CancelScope(shield=True):  # so that it may wait although cancelled
            await (diary / name).touch()


async def main(diary: trio.Path) -> None:
    """Grow a tree, and tell how it ended."""
    try:
        with unboxed():
            async with branch(diary, depth=2) as leaves:
                print("leaves:", leaves)
                await trio.sleep_forever()
    except BlightError as error:
        took = monotonic() - error.args[0]
        told = error.__cause__
    assert isinstance(told, tractor.RemoteActorError)
    print("the root was told of a", told.src_type_str)
    print("by way of", " > ".join(name for name, _ in told.relay_path))
    lines = told.tb_str.splitlines()
    print("through:", *(line for line in lines if "in grow" in line), sep="\n")
    print("cleaned up:", *sorted([path.name for path in await diary.iterdir()]))
    print(f"{took * 1e3:.0f} ms after the error no actor was left")


if __name__ == "__main__":
    with TemporaryDirectory() as folder:
        trio.run(main, trio.Path(folder))

# pyright: reportUnnecessaryTypeIgnoreComment=true
"""What type checkers say of calls; read by them and never run.

A line that they must refuse carries an ignore, and one that is not needed is an error.
"""

from functools import partial
from typing import Any, assert_type

import tractor
from tractor import Actor, ActorNursery, Aid, Portal, to_actor


async def add(a: int, b: int = 0) -> int:
    return a + b


async def greet(name: str, *, loud: bool) -> str:
    return name.upper() if loud else name


async def nothing() -> None:
    pass


def sync(a: int) -> int:
    return a


async def portal_run(portal: Portal) -> None:
    """The result is inferred, and wrong arguments are refused (semantics §4.1)."""
    assert_type(await portal.run(add, 1), int)
    assert_type(await portal.run(add, 1, b=2), int)
    assert_type(await portal.run(greet, "x", loud=True), str)
    assert_type(await portal.run(nothing), None)
    assert_type(await portal.run_from_ns("module", "name", a=1), Any)
    await portal.run(add)  # type: ignore[call-arg]
    await portal.run(add, "x")  # type: ignore[arg-type]
    await portal.run(add, 1, c=2)  # type: ignore[call-arg]
    await portal.run(add, 1, 2, 3)  # type: ignore[call-arg]
    await portal.run(greet, "x")  # type: ignore[call-arg]
    await portal.run(greet, "x", loud=1.5)  # type: ignore[arg-type]
    await portal.run(sync, 1)  # type: ignore[arg-type]
    await portal.run("module.name")  # type: ignore[arg-type]


async def portal_members(portal: Portal) -> None:
    """What a portal tells."""
    assert_type(portal.aid, Aid)
    assert_type(await portal.cancel_actor(), bool)
    await portal.cancel_actor(0.5, True)  # type: ignore[call-arg]


async def one_shot() -> None:
    """`to_actor.run` infers as well (semantics §2.3)."""
    assert_type(await to_actor.run(add, 1, 2), int)
    assert_type(await to_actor.run(add, 1), int)
    assert_type(await to_actor.run(nothing, name="n"), None)
    assert_type(await to_actor.run(partial(greet, "x", loud=True)), str)
    await to_actor.run(add, "x", 2)  # type: ignore[arg-type]
    await to_actor.run(sync, 1)  # type: ignore[arg-type]


async def nurseries() -> None:
    """What is opened, and what it gives."""
    async with tractor.open_nursery() as an:
        assert_type(an, ActorNursery)
        assert_type(await an.start_actor("name"), Portal)
        assert_type(await an.run_in_actor(add, a=1), Portal)
        await an.run_in_actor(sync, a=1)  # type: ignore[arg-type]
    async with tractor.open_root_actor() as actor:
        assert_type(actor, Actor)
        assert_type(actor.get_parent(), Portal)

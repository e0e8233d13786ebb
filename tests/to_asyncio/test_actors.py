"""Infected actors on every spawn backend: what runs in them, and how they end."""

import sys
from pathlib import Path
from typing import Any, Final

import pytest
import trio

import tractor
from tests._helpers import (
    T_DOWN,
    Bell,
    is_gone,
    open_tree,
    raises,
    run_python,
    within,
    write_program,
)
from tests.to_asyncio import actors
from tractor import ActorDied, RemoteActorError, RuntimeFailure, to_actor, to_asyncio

LOOP_END: Final = 1.0  # seconds; docs/adr/0021
MODULES: Final = (actors.__name__,)
PLAIN: Final = """
import sys, trio, tractor

async def loaded() -> bool:
    return "asyncio" in sys.modules

async def main():
    async with tractor.open_nursery() as an:
        portal = await an.start_actor("x", enable_modules=[__name__])
        print(await portal.run(loaded), await loaded())
        await an.cancel()

if __name__ == "__main__":
    trio.run(main)
"""


async def start(an: tractor.ActorNursery, **options: Any) -> tractor.Portal:
    """An infected actor."""
    return await an.start_actor(
        "x", enable_modules=MODULES, infect_asyncio=True, **options
    )


# -- How to start one ------------------------------------------------------------------


async def test_each_way_to_start_an_actor_can_infect_it(start_method: str) -> None:
    """For one call, for several actors, and for one that is kept running."""
    infected: list[bool] = []

    async def ask(portal: tractor.Portal) -> None:
        infected.append((await portal.run(actors.what_runs))[0])

    async with open_tree(start_method) as an:
        told = await to_actor.run(actors.what_runs, infect_asyncio=True)
        infected.append(told[0])
        cluster = tractor.open_actor_cluster(MODULES, 2, infect_asyncio=True)
        async with cluster as portals:
            for portal in portals.values():
                await ask(portal)
        async with tractor.open_supervisor() as supervisor:
            await ask(
                await supervisor.start_actor(
                    "kept", enable_modules=MODULES, infect_asyncio=True
                )
            )
            runs = supervisor.run_in_actor(
                actors.what_runs, restart="temporary", infect_asyncio=True
            )
            infected.append((await (await runs).wait_for_result())[0])
            await supervisor.cancel()
        portal = await an.run_in_actor(actors.what_runs, infect_asyncio=True)
        infected.append((await portal.wait_for_result())[0])
        await an.cancel()
    assert infected == [True] * 6


async def test_each_way_takes_options_of_the_mechanism(start_method: str) -> None:
    """`proc_kwargs` reach it, and it refuses what it does not know."""
    options: dict[str, Any] = {"proc_kwargs": {"nope": 1}}
    async with open_tree(start_method):
        with raises(TypeError, match="nope"):
            await to_actor.run(actors.what_runs, **options)
        with raises(TypeError, match="nope"):
            async with tractor.open_actor_cluster(MODULES, 1, **options):
                pass
        async with tractor.open_supervisor() as supervisor:
            with raises(TypeError, match="nope"):
                await supervisor.start_actor("x", **options)
            with raises(TypeError, match="nope"):
                await supervisor.run_in_actor(actors.what_runs, **options)
            await supervisor.cancel()


def test_a_daemon_can_be_infected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it serves can use asyncio, and it ends as other daemons do."""
    text = """
    import trio, tractor
    from tests.to_asyncio import actors

    told = []

    async def serve():
        told.append(await actors.what_runs())
        tractor.current_actor().cancel_soon()

    trio.lowlevel.spawn_system_task(serve)
    """
    write_program(tmp_path, text, "infected_daemon.py")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "infected_daemon", raising=False)
    tractor.run_daemon(["infected_daemon"], infect_asyncio=True)
    assert sys.modules.pop("infected_daemon").told[0][0]


# -- What runs there -------------------------------------------------------------------


async def test_asyncio_runs_in_an_infected_actor(start_method: str) -> None:
    """Trio's tasks run on a loop of asyncio."""
    async with open_tree(start_method) as an:
        portal = await start(an)
        infected, module = await portal.run(actors.what_runs)
        assert infected
        assert module.partition(".")[0] in ("asyncio", "uvloop")
        await an.cancel()


def test_others_do_not_import_asyncio(start_method: str, tmp_path: Path) -> None:
    """Who does not ask for it does not pay for it, be it a root or another actor."""
    done = run_python(start_method, write_program(tmp_path, PLAIN))
    assert done.stdout.split() == ["False", "False"], done.stderr


async def test_a_function_runs_in_an_infected_actor(start_method: str) -> None:
    """`run_in_actor` takes the option, too."""
    async with open_tree(start_method) as an:
        portal = await an.run_in_actor(actors.what_runs, infect_asyncio=True)
        assert (await portal.wait_for_result())[0]


async def test_supervised_actors_can_be_infected(start_method: str) -> None:
    """So does a supervisor."""
    async with (
        tractor.open_root_actor(start_method=start_method),
        tractor.open_supervisor() as supervisor,
    ):
        portal = await supervisor.start_actor(
            "x", enable_modules=MODULES, infect_asyncio=True
        )
        assert (await portal.run(actors.what_runs))[0]
        await supervisor.cancel()


async def test_many_items_go_both_ways(start_method: str) -> None:
    """10,000 items each way at the same time: each arrives once, and in order."""
    total = sum(range(actors.COUNT))
    async with open_tree(start_method) as an:
        portal = await start(an)
        assert await portal.run(actors.exchange_items) == (total, total)
        await an.cancel()


async def test_a_server_of_asyncio_serves(start_method: str) -> None:
    """`start_server`, `TaskGroup` and streams work, and trio talks with them."""
    async with open_tree(start_method) as an:
        portal = await start(an)
        answers = await portal.run(actors.use_server)
        assert answers == [b"0\n", b"1\n", b"2\n", b"3\n", b"4\n", b"trio\n"]
        await an.cancel()


async def test_time_limits_of_asyncio_work(start_method: str) -> None:
    """`wait_for` and `timeout` end a wait for the channel, and no item is lost."""
    async with open_tree(start_method) as an:
        portal = await start(an)
        told = await portal.run(actors.run_out_of_time)
        assert told == ["TimeoutError", "TimeoutError", "an item"]
        await an.cancel()


async def test_asyncio_calls_trio(start_method: str) -> None:
    """A task of asyncio gets what a task of trio returns or raises."""
    async with open_tree(start_method, enable_modules=[actors.__name__]) as an:
        portal = await start(an)
        told = await portal.run(actors.call_trio)
        assert told == ["8", "ZeroDivisionError('division by zero')", "root"]
        await an.cancel()


async def test_errors_of_a_link_reach_the_caller(start_method: str) -> None:
    """As those of any function, with their classes."""
    async with open_tree(start_method) as an:
        portal = await start(an)
        with raises(RemoteActorError) as cancelled:
            await portal.run(actors.fails_in_asyncio, "cancelled")
        assert cancelled.value.boxed_type is to_asyncio.AsyncioCancelled
        with raises(RemoteActorError) as failed:
            await portal.run(actors.fails_in_asyncio, "by itself")
        assert repr(failed.value.unwrap()) == "KeyError('by itself')"
        await an.cancel()


async def test_an_actor_without_asyncio_says_so(start_method: str) -> None:
    """What is missing, and what to do."""
    async with open_tree(start_method) as an:
        portal = await an.start_actor("x", enable_modules=MODULES)
        with raises(RemoteActorError, match="infect_asyncio=True") as caught:
            await portal.run(actors.what_runs)
        assert caught.value.boxed_type is RuntimeFailure
        await an.cancel()


# -- How they end ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        actors.ignores_cancel_in_asyncio,
        actors.computes_in_asyncio,
        actors.swallows_everything_in_asyncio,
    ],
    ids=lambda body: body.__name__,
)
async def test_a_stubborn_task_is_ended_by_the_ladder(
    start_method: str, body: Any
) -> None:
    """What a task of asyncio does to its cancellation does not hold up the tree."""
    with Bell() as bell:
        async with open_tree(start_method) as an:
            portal = await start(an)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(call_in_vain, portal, body, bell.path)
                await bell.heard()
                with within(T_DOWN):
                    await an.cancel()
        assert is_gone(portal)


async def call_in_vain(portal: tractor.Portal, body: Any, bell: str) -> None:
    """Until its actor is gone."""
    with raises((ActorDied, RemoteActorError)):
        await portal.run(body, bell)


@pytest.mark.parametrize(
    "body",
    [actors.leaves_a_task, actors.leaves_a_thread],
    ids=lambda body: body.__name__,
)
async def test_what_is_linked_with_nobody_is_ended(
    start_method: str, body: Any
) -> None:
    """The loop's end has a bound, whatever is left in it."""
    with Bell() as bell:
        async with open_tree(start_method) as an:
            portal = await start(an)
            await portal.run(body, bell.path)
            await bell.heard()
            with within(T_DOWN):
                await an.cancel()
        assert is_gone(portal)


async def test_a_stopped_loop_ends_its_actor(start_method: str) -> None:
    """That is a bug of the program, and an error as any that ends an actor."""
    with raises(ActorDied) as caught:
        async with open_tree(start_method) as an:
            portal = await start(an)
            with within(T_DOWN):
                await portal.run(actors.stops_the_loop)
    assert "AsyncioRuntimeTranslationError" in caught.value.stderr_tail


async def test_an_exit_ends_its_actor(start_method: str) -> None:
    """So is a SystemExit of a task that is linked with nobody."""
    with raises(ActorDied) as caught:
        async with open_tree(start_method) as an:
            portal = await start(an)
            with within(T_DOWN):
                await portal.run(actors.exits)
    assert caught.value.exit_code in (7, None)  # a process may take its time to end

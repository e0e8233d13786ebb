"""The sub-interpreter backends: what their actors can do, and what they rely on."""

import importlib.util
import os
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest
import trio

import tractor
from tests import _misbehaviours as mis
from tests._helpers import (
    QUICK,
    Bell,
    Stopwatch,
    events,
    open_tree,
    raises,
    run_python,
    within,
    write_program,
)
from tests.interp import actors
from tractor import ActorDied, Portal
from tractor.interp import PrivateCopies
from tractor.interp._threads import JoinableThreads
from tractor.runtime._shields import lower_shields
from tractor.spawn import available_backends, get_backend
from tractor.testing import find_leaks, take_census

KEYS: Final = [
    key for key in available_backends() if get_backend(key).traits.can_interrupt
]
OWN: Final = [key for key in KEYS if get_backend(key).traits.own_gil]
MODULES: Final = (actors.__name__, mis.__name__)

STEPS: Final = 2_000_000

keys = pytest.mark.parametrize("key", KEYS)
own = pytest.mark.parametrize("key", OWN)


@asynccontextmanager
async def actor(key: str, **options: Any) -> AsyncIterator[Portal]:
    """One in a tree of its own."""
    async with open_tree(key) as an:
        yield await an.start_actor("x", enable_modules=MODULES, **options)
        await an.cancel()


# -- They start and end ----------------------------------------------------------------


@keys
async def test_a_happy_end(key: str) -> None:
    """After one call, threads, interpreters and descriptors are as before."""
    async with actor(key):  # makes what stays
        pass
    before = take_census()
    async with actor(key) as portal:
        await portal.run(mis.behaves)
    assert find_leaks(before) == []


@keys
async def test_it_closes_its_link_and_stays(key: str) -> None:
    """It is stopped without a link, and nobody waits for it any longer."""
    with raises(ActorDied), within(QUICK.bound), events("exit") as exits:
        async with open_tree(key, graces=QUICK) as an:
            portal = await an.start_actor("x", enable_modules=MODULES)
            with pytest.raises(ActorDied):
                await portal.run(mis.closes_its_link)
            await trio.sleep_forever()
    (exit_,) = exits
    assert exit_.data["report"].outcome in {"terminated", "interrupted"}


@keys
async def test_a_grandchild_that_polls(key: str) -> None:
    """A tree whose grandchild never gives its loop a turn ends within one bound."""
    with Bell() as bell, events("exit") as exits:
        async with open_tree(key) as an:
            await an.run_in_actor(
                actors.has_one_that_polls, name="parent", bell=bell.path
            )
            await bell.heard()
            watch = Stopwatch()
            await an.cancel()
            watch.check(3.5, slack=1)
    (exit_,) = exits
    assert exit_.data["report"] is None or (exit_.data["report"].outcome != "abandoned")


@keys
@pytest.mark.parametrize("name", ["loglevel", "executable"])
async def test_options_that_it_does_not_take(key: str, name: str) -> None:
    """They are named, and so is the one that it takes."""
    async with open_tree(key) as an:
        with pytest.raises(TypeError, match=f"private_copies.*not {name}"):
            await an.start_actor("x", proc_kwargs={name: "x"})


@keys
async def test_too_few_descriptors(key: str) -> None:
    """However far a start comes with them, its error says why it failed."""
    async with open_tree("trio") as an:
        portal = await an.start_actor("x", enable_modules=MODULES)
        failures = await portal.run(actors.starts_without_descriptors, key)
        assert {failure.partition(":")[0] for failure in failures} == {"start", "ready"}
        for failure in failures:
            # CPython keeps to itself why it cannot make an interpreter.
            assert "Too many open files" in failure or "creation failed" in failure
        await an.cancel()


# -- What it can do --------------------------------------------------------------------


@pytest.mark.parametrize("key", available_backends())
async def test_whose_gil_it_has(key: str) -> None:
    """An actor can be asked, on each backend; its root has its own as well."""
    async with actor(key) as portal:
        assert await portal.run(actors.has_own_gil) is get_backend(key).traits.own_gil
        assert tractor.current_actor().own_gil


@own
async def test_it_runs_while_another_holds_a_gil(key: str) -> None:
    """C code that keeps the GIL of one actor holds up neither others nor the parent."""
    with Bell() as bell:
        async with open_tree(key) as an:
            one = await an.start_actor("one", enable_modules=MODULES)
            other = await an.start_actor("other", enable_modules=MODULES)
            over = trio.Event()

            async def hold() -> None:
                await one.run(actors.holds_own_gil, bell.path, 1.5)
                over.set()

            async with trio.open_nursery() as nursery:
                nursery.start_soon(hold)
                await bell.heard()
                for _ in range(20):
                    assert await other.run(actors.counts, 1000) > 0
                assert not over.is_set()
            await an.cancel()


@pytest.mark.skipif(
    not os.path.exists("/proc/thread-self/schedstat"), reason="asks the kernel of Linux"
)
@keys
async def test_two_compute_at_once(key: str) -> None:
    """Neither waits for the other's GIL; with the shared one, they take turns.

    The best of six counts: the machine may stand still. `benchmarks/subint.py` has the
    speed-up, which is at least 1.7 on two processors.
    """
    shares: list[float] = []

    async def compute(portal: Portal) -> None:
        least.append(await portal.run(actors.share, STEPS))

    async with open_tree(key) as an:
        pair = [await an.start_actor("x", enable_modules=MODULES) for _ in range(2)]
        for _ in range(6):
            least: list[float] = []
            async with trio.open_nursery() as nursery:
                for portal in pair:
                    nursery.start_soon(compute, portal)
            shares.append(min(least))
        await an.cancel()
    if get_backend(key).traits.own_gil:
        assert max(shares) >= 0.9, shares
    else:
        assert min(shares) <= 0.8, shares  # the check can fail


@keys
async def test_what_works_in_it(key: str) -> None:
    """Worker threads, subprocesses, asyncio and TLS."""
    async with actor(key) as portal:
        names = await portal.run(actors.uses_threads)
        assert len(set(names)) == 1
        assert await portal.run(actors.runs_process) == "hello"
        assert await portal.run(actors.runs_asyncio) == "hello"
        assert await portal.run(actors.uses_ssl) == "16"  # a handshake


CELLS: Final = [
    *((outer, inner) for outer in KEYS for inner in available_backends()),
    *(("trio", inner) for inner in KEYS),
]


@pytest.mark.parametrize(("outer", "inner"), CELLS)
async def test_one_in_another(outer: str, inner: str) -> None:
    """Each can have each as a child, and nothing of either is left."""
    async with actor(outer) as portal:
        above = await portal.run(actors.process_and_interpreter)
        below = await portal.run(actors.starts_another, inner)
    traits = get_backend(inner).traits
    assert (below[0] != above[0]) is traits.own_process
    assert below != above
    assert (below[1] != 0) is traits.can_interrupt


# -- Extension modules -----------------------------------------------------------------


@own
async def test_each_has_a_library_of_its_own(key: str) -> None:
    """The codec of one shares nothing with that of another, nor with ours."""
    async with open_tree(key) as an:
        addresses = {await actors.codec_address()}
        for _ in range(2):
            portal = await an.start_actor("x", enable_modules=MODULES)
            addresses.add(await portal.run(actors.codec_address))
        await an.cancel()
    assert len(addresses) == 3
    assert 0 not in addresses


COLLECTING: Final = """
import gc
import trio, tractor
from tests.interp import actors

async def main():
    async with tractor.open_nursery() as an, trio.open_nursery() as nursery:
        for _ in range(3):
            portal = await an.start_actor("x", enable_modules=[actors.__name__])
            nursery.start_soon(portal.run, actors.decodes, 2)
        nursery.start_soon(actors.decodes, 2)
        with trio.move_on_after(1.5):
            while True:
                gc.collect()
                await trio.lowlevel.checkpoint()
        await trio.sleep(1)
        await an.cancel()
    gc.collect()
    print("alive")

if __name__ == "__main__":
    trio.run(main)
"""


@keys
def test_collections_while_others_decode(key: str, tmp_path: Path) -> None:
    """Garbage collection here meets no object of another interpreter."""
    done = run_python(key, write_program(tmp_path, COLLECTING))
    assert done.returncode == 0, done.stderr
    assert done.stdout == "alive\n"


REFUSING: Final = """
import trio, tractor
from tests.interp import actors

MODULES = [actors.__name__, "loads_curses"]

async def main():
    async with tractor.open_nursery() as an:
        try:
            portal = await an.start_actor("plain", enable_modules=MODULES)
        except tractor.SpawnError as error:
            print(error.stage, error)
        else:
            print(await portal.run(actors.imports, "_curses"))
        portal = await an.start_actor(
            "copied",
            enable_modules=MODULES,
            proc_kwargs={"private_copies": ["_curses"]},
        )
        print(await portal.run(actors.imports, "_curses"))
        await an.cancel()

if __name__ == "__main__":
    trio.run(main)
"""


@keys
def test_a_module_that_was_not_made_for_it(key: str, tmp_path: Path) -> None:
    """It is named, with what to do; a copy of it loads, and so it does in the other."""
    write_program(tmp_path, "import _curses\n", "loads_curses.py")
    done = run_python(key, write_program(tmp_path, REFUSING))
    assert done.returncode == 0, done.stderr
    origin = importlib.util.find_spec("_curses")
    assert origin is not None
    first, copied = done.stdout.splitlines()
    assert copied == origin.origin
    if not get_backend(key).traits.own_gil:
        assert first == origin.origin
        return
    for part in ("import ", "_curses", "subint_legacy", "private_copies"):
        assert part in first


def test_copies_of_what_has_none() -> None:
    """A module of Python, one that is not there, or another one is left alone."""
    finder = PrivateCopies(["json", "nowhere_to_be_found"])
    assert finder.find_spec("_json") is None
    assert finder.find_spec("nowhere_to_be_found") is None
    spec = finder.find_spec("json")
    assert spec is not None
    assert type(spec.loader).__name__ == "SourceFileLoader"


# -- What of others is relied on -------------------------------------------------------


@keys
async def test_private_names_of_others(key: str) -> None:
    """trio's thread cache and scopes, and CPython's frames, are what they were."""
    async with actor(key) as portal:
        assert set((await portal.run(actors.names_of_others)).values()) == {True}


async def test_shields_can_be_lowered() -> None:
    """Those of a task, and of the tasks below it."""
    task = trio.lowlevel.current_task()
    with trio.CancelScope() as outer, trio.CancelScope(shield=True) as one:
        async with trio.open_nursery() as nursery:
            nursery.cancel_scope.shield = True
            nursery.start_soon(trio.sleep_forever)
            outer.cancel()
            lower_shields(task)
    assert outer.cancelled_caught
    assert not one.shield


def test_worker_threads_end() -> None:
    """They do so when told, with their work done; there are no more then."""
    before = threading.active_count()
    threads = JoinableThreads()
    delivered: list[Any] = []
    for number in range(3):
        threads.start_thread_soon(partial(int, number), delivered.append, "worker")
    threads.stop()
    assert sorted(result.unwrap() for result in delivered) == [0, 1, 2]
    assert threading.active_count() == before
    with pytest.raises(RuntimeError, match="no more threads"):
        threads.start_thread_soon(int, delivered.append)

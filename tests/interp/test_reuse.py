"""What one actor leaves is not there for the next one in the same interpreter."""

import _interpreters
import json
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest
import trio
from msgspec.structs import replace

from tests import _misbehaviours as mis
from tests._helpers import (
    QUICK,
    ROOT,
    SAFETY,
    Bell,
    events,
    open_tree,
    run_python,
    write_program,
)
from tests.interp import actors
from tractor import ActorNursery, Portal
from tractor.spawn import _interp_pool, available_backends, get_backend
from tractor.spawn._interp_boot import discard
from tractor.spawn._interp_pool import get_pool

KEYS: Final = [
    key for key in available_backends() if get_backend(key).traits.can_interrupt
]
CYCLES: Final = os.environ.get("TRACTOR_SUBINT_CYCLES", "60")
LONG: Final = 200  # cycles
SECONDS: Final = os.environ.get("TRACTOR_SUBINT_SECONDS", "5")
SEED: Final = os.environ.get("TRACTOR_SUBINT_SEED", "")
STRESS: Final = ROOT / "benchmarks" / "stress_subint.py"
MODULES: Final = (actors.__name__, mis.__name__)

# One that waits for a second at a time is interrupted when that is over.
PATIENT: Final = replace(QUICK, kill=QUICK.kill + 1)

# The order to stop, the one to lower shields and the one to interrupt come as one.
AT_ONCE: Final = replace(PATIENT, terminate=0.0)

keys = pytest.mark.parametrize("key", KEYS)
sharing = pytest.mark.parametrize(
    "key", [key for key in KEYS if not get_backend(key).traits.own_gil]
)


@asynccontextmanager
async def actor(an: ActorNursery) -> AsyncIterator[Portal]:
    """One that is ended in order."""
    portal = await an.start_actor("x", enable_modules=MODULES)
    yield portal
    await portal.cancel_actor()


def idle(key: str) -> set[int]:
    """Numbers of the interpreters that wait for an actor."""
    return get_pool("own" if get_backend(key).traits.own_gil else "shared").spares()


def is_destroyed(key: str, number: int) -> bool:
    """Whether that interpreter is gone, once none is being made or destroyed."""
    return is_settled(key) and number not in all_interpreters()


def is_settled(key: str) -> bool:
    """Wait until none is being made or destroyed; whether that came to be."""
    pool = get_pool("own" if get_backend(key).traits.own_gil else "shared")
    with pool._changed:
        return pool._changed.wait_for(lambda: not pool._makers, SAFETY)


def all_interpreters() -> set[int]:
    """Numbers of those that there are."""
    return {number for number, *_ in _interpreters.list_all()}


async def start_in(an: ActorNursery, number: int) -> Portal:
    """An actor in that interpreter, which waits in the pool with some others."""
    for _ in range(len(all_interpreters()) + 1):
        portal = await an.start_actor("next", enable_modules=MODULES)
        if await portal.run(actors.where) == number:
            return portal
    raise AssertionError("it is not used again")


# -- As good as new --------------------------------------------------------------------


@keys
async def test_what_is_left_is_gone(
    key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Modules, globals, settings and hooks are as in a new interpreter."""
    write_program(tmp_path, "import ssl\n", "of_the_user.py")
    monkeypatch.syspath_prepend(tmp_path)
    with Bell() as bell:
        async with open_tree(key) as an:
            async with actor(an) as portal:
                number = await portal.run(actors.soils, bell.path, "of_the_user")
                soiled = await portal.run(actors.looks, "of_the_user")
            assert await bell.heard() == "atexit"
            portal = await start_in(an, number)
            clean = await portal.run(actors.looks, "of_the_user")
            await an.cancel()
    assert soiled["module"]
    assert soiled.pop("random") != clean.pop("random")
    assert {name for name in soiled if soiled[name] != clean[name]} == {
        *("module", "main", "builtins", "loggers", "filters", "errors", "path"),
        *("stdout", "hook", "depth", "trace", "profile", "timeout", "collects"),
        *("method", "level", "levels", "name", "hub"),
    }
    assert clean["compiled"]
    assert clean["collects"]
    assert clean["name"] == "INFO"
    assert "SOIL" not in clean["levels"]


@keys
async def test_what_has_seen_an_end_goes_on(key: str) -> None:
    """Executors, finalizers and asyncio work in each actor, and end with it."""
    async with open_tree(key) as an:
        async with actor(an) as portal:
            number = await portal.run(actors.where)
            first = await portal.run(actors.ends_things)
        portal = await start_in(an, number)
        assert await portal.run(actors.ends_things) == first
        await an.cancel()
    assert first[:3] == [[1], 0, 0]


@keys
async def test_a_package_forgets_its_former_modules(key: str) -> None:
    """A submodule that is imported again is the one that its package gives."""
    async with open_tree(key) as an:
        async with actor(an) as portal:
            number = await portal.run(actors.where)
            assert await portal.run(actors.submodule_is_current)
        portal = await start_in(an, number)
        assert await portal.run(actors.submodule_is_current)
        await an.cancel()


@keys
async def test_no_function_is_kept(key: str) -> None:
    """No cache still has what an actor called, when its module is gone."""
    async with open_tree(key) as an:
        async with actor(an) as portal:
            number, count = await portal.run(actors.copies)
            assert count == 1
        portal = await start_in(an, number)
        assert await portal.run(actors.copies) == (number, 1)
        await an.cancel()


@keys
async def test_the_environment(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Is that of the process, at the start of each actor."""
    async with open_tree(key) as an:
        async with actor(an) as portal:
            number = await portal.run(actors.where)
            assert await portal.run(actors.variable, "TRACTOR_TEST") is None
        monkeypatch.setenv("TRACTOR_TEST", "set")
        portal = await start_in(an, number)
        assert await portal.run(actors.variable, "TRACTOR_TEST") == "set"
        await an.cancel()


@keys
@pytest.mark.parametrize("daemon", [True, False])
async def test_a_thread_that_ends(key: str, daemon: bool) -> None:
    """Is waited for at the actor's end, and the interpreter is used again."""
    with Bell() as bell:
        async with open_tree(key) as an:
            async with actor(an) as portal:
                number = await portal.run(
                    actors.leaves_thread, bell.path, daemon=daemon, seconds=0.1
                )
            assert await bell.heard() == "thread"
            await start_in(an, number)
            await an.cancel()


@keys
@pytest.mark.parametrize("body", ["loops", "polls", "swallows"])
async def test_an_interrupted_interpreter(key: str, body: str) -> None:
    """It is destroyed and never used again; the actor was not abandoned."""
    fn = getattr(actors, body, None) or getattr(mis, body)
    before = all_interpreters()
    with Bell() as bell, events("exit") as exits:
        async with open_tree(key, graces=PATIENT) as an:
            portal = await an.start_actor("x", enable_modules=MODULES)
            number = await portal.run(actors.where)
            async with trio.open_nursery() as tasks:
                tasks.start_soon(portal.run, fn, bell.path)
                await bell.heard()
                tasks.start_soon(an.cancel)
                tasks.cancel_scope.cancel()
    (exit_,) = exits
    assert exit_.data["report"].outcome == "interrupted"
    assert exit_.data["report"].seconds < QUICK.bound + 0.5
    assert is_destroyed(key, number)
    # The other kind may just get a spare because of another test.
    assert all_interpreters() - before <= {*idle(KEYS[0]), *idle(KEYS[-1])}


@keys
async def test_a_start_that_is_cancelled(
    key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An import that ends by itself is let end, and costs no interpreter."""
    text = "import time, tests._misbehaviours\ntests._misbehaviours.ring({!r}, str({}))"
    with Bell() as bell:
        where = "__import__('_interpreters').get_current()[0]"
        text = text.format(bell.path, where) + "\ntime.sleep(0.1)\n"
        write_program(tmp_path, text, "takes_its_time.py")
        monkeypatch.syspath_prepend(tmp_path)
        async with open_tree(key) as an:
            async with trio.open_nursery() as tasks:
                modules = [*MODULES, "takes_its_time"]
                tasks.start_soon(partial(an.start_actor, "x", enable_modules=modules))
                number = int(await bell.heard())
                tasks.cancel_scope.cancel()
            await start_in(an, number)
            await an.cancel()


@keys
async def test_what_cannot_be_restored(key: str) -> None:
    """An actor that breaks its interpreter ends well; the interpreter goes."""
    async with open_tree(key) as an, actor(an) as portal:
        number = await portal.run(actors.breaks)
    assert is_destroyed(key, number)


@keys
async def test_nobody_waits_until_one_is_destroyed(
    key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its actor is gone before; else many at once would not be so in time."""
    may_go_on = threading.Event()

    def slowly(number: int) -> None:
        may_go_on.wait(SAFETY)
        discard(number)

    monkeypatch.setattr(_interp_pool, "discard", slowly)
    try:
        async with open_tree(key) as an, actor(an) as portal:
            number = await portal.run(actors.breaks)
        assert number in all_interpreters()
    finally:
        may_go_on.set()
    assert is_destroyed(key, number)


@sharing
async def test_turns_of_a_shared_gil(key: str) -> None:
    """They are of all who share it, and no actor's end takes them back."""
    usual = sys.getswitchinterval()
    try:
        async with open_tree(key) as an:
            async with actor(an):
                pass
            assert is_settled(key)
            assert sys.getswitchinterval() == usual
            sys.setswitchinterval(2 * usual)
            async with actor(an):
                pass
            assert is_settled(key)
            assert sys.getswitchinterval() == pytest.approx(2 * usual)
    finally:
        sys.setswitchinterval(usual)


# -- Interrupted, or not ---------------------------------------------------------------


@keys
async def test_a_loop_that_turns_is_not_interrupted(key: str) -> None:
    """Without its shields it ends in order, and its interpreter is used again."""
    with Bell() as bell, events("rung") as rungs:
        async with open_tree(key, graces=AT_ONCE) as an:
            portal = await an.start_actor("x", enable_modules=MODULES)
            number = await portal.run(actors.where)
            async with trio.open_nursery() as tasks:
                tasks.start_soon(portal.run, actors.cleans_up, bell.path)
                await bell.heard()
                tasks.cancel_scope.cancel()
            assert await bell.heard() == "cancelled"
            await portal.cancel_actor()
            assert await bell.heard() == "shield lowered"
            await start_in(an, number)
            await an.cancel()
    assert "interrupt" in {event.data["rung"] for event in rungs}


QUIET: Final = """
import trio, tractor
from tests import _misbehaviours as mis
from tests._helpers import Bell

async def main():
    with Bell() as bell:
        async with tractor.open_nursery() as an:
            for fn in (mis.loops, mis.rings_when_cancelled):
                await an.run_in_actor(fn, bell=bell.path)
            for _ in range(2):
                await bell.heard()
            tractor.current_actor().lose_patience()
            await an.cancel()

if __name__ == "__main__":
    trio.run(main)
"""


@keys
def test_nobody_complains_of_an_interrupt(key: str, tmp_path: Path) -> None:
    """Neither trio nor its tasks tell of a loop that they do not know to be over."""
    done = run_python(key, write_program(tmp_path, QUIET))
    assert (done.returncode, done.stderr) == (0, "")


# -- Many, one after the other ---------------------------------------------------------


def stress(key: str, *args: str) -> dict[str, Any]:
    """What the program found."""
    command = (STRESS, "--start-method", key, "--json", *args)
    timeout = 120 + 2 * int(CYCLES) + 2 * float(SECONDS)
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.slow
@pytest.mark.timeout(180 + 2 * int(CYCLES))
@keys
def test_many_cycles(key: str) -> None:
    """Interpreters, threads, descriptors and memory are as after the first ones."""
    found = stress(key, "--cycles", CYCLES, "--seconds", "0")
    print(found)
    assert found["leaks"] == []
    if int(CYCLES) >= LONG:  # of so few as by default, memory tells nothing
        assert abs(found["rss_end_mib"] - found["rss_start_mib"]) < 10


@pytest.mark.slow
@pytest.mark.timeout(180 + 2 * float(SECONDS))
@keys
def test_all_at_once(key: str) -> None:
    """Churn, codecs, validation errors, collections and cancels do not crash it."""
    seed = ("--seed", SEED) if SEED else ()
    found = stress(key, "--cycles", "0", "--seconds", SECONDS, *seed)
    print(found)
    assert found["leaks"] == []
    assert found["steps"]["churn"] > 0

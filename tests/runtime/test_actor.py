"""Actors and their runtime: identity, what they hand on, how they end."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

import tractor
from tests import _actors as do
from tests._helpers import (
    MODULES,
    QUICK,
    SAFETY,
    Bell,
    open_tree,
    raises,
    start_python,
    write_program,
)
from tests._misbehaviours import ring
from tractor import NoRuntime, RemoteActorError, RuntimeFailure, spawn


@pytest.fixture
def bell() -> Iterator[Bell]:
    with Bell() as bell:
        yield bell


# -- One runtime per interpreter -------------------------------------------------------


async def test_an_actor_is_one_run_of_trio_with_a_runtime(start_method: str) -> None:
    """`current_actor` is it inside, and there is none outside (semantics §1.1)."""
    for _ in range(2):
        with pytest.raises(NoRuntime, match="open_root_actor"):
            tractor.current_actor()
        assert not tractor.is_root_process()
        async with tractor.open_root_actor(start_method=start_method) as root:
            assert tractor.current_actor() is root
            assert tractor.is_root_process()


async def test_a_second_root_is_refused(start_method: str) -> None:
    """One interpreter runs one runtime, in children as well (semantics §1.1)."""
    async with open_tree(start_method) as an:
        with pytest.raises(RuntimeFailure, match="already runs"):
            await do.boot_again()
        portal = await an.start_actor("child", enable_modules=MODULES)
        with pytest.raises(RemoteActorError) as caught:
            await portal.run(do.boot_again)
        assert caught.value.boxed_type is RuntimeFailure
        await an.cancel()
    await do.boot_again()


async def test_another_run_of_trio_gets_no_nursery(start_method: str) -> None:
    """A thread with a loop of its own cannot use the runtime (semantics §1.1)."""

    async def other() -> None:
        async with tractor.open_nursery():
            pass

    async with tractor.open_root_actor(start_method=start_method):
        with pytest.raises(RuntimeFailure, match="another thread"):
            await trio.to_thread.run_sync(trio.run, other)


async def test_a_root_that_fails_to_boot_leaves_no_runtime(start_method: str) -> None:
    """After an error at boot another root may be opened (semantics §1.1)."""
    for bad in ({"max_frame": 0}, {"boot_timeout": -1.0}, {"start_method": "nope"}):
        options: dict[str, Any] = {"start_method": start_method} | bad
        with pytest.raises(ValueError, match=r"must be > 0|unknown spawn"):
            async with tractor.open_root_actor(**options):
                pass
    with pytest.raises(ModuleNotFoundError):
        async with tractor.open_root_actor(enable_modules=["nowhere"]):
            pass
    with pytest.raises(NoRuntime):
        tractor.current_actor()


# -- Identity --------------------------------------------------------------------------


async def test_names_need_not_be_unique(
    start_method: str, traits: spawn.Traits
) -> None:
    """An actor is known by its name and a unique id (semantics §1.2)."""
    async with open_tree(start_method, name="top") as an:
        root = tractor.current_actor()
        assert root.aid.uid == (root.name, root.aid.uuid)
        assert (root.name, root.pid, root.is_root) == ("top", os.getpid(), True)
        uids = {root.aid.uid}
        for _ in range(2):
            portal = await an.start_actor("same", enable_modules=MODULES)
            name, uuid, pid, told, is_root = await portal.run(do.who)
            assert portal.aid.uid == (name, uuid)
            assert (name, portal.aid.pid, told, is_root) == ("same", pid, pid, False)
            assert (pid != os.getpid()) == traits.own_process
            uids.add((name, uuid))
        assert len(uids) == 3
        await an.cancel()


# -- What is handed on -----------------------------------------------------------------


async def test_runtime_vars_go_down_the_tree(start_method: str) -> None:
    """Each actor hands on what its parent gave it (semantics §1.4)."""
    async with open_tree(start_method, graces=QUICK, max_frame=10**5) as an:
        expected = await do.get_vars() | {"is_root": "False"}
        assert expected["start_method"] == repr(start_method)
        assert expected["max_frame"] == "100000"
        portal = await an.start_actor("a", enable_modules=MODULES)
        assert await portal.run(do.get_vars_below) == [expected, expected]
        # A log level given for one actor holds for those below it, too.
        loud = {**expected, "loglevel": "'critical'"}
        assert await portal.run(do.get_vars_below, "critical") == [expected, loud]
        await an.cancel()


async def test_runtime_vars_are_reset_with_the_root(start_method: str) -> None:
    """The next root starts from the defaults (semantics §1.4)."""
    async with tractor.open_root_actor(start_method=start_method, max_frame=10**5):
        pass
    with pytest.raises(NoRuntime):
        tractor.get_runtime_vars()
    async with tractor.open_root_actor(start_method=start_method):
        assert tractor.get_runtime_vars()["max_frame"] > 10**5


# -- The lifetime stack ----------------------------------------------------------------


async def test_the_lifetime_stack_closes_last(start_method: str, bell: Bell) -> None:
    """It closes after every task of the actor, with the actor still there (§1.4)."""
    async with open_tree(start_method) as an:
        root = tractor.current_actor()
        root.lifetime_stack.callback(lambda: ring(bell.path, "root"))
        root.lifetime_stack.callback(tractor.current_actor)
        await an.run_in_actor(do.trace_the_end, bell=bell.path, name="child")
        await bell.heard()
        await an.cancel()
        assert bell.heard_nowait() == ["task", "stack of child"]
    assert bell.heard_nowait() == ["root"]


async def test_an_error_in_the_lifetime_stack(start_method: str) -> None:
    """It is an error of its actor (semantics §1.4)."""
    with raises(ZeroDivisionError):
        async with tractor.open_root_actor(start_method=start_method) as root:
            root.lifetime_stack.callback(lambda: 1 / 0)
    with pytest.raises(NoRuntime):
        tractor.current_actor()


@pytest.mark.requires_trait("own_process")
def test_the_lifetime_stack_closes_on_ctrl_c(
    start_method: str, tmp_path: Path, bell: Bell
) -> None:
    """Ctrl-C closes those of the whole tree, the root's last (semantics §1.4)."""
    program = write_program(
        tmp_path,
        """
        import sys, trio, tractor
        from tests._actors import ring, trace_the_end

        async def main(bell):
            async with tractor.open_nursery() as an:
                stack = tractor.current_actor().lifetime_stack
                stack.callback(ring, bell, "stack of root")
                await an.run_in_actor(trace_the_end, bell=bell, name="child")
                await trio.sleep_forever()

        trio.run(main, sys.argv[1])
        """,
    )
    with start_python(start_method, program, bell.path) as root:
        bell.wait_heard()
        root.send_signal(signal.SIGINT)
        _, err = root.communicate(timeout=SAFETY)
    words = [bell.wait_heard() for _ in range(3)]
    assert words == ["task", "stack of child", "stack of root"]
    assert root.returncode == -signal.SIGINT
    assert err.count("Traceback (most recent call last)") == 1

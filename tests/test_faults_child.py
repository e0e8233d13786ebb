"""Faults of children: rows A of docs/reference/failure-semantics.md.

A child without a process of its own cannot be killed, but its link can be cut.
"""

import os
import signal
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import trio

import tractor
from tests import _misbehaviours as mis
from tests._helpers import (
    MODULES,
    T_DETECT,
    T_DOWN,
    T_KILL,
    T_ORPHAN,
    Bell,
    events,
    is_gone,
    open_tree,
    pid_of,
    raises,
    signal_of_strike,
    strike,
    within,
    write_program,
)
from tractor import ActorDied, RemoteActorError, SpawnError, SpawnTimeout
from tractor.spawn import Traits
from tractor.testing import take_census, wait_for_end

process = pytest.mark.requires_trait("own_process", "can_kill")


@pytest.fixture
def bell() -> Iterator[Bell]:
    with Bell() as bell:
        yield bell


@pytest.fixture
def faulty(
    tmp_path: Path, bell: Bell, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], str]:
    """Make a module of that text, which children can import; its name."""
    monkeypatch.syspath_prepend(tmp_path)

    def make(text: str) -> str:
        write_program(tmp_path, text.format(bell=bell.path), "faulty.py")
        return "faulty"

    return make


# -- A1–A3: death in the middle of a call ----------------------------------------------


async def test_every_call_learns_of_a_death(
    start_method: str, traits: Traits, bell: Bell
) -> None:
    """A killed child ends each pending call with `ActorDied` (reliability A1)."""
    told: list[tuple[float, ActorDied]] = []

    async def call(portal: tractor.Portal) -> None:
        with pytest.raises(ActorDied) as caught:
            await portal.run(mis.waits, bell.path)
        told.append((trio.current_time(), caught.value))

    with raises(ActorDied) as caught:
        async with open_tree(start_method) as an:
            sibling = await an.start_actor("sibling")
            portal = await an.start_actor("victim", enable_modules=MODULES)
            async with trio.open_nursery() as nursery:
                for _ in range(3):
                    nursery.start_soon(call, portal)
                    await bell.heard()
                strike(portal)
                killed = trio.current_time()
    assert len(told) == 3
    assert all(when - killed < 3 * T_DETECT for when, _ in told)
    for error in (caught.value, *(error for _, error in told)):
        assert (error.pid, error.signal) == (pid_of(portal), signal_of_strike(traits))
    assert is_gone(sibling)
    assert is_gone(portal)


async def test_a_death_while_nobody_calls(start_method: str, traits: Traits) -> None:
    """The nursery notices an unexpected death by itself (reliability A1)."""
    how = "SIGKILL" if traits.own_process else "no exit status"
    with raises(ActorDied, match=how), within(T_DOWN):
        async with open_tree(start_method) as an:
            portal = await an.start_actor("victim")
            strike(portal)
            with within(T_DETECT):
                await trio.sleep_forever()


@process
async def test_an_exit_inside_a_call(start_method: str) -> None:
    """`os._exit` in a function is a death with that exit code (reliability A3)."""
    with raises(ActorDied) as caught, within(T_DOWN):
        async with open_tree(start_method) as an:
            portal = await an.start_actor("victim", enable_modules=MODULES)
            with within(T_DETECT):
                await portal.run(mis.exits, 7, "last words")
    assert (caught.value.exit_code, caught.value.signal) == (7, None)
    assert caught.value.stderr_tail == "last words"
    assert "last words" in str(caught.value)


@process
async def test_a_crash_inside_a_call(start_method: str) -> None:
    """A segfault is told with the crash report of Python (reliability A3)."""
    with raises(ActorDied) as caught:
        async with open_tree(start_method) as an:
            portal = await an.start_actor("victim", enable_modules=MODULES)
            await portal.run(mis.crashes)
    assert caught.value.signal == signal.SIGSEGV
    assert "in crashes" in caught.value.stderr_tail


@process
async def test_a_child_that_leaves_a_fork(start_method: str, bell: Bell) -> None:
    """Its exit is noticed, though its link and stderr are still open (A3, A15)."""
    before = take_census().processes.keys()
    with raises(ActorDied, match="exit code 7"):
        async with open_tree(start_method) as an:
            portal = await an.start_actor("victim", enable_modules=MODULES)
            with within(T_DETECT, slack=2):
                await portal.run(mis.leaves_a_fork, bell.path)
    [(fork, _)] = take_census().processes.keys() - before
    os.kill(fork, signal.SIGKILL)
    assert wait_for_end([fork]) == []


async def test_a_child_that_closes_its_link(start_method: str) -> None:
    """A child without a link is as good as dead, and is stopped (reliability A1)."""
    with raises(ActorDied, match="link closed"), within(T_DOWN):
        async with open_tree(start_method) as an:
            portal = await an.start_actor("victim", enable_modules=MODULES)
            with within(T_DETECT, slack=2):
                await portal.run(mis.closes_its_link)
    assert is_gone(portal)


# -- A4–A6: death, or worse, at boot ---------------------------------------------------


@pytest.mark.parametrize(
    ("text", "stage", "status"),
    [
        pytest.param(
            mis.DIES_AT_IMPORT,
            "import",
            tractor.ExitStatus(signal=signal.SIGKILL),
            id="at import",
            marks=process,
        ),
        pytest.param(
            mis.DIES_BEFORE_READY,
            "ready",
            tractor.ExitStatus(exit_code=7),
            id="before ready",
        ),
    ],
)
async def test_a_death_at_boot(
    *,
    start_method: str,
    faulty: Callable[[str], str],
    bell: Bell,
    text: str,
    stage: str,
    status: tractor.ExitStatus,
) -> None:
    """A child that dies at boot is a `SpawnError` with stage and status (A4)."""
    died = 0.0

    async def note_death() -> None:
        nonlocal died
        await bell.heard()
        died = trio.current_time()

    async with open_tree(start_method) as an, trio.open_nursery() as nursery:
        nursery.start_soon(note_death)
        with pytest.raises(SpawnError) as caught:
            await an.start_actor("stillborn", enable_modules=[faulty(text)])
        assert trio.current_time() - died < 3 * T_DETECT
        assert not an.cancel_called  # it is the caller's to handle
    assert (caught.value.stage, caught.value.status) == (stage, status)


@pytest.mark.requires_trait("popen_options")
async def test_a_death_before_connecting(start_method: str, tmp_path: Path) -> None:
    """A host that dies before it reads its first record is a `SpawnError` (A4)."""
    host = write_program(tmp_path, mis.NEVER_CONNECTS, "host")
    host.chmod(0o700)
    async with open_tree(start_method) as an:
        for _ in range(5):
            with pytest.raises(SpawnError) as caught, within(T_DETECT):
                await an.start_actor("stillborn", proc_kwargs={"executable": str(host)})
            assert caught.value.stage == "connect"
            assert caught.value.status == tractor.ExitStatus(signal=signal.SIGKILL)


async def test_an_error_at_import(
    start_method: str,
    traits: Traits,
    faulty: Callable[[str], str],
    capfd: pytest.CaptureFixture[str],
) -> None:
    """What an import raises is the cause of the `SpawnError` (reliability A4)."""
    async with open_tree(start_method) as an:
        with pytest.raises(SpawnError, match="no import today") as caught:
            await an.start_actor(
                "stillborn", enable_modules=[faulty(mis.FAILS_AT_IMPORT)]
            )
    error = caught.value
    assert isinstance(error.__cause__, RemoteActorError)
    assert error.__cause__.boxed_type is RuntimeError
    assert (error.stage, error.status) == ("import", tractor.ExitStatus(exit_code=1))
    assert error.stderr_tail == "last words\n" * traits.own_process
    assert capfd.readouterr().err == "last words\n"


async def test_a_child_that_hangs_at_import(
    start_method: str, faulty: Callable[[str], str]
) -> None:
    """A child that is not ready in time is killed and reaped (reliability A5)."""
    with events("exit") as exits:
        async with open_tree(start_method, boot_timeout=1) as an:
            name = faulty(mis.HANGS_AT_IMPORT)
            with pytest.raises(SpawnTimeout, match="=1") as caught, within(1 + T_KILL):
                await an.start_actor("late", enable_modules=[name])
            assert caught.value.stage == "import"
            assert [is_gone(event.aid) for event in exits] == [True]


@pytest.mark.requires_trait("popen_options")
async def test_a_bad_interpreter(start_method: str) -> None:
    """A host that cannot be executed is a `SpawnError` at once (reliability A6)."""
    async with open_tree(start_method) as an:
        with pytest.raises(SpawnError, match="cannot be") as caught, within(1):
            await an.start_actor("x", proc_kwargs={"executable": "/no/python"})
    assert caught.value.stage == "start"
    assert isinstance(caught.value.__cause__, FileNotFoundError)


async def test_a_missing_module(start_method: str) -> None:
    """A module that does not exist starts nothing (reliability A6, semantics §2.1)."""
    with events("spawn") as spawned:
        async with open_tree(start_method) as an:
            for name in ("nowhere", "nowhere.at_all", "tests.nowhere"):
                with pytest.raises(ModuleNotFoundError), within(1):
                    await an.start_actor("x", enable_modules=[name])
                with pytest.raises(ModuleNotFoundError):
                    await an.run_in_actor(mis.fails, enable_modules=[name])
    assert spawned == []


# -- A7, A9–A11: children that do not stop ---------------------------------------------

STUBBORN = {
    mis.ignores_everything: "kill",  # A9
    mis.sleeps: "kill",  # A10
    mis.holds_the_gil: "kill",  # A10
    mis.ignores_cancel: "terminate",  # A11
    mis.cleans_up_slowly: "terminate",  # A11
    mis.refuses_to_exit: "terminate",
    mis.waits: "cancel",
    mis.loops: "kill",  # A10; last, since it takes the processor from the others
}
ONLY_KILLED = {
    *(mis.ignores_everything, mis.sleeps, mis.holds_the_gil, mis.refuses_to_exit),
}


async def test_stubborn_children_are_gone_in_time(
    start_method: str, traits: Traits, bell: Bell, capfd: pytest.CaptureFixture[str]
) -> None:
    """Whatever children do, all are stopped in one bound (reliability A9–A11)."""
    rungs = {body.__name__: rung for body, rung in STUBBORN.items()}
    bodies = list(STUBBORN)
    if not traits.can_kill:
        bodies = [body for body in bodies if body not in ONLY_KILLED]
        rungs = {body.__name__: rungs[body.__name__] for body in bodies}
        rungs["loops"] = "interrupt"
    *others, loops = bodies
    with events("exit") as exits:
        async with open_tree(start_method) as an:
            async with trio.open_nursery() as nursery:
                for body in others:
                    nursery.start_soon(partial(an.run_in_actor, body, bell=bell.path))
            for _ in others:
                await bell.heard()
            await an.run_in_actor(loops, bell=bell.path)
            await bell.heard()
            with within(T_DOWN, slack=1):
                await an.cancel()
            assert all(is_gone(event.aid) for event in exits)
            assert not an.cancelled_caught
    last = {event.aid.name: event.data["report"].rung for event in exits}
    assert last == rungs
    if traits.own_process:  # who was cut off is named on stderr
        assert "tests._misbehaviours.cleans_up_slowly" in capfd.readouterr().err


@process
async def test_a_stopped_process_is_killed(start_method: str) -> None:
    """A process under SIGSTOP is stopped like any other (reliability A7)."""
    async with open_tree(start_method) as an:
        portal = await an.start_actor("stopped")
        os.kill(pid_of(portal), signal.SIGSTOP)
        with within(2):
            await an.cancel()
        assert is_gone(portal)


# -- A12, A13: errors at odd moments ---------------------------------------------------


async def test_errors_of_the_teardown_are_raised(start_method: str, bell: Bell) -> None:
    """What clean-up raises is in the group, and the teardown ends (reliability A12)."""
    with raises(ExceptionGroup) as caught, within(T_DOWN):
        async with open_tree(start_method) as an:
            await an.run_in_actor(mis.fails_in_cleanup, bell=bell.path)
            await an.run_in_actor(mis.fails_at_its_end, bell=bell.path)
            await bell.heard()
            await bell.heard()
            raise KeyError("the body")
    body, *others = caught.value.exceptions
    assert isinstance(body, KeyError)
    assert {str(error).partition(" [")[0] for error in others} == {
        "ValueError: in its clean-up",
        "ValueError: in its lifetime stack",
    }


async def test_one_actor_may_fail_twice(start_method: str, bell: Bell) -> None:
    """Neither error of one actor hides the other (reliability A12)."""
    with raises(ExceptionGroup) as caught:
        async with open_tree(start_method) as an:
            await an.run_in_actor(mis.fails_twice, bell=bell.path)
            await bell.heard()
            await an.cancel()
    assert len(caught.value.exceptions) == 2


async def test_the_clean_up_of_a_call_may_raise(start_method: str, bell: Bell) -> None:
    """An error outranks the cancellation that provoked it (reliability A12)."""
    async with open_tree(start_method) as an:
        portal = await an.start_actor("x", enable_modules=MODULES)
        with pytest.RaisesGroup(RemoteActorError):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(portal.run, mis.fails_in_cleanup, bell.path)
                await bell.heard()
                nursery.cancel_scope.cancel()
        await an.cancel()


async def test_exits_and_interrupts_are_relayed(start_method: str) -> None:
    """`SystemExit` and `KeyboardInterrupt` end their call and not the actor (A13)."""
    async with open_tree(start_method) as an:
        portal = await an.start_actor("x", enable_modules=MODULES)
        with pytest.raises(RemoteActorError) as caught, within(T_DETECT):
            await portal.run(mis.raises_exit, 3)
        assert caught.value.boxed_type is SystemExit
        with pytest.raises(RemoteActorError) as caught:
            await portal.run(mis.raises_interrupt)
        assert caught.value.boxed_type is KeyboardInterrupt
        with pytest.raises(RemoteActorError, match="still here"):
            await portal.run(mis.fails, "still here")
        await an.cancel()


# -- A14: those below ------------------------------------------------------------------


async def test_what_is_below_a_killed_child_goes_too(
    start_method: str, bell: Bell
) -> None:
    """A killed actor takes the actors below it along (reliability A14)."""
    with raises(ActorDied), within(T_DOWN, slack=1):
        async with open_tree(start_method) as an:
            middle = await an.run_in_actor(mis.has_child, fn="loops", bell=bell.path)
            leaf = int(await bell.heard())
            strike(middle)
    assert wait_for_end({leaf} - {os.getpid()}, 3 * T_ORPHAN) == []
    assert is_gone(middle)
    assert is_gone(tractor.Aid("level1", "", leaf))

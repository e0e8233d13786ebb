"""Supervisors: who is started again, in what order all is stopped, and when it is over.

Semantics §3.5; strategies and kinds are those of OTP's supervisor.
"""

import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import tractor
from tests import _misbehaviours as mis
from tests._actors import supervise_mortals
from tests._helpers import (
    QUICK,
    SAFETY,
    T_DETECT,
    T_DOWN,
    Bell,
    events,
    is_gone,
    pid_of,
    raises,
    strike,
    within,
    write_program,
)
from tests.runtime import supervised as do
from tractor import ActorDied, RemoteActorError, RestartLimitReached, SpawnError
from tractor._instrument import Event, hub
from tractor.runtime import _restarts
from tractor.runtime._restarts import Restart, Strategy
from tractor.spawn import Traits, use_backend
from tractor.testing import FakeBackend, faults

MODULES = [do.__name__, mis.__name__]


@pytest.fixture
def bell() -> Iterator[Bell]:
    with Bell() as bell:
        yield bell


@pytest.fixture
def faulty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module that fails to be imported while the file ``broken`` is beside it."""
    monkeypatch.syspath_prepend(tmp_path)
    return write_program(
        tmp_path,
        """
        from pathlib import Path

        if Path(__file__).with_name("broken").exists():
            raise RuntimeError("broken")
        """,
        "faulty.py",
    )


@asynccontextmanager
async def supervising(
    start_method: str, graces: tractor.Graces = QUICK, **options: Any
) -> AsyncIterator[tractor.Supervisor]:
    """A supervisor in a tree of its own, with a net under it."""
    with trio.fail_after(SAFETY):
        async with (
            tractor.open_root_actor(start_method=start_method, graces=graces),
            tractor.open_supervisor(**options) as supervisor,
        ):
            yield supervisor


async def start_all(
    supervisor: tractor.Supervisor, names: str, **options: Any
) -> dict[str, tractor.Portal]:
    """An actor for each letter, one after the other."""
    options.setdefault("enable_modules", MODULES)
    return {name: await supervisor.start_actor(name, **options) for name in names}


async def die(portal: tractor.Portal) -> None:
    """Let its actor die in the middle of a call."""
    with pytest.raises(ActorDied):
        await portal.run(mis.dies, signal.SIGKILL)


async def restarted(supervisor: tractor.Supervisor, name: str) -> tractor.Portal:
    """The portal to the actor that came after a first one."""
    portal = await supervisor.portal(name)
    assert infos(supervisor)[name].restarts == 1
    return portal


def infos(supervisor: tractor.Supervisor) -> dict[str, tractor.ChildInfo]:
    return {child.name: child for child in supervisor.children()}


class Tape:
    """Names of actors, in the order of what happened to them."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def note(self, event: Event) -> None:
        rung = event.data.get("rung", "")
        self.events.append(" ".join(filter(None, (event.kind, rung, event.aid.name))))

    def of(self, kind: str) -> str:
        return "".join(e.split()[-1] for e in self.events if e.split()[0] == kind)


@pytest.fixture
def tape() -> Iterator[Tape]:
    tape = Tape()
    with hub.subscribed(tape.note):
        yield tape


# -- Strategies ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("strategy", "again"),
    [("one_for_one", "b"), ("one_for_all", "abc"), ("rest_for_one", "bc")],
)
async def test_who_is_started_again(
    start_method: str, tape: Tape, strategy: Strategy, again: str
) -> None:
    """When `b` dies, those whom the strategy names are new, and no others.

    Those that still run are stopped in reverse order, and all begin in order.
    """
    async with supervising(start_method, strategy=strategy) as supervisor:
        before = await start_all(supervisor, "abc")
        tape.events.clear()
        await die(before["b"])
        for name in again:
            await tractor.monitor(before[name])
        after = {name: await supervisor.portal(name) for name in "abc"}
        assert [name for name in "abc" if after[name].aid != before[name].aid] == [
            *again
        ]
        assert tape.of("ready") == again
        assert tape.of("exit") == "b" + "".join(sorted(set(again) - {"b"}))[::-1]
        for child in supervisor.children():
            assert child.up
            assert child.restarts == (child.name in again)
            assert child.aid == after[child.name].aid
        await supervisor.cancel()


async def test_a_restart_gives_a_new_actor(start_method: str, traits: Traits) -> None:
    """Its state is new, its process another, and the old portal stays dead."""
    async with supervising(start_method) as supervisor:
        portal = await supervisor.start_actor("a", enable_modules=MODULES)
        assert [await portal.run(do.count_calls) for _ in range(2)] == [1, 2]
        await die(portal)
        began = trio.current_time()
        again = await supervisor.portal("a")
        print(f"restart to first reply: {trio.current_time() - began:.3f} s")
        assert await again.run(do.count_calls) == 1
        assert portal.aid != again.aid
        if traits.own_process:
            assert is_gone(portal)
            assert pid_of(portal) != pid_of(again)
        with pytest.raises(ActorDied):
            await portal.run(do.count_calls)
        await supervisor.cancel()


async def test_the_portal_of_a_dead_one_is_never_given(start_method: str) -> None:
    """Whoever got `ActorDied` and asks at once waits for the new actor."""
    async with supervising(start_method) as supervisor:
        first = await supervisor.start_actor("a", enable_modules=MODULES)
        second: list[tractor.Portal] = []

        async def call() -> None:
            with pytest.raises(ActorDied) as caught:
                await first.run(mis.dies, signal.SIGKILL)
            assert caught.value.aid == first.aid
            second.append(await supervisor.portal("a"))

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(call)
        assert len({portal.aid for portal in second} - {first.aid}) == 1
        assert await second[0].run(do.pid) == pid_of(second[0])
        await supervisor.cancel()


# -- Kinds -----------------------------------------------------------------------------

KINDS: tuple[Restart, ...] = ("permanent", "transient", "temporary")


@pytest.mark.parametrize(
    ("end", "again"),
    [("stops_itself", KINDS[:1]), ("dies", KINDS[:2])],
    ids=["ends in order", "dies"],
)
async def test_kinds_of_children(
    start_method: str, end: str, again: tuple[Restart, ...]
) -> None:
    """After an end, those are started again whose kind says so; others are gone."""
    async with supervising(start_method) as supervisor:
        for kind in KINDS:
            portal = await supervisor.start_actor(
                kind, restart=kind, enable_modules=MODULES
            )
            if end == "dies":
                await die(portal)
            else:
                await portal.run(do.stops_itself)
                await tractor.monitor(portal)
            if kind in again:
                await restarted(supervisor, kind)
            else:
                with pytest.raises(KeyError):
                    await supervisor.portal(kind)
        assert [child.name for child in supervisor.children()] == [*again]
        await supervisor.cancel()


async def test_a_function_that_fails_is_run_again(
    start_method: str, tmp_path: Path
) -> None:
    """It has a new actor each time, and the block ends when it has returned."""
    with events("ready") as ready:
        async with supervising(start_method) as supervisor:
            await supervisor.run_in_actor(
                do.fails_at_first, marks=str(tmp_path), times=2
            )
    assert len({event.aid for event in ready}) == 3
    assert supervisor.children() == []


async def test_a_permanent_function(start_method: str, bell: Bell) -> None:
    """It is run again also when it has returned."""
    async with supervising(start_method) as supervisor:
        await supervisor.run_in_actor(
            do.rings_once, restart="permanent", bell=bell.path
        )
        for _ in range(2):
            await bell.heard()
        assert infos(supervisor)["rings_once"].restarts >= 1
        await supervisor.cancel()


async def test_siblings_that_end_together_are_one_restart(start_method: str) -> None:
    """What dies while others are stopped for its sake is started again with them."""
    async with supervising(
        start_method, strategy="one_for_all", max_restarts=1
    ) as supervisor:
        before = await start_all(supervisor, "abc")
        for portal in before.values():
            strike(portal)
        for name in "abc":
            await tractor.monitor(before[name])
            assert (await restarted(supervisor, name)).aid != before[name].aid
        await supervisor.cancel()


async def test_a_temporary_sibling_is_not_started_again(start_method: str) -> None:
    """It is stopped with the others, and that is the end of it."""
    async with supervising(start_method, strategy="one_for_all") as supervisor:
        await supervisor.start_actor("t", restart="temporary")
        portal = await supervisor.start_actor("a", enable_modules=MODULES)
        await die(portal)
        await restarted(supervisor, "a")
        assert [child.name for child in supervisor.children()] == ["a"]
        await supervisor.cancel()


# -- Too many restarts -----------------------------------------------------------------


async def test_too_many_restarts_end_the_supervisor(
    start_method: str, tape: Tape
) -> None:
    """One restart more than allowed cancels the block, stops all, and is raised."""
    with raises(RestartLimitReached, match="more than 1 restarts within") as caught:
        async with supervising(start_method, max_restarts=1) as supervisor:
            await start_all(supervisor, "ab")
            await supervisor.run_in_actor(mis.fails, name="x")
            await trio.sleep_forever()
    assert caught.value.name == "x"
    assert isinstance(caught.value.__cause__, RemoteActorError)
    assert caught.value.__cause__.boxed_type is ValueError
    assert tape.of("exit") == "xxba"
    assert supervisor.children() == []


async def test_no_restart_may_be_allowed(start_method: str) -> None:
    """With a limit of 0 the first death is too much; the body need not hear of it."""
    with raises(RestartLimitReached) as caught:
        async with supervising(start_method, max_restarts=0) as supervisor:
            portal = await supervisor.start_actor("a")
            strike(portal)
            await trio.sleep_forever()
    assert isinstance(caught.value.__cause__, ActorDied)


async def test_a_restart_that_fails_is_a_failure_too(
    start_method: str, faulty: Path
) -> None:
    """An actor that does not boot again uses up the restarts."""
    with raises(RestartLimitReached) as caught, events("exit") as exits:
        async with supervising(start_method, max_restarts=2) as supervisor:
            portal = await supervisor.start_actor("a", enable_modules=["faulty"])
            faulty.with_name("broken").touch()
            strike(portal)
            await trio.sleep_forever()
    assert isinstance(caught.value.__cause__, SpawnError)
    assert len(exits) == 3


async def test_an_error_of_the_body_beside_too_many_restarts(start_method: str) -> None:
    """Neither hides the other."""
    with raises(ExceptionGroup) as caught:
        async with supervising(start_method, max_restarts=0) as supervisor:
            await supervisor.run_in_actor(mis.fails)
            try:
                await trio.sleep_forever()
            finally:
                raise KeyError
    assert {type(error) for error in caught.value.exceptions} == {
        KeyError,
        RestartLimitReached,
    }


# -- The end ---------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["cancel", "error", "cancelled"])
async def test_all_are_stopped_in_reverse_order(
    start_method: str, tape: Tape, end: str
) -> None:
    """Each is asked when the one that was started after it is gone."""
    with raises(KeyError) if end == "error" else trio.CancelScope() as scope:
        # Those that come later get what the earlier ones left of it.
        graces = tractor.Graces(ack=SAFETY / 8, cancel=SAFETY / 2)
        async with supervising(start_method, graces) as supervisor:
            portals = await start_all(supervisor, "abc")
            tape.events.clear()
            if end == "error":
                raise KeyError
            if isinstance(scope, trio.CancelScope) and end == "cancelled":
                scope.cancel()
                await trio.sleep_forever()
            await supervisor.cancel()
            assert all(map(is_gone, portals.values()))
    assert [e for e in tape.events if e.split()[0] in {"rung", "exit"}] == [
        f"{what} {name}" for name in "cba" for what in ("rung cancel", "exit")
    ]


async def test_uncooperative_children_have_one_bound(
    start_method: str, traits: Traits, bell: Bell
) -> None:
    """However many there are, all are gone within that of one ladder."""
    worst = mis.ignores_everything if traits.main_thread else mis.loops
    with trio.fail_after(SAFETY):
        async with (
            tractor.open_root_actor(start_method=start_method),
            tractor.open_supervisor() as supervisor,
        ):
            for name in "abc":
                await supervisor.run_in_actor(worst, name=name, bell=bell.path)
                await bell.heard()
            with within(T_DOWN, slack=1):
                await supervisor.cancel()


async def test_the_block_ends_when_no_child_is_left(start_method: str) -> None:
    """Leaving it waits for those that run, and an empty one ends at once."""
    async with supervising(start_method) as supervisor:
        portal = await supervisor.start_actor("a", restart="transient")
        assert await portal.cancel_actor()
    assert is_gone(portal)
    with pytest.raises(KeyError):
        await supervisor.portal("a")
    with pytest.raises(RuntimeError, match="this supervisor was stopped"):
        await supervisor.start_actor("b")


async def test_cancelling_in_the_wait_before_a_restart(
    start_method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does not wait for that restart; nor does whoever asked for the portal."""
    monkeypatch.setattr(_restarts, "FIRST_BACKOFF", 3600)
    monkeypatch.setattr(_restarts, "MAX_BACKOFF", 3600)

    async def ask() -> None:
        with pytest.raises(KeyError):
            await supervisor.portal("a")

    async with supervising(start_method) as supervisor:
        await die(await supervisor.start_actor("a", enable_modules=MODULES))
        await die(await supervisor.portal("a"))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await wait_all_tasks_blocked()
            with within(T_DETECT):
                await supervisor.cancel()


async def test_cancelling_in_the_middle_of_a_restart(start_method: str) -> None:
    """What boots is stopped, too."""
    with faults.hold_at("import") as held:
        async with supervising(start_method) as supervisor:
            held.release()
            portal = await supervisor.start_actor("a", **held.options)
            held.hold()
            strike(portal)
            booting = await held.wait_reached()
            assert not infos(supervisor)["a"].up
            await supervisor.cancel()
            assert is_gone(tractor.Aid("a", "", booting))


async def test_a_runtime_that_ends_around_a_supervisor(start_method: str) -> None:
    """Its children are stopped with it, it says so, and nobody hangs."""
    ready = trio.Event()
    portals: list[tractor.Portal] = []

    async def supervise() -> None:
        with raises(tractor.RuntimeFailure, match="leave its block before"):
            async with tractor.open_supervisor() as supervisor:
                portals.append(await supervisor.start_actor("a"))
                ready.set()

    with trio.fail_after(SAFETY):
        async with (
            trio.open_nursery() as nursery,
            tractor.open_root_actor(start_method=start_method),
        ):
            nursery.start_soon(supervise)
            await ready.wait()
    assert all(map(is_gone, portals))


# -- Starting --------------------------------------------------------------------------


async def test_a_first_start_that_fails_is_not_supervised(
    start_method: str, faulty: Path
) -> None:
    """It raises at the call, and its name is free again."""
    async with supervising(start_method) as supervisor:
        faulty.with_name("broken").touch()
        with pytest.raises(SpawnError, match="broken"):
            await supervisor.start_actor("a", enable_modules=["faulty"])
        with pytest.raises(TypeError):
            await supervisor.run_in_actor(len)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="restart is one of"):
            await supervisor.start_actor("a", restart="never")  # type: ignore[arg-type]
        assert supervisor.children() == []
        faulty.with_name("broken").unlink()
        await supervisor.start_actor("a", enable_modules=["faulty"])
        with pytest.raises(ValueError, match="has a child 'a' already"):
            await supervisor.start_actor("a")
        await supervisor.cancel()


async def test_a_start_that_is_cancelled(start_method: str) -> None:
    """Nothing is left of it, and the supervisor goes on."""
    with faults.hold_at("import") as held:
        async with supervising(start_method) as supervisor:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(partial(supervisor.start_actor, "a", **held.options))
                booting = await held.wait_reached()
                nursery.cancel_scope.cancel()
            assert is_gone(tractor.Aid("a", "", booting))
            held.release()
            await supervisor.start_actor("a", **held.options)
            await supervisor.cancel()


async def test_a_portal_to_one_that_is_being_started(start_method: str) -> None:
    """Whoever asks for it by name gets it as soon as it is up."""
    got: list[tractor.Portal] = []

    async def ask() -> None:
        got.append(await supervisor.portal("a"))

    with faults.hold_at("import") as held:
        async with supervising(start_method) as supervisor:
            async with trio.open_nursery() as nursery:
                start = partial(supervisor.start_actor, "a", **held.options)
                nursery.start_soon(start)
                await held.wait_reached()
                nursery.start_soon(ask)
                await wait_all_tasks_blocked()
                held.release()
            assert [portal.aid for portal in got] == [infos(supervisor)["a"].aid]
            await supervisor.cancel()


async def test_children_are_started_in_the_context_of_the_supervisor(
    start_method: str,
) -> None:
    """What was chosen around its block holds for each start, by whoever and when."""
    with use_backend(FakeBackend()):
        async with supervising(start_method) as supervisor:
            portal = await supervisor.start_actor("x", start_method="fake")
            with events("ready") as ready:
                await portal.cancel_actor()
                assert (await restarted(supervisor, "x")).aid == ready[0].aid
            await supervisor.cancel()


async def test_cancelling_while_a_child_is_being_started(start_method: str) -> None:
    """The start fails, and says why."""

    async def start(options: dict[str, Any]) -> None:
        with pytest.raises(RuntimeError, match="stopped before 'a' was up"):
            await supervisor.start_actor("a", **options)

    with faults.hold_at("import") as held:
        async with (
            supervising(start_method) as supervisor,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(start, held.options)
            await held.wait_reached()
            await supervisor.cancel()


async def test_a_child_in_its_first_start_is_let_be(start_method: str) -> None:
    """A failure of another one does not concern it, whatever the strategy."""
    with faults.hold_at("import") as held:
        async with supervising(start_method, strategy="one_for_all") as supervisor:
            first = await supervisor.start_actor("a", enable_modules=MODULES)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(
                    partial(supervisor.start_actor, "late", **held.options)
                )
                await held.wait_reached()
                await die(first)
                await restarted(supervisor, "a")
                held.release()
            late = infos(supervisor)["late"]
            assert (late.up, late.restarts) == (True, 0)
            await supervisor.cancel()


@pytest.mark.parametrize(
    "options", [{"max_restarts": -1}, {"period": 0}, {"strategy": "one_for_none"}]
)
async def test_wrong_options_are_refused(
    start_method: str, options: dict[str, Any]
) -> None:
    """At the call, before anything is started."""
    async with tractor.open_root_actor(start_method=start_method):
        with pytest.raises(ValueError, match=r"strategy is one of|max_restarts ≥ 0"):
            tractor.open_supervisor(**options)
    with pytest.raises(tractor.NoRuntime):
        tractor.open_supervisor()


# -- Below -----------------------------------------------------------------------------


async def test_a_supervisor_in_an_actor(
    start_method: str, traits: Traits, bell: Bell, tmp_path: Path
) -> None:
    """It does the same there, and ends with its actor."""
    gate = str(tmp_path / "gate")
    os.mkfifo(gate)
    with trio.fail_after(SAFETY):
        async with tractor.open_nursery(start_method=start_method) as an:
            await an.run_in_actor(supervise_mortals, gate=gate, bell=bell.path)
            first = int(await bell.heard())
            await trio.to_thread.run_sync(lambda: open(gate, "w").close())
            second = int(await bell.heard())
            assert (first != second) is traits.own_process
            with within(T_DOWN, slack=1):
                await an.cancel()
            assert an.cancelled_caught
            assert is_gone(tractor.Aid("dies_at_gate", "", second))


async def test_giving_up_in_an_actor_is_an_error_of_it(start_method: str) -> None:
    """It climbs the tree like any other."""
    with raises(RemoteActorError, match="more than 3 restarts") as caught:
        async with tractor.open_nursery(start_method=start_method) as an:
            await an.run_in_actor(do.supervises, bell="")
    assert caught.value.boxed_type is RestartLimitReached

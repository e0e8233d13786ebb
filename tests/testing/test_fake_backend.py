"""Nurseries over scripted children: exact times, on a virtual clock."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest
import trio
from trio.testing import MockClock

import tractor
from tests._helpers import raises
from tractor import ActorAbandoned, ActorDied, ExitStatus, SpawnError, SpawnTimeout
from tractor._types import Graces
from tractor.runtime._spawned import SETTLE
from tractor.spawn import SpawnBackend, Traits, available_backends, use_backend
from tractor.testing import ActorScript, FakeBackend

GRACES = Graces(ack=0.5, cancel=1.5, terminate=0.25, kill=1.0)
BOOT_TIMEOUT = 20.0

STUBBORN = ActorScript(on_ask=None, on_kill=0.0)
DEAF = ActorScript(on_ask=None, acks=None, on_kill=0.0)


async def answer() -> None:
    """Stands for what is called; no child runs it."""


@contextmanager
def takes(seconds: float) -> Iterator[None]:
    """The block takes exactly that long."""
    began = trio.current_time()
    yield
    assert trio.current_time() - began == pytest.approx(seconds, abs=1e-9)


@asynccontextmanager
async def nursery_over(
    scripts: dict[str, ActorScript], *, traits: Traits | None = None
) -> AsyncIterator[tuple[tractor.ActorNursery, FakeBackend]]:
    """A nursery whose children behave like that."""
    backend = FakeBackend(scripts, traits=traits)
    with use_backend(backend):
        async with tractor.open_nursery(
            start_method="fake", graces=GRACES, boot_timeout=BOOT_TIMEOUT
        ) as an:
            yield an, backend


def calls(backend: FakeBackend, name: str = "x") -> list[str]:
    """What its handle was told, and its link."""
    return [call for call, _ in backend.children[name].calls]


def test_it_is_a_backend_that_nobody_lists() -> None:
    """It can stand wherever a backend can, and is found only where it is in use."""
    backend: SpawnBackend = FakeBackend()
    assert backend.key not in available_backends()
    with use_backend(backend):
        assert tractor.spawn.get_backend("fake") is backend
    with pytest.raises(ValueError, match="unknown spawn backend 'fake'"):
        tractor.spawn.get_backend("fake")


# -- Booting ---------------------------------------------------------------------------


async def test_a_start_takes_until_ready(autojump_clock: MockClock) -> None:
    """`start_actor` returns when the child says that it is ready."""
    async with nursery_over({"x": ActorScript(starts=1, ready=2)}) as (an, backend):
        with takes(3):
            portal = await an.start_actor("x", enable_modules=["wave"])
        assert portal.aid.name == "x"
        spec = backend.children["x"].received[0]
        assert isinstance(spec, tractor.msg.types.SpawnSpec)
        assert spec.enable_modules == ["wave"]
        await an.cancel()


async def test_children_boot_side_by_side(autojump_clock: MockClock) -> None:
    """Those started at once are waited for at once."""
    async with nursery_over({n: ActorScript(ready=2) for n in "abc"}) as (an, _):
        with takes(2):
            async with trio.open_nursery() as nursery:
                for name in "abc":
                    nursery.start_soon(an.start_actor, name)
        await an.cancel()


async def test_one_that_is_never_ready(autojump_clock: MockClock) -> None:
    """`boot_timeout` is exact; then the child is stopped, and nobody asks it."""
    script = ActorScript(ready=None, on_kill=0.0)
    async with nursery_over({"x": script}) as (an, backend):
        seconds = BOOT_TIMEOUT + GRACES.terminate
        with takes(seconds), pytest.raises(SpawnTimeout) as caught:
            await an.start_actor("x")
        assert calls(backend) == ["terminate", "kill"]
        assert caught.value.stage == "import"
        assert not an.cancel_called


async def test_one_that_reports_why_not(autojump_clock: MockClock) -> None:
    """A `BootError` is raised with its cause, as soon as the child is gone."""
    script = ActorScript(ready=2, boot_error=KeyError("why"))
    async with nursery_over({"x": script}) as (an, backend):
        with takes(2), pytest.raises(SpawnError, match="why") as caught:
            await an.start_actor("x")
        assert caught.value.status == ExitStatus(exit_code=1)
        cause = caught.value.__cause__
        assert isinstance(cause, tractor.RemoteActorError)
        assert cause.boxed_type is KeyError
        assert calls(backend) == []


async def test_one_that_dies_before_it_is_ready(autojump_clock: MockClock) -> None:
    """A death at boot is known at once, with its status."""
    script = ActorScript(ready=None, after=3, status=ExitStatus(signal=11))
    async with nursery_over({"x": script}) as (an, _):
        with takes(3), pytest.raises(SpawnError, match="SIGSEGV") as caught:
            await an.start_actor("x")
        assert caught.value.stage == "import"


async def test_one_that_cannot_be_started(autojump_clock: MockClock) -> None:
    """What the backend raises is the cause of a `SpawnError`."""
    script = ActorScript(starts=1, start_error=OSError("no more processes"))
    async with nursery_over({"x": script}) as (an, backend):
        with takes(1), pytest.raises(SpawnError, match="no more processes") as caught:
            await an.start_actor("x")
        assert caught.value.stage == "start"
        assert backend.children == {}


async def test_a_start_that_is_cancelled(autojump_clock: MockClock) -> None:
    """The child is stopped before the cancellation goes on."""
    script = ActorScript(ready=None, on_terminate=0.125)
    async with nursery_over({"x": script}) as (an, backend):
        with takes(1.125), trio.move_on_after(1):
            await an.start_actor("x")
        assert calls(backend) == ["terminate"]
        assert not an.cancel_called


# -- Ending ----------------------------------------------------------------------------

ABANDONED = ActorScript(on_ask=None, acks=None)
LADDERS: list[tuple[ActorScript, float, list[str]]] = [
    (ActorScript(), 0, ["ask"]),
    (ActorScript(on_ask=1.25), 1.25, ["ask"]),
    (ActorScript(on_ask=None, on_terminate=0.125), 1.625, ["ask", "terminate"]),
    (ActorScript(on_ask=None, acks=None, on_terminate=0), 0.5, ["ask", "terminate"]),
    (DEAF, 0.75, ["ask", "terminate", "kill"]),
    (STUBBORN, 1.75, ["ask", "terminate", "kill"]),
]


@pytest.mark.parametrize(("script", "seconds", "told"), LADDERS)
async def test_each_rung_in_its_time(
    script: ActorScript, seconds: float, told: list[str], autojump_clock: MockClock
) -> None:
    """A nursery takes as long for a child as the ladder does, to the moment."""
    async with nursery_over({"x": script}) as (an, backend):
        await an.start_actor("x")
        with takes(seconds):
            await an.cancel()
        assert calls(backend) == told
        assert an.cancelled_caught is (told == ["ask"])
        assert set(backend.children["x"].asked) <= {GRACES.cancel}


async def test_what_cannot_be_killed_is_abandoned(autojump_clock: MockClock) -> None:
    """Past the last rung the nursery goes on, and says so."""
    with raises(ActorAbandoned, match="'x"), takes(1.75):
        async with nursery_over({"x": ABANDONED}) as (an, backend):
            await an.start_actor("x")
            await an.cancel()
    assert calls(backend) == ["ask", "terminate", "kill"]


async def test_nothing_is_killed_where_nothing_can(autojump_clock: MockClock) -> None:
    """A rung that the traits lack is passed over."""
    traits = Traits(
        can_kill=False,
        own_process=False,
        own_gil=False,
        inherits_fds=False,
        main_thread=False,
    )
    with raises(ActorAbandoned), takes(0.75):
        async with nursery_over({"x": ABANDONED}, traits=traits) as (an, backend):
            await an.start_actor("x")
            await an.cancel()
    assert calls(backend) == ["ask", "terminate"]


async def test_many_are_stopped_in_one_bound(autojump_clock: MockClock) -> None:
    """Children that all need the last rung are stopped at the same time."""
    names = [f"kid {number}" for number in range(25)]
    async with nursery_over(dict.fromkeys(names, STUBBORN)) as (an, _):
        for name in names:
            await an.start_actor(name)
        with takes(1.75):
            await an.cancel()


async def test_a_death_is_news_at_once(autojump_clock: MockClock) -> None:
    """The nursery raises it, and stops the others first."""
    scripts = {
        "victim": ActorScript(after=2, status=ExitStatus(signal=9)),
        "sibling": ActorScript(on_ask=1),
    }
    with raises(ActorDied, match="SIGKILL"), takes(3):
        async with nursery_over(scripts) as (an, backend):
            await an.start_actor("victim")
            await an.start_actor("sibling")
    assert calls(backend, "victim") == []
    assert calls(backend, "sibling") == ["ask"]


async def test_a_death_ends_every_call(autojump_clock: MockClock) -> None:
    """Who waits for an answer of the dead is told when it dies."""
    script = ActorScript(after=2, status=ExitStatus(exit_code=7))
    with raises(ActorDied, match="exit code 7"), takes(2):
        async with nursery_over({"x": script}) as (an, _):
            portal = await an.start_actor("x", enable_modules=[__name__])
            await portal.run(answer)


async def test_a_child_without_a_link_is_stopped(autojump_clock: MockClock) -> None:
    """It gets the moment that a death may take to show, and nobody asks it."""
    script = ActorScript(linked=False, on_terminate=0.125)
    with raises(ActorDied, match="link closed"), takes(SETTLE + 0.125):
        async with nursery_over({"x": script}) as (an, backend):
            await an.start_actor("x")
            await trio.sleep_forever()
    assert calls(backend) == ["terminate"]


async def test_an_actor_ends_after_its_task(autojump_clock: MockClock) -> None:
    """`run_in_actor` asks the actor to stop when it has the result."""
    scripts = {"answer": ActorScript(answers=2, on_ask=1)}
    with takes(3):
        async with nursery_over(scripts) as (an, backend):
            portal = await an.run_in_actor(answer)
            with takes(2):
                assert await portal.wait_for_result() is None
    assert calls(backend, "answer") == ["ask"]


async def test_it_remembers_options(autojump_clock: MockClock) -> None:
    """What the caller gave for the mechanism underneath can be looked at."""
    options: dict[str, Any] = {"colour": "blue"}
    async with nursery_over({}) as (an, backend):
        await an.start_actor("x", proc_kwargs=options)
        assert backend.children["x"].options == options
        await an.cancel()


async def test_a_start_that_is_stuck(autojump_clock: MockClock) -> None:
    """The backend's part counts against `boot_timeout`, too."""
    async with nursery_over({"x": ActorScript(starts=1000)}) as (an, _):
        with takes(BOOT_TIMEOUT), pytest.raises(SpawnTimeout) as caught:
            await an.start_actor("x")
        assert caught.value.stage == "start"
        assert not an.cancel_called


async def test_a_stuck_start_can_be_stopped(autojump_clock: MockClock) -> None:
    """Cancelling the caller, or the nursery, ends it at once."""
    async with nursery_over({"x": ActorScript(starts=1000)}) as (an, _):
        with takes(1), trio.move_on_after(1):
            await an.start_actor("x")

        async def start() -> None:
            with pytest.raises(SpawnError, match="was stopped in its stage 'start'"):
                await an.start_actor("x")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(start)
            await trio.sleep(1)
            with takes(0):
                await an.cancel()

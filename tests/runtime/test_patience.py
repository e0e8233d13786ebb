"""Lost patience: what is being stopped goes at once, by what its backend can do."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import tractor
from tractor import ExitStatus
from tractor.spawn import Traits, use_backend
from tractor.testing import ActorScript, FakeActor, FakeBackend

STUBBORN = ActorScript(on_ask=None, on_kill=0.0)


@pytest.fixture(params=["kill", "interrupt"])
def last_resort(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """What ends a child that does not want to; only one of the two works."""

    def interrupt(child: FakeActor) -> None:
        child._note("interrupt")
        child.die(ExitStatus())

    monkeypatch.setattr(FakeActor, "interrupt", interrupt, raising=False)
    return str(request.param)


@asynccontextmanager
async def stubborn(
    last_resort: str,
) -> AsyncIterator[tuple[tractor.ActorNursery, FakeBackend]]:
    """A nursery with one actor that does not stop when it is asked to."""
    traits = Traits(
        can_kill=last_resort == "kill",
        can_interrupt=last_resort == "interrupt",
        own_process=False,
        own_gil=False,
        inherits_fds=False,
        main_thread=False,
    )
    backend = FakeBackend({"x": STUBBORN}, traits=traits)
    with use_backend(backend):
        async with tractor.open_nursery(start_method="fake") as an:
            await an.start_actor("x")
            yield an, backend


async def test_what_is_being_stopped_goes_at_once(
    autojump_clock: MockClock, last_resort: str
) -> None:
    """The ladder is not waited for."""
    async with stubborn(last_resort) as (an, backend), trio.open_nursery() as nursery:
        nursery.start_soon(an.cancel)
        await wait_all_tasks_blocked()
        tractor.current_actor().lose_patience()
        began = trio.current_time()
        await an.cancel()
        assert trio.current_time() == began
    assert backend.children["x"].calls[-1][0] == last_resort


async def test_what_is_to_stop_soon_goes_at_once(
    autojump_clock: MockClock, last_resort: str
) -> None:
    """The last rung is the first that is waited for."""
    async with stubborn(last_resort) as (an, backend):
        tractor.current_actor().lose_patience()
        began = trio.current_time()
        await an.cancel()
        assert trio.current_time() == began
    assert last_resort in [call for call, _ in backend.children["x"].calls]

"""The kill ladder: its table, and its driver under a virtual clock."""

import itertools
import signal

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from trio.testing import MockClock, wait_all_tasks_blocked

from tractor._types import ExitReport, ExitStatus, Graces, Rung
from tractor.spawn import Child, Traits, stop_child
from tractor.spawn._escalation import OUTCOME, Ask, Step, plan
from tractor.testing._fakes import FakeChild, Script

PROCESS = Traits(
    can_kill=True, own_process=True, own_gil=True, inherits_fds=True, main_thread=True
)
THREAD = Traits(
    can_kill=False,
    own_process=False,
    own_gil=True,
    inherits_fds=False,
    main_thread=False,
)
GRACES = Graces(ack=0.5, cancel=1.5, terminate=0.25, kill=1.0)
NONE = Graces(ack=0, cancel=0, terminate=0, kill=0)

SIGTERMED = ExitStatus(signal=signal.SIGTERM)
SIGKILLED = ExitStatus(signal=signal.SIGKILL)
CLEAN = ExitStatus(exit_code=0)


async def stop(
    child: FakeChild, traits: Traits = PROCESS, graces: Graces = GRACES
) -> ExitReport:
    return await stop_child(child, traits, graces, ask=child.ask)


# -- The table -------------------------------------------------------------------------


@pytest.mark.parametrize("graces", [GRACES, NONE, Graces()])
@pytest.mark.parametrize(
    ("can_kill", "can_ask", "rungs"),
    [
        (True, True, ["cancel", "terminate", "kill", "abandon"]),
        (True, False, ["terminate", "kill", "abandon"]),
        (False, True, ["cancel", "terminate", "abandon"]),
        (False, False, ["terminate", "abandon"]),
    ],
)
@pytest.mark.parametrize("rest", list(itertools.product([True, False], repeat=4)))
def test_plan_has_the_possible_rungs_in_order(
    can_kill: bool,
    can_ask: bool,
    rungs: list[Rung],
    rest: tuple[bool, bool, bool, bool],
    graces: Graces,
) -> None:
    """Each possible rung comes once, with its grace; no other trait matters."""
    traits = Traits(
        can_kill=can_kill,
        own_process=rest[0],
        own_gil=rest[1],
        inherits_fds=rest[2],
        main_thread=rest[3],
    )
    granted = {
        "cancel": graces.cancel,
        "terminate": graces.terminate,
        "kill": graces.kill,
        "abandon": 0.0,
    }
    expected = tuple(Step(rung, granted[rung]) for rung in rungs)
    assert plan(traits, graces, can_ask=can_ask) == expected


def test_no_plan_exceeds_the_bound() -> None:
    """The graces of a plan add up to the bound if no rung is skipped."""
    assert sum(step.grace for step in plan(PROCESS, GRACES, can_ask=True)) == 2.75
    assert GRACES.bound == 2.75


def test_every_rung_has_an_outcome() -> None:
    """The table of outcomes covers whatever a plan can hold."""
    hosted = replace(PROCESS, can_kill=False, can_interrupt=True)
    plans = [plan(traits, GRACES, can_ask=True) for traits in (PROCESS, hosted)]
    assert {step.rung for steps in plans for step in steps} == set(OUTCOME)


# -- A death on each rung --------------------------------------------------------------


async def test_cancel_suffices(autojump_clock: MockClock) -> None:
    """A child that ends when asked sees nothing but the request."""
    child = FakeChild(Script(on_ask=0.75))
    report = await stop(child)
    assert report == ExitReport("cancelled", "cancel", 0.75, CLEAN)
    assert child.calls == [("ask", 0.0)]
    assert child.asked == [1.5]
    assert trio.current_time() == 0.75


async def test_terminate_follows_the_whole_of_cancel(autojump_clock: MockClock) -> None:
    """After an acknowledgement the whole grace is waited for."""
    child = FakeChild(Script(acks=0.25, on_terminate=0.125))
    report = await stop(child)
    assert report == ExitReport("terminated", "terminate", 1.625, SIGTERMED)
    assert child.calls == [("ask", 0.0), ("terminate", 1.5)]


async def test_kill_follows_terminate(autojump_clock: MockClock) -> None:
    """A child that ignores all requests is killed."""
    child = FakeChild(Script(on_kill=0.5))
    report = await stop(child)
    assert report == ExitReport("killed", "kill", 2.25, SIGKILLED)
    assert child.calls == [("ask", 0.0), ("terminate", 1.5), ("kill", 1.75)]


async def test_the_unkillable_is_abandoned_at_the_bound(
    autojump_clock: MockClock,
) -> None:
    """Without a death notice the report says so after exactly `bound` seconds."""
    child = FakeChild()
    report = await stop(child)
    assert report == ExitReport("abandoned", "abandon", 2.75, None)
    assert child.calls == [("ask", 0.0), ("terminate", 1.5), ("kill", 1.75)]
    assert trio.current_time() == GRACES.bound


async def test_kill_is_never_called_without_its_trait(
    autojump_clock: MockClock,
) -> None:
    """What the backend cannot kill is abandoned after `terminate`."""
    child = FakeChild(Script(on_kill=0.0))
    report = await stop(child, THREAD)
    assert report == ExitReport("abandoned", "abandon", 1.75, None)
    assert child.calls == [("ask", 0.0), ("terminate", 1.5)]


async def test_without_a_link_terminate_comes_first(autojump_clock: MockClock) -> None:
    """With nobody to ask, no time is spent on asking."""
    child = FakeChild(Script(on_terminate=0.125))
    report = await stop_child(child, PROCESS, GRACES, ask=None)
    assert report == ExitReport("terminated", "terminate", 0.125, SIGTERMED)
    assert child.calls == [("terminate", 0.0)]


async def test_a_death_by_itself_ends_any_rung(autojump_clock: MockClock) -> None:
    """A death in the middle of a grace ends the ladder at that moment."""
    child = FakeChild(Script(after=1.625, status=ExitStatus(exit_code=3)))
    report = await stop(child)
    assert report == ExitReport(
        "terminated", "terminate", 1.625, ExitStatus(exit_code=3)
    )
    assert trio.current_time() == 1.625


# -- The cancel request ----------------------------------------------------------------


async def test_a_hanging_request_costs_the_window_only(
    autojump_clock: MockClock,
) -> None:
    """Without an acknowledgement the rest of `cancel` is not waited for."""
    child = FakeChild(Script(acks=None, on_terminate=0.0))
    report = await stop(child)
    assert report == ExitReport("terminated", "terminate", 0.5, SIGTERMED)
    assert child.calls == [("ask", 0.0), ("terminate", 0.5)]


async def test_a_lost_link_leaves_the_window_to_die_in(
    autojump_clock: MockClock,
) -> None:
    """A child whose link is gone keeps its own exit status if it dies soon."""
    child = FakeChild(Script(linked=False, after=0.375, status=ExitStatus(exit_code=7)))
    report = await stop(child)
    assert report == ExitReport("cancelled", "cancel", 0.375, ExitStatus(exit_code=7))
    assert child.calls == [("ask", 0.0)]


async def test_a_lost_link_costs_the_window_only(autojump_clock: MockClock) -> None:
    """`False` is no acknowledgement: `terminate` comes at the window's end."""
    child = FakeChild(Script(linked=False, on_terminate=0.0))
    report = await stop(child)
    assert report == ExitReport("terminated", "terminate", 0.5, SIGTERMED)
    assert child.calls == [("ask", 0.0), ("terminate", 0.5)]


@pytest.mark.parametrize(
    "error", [OSError("broken"), ValueError(), ExceptionGroup("two", [OSError()])]
)
async def test_a_failing_request_costs_the_window_only(
    error: Exception, autojump_clock: MockClock
) -> None:
    """An error of the request is no acknowledgement, and goes no further."""

    async def ask(seconds: float) -> bool:
        raise error

    child = FakeChild(Script(on_terminate=0.0))
    report = await stop_child(child, PROCESS, GRACES, ask=ask)
    assert report == ExitReport("terminated", "terminate", 0.5, SIGTERMED)


async def test_a_late_acknowledgement_is_none(autojump_clock: MockClock) -> None:
    """The request is cancelled at the end of its window."""
    child = FakeChild(Script(acks=0.75, on_terminate=0.0))
    assert (await stop(child)).seconds == 0.5


async def test_the_window_never_exceeds_the_grace(autojump_clock: MockClock) -> None:
    """`ack` is a part of `cancel`, even where it is the larger number."""
    child = FakeChild(Script(acks=None, on_terminate=0.0))
    graces = Graces(ack=4, cancel=1, terminate=1, kill=1)
    assert (await stop(child, graces=graces)).seconds == 1.0


async def test_death_cancels_a_hanging_request(autojump_clock: MockClock) -> None:
    """The request does not outlive the child."""
    child = FakeChild(Script(acks=None, on_ask=0.25))
    assert await stop(child) == ExitReport("cancelled", "cancel", 0.25, CLEAN)
    assert trio.current_time() == 0.25


# -- Before the first rung, and zero graces --------------------------------------------


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (CLEAN, "returned"),
        (ExitStatus(), "returned"),
        (ExitStatus(exit_code=1), "raised"),
        (ExitStatus(signal=11), "raised"),
    ],
)
async def test_the_dead_are_left_alone(
    status: ExitStatus, outcome: str, autojump_clock: MockClock
) -> None:
    """A child that was dead before is reported by its status, and nothing is called."""
    child = FakeChild(Script(after=0.0, status=status))
    report = await stop(child)
    assert (report.outcome, report.rung) == (outcome, "cancel")
    assert (report.seconds, report.status) == (0.0, status)
    assert child.calls == []


async def test_zero_graces_take_every_action_at_once(autojump_clock: MockClock) -> None:
    """A grace of 0 skips the wait and not the action."""
    child = FakeChild()
    report = await stop(child, graces=NONE)
    assert report == ExitReport("abandoned", "abandon", 0.0, None)
    assert child.calls == [("ask", 0.0), ("terminate", 0.0), ("kill", 0.0)]
    assert child.asked == [0.0]


async def test_zero_graces_still_look_before_giving_up(
    autojump_clock: MockClock,
) -> None:
    """A death notice that is there already is believed, however short the grace."""
    report = await stop(FakeChild(Script(on_kill=0.0)), graces=NONE)
    assert report == ExitReport("killed", "kill", 0.0, SIGKILLED)


# -- What must not break it ------------------------------------------------------------


async def test_a_cancelled_caller_waits_for_the_ladder(
    autojump_clock: MockClock,
) -> None:
    """Cancellation from outside neither stops nor shortens the ladder."""
    report = None
    with trio.move_on_after(0.25) as scope:
        report = await stop(FakeChild(Script(on_kill=0.5)))
        await trio.lowlevel.checkpoint()
    assert report == ExitReport("killed", "kill", 2.25, SIGKILLED)
    assert scope.cancelled_caught
    assert trio.current_time() == 2.25


def test_ctrl_c_is_delivered_after_the_ladder() -> None:
    """Ctrl-C on the ladder does not leave the child alive."""
    child: FakeChild | None = None

    def interrupt(rung: Rung, grace: float) -> None:
        if rung == "cancel":
            signal.raise_signal(signal.SIGINT)

    async def main() -> None:
        nonlocal child
        child = FakeChild(Script(on_kill=0.5))
        await stop_child(child, PROCESS, GRACES, ask=child.ask, on_rung=interrupt)

    with pytest.RaisesGroup(KeyboardInterrupt):
        trio.run(main, clock=MockClock(autojump_threshold=0))
    assert child is not None
    assert child.calls == [("ask", 0.0), ("terminate", 1.5), ("kill", 1.75)]


class FailingChild(FakeChild):
    """Its backend fails to act."""

    def terminate(self) -> None:
        super().terminate()
        raise PermissionError

    def kill(self) -> None:
        super().kill()
        raise OSError


async def test_failing_actions_do_not_break_it(autojump_clock: MockClock) -> None:
    """An action that raises is logged, and its grace waited for all the same."""
    child = FailingChild(Script(on_kill=0.5))
    assert await stop(child) == ExitReport("killed", "kill", 2.25, SIGKILLED)


class DeafChild(FakeChild):
    """Its backend cannot tell its death."""

    async def wait(self) -> ExitStatus:
        raise OSError


async def test_a_failing_wait_ends_in_abandonment(autojump_clock: MockClock) -> None:
    """Without a death notice nothing is believed, but every rung is tried."""
    child = DeafChild(Script(on_ask=0.0))
    report = await stop(child)
    assert report == ExitReport("abandoned", "abandon", 2.75, None)
    assert [call for call, _ in child.calls] == ["ask", "terminate", "kill"]


async def test_rungs_are_told_when_taken(autojump_clock: MockClock) -> None:
    """`on_rung` hears of each rung with its grace, at its time."""
    told: list[tuple[Rung, float, float]] = []
    child = FakeChild()
    await stop_child(
        child,
        PROCESS,
        GRACES,
        ask=child.ask,
        on_rung=lambda rung, grace: told.append((rung, grace, trio.current_time())),
    )
    assert told == [
        ("cancel", 1.5, 0.0),
        ("terminate", 0.25, 1.5),
        ("kill", 1.0, 1.75),
        ("abandon", 0.0, 2.75),
    ]


async def test_ladders_run_side_by_side(autojump_clock: MockClock) -> None:
    """Many ladders take as long as one."""
    async with trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(stop, FakeChild(Script(on_kill=1.0)))
    assert trio.current_time() == GRACES.bound


async def test_nothing_is_left_behind(autojump_clock: MockClock) -> None:
    """No task and no timer outlives the ladder."""
    before = trio.lowlevel.current_statistics()
    await stop(FakeChild(Script(acks=None, on_terminate=0.125)))
    after = trio.lowlevel.current_statistics()
    assert after.tasks_living == before.tasks_living
    assert after.seconds_to_next_deadline == before.seconds_to_next_deadline


# -- Any script ------------------------------------------------------------------------

# Sixteenths are exact in binary, so that sums of them can be compared.
seconds = st.integers(0, 64).map(lambda n: n / 16)
maybe_seconds = st.none() | seconds
scripts = st.builds(
    Script,
    after=maybe_seconds,
    on_ask=maybe_seconds,
    on_terminate=maybe_seconds,
    on_kill=maybe_seconds,
    acks=maybe_seconds,
    linked=st.booleans(),
)
all_graces = st.builds(
    Graces, ack=seconds, cancel=seconds, terminate=seconds, kill=seconds
)


@given(
    script=scripts,
    graces=all_graces,
    traits=st.sampled_from([PROCESS, THREAD]),
    can_ask=st.booleans(),
    cancelled_after=maybe_seconds,
)
def test_any_script_ends_within_the_bound(
    script: Script,
    graces: Graces,
    traits: Traits,
    can_ask: bool,
    cancelled_after: float | None,
) -> None:
    """Whatever a child does: bounded time, rungs in order, an outcome that is true."""
    rungs: list[Rung] = []

    async def main() -> tuple[FakeChild, ExitReport, float]:
        child = FakeChild(script)
        ask = child.ask if can_ask else None
        with trio.CancelScope() as scope:
            if cancelled_after is not None:
                scope.deadline = cancelled_after
            report = await stop_child(
                child, traits, graces, ask=ask, on_rung=lambda r, _: rungs.append(r)
            )
        return child, report, trio.current_time()

    child, report, now = trio.run(main, clock=MockClock(autojump_threshold=0))
    planned = [step.rung for step in plan(traits, graces, can_ask=can_ask)]
    actions = {"cancel": "ask", "terminate": "terminate", "kill": "kill"}

    assert report.seconds == now <= graces.bound
    assert rungs == planned[: len(rungs)]
    assert [call for call, _ in child.calls] == [
        actions[rung] for rung in rungs if rung != "abandon"
    ]
    assert (report.status is None) == (report.outcome == "abandoned")
    if rungs:
        assert report.rung == rungs[-1]
        assert report.outcome == OUTCOME[report.rung]
    else:
        assert report.outcome in {"returned", "raised"}
    assert all(0 <= at <= report.seconds for _, at in child.calls)


def test_the_fake_is_a_child() -> None:
    """`FakeChild` meets the protocol, for the type checker too."""

    async def main() -> None:
        child: Child = FakeChild(pid=7)
        ask: Ask = FakeChild().ask
        assert child.pid == 7
        assert child.stderr_tail() == ""
        assert callable(ask)

    trio.run(main)


async def test_a_fake_can_be_made_to_die(autojump_clock: MockClock) -> None:
    """`die` wakes every waiter at once, with its status."""
    child = FakeChild()
    seen: list[ExitStatus] = []

    async def wait() -> None:
        seen.append(await child.wait())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        nursery.start_soon(wait)
        await wait_all_tasks_blocked()
        child.die(ExitStatus(exit_code=9))
    assert seen == [ExitStatus(exit_code=9)] * 2
    assert trio.current_time() == 0.0

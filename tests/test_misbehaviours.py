"""The contract of misbehaviour: what an actor does, and what comes of it on each host.

A table for each moment: at its end, in a call, at boot. Rows are of `_misbehaviours`;
what a row expects depends on traits of the spawn backend, and never on its key.

As a program, ``python -m tests.test_misbehaviours BACKEND NAME [cannot-kill]``, it is
one cell of the first table: an actor that is abandoned is better not in the process
that runs the tests.
"""

import signal
import sys
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import pytest
import trio
from msgspec.structs import replace

import tractor
from tests import _misbehaviours as mis
from tests._helpers import (
    MODULES,
    QUICK,
    SAFETY,
    T_ORPHAN,
    Bell,
    events,
    open_tree,
    raises,
    run_python,
    write_program,
)
from tractor import ActorAbandoned, ActorDied, ExitStatus, RemoteActorError, SpawnError
from tractor.spawn import Child, ChildSpec, Traits, get_backend, use_backend
from tractor.testing import wait_for_end

type Function = Callable[..., Awaitable[Any]]

PATIENT: Final = tractor.Graces(ack=10, cancel=10)
CANNOT_KILL: Final = "cannot-kill"


def params(rows: "Iterable[Stop | Call | Boot]") -> pytest.MarkDecorator:
    """Each row, marked with the traits that its host needs for it."""
    return pytest.mark.parametrize(
        "row",
        [
            pytest.param(row, id=row.name, marks=pytest.mark.requires_trait(*row.needs))
            for row in rows
        ],
    )


# -- It is to stop, and does this ------------------------------------------------------


type Means = Literal["cancel", "terminate", "interrupt", "kill"]


class Stop(NamedTuple):
    """What it takes to end an actor that runs `body`.

    Attributes:
        takes: The mildest rung that ends it, on a host that has them all.
        needs: Traits without which nobody can behave like that.
        inside: What it takes instead where it has no process of its own.
    """

    body: Function
    takes: Means
    needs: tuple[str, ...] = ()
    inside: Means | None = None

    @property
    def name(self) -> str:
        return self.body.__name__

    def outcome(self, traits: Traits) -> str:
        """The end that a host with these traits can give it."""
        takes = self.takes
        if self.inside is not None and not traits.own_process:
            takes = self.inside
        match takes:
            case "cancel":
                return "cancelled"
            case "terminate":
                return "terminated"
            case _ if traits.can_kill:
                return "killed"
            case "interrupt" if traits.can_interrupt:
                return "interrupted"
            case _:
                return "abandoned"


STOPS: Final = [
    Stop(mis.waits, "cancel"),
    Stop(mis.says_goodbye, "cancel"),
    Stop(mis.ignores_cancel, "terminate"),
    Stop(mis.cleans_up_slowly, "terminate"),
    Stop(mis.refuses_to_exit, "terminate", inside="kill"),
    Stop(mis.ignores_everything, "interrupt", ("main_thread",)),
    Stop(mis.loops, "interrupt"),
    Stop(mis.sleeps, "kill"),
    Stop(mis.holds_the_gil, "kill", ("own_gil",)),
]


@params(STOPS)
async def test_what_is_to_stop(start_method: str, traits: Traits, row: Stop) -> None:
    """It ends on the rung that its host allows (reliability A9–A11, C2, C3)."""
    outcome = row.outcome(traits)
    if outcome == "abandoned":
        await trio.to_thread.run_sync(check_program, outcome, start_method, row.name)
    else:
        assert (await stop(start_method, row.name))[0] == outcome


@params(row for row in STOPS if row.takes in {"interrupt", "kill"})
def test_what_cannot_be_killed(start_method: str, traits: Traits, row: Stop) -> None:
    """It is interrupted, or its nursery says in time that it is abandoned (C3).

    Either way its process ends, and so it does then.
    """
    outcome = row.outcome(replace(traits, can_kill=False))
    check_program(outcome, start_method, row.name, CANNOT_KILL)


def check_program(expected: str, start_method: str, *args: str) -> None:
    done = run_python(start_method, "-m", __name__, start_method, *args)
    assert done.returncode == 0, done.stderr
    outcome, pid = done.stdout.split()
    assert outcome == expected
    assert wait_for_end([int(pid)], 3 * T_ORPHAN) == []


async def stop(start_method: str, name: str) -> tuple[str, int | None]:
    """How the body of that name ends, and in which process it ran."""
    graces = QUICK
    if any(row.name == name and row.takes == "cancel" for row in STOPS):
        graces = PATIENT  # it will take no longer than it has to
    with Bell() as bell, events("exit") as exits, trio.fail_after(SAFETY):
        try:
            async with tractor.open_nursery(graces=graces) as an:
                portal = await an.run_in_actor(
                    getattr(mis, name), start_method=start_method, bell=bell.path
                )
                await bell.heard()
                await an.cancel()
        except ActorAbandoned as exc:
            return exc.report.outcome, portal.aid.pid
    (event,) = exits
    assert event.data["report"].seconds <= graces.bound
    return event.data["report"].outcome, portal.aid.pid


class CannotKill:
    """A backend like another one, which has no means to kill."""

    key = CANNOT_KILL

    def __init__(self, base: str) -> None:
        self._base = get_backend(base)
        self.traits = replace(self._base.traits, can_kill=False)

    async def start(self, spec: ChildSpec) -> Child:
        return await self._base.start(spec)


# -- It is called, and does this -------------------------------------------------------


class Call(NamedTuple):
    """What the caller of `body` sees.

    Attributes:
        error: Class of what the function raised; `None` where the actor is no more.
        status: The end of the actor, where it is no more.
    """

    body: Function
    args: tuple[Any, ...]
    error: type[BaseException] | None
    status: ExitStatus | None = None
    needs: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.body.__name__


SEGFAULT: Final = ExitStatus(signal=signal.SIGSEGV)
KILLED: Final = ExitStatus(signal=signal.SIGKILL)
STOPPED: Final = ExitStatus(signal=signal.SIGTERM)
OWN: Final = ("own_process",)  # or it would end the tests

CALLS: Final = [
    Call(mis.fails, (), ValueError),
    Call(mis.raises_exit, (3,), SystemExit),
    Call(mis.raises_interrupt, (), KeyboardInterrupt),
    Call(mis.closes_its_link, (), None),
    Call(mis.exits, (7,), None, ExitStatus(exit_code=7), OWN),
    Call(mis.dies, (signal.SIGKILL,), None, KILLED),
    Call(mis.crashes, (), None, SEGFAULT, OWN),
]


@params(row for row in CALLS if row.error)
async def test_what_is_called_and_fails(start_method: str, row: Call) -> None:
    """The caller gets the error, and the actor goes on (reliability A13)."""
    async with open_tree(start_method) as an:
        portal = await an.start_actor("x", enable_modules=MODULES)
        with pytest.raises(RemoteActorError) as caught:
            await portal.run(row.body, *row.args)
        assert caught.value.boxed_type is row.error
        await portal.run(mis.behaves)
        await an.cancel()


@params(row for row in CALLS if not row.error)
async def test_what_is_called_and_is_no_more(
    start_method: str, traits: Traits, row: Call
) -> None:
    """Caller and nursery are told of its end (reliability A1, A3)."""
    with raises(ActorDied) as told:
        async with open_tree(start_method, graces=QUICK) as an:
            portal = await an.start_actor("x", enable_modules=MODULES)
            with pytest.raises(ActorDied) as caught:
                await portal.run(row.body, *row.args)
            await trio.sleep_forever()
    for error in (caught.value, told.value):
        assert error.aid == portal.aid
        if row.status is not None and traits.own_process:
            assert error.status == row.status


# -- It boots, and does this -----------------------------------------------------------


class Boot(NamedTuple):
    """What `start_actor` raises when a module with that text is imported.

    Attributes:
        stage: In which it ends; see `SpawnError`.
        status: The end of its process, where it has one.
    """

    name: str
    stage: str
    status: ExitStatus
    needs: tuple[str, ...] = ()
    boot_timeout: float = 20.0

    @property
    def text(self) -> str:
        text: str = getattr(mis, self.name.upper())
        return text


BOOTS: Final = [
    Boot("fails_at_import", "import", ExitStatus(exit_code=1)),
    Boot("hangs_at_import", "import", STOPPED, boot_timeout=1.5),
    Boot("dies_at_import", "import", KILLED, OWN),
    Boot("dies_before_ready", "ready", ExitStatus(exit_code=7)),
    Boot("never_connects", "connect", KILLED, ("popen_options",)),
]


@params(BOOTS)
async def test_what_does_not_boot(
    *,
    start_method: str,
    traits: Traits,
    row: Boot,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The caller gets the stage and the status, and the nursery goes on (A4, A5)."""
    options: dict[str, Any] = {"enable_modules": ["faulty"]}
    monkeypatch.syspath_prepend(tmp_path)
    with Bell() as bell:
        host = write_program(tmp_path, row.text.format(bell=bell.path), "faulty.py")
        if row.stage == "connect":
            host.chmod(0o700)
            options = {"proc_kwargs": {"executable": str(host)}}
        async with open_tree(
            start_method, graces=QUICK, boot_timeout=row.boot_timeout
        ) as an:
            with pytest.raises(SpawnError) as caught:
                await an.start_actor("stillborn", **options)
            assert caught.value.stage == row.stage
            if traits.own_process or row.status.exit_code is not None:
                assert caught.value.status == row.status
            assert not an.cancel_called


# -- As a program ----------------------------------------------------------------------


async def main(start_method: str, name: str, how: str = "") -> None:
    """Print how that cell ends, and the process that it ran in."""
    with use_backend(CannotKill(start_method)):
        print(*await stop(how or start_method, name))


if __name__ == "__main__":
    trio.run(partial(main, *sys.argv[1:]))

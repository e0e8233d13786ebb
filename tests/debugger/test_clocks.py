"""Clocks that stand still: the ladder, the boot of a child, dumps of hangs."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from tests._helpers import SAFETY
from tests.debugger._session import Session
from tractor import Graces, devx
from tractor.devx import _hang
from tractor.spawn import Traits
from tractor.spawn._escalation import stop_child
from tractor.testing import FakeChild, Script

TRAITS = Traits(
    can_kill=True,
    own_process=True,
    own_gil=True,
    inherits_fds=True,
    main_thread=True,
)
GRACES = Graces(ack=0.5, cancel=1.5, terminate=0.25, kill=1.0)


class Person:
    """Is in a REPL from one virtual time to another."""

    def __init__(self, begin: float, end: float) -> None:
        self._begin, self._end = begin, end
        # What the ladder notes is real time, so each wait is known by its order.
        self._told = False

    async def stood_still(self, since: float) -> bool:
        """Wait for the end, if it has begun."""
        assert since <= time.monotonic()
        now = trio.current_time()
        if now < self._begin or self._told:
            return False
        self._told = True
        await trio.sleep(max(0.0, self._end - now))
        return True


async def climb(script: Script, person: Person) -> FakeChild:
    """Stop a child while a person is in a REPL."""
    child = FakeChild(script)
    await stop_child(
        child, TRAITS, GRACES, ask=child.ask, stood_still=person.stood_still
    )
    return child


async def test_a_grace_is_granted_anew(autojump_clock: MockClock) -> None:
    """What was asked before the REPL is asked again after it."""
    child = await climb(Script(acks=0.0), Person(1.0, 60.0))
    assert child.calls == [
        ("ask", 0.0),
        ("ask", 60.0),
        ("terminate", 61.5),
        ("kill", 61.75),
    ]


async def test_who_cannot_acknowledge_is_not_cut_off(autojump_clock: MockClock) -> None:
    """The one in the REPL itself: it hears of the request after it."""
    child = await climb(Script(acks=None), Person(0.0, 60.0))
    assert child.calls == [
        ("ask", 0.0),
        ("ask", 60.0),
        ("terminate", 60.5),
        ("kill", 60.75),
    ]


async def test_no_harder_rung_is_taken_meanwhile(autojump_clock: MockClock) -> None:
    """A REPL that opens during a grace holds up the next rung."""
    child = await climb(Script(acks=0.0), Person(1.6, 60.0))
    assert child.calls == [("ask", 0.0), ("terminate", 1.5), ("kill", 60.25)]


async def test_a_death_ends_the_ladder_all_the_same(autojump_clock: MockClock) -> None:
    """However long the person takes."""
    child = await climb(Script(acks=0.0, after=30.0), Person(0.0, 60.0))
    assert trio.current_time() == 30.0
    assert child.calls == [("ask", 0.0)]


def test_a_repl_is_no_hang(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`dump_on_hang` waits anew after one."""
    answers = [True, True, False]
    asked: list[float] = []

    def stood_still(since: float) -> bool:
        asked.append(since)
        return answers.pop(0)

    monkeypatch.setattr(_hang, "clocks_stood_still", stood_still)
    with devx.dump_on_hang(0.01, path=tmp_path / "dump") as hang:
        assert hang.wait_dumped(SAFETY)
    assert answers == []
    assert asked == sorted(asked)


def test_a_breakpoint_in_an_import(session: Callable[..., Session]) -> None:
    """Boot takes as long as the person does, whatever `boot_timeout` says."""
    tree = session("import_slowly")
    assert "paused in actor 'child'" in tree.prompt()
    tree.type("import time; time.sleep(2)")
    tree.prompt()
    tree.type("c")
    assert "result loaded" in tree.rest()

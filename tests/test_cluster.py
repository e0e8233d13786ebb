"""Clusters: several actors of one kind, started together and stopped together."""

import os
from pathlib import Path

import pytest
import trio

import tractor
from tests._actors import describe
from tests._helpers import (
    MODULES,
    SAFETY,
    events,
    is_gone,
    raises,
    write_program,
)
from tractor import SpawnError, open_actor_cluster
from tractor._instrument import hub


async def test_a_cluster_serves_its_modules(start_method: str) -> None:
    """Its portals come in order under their full names, and all are gone after it."""
    with trio.fail_after(SAFETY):
        async with (
            tractor.open_root_actor(name="boss", start_method=start_method),
            open_actor_cluster(MODULES, names=["b", "a"]) as portals,
        ):
            assert list(portals) == ["boss.b", "boss.a"]
            for name, portal in portals.items():
                assert await portal.run(describe, 1) == (name, [1], {})
    assert all(map(is_gone, portals.values()))


async def test_a_cluster_boots_the_runtime(
    start_method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By default it has an actor for each processor that this process may use."""
    monkeypatch.setattr(os, "process_cpu_count", lambda: 2)
    with trio.fail_after(SAFETY):
        async with open_actor_cluster(
            MODULES, name="top", start_method=start_method
        ) as portals:
            assert [*portals] == ["top.worker_0", "top.worker_1"]
            assert tractor.current_actor().name == "top"
            assert not any(map(is_gone, portals.values()))
    with pytest.raises(tractor.NoRuntime):
        tractor.current_actor()


async def test_all_are_started_at_once(start_method: str) -> None:
    """None waits for another one to be ready."""
    kinds: list[str] = []
    with trio.fail_after(SAFETY), hub.subscribed(lambda e: kinds.append(e.kind)):
        async with open_actor_cluster(MODULES, 3, start_method=start_method):
            pass
    assert kinds[:6] == ["spawn"] * 3 + ["ready"] * 3


async def test_an_error_in_the_block_stops_all(start_method: str) -> None:
    """It is raised bare when they are gone."""
    with raises(KeyError), trio.fail_after(SAFETY):
        async with open_actor_cluster(MODULES, 2, start_method=start_method) as portals:
            raise KeyError
    assert all(map(is_gone, portals.values()))


async def test_one_that_does_not_boot_stops_the_others(
    start_method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cluster is whole, or there is none."""
    monkeypatch.syspath_prepend(tmp_path)
    write_program(tmp_path, "import os; os.mkdir(__file__ + '.used')", "only_one.py")
    with (
        events("exit") as exits,
        trio.fail_after(SAFETY),
        raises(SpawnError, match=r"only_one\.py\.used"),
    ):
        async with open_actor_cluster(["only_one"], 2, start_method=start_method):
            pass
    assert len(exits) == 2


@pytest.mark.parametrize(
    ("count", "names", "what"),
    [
        (0, None, "at least one actor, not 0"),
        (-1, None, "at least one actor, not -1"),
        (None, [], "at least one actor, not 0"),
        (3, ["a", "b"], "2 names for count=3"),
        (None, ["a", "a"], "have to differ"),
    ],
)
async def test_wrong_sizes_are_refused(
    count: int | None, names: list[str] | None, what: str
) -> None:
    """Before anything is started."""
    with events("spawn") as spawned, pytest.raises(ValueError, match=what):
        async with open_actor_cluster(MODULES, count, names):
            pass
    assert spawned == []


async def test_options_of_a_runtime_that_runs_are_refused() -> None:
    """They would have no effect."""
    async with tractor.open_root_actor():
        with pytest.raises(TypeError, match="give loglevel to open_root_actor"):
            async with open_actor_cluster(MODULES, 1, loglevel="info"):
                pass

"""Flavors, configuration, capabilities, and rows D1–D6 of decisions."""

import json
import logging
import sys
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from tractor import futures as fu
from tractor.futures import (
    Capabilities,
    DecisionTrace,
    Executor,
    RuntimeConfig,
    detect_capabilities,
)
from tractor.futures._placement import FLAVORS, PREFIX, resolve

CAN = Capabilities(python=(3, 14, 0), gil=True, interpreters=True, cpus=4)


@pytest.fixture
def heard() -> Iterator[list[DecisionTrace]]:
    """Every decision of the test."""
    decisions: list[DecisionTrace] = []
    fu.add_decision_listener(decisions.append)
    yield decisions
    fu.remove_decision_listener(decisions.append)


# -- Flavors ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("requested", "config", "can", "expected"),
    [
        ("auto", {}, {}, ("processes", "isolation")),
        ("auto", {}, {"gil": False}, ("threads", "threads are parallel")),
        ("auto", {"io_bound": True}, {}, ("threads", "io-bound")),
        (
            "auto",
            {"prefers_interpreters": True},
            {},
            ("interpreters", "prefers interpreters"),
        ),
        ("auto", {"flavor": "none"}, {}, ("none", "config")),
        ("threads", {"flavor": "none"}, {}, ("threads", "explicit")),
        ("threads", {"force_flavor": "none"}, {}, ("none", "forced")),
        (
            "interpreters",
            {},
            {"interpreters": False},
            ("processes", "explicit; fell back: no sub-interpreters here"),
        ),
    ],
)
def test_resolution(
    requested: str,
    config: dict[str, object],
    can: dict[str, object],
    expected: tuple[str, str],
) -> None:
    """The first rule that applies decides."""
    wish = structs.replace(RuntimeConfig(), **config)
    assert resolve(requested, wish, structs.replace(CAN, **can)) == expected


@given(
    requested=st.sampled_from(FLAVORS),
    flavor=st.sampled_from(FLAVORS),
    force=st.sampled_from((None, *FLAVORS)),
    hints=st.tuples(*[st.booleans()] * 4),
)
def test_resolution_is_pure_and_has_an_order(
    requested: str, flavor: str, force: str | None, hints: tuple[bool, ...]
) -> None:
    """The same goes in, the same comes out; force beats what was asked for."""
    io_bound, prefers, gil, interpreters = hints
    wish = RuntimeConfig(
        flavor=flavor,
        force_flavor=force,
        io_bound=io_bound,
        prefers_interpreters=prefers,
    )
    can = structs.replace(CAN, gil=gil, interpreters=interpreters)
    found, reason = resolve(requested, wish, can)
    assert (found, reason) == resolve(requested, wish, can)
    assert found in FLAVORS[1:]
    wanted = next(
        (one for one in (force, requested, flavor) if one != "auto" and one), ""
    )
    if wanted and (wanted != "interpreters" or interpreters):
        assert found == wanted


def test_force_beats_explicit(monkeypatch: pytest.MonkeyPatch) -> None:
    """The operator has the last word."""
    monkeypatch.setenv("TRACTOR_FORCE_FLAVOR", "none")
    with Executor(2, flavor="processes") as executor:
        assert executor.flavor == "none"
        assert executor.decision.reason == "forced"


# -- Configuration ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variable", "text", "expected"),
    [
        ("FLAVOR", "Threads", {"flavor": "threads"}),
        ("WORKERS", "3", {"workers": 3}),
        *[("IO_BOUND", t, {"io_bound": True}) for t in ("1", "true", "YES", "on")],
        *[("IO_BOUND", t, {"io_bound": False}) for t in ("0", "False", "no", "off")],
        ("IO_BOUND", "", {"io_bound": False}),
    ],
)
def test_from_env(variable: str, text: str, expected: dict[str, object]) -> None:
    """Each variable is read, whatever its case; unset leaves the default."""
    found = RuntimeConfig.from_env({PREFIX + variable: text})
    assert found == structs.replace(RuntimeConfig(), **expected)


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("FLAVOR", "steam"),
        ("FORCE_FLAVOR", "steam"),
        ("WORKERS", "none"),
        ("WORKERS", "0"),
        ("IO_BOUND", "perhaps"),
    ],
)
def test_a_bad_value_is_named(variable: str, text: str) -> None:
    """Nothing is silently ignored: the variable is named, and what is right."""
    with pytest.raises(ValueError, match=f"{PREFIX}{variable}='{text}'"):
        RuntimeConfig.from_env({PREFIX + variable: text})


def test_explicit_beats_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Arguments, then the config, then the environment, then defaults."""
    monkeypatch.setenv("TRACTOR_WORKERS", "3")
    monkeypatch.setenv("TRACTOR_FLAVOR", "threads")
    with Executor() as executor:
        assert (executor.flavor, executor.max_workers) == ("threads", 3)
    with Executor(5, config=RuntimeConfig(flavor="none")) as executor:
        assert (executor.flavor, executor.max_workers) == ("none", 1)


@pytest.mark.parametrize(("found", "gil"), [(True, True), (False, True)])
def test_capabilities(monkeypatch: pytest.MonkeyPatch, found: bool, gil: bool) -> None:
    """A build without free threading has a GIL, whatever is said."""
    monkeypatch.setattr(sys, "_is_gil_enabled", lambda: found, raising=False)
    assert detect_capabilities().gil is gil
    monkeypatch.setattr(sys, "_is_gil_enabled", lambda: 1 / 0)
    assert detect_capabilities().gil
    monkeypatch.delattr(sys, "_is_gil_enabled")
    assert detect_capabilities().gil
    assert detect_capabilities().cpus >= 1
    assert 4 <= CAN.io_workers <= 32


# -- Decisions -------------------------------------------------------------------------


def test_d1_a_decision_is_data(heard: list[DecisionTrace]) -> None:
    """It goes through JSON unchanged."""
    with Executor(2, flavor="threads", name="mine") as executor:
        trace = executor.decision
    assert heard == [trace]
    assert json.loads(json.dumps(trace.as_dict())) == trace.as_dict()
    assert (trace.requested, trace.name, trace.workers) == ("threads", "mine", 2)


def test_d2_a_run_tells_its_decision() -> None:
    """True keeps it; a callable gets it once for each entry."""
    told: list[DecisionTrace] = []
    run = fu.Run(flavor="none", trace=told.append)
    for _ in range(2):
        with run:
            assert run.trace is told[-1]
    assert len(told) == 2
    with fu.Run(flavor="none", trace=True) as _:
        pass


def test_d3_a_fallback_is_visible(monkeypatch: pytest.MonkeyPatch) -> None:
    """What really runs is resolved, and the reason says why."""
    monkeypatch.setattr(
        "tractor.futures._placement.available_backends", lambda: ["trio"]
    )
    with Executor(1, flavor="interpreters") as executor:
        assert executor.decision.resolved == "processes"
        assert "fell back" in executor.decision.reason


def test_d4_listeners_in_order(caplog: pytest.LogCaptureFixture) -> None:
    """Called in the order in which they came; one that raises harms nobody."""
    order: list[int] = []

    def first(_: DecisionTrace) -> None:
        order.append(1)
        raise ValueError("a listener")

    def second(_: DecisionTrace) -> None:
        order.append(2)

    fu.add_decision_listener(first)
    fu.add_decision_listener(second)
    with Executor(flavor="none"):
        pass
    fu.remove_decision_listener(first)
    fu.remove_decision_listener(second)
    fu.remove_decision_listener(second)
    with Executor(flavor="none"):
        pass
    assert order == [1, 2]
    assert "a decision listener raised" in caplog.text


def test_d5_observe_decisions(caplog: pytest.LogCaptureFixture) -> None:
    """One record for each decision in the block."""
    logger = logging.getLogger("tests.decisions")
    with (
        caplog.at_level(logging.INFO),
        fu.observe_decisions(logger=logger),
        Executor(flavor="none", name="seen"),
    ):
        pass
    with Executor(flavor="none", name="unseen"):
        pass
    texts = [one.getMessage() for one in caplog.records if one.name == logger.name]
    assert texts == ["pool seen: none -> none, 1 workers (explicit)"]


def test_d6_last_decision() -> None:
    """The latest one."""
    with Executor(flavor="none", name="latest") as executor:
        assert fu.last_decision() is executor.decision

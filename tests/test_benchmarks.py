"""The benchmarks work: the least of each runs, and says what it should.

What they measure is not looked at, since that depends on the machine.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree

import pytest

from benchmarks import _harness, _machine, _report, run

ROOT: Final = Path(__file__).parents[1]
FOLDER: Final = ROOT / "benchmarks"
TIMEOUT: Final = 100  # seconds; a safety net

# Scripts with a form of their own.
ALONE: Final = {"subint", "stress_subint", "hello", "run", "where", "plots"}

# What runs here of each topic, by --only; the rest of it differs by sizes alone.
LEAST: Final = {
    "rpc": "one call/Portal.run",
    "streams": "64 KiB/stream from",
    "contexts": "context, one item",
    "broadcast": "4 subscribers",
    "registry": "find_actor",
    "cancel": "cancel tasks",
    "spawn": "spawn/cancel",
    "forkserver": "forks/actor",
    "imports": "imports alone/import tractor",
    "memory": "memory/an actor",
    "cpu": "computing/2 actors",
    "instrument": "1 at",
    "scaling": "payload/1024 bytes",
    "shm": "64 KiB/memory attached",
    "futures": "64 tasks/Executor of processes",
    "cowns": "one int/cowns",
}


def measure(topic: str, path: Path, *argv: str) -> "subprocess.CompletedProcess[str]":
    """Run a script, briefly."""
    script = FOLDER / f"{topic}.py"
    environment = {**os.environ}
    environment.pop("TRACTOR_SPAWN_METHOD", None)
    return subprocess.run(
        [sys.executable, script, "--quick", "--rounds", "1", "--json", path, *argv],
        capture_output=True,
        check=False,
        env=environment,
        text=True,
        timeout=TIMEOUT,
    )


@pytest.mark.parametrize("topic", run.TOPICS)
def test_each_script_measures(topic: str, tmp_path: Path) -> None:
    """Its least part gives figures, printed and as JSON."""
    path = tmp_path / "result.json"
    backend = "mp_forkserver" if topic in ("forkserver", "scaling") else "trio"
    done = measure(topic, path, "--only", LEAST[topic], "--spawn-backend", backend)
    assert done.returncode == 0, done.stderr
    result = json.loads(path.read_text())
    rows = result["rows"]
    assert result["machine"]["cores"] == _machine.cores()
    assert any(LEAST[topic] in f"{row['group']}/{row['case']}" for row in rows)
    assert all(row["p50"] >= 0 and row["rounds"] == 1 for row in rows)
    for row in rows:
        assert f"  {row['case']}" in done.stdout
        for target in row["targets"]:
            assert target["what"] in done.stdout


def test_every_script_is_a_topic() -> None:
    """A script that is new here is run by `make bench`, or says why not."""
    scripts = {path.stem for path in FOLDER.glob("[!_]*.py")}
    assert scripts - ALONE == set(run.TOPICS) == LEAST.keys()


def test_what_is_asked_for_wrongly_is_refused() -> None:
    """An unknown topic, and no rounds at all, are errors of the command line."""
    for argv in (["tea"], ["--rounds", "0"], ["--spawn-backend", "steam"]):
        done = subprocess.run(
            [sys.executable, FOLDER / "run.py", *argv],
            capture_output=True,
            check=False,
            text=True,
            timeout=TIMEOUT,
        )
        assert (done.returncode, done.stdout) == (2, "")
        assert argv[-1] in done.stderr


@pytest.mark.parametrize("what", ["call", "item"])
def test_where_the_time_goes(what: str) -> None:
    """A table of parts, whose figures add up, for both sides."""
    done = subprocess.run(
        [sys.executable, FOLDER / "where.py", what, "--times", "5000"],
        capture_output=True,
        check=True,
        text=True,
        timeout=TIMEOUT,
    )
    rows = [line.strip("| ").split(" | ") for line in done.stdout.splitlines()]
    figures = [[float(cell.strip("*")) for cell in row[1:]] for row in rows[2:-2]]
    *parts, total = figures
    assert len(parts) >= 2
    for side in (0, 1):
        assert sum(row[side] for row in parts) == pytest.approx(total[side], abs=1)


def test_growth_is_drawn(tmp_path: Path) -> None:
    """Of what `scaling.py` measured: a picture for a group, a line for a backend."""
    result = tmp_path / "result.json"
    options = ("--spawn-backend", "trio", "--only", "payload/")
    done = measure("scaling", result, *options)
    assert done.returncode == 0, done.stderr
    subprocess.run(
        [sys.executable, FOLDER / "plots.py", result, tmp_path],
        check=True,
        timeout=TIMEOUT,
    )
    assert [path.name for path in tmp_path.glob("*.svg")] == ["payload.svg"]
    root = ElementTree.parse(tmp_path / "payload.svg").getroot()
    lines = [each for each in root.iter() if each.get("fill") == "none"]
    points = [each for each in root.iter() if each.tag.endswith("circle")]
    sizes = {row["case"] for row in json.loads(result.read_text())["rows"]}
    assert len(lines) == 1
    assert len(points) == len(sizes)


# -- The harness -----------------------------------------------------------------------


async def nothing() -> list[float]:
    """Measure nothing."""
    return []


TARGET: Final = _harness.Target("b", 3, "slow", stretch=1.5, own="p50")
SLOW: Final = _harness.Case("slow", "ms", nothing)
FAST: Final = _harness.Case("fast", "ms", nothing, "slow", (TARGET,))


def result_of(slow: list[list[float]], fast: list[list[float]]) -> dict[str, Any]:
    """What a group of two cases with these samples gives."""
    found = {
        "slow": _harness.Samples(SLOW, slow),
        "fast": _harness.Samples(FAST, fast),
    }
    rows = [
        {
            "group": "g",
            "backend": "",
            "others": 0.0,
            **_harness.make_row(each, found, ""),
        }
        for each in found.values()
    ]
    return {"machine": _machine.describe() | {"load": 0.0}, "rows": rows}


def test_ratios_are_made_in_each_round() -> None:
    """The median of the ratios counts, not the ratio of the medians."""
    _, row = result_of([[1], [10], [100]], [[2], [20], [100]])["rows"]
    assert row["ratio"] == 2
    assert row["p50"] == 20
    _, row = result_of([[1], [10], [100]], [[4], [10], [100]])["rows"]
    assert (row["ratio_low"], row["ratio"], row["ratio_high"]) == (1, 1, 2.5)


def test_a_target_holds_or_does_not() -> None:
    """It is compared with the bound, and with the stretch."""
    for ratio, verdict in ((1, "holds, stretched"), (2, "holds"), (4, "MISSED")):
        text = list(_report.target_lines(result_of([[1.0]], [[float(ratio)]])))
        assert text[-1].endswith(verdict)


def test_more_may_be_better() -> None:
    """A target that is a least value is missed from below."""
    target = _harness.Target("b", 3, at_least=True)
    assert target.holds(3.1, 3)
    assert not target.holds(2.9, 3)


def test_the_tail_needs_many_samples() -> None:
    """There is a 99th percentile of a hundred samples, and none of a few."""
    many = [float(each) for each in range(1000)]
    slow, fast = result_of([many], [[1.0]])["rows"]
    assert 985 <= slow["p99"] <= 995
    assert fast["p99"] is None


def test_a_comparison_names_what_changed() -> None:
    """By the ratio where there is one, and only if the ranges are apart."""
    old = result_of([[1.0]] * 3, [[2.0]] * 3)
    new = result_of([[5.0]] * 3, [[5.0]] * 3)
    lines = list(_report.change_lines(new, old))
    assert re.search(r"g/fast +2\.00 +1\.00 +0\.50 +ranges apart", lines[-1])
    lines = list(_report.change_lines(old, old))
    assert not any("apart" in line for line in lines)


def test_a_busy_machine_is_said_to_be() -> None:
    """A warning stands above the figures when others use the processors."""
    result = result_of([[1.0]], [[1.0]])
    assert not any("WARNING: the machine" in line for line in _report.lines(result))
    result["rows"][0]["others"] = 1.0
    assert any("WARNING: the machine" in line for line in _report.lines(result))


def test_the_memory_of_a_process_is_read() -> None:
    """What it shares with none is part of what it is charged with."""
    found = _machine.memory(os.getpid())
    assert 1 < found["private"] <= found["pss"]

"""`top`: it goes on, whatever the actors do, and counts right."""

import io
import json
import os
import sys
from pathlib import Path
from typing import Any, Final

import pexpect  # type: ignore[import-untyped]
import pytest
from msgspec.structs import replace

from tests._helpers import ROOT, SAFETY
from tests.cli.test_trees import Tree, run_cli, tree_that
from tractor import Aid, cli
from tractor.cli import _top, _usage
from tractor.cli._usage import Clock, Meter, Usage, read_clock
from tractor.devx import (
    ActorFacts,
    ActorNode,
    ActorTree,
    Answer,
    CallFacts,
    NurseryFacts,
    PeerFacts,
    ProcessFacts,
    Report,
    TaskFacts,
)

linux = pytest.mark.skipif(
    not hasattr(os, "memfd_create"), reason="needs Linux's memfd"
)
TWICE: Final = ("top", "-n", "2", "-d", "0.2")


def rows_of(tree: Tree, line: str) -> dict[str, dict[str, Any]]:
    """The actors of that tree in a refresh, by name, in its order."""
    names = (tree.name, tree.child)
    actors = json.loads(line)["actors"]
    return {each["name"]: each for each in actors if each["name"] in names}


# -- Real trees ------------------------------------------------------------------------


@linux
def test_each_refresh_is_a_line_for_programs(start_method: str) -> None:
    """Of an actor that computes one sees that, and what it is asked for."""
    with tree_that(start_method, "loops") as tree:
        lines = run_cli(*TWICE, "--json").splitlines()
    assert len(lines) == 2
    for row in rows_of(tree, lines[1]).values():
        assert row["status"] == "running"
        assert row["calls"] == 1
        assert row["tasks"] > 1
    assert rows_of(tree, lines[1])[tree.child]["cpu"] > 0


@linux
@pytest.mark.requires_trait("own_process")
def test_who_computes_most_comes_first(start_method: str) -> None:
    """The one that loops is before its root, which waits."""
    with tree_that(start_method, "loops") as tree:
        line = run_cli(*TWICE, "--json").splitlines()[1]
        text = run_cli(*TWICE)
    rows = rows_of(tree, line)
    assert list(rows) == [tree.child, tree.name]
    assert rows[tree.child]["rss"] > 1 << 20
    assert text.count("CPU%") == 2
    assert text.index(f"  {tree.child}  ") < text.index(f"  {tree.name}  ")


@linux
@pytest.mark.requires_trait("can_kill")
def test_it_goes_on_while_an_actor_is_stuck(start_method: str) -> None:
    """What the kernel tells of it is shown, and that it says nothing."""
    with tree_that(start_method, "holds_the_gil") as tree:
        lines = run_cli(*TWICE, "--json").splitlines()
    for line in lines:
        rows = rows_of(tree, line)
        assert rows[tree.child]["tasks"] is None
        assert rows[tree.child]["rss"] > 1 << 20
        assert rows[tree.child]["status"] == "no answer within 1 s"
        assert rows[tree.name]["status"] == "running"


@linux
@pytest.mark.parametrize("rich", [True, False])
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
def test_at_a_terminal_it_is_drawn_over_until_ctrl_c(
    rich: bool, tmp_path: Path
) -> None:
    """With the package rich and without it; that it was ended so is no error."""
    env = {**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}", "TERM": "xterm"}
    if not rich:
        (tmp_path / "rich").mkdir()
        (tmp_path / "rich/__init__.py").write_text("raise ImportError")
    with tree_that("trio", "waits") as tree:
        terminal = pexpect.spawn(
            sys.executable,
            ["-m", "tractor", "top", tree.name, "-d", "0.1"],
            timeout=SAFETY,
            encoding="utf-8",
            env=env,
            dimensions=(50, 160),
        )
        for _ in range(3):
            terminal.expect_exact("CPU%")
            terminal.expect_exact(tree.child)
        terminal.sendintr()
        terminal.expect(pexpect.EOF)
        terminal.close()
    assert terminal.exitstatus == 0
    assert "Traceback" not in terminal.before


@linux
def test_without_actors_it_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """At its start; when those that were there end, it goes on."""
    trees = [[], [tree_of(answer())], []]
    monkeypatch.setattr(_top, "find_trees", lambda **_: trees.pop(0))
    assert cli.main(["top"]) == cli.FAILED
    assert "no actors found" in capsys.readouterr().err
    assert cli.main(["top", "-n", "2", "-d", "0"]) == cli.DONE
    first, second, _ = capsys.readouterr().out.split("\n\n")
    assert "  shop  " in first
    assert "0 actors" in second


@pytest.mark.parametrize("args", [("-n", "0"), ("-d", "-1"), ("-d", "nan")])
def test_a_number_that_is_none_is_refused(args: tuple[str, str]) -> None:
    """Before anything is asked."""
    assert cli.main(["top", *args]) == cli.USAGE


@linux
def test_one_actor_can_be_watched_with_all_below_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """At the first look it has to be there; when it ends later, it goes on."""
    other = replace(answer(), process=ProcessFacts(1, 0, "x", "S", []))
    trees = [tree_of(answer()), ActorTree(ActorNode(Aid("other", "o"), other))]
    looks = [trees, trees, trees[1:]]
    monkeypatch.setattr(_top, "find_trees", lambda **_: looks.pop(0))
    assert cli.main(["top", "nonesuch"]) == cli.FAILED
    assert "no actor 'nonesuch'" in capsys.readouterr().err
    assert cli.main(["top", "shop", "-n", "2", "-d", "0"]) == cli.DONE
    first, second, _ = capsys.readouterr().out.split("\n\n")
    assert "  shop  " in first
    assert "other" not in first + second


# -- Counting --------------------------------------------------------------------------


def answer(report: Report | None = None, pid: int = 0) -> Answer:
    """Of one that sleeps, and is not there any more."""
    return Answer(ProcessFacts(pid, 1, "shop", "S", []), report, silence="deaf")


def tree_of(of: Answer) -> ActorTree:
    """It alone."""
    return ActorTree(ActorNode(Aid("shop", "s"), of))


def test_tasks_calls_and_items_are_counted() -> None:
    """A context is one call, though its caller has two entries on it."""
    leaf = TaskFacts("leaf", False, [], [])
    top = TaskFacts("top", False, [], [NurseryFacts(False, False, [leaf, leaf])])
    calls = [
        CallFacts(0, True, None, ""),
        CallFacts(0, True, None, "context", 5),
        CallFacts(1, False, "m.f", ""),
        CallFacts(3, False, "m.g", "context", 2),
    ]
    peer = PeerFacts(Aid("x", "x"), "child", "open", 70, calls)
    actor = ActorFacts(Aid("shop", "s"), None, "running", [peer], [])
    report = Report(0, 0, actor, [top], [], [], [])
    [usage] = Meter().read([tree_of(answer(report))])
    assert (usage.tasks, usage.calls, usage.contexts) == (3, 3, 2)
    assert (usage.unread, usage.queued) == (7, 70)


def test_the_processor_is_counted_since_the_last_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And at first since its start."""
    clocks = [
        Clock(birth=(7, 1), at=100, age=10, seconds=2, rss=4096),
        Clock(birth=(7, 1), at=104, age=14, seconds=5, rss=4096),
        Clock(birth=(7, 2), at=108, age=2, seconds=1, rss=4096),  # another one
        None,  # gone
    ]
    monkeypatch.setattr(_usage, "read_clock", lambda _: clocks.pop(0))
    meter = Meter()
    tree = tree_of(answer(pid=7))
    shares = [meter.read([tree])[0].cpu for _ in range(4)]
    assert shares == [20.0, 75.0, 50.0, None]


@linux
def test_the_clock_of_this_process_is_read() -> None:
    """It has used some of the processor, and less than its age allows."""
    assert read_clock(Path("/proc/0")) is None
    clock = read_clock(Path(f"/proc/{os.getpid()}"))
    assert clock is not None
    assert 0 < clock.seconds < clock.age * (os.cpu_count() or 1)
    assert clock.rss > 1 << 20


# -- Showing ---------------------------------------------------------------------------

USAGE: Final = Usage(
    pid=7,
    interpreter=0,
    place="7",
    name="shop",
    state="S",
    cpu=None,
    rss=3 << 20,
    tasks=None,
    calls=None,
    contexts=None,
    unread=None,
    queued=None,
    status="no answer within 1 s",
)


def test_what_is_not_known_is_a_dash() -> None:
    """Numbers that are known stand in columns."""
    known = replace(
        USAGE, cpu=12.34, rss=5 << 30, tasks=4, queued=2048, calls=0, unread=1
    )
    _, head, *rows = _top._lines([USAGE, known])
    assert rows[0].split()[:10] == ["7", "shop", "S", "-", "3M", *"-----"]
    assert rows[1].split()[3:10] == ["12.3", "5.0G", "4", "0", "-", "1", "2K"]
    assert head.index("CPU%") + len("CPU%") == rows[1].index("12.3") + len("12.3")


def test_names_are_shown_whole_beside_a_long_status() -> None:
    """In a table of rich, which would cut a bit of each."""
    console_module = pytest.importorskip("rich.console")
    screen = io.StringIO()
    console = console_module.Console(file=screen, width=100)
    usage = replace(USAGE, name="a-name-of-an-actor [b]", status="why " * 30)
    console.print(_top._as_table([usage]))
    assert " a-name-of-an-actor [b] " in screen.getvalue()


def test_what_has_no_room_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small terminal shows the first, and how many there are besides."""
    screen = io.StringIO()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setenv("COLUMNS", "20")
    monkeypatch.setenv("LINES", "5")
    _top._redraw_text([USAGE] * 9)
    lines = screen.getvalue().splitlines()
    assert len(lines) == 4
    assert all(len(line.removeprefix(_top._HOME)) <= 20 for line in lines)
    assert lines[-1] == "… 8 more"

"""`ps`, `tree`, `dump` and `kill`, upon a tree that knows nothing of them."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import pexpect  # type: ignore[import-untyped]
import pytest

from tests._helpers import ROOT, SAFETY, Bell, run_python, start_python
from tests.cli import programs
from tractor import cli, spawn
from tractor.cli._look import name_of
from tractor.devx import ActorNode, Answer, ProcessFacts

pytestmark = pytest.mark.skipif(
    not hasattr(os, "memfd_create"), reason="needs Linux's memfd"
)
own_process: Final = pytest.mark.requires_trait("own_process")
PROGRAM: Final = Path(programs.__file__)


class Tree:
    """A program that runs.

    Attributes:
        name: Of its root; of no other actor on this machine.
        process: It.
    """

    def __init__(self, name: str, process: "subprocess.Popen[str]") -> None:
        self.name = name
        self.process = process

    @property
    def child(self) -> str:
        """Name of its actor."""
        return f"{self.name}-child"


@contextmanager
def own_runtime_dir() -> Iterator[None]:
    """What a killed root leaves there goes with it."""
    with (
        pytest.MonkeyPatch.context() as patch,
        tempfile.TemporaryDirectory(prefix="tractor-") as path,
    ):
        patch.setenv("XDG_RUNTIME_DIR", path)
        yield


@contextmanager
def tree_that(start_method: str, fn: str, *words: str) -> Iterator[Tree]:
    """Such a tree, once it misbehaves; killed in the end."""
    name = f"t{uuid4().hex[:8]}"
    with (
        own_runtime_dir(),
        Bell() as bell,
        start_python(start_method, PROGRAM, name, fn, bell.path, *words) as process,
    ):
        try:
            bell.wait_heard()
            yield Tree(name, process)
        finally:
            process.kill()
            process.communicate(timeout=SAFETY)


def run_cli(*args: str, code: int | None = 0) -> str:
    """What the command line prints, at either place; `None` is for any code."""
    done = run_python("", "-m", "tractor", *args)
    assert code in (done.returncode, None), done.stdout + done.stderr
    return done.stderr if code in (1, 2) else done.stdout


def actors_of(tree: Tree) -> dict[str, dict[str, Any]]:
    """What `ps --json` says, by name."""
    trees = json.loads(run_cli("ps", "--json"))
    return {
        actor["name"]: actor
        for each in trees
        for actor in each
        if actor["name"] in (tree.name, tree.child)
    }


# -- Looking ---------------------------------------------------------------------------


def test_actors_are_listed(start_method: str) -> None:
    """By their names, with what they say of themselves."""
    with tree_that(start_method, "waits") as tree:
        actors = actors_of(tree)
        lines = run_cli("ps").splitlines()
    assert list(actors) == [tree.name, tree.child]
    assert actors[tree.name]["pid"] == tree.process.pid
    for name, actor in actors.items():
        assert actor["answered"]
        assert actor["status"] == "running"
        assert [line for line in lines if f"  {name}  " in line]


def test_the_tree_shows_who_started_whom(start_method: str) -> None:
    """As an outline, as pictures and as data, of a root or of a part."""
    with tree_that(start_method, "waits") as tree:
        outline, mermaid, dot, data, part = (
            run_cli("tree", name, *how)
            for name, *how in (
                (tree.name,),
                (tree.name, "--mermaid"),
                (tree.name, "--dot"),
                (tree.name, "--json"),
                (tree.child,),
            )
        )
    assert outline.startswith(f"{tree.name}@{tree.process.pid} S: running\n")
    assert f"  {tree.child}@" in outline
    assert mermaid.startswith("flowchart")
    assert dot.startswith("digraph")
    [root] = json.loads(data)
    assert tree.child in [child["name"] for child in root["children"]]
    assert part.startswith(f"{tree.child}@")


def test_a_dump_names_the_culprit(start_method: str) -> None:
    """An actor in a busy loop answers."""
    with tree_that(start_method, "loops") as tree:
        text = run_cli("dump", tree.child)
        [data] = json.loads(run_cli("dump", tree.child, "--json"))
        everything = run_cli("dump", "--all", code=None)  # others may be silent
    assert "task 'tests._misbehaviours.loops' runs in loops (" in text
    assert data["report"]["actor"]["aid"][0] == tree.child
    assert f"{tree.name} called {tree.child}, 0: tests._misbehaviours.loops" in (
        everything
    )


def test_a_root_whose_loop_is_stuck_is_dumped(start_method: str) -> None:
    """Nothing of it has to go on for that."""
    with tree_that(start_method, "root") as tree:
        text = run_cli("dump", str(tree.process.pid))
    assert "runs in hold_the_loop (" in text


@pytest.mark.requires_trait("can_kill")
def test_who_does_not_answer_is_an_exit_code(start_method: str) -> None:
    """What can be had from outside is shown."""
    with tree_that(start_method, "holds_the_gil") as tree:
        text = run_cli("dump", tree.child, code=cli.SILENT)
    assert "SILENT: no answer within 1 s" in text
    assert "in holds_the_gil" in text


def test_mute_actors_are_known_by_their_command_line() -> None:
    """Where the name is on it, which only the backend `trio` does."""
    with tree_that("trio", "waits", "mute") as tree:
        text = run_cli("ps")
    [line] = [line for line in text.splitlines() if tree.child in line]
    assert "it is not ready to answer" in line


def test_it_can_be_cut_off() -> None:
    """As by `head`; that is no error."""
    with tree_that("trio", "waits"):
        reader, writer = os.pipe()
        os.close(reader)
        done = subprocess.run(
            [sys.executable, "-m", "tractor", "ps"],
            check=False,
            stdout=writer,
            stderr=subprocess.PIPE,
            cwd=ROOT,
            timeout=SAFETY,
        )
        os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
def test_a_person_uses_it_at_a_terminal() -> None:
    """Look, find the culprit, end it, look again; ask what works here."""

    def type_in(*args: str) -> str:
        terminal = pexpect.spawn(
            sys.executable,
            ["-m", "tractor", *args],
            timeout=SAFETY,
            encoding="utf-8",
            cwd=str(ROOT),
            dimensions=(50, 160),
        )
        terminal.expect(pexpect.EOF)
        terminal.close()
        assert terminal.exitstatus == 0
        return str(terminal.before)

    with tree_that("trio", "loops") as tree:
        assert f"{tree.child}@" in type_in("tree", tree.name)
        seen = type_in("top", tree.name, "-n", "2", "-d", "0.1")
        assert seen.count(tree.child) >= 2
        assert "in loops (" in type_in("dump", tree.child)
        assert "is gone" in type_in("kill", tree.name)
        assert tree.process.wait(SAFETY) == 128 + signal.SIGTERM
        # Where nothing else runs, that there is nothing is an exit code.
        assert tree.name not in run_cli("ps", code=None)
    assert re.search(r"^ok +backend trio +can_kill", type_in("doctor"), re.MULTILINE)


# -- Ending ----------------------------------------------------------------------------


def test_a_root_ends_in_order(start_method: str) -> None:
    """It is asked, and takes its actors with it."""
    with tree_that(start_method, "waits") as tree:
        assert "is gone" in run_cli("kill", tree.name)
        assert tree.process.wait(SAFETY) == 128 + signal.SIGTERM


def test_a_root_can_be_ended_at_once(start_method: str) -> None:
    """Without being asked; also one that is stuck."""
    with tree_that(start_method, "root") as tree:
        told = json.loads(run_cli("kill", tree.name, "--now", "--json"))
        assert tree.process.wait(SAFETY) == -signal.SIGKILL
    assert told["gone"]
    assert told["signal"] == "SIGKILL"


@own_process
def test_an_actor_is_ended_alone(start_method: str) -> None:
    """Its root hears of that, and decides what follows; this one fails."""
    with tree_that(start_method, "waits") as tree:
        assert "is gone" in run_cli("kill", tree.child, "--now")
        assert tree.process.wait(SAFETY) == 1


@own_process
def test_who_does_not_end_is_an_exit_code(start_method: str) -> None:
    """And advice."""
    with tree_that(start_method, "ignores_everything") as tree:
        text = run_cli("kill", tree.child, "-t", "0.1", code=cli.ALIVE)
    assert "got SIGTERM and has not ended in 0.1 s; --now does not ask" in text


TITLES: Final = """
import sys, time, setproctitle

print(flush=True)
while True:
    title = f"tractor._child --name {sys.argv[1]} {time.time()}"
    setproctitle.setproctitle(title)
    time.sleep(0.0002)
"""


def test_who_changes_its_title_is_still_itself() -> None:
    """What is gone is told by its birth, and not by what it is called."""
    pytest.importorskip("setproctitle")
    with (
        own_runtime_dir(),
        start_python("", "-c", TITLES, f"t{uuid4().hex[:8]}") as process,
    ):
        assert process.stdout is not None
        try:
            process.stdout.readline()
            run_cli("kill", str(process.pid), "-t", "1e9")
            assert process.wait(SAFETY) == -signal.SIGTERM
        finally:
            process.kill()


@pytest.mark.parametrize("within", ["inf", "1e300"])
def test_a_long_time_is_as_long_as_one_can_wait(within: str) -> None:
    """And is no error after the signal was sent."""
    with tree_that("trio", "waits") as tree:
        assert "is gone" in run_cli("kill", tree.name, "-t", within)


@pytest.mark.skipif(
    "subint" not in spawn.available_backends(), reason="needs Python 3.14"
)
def test_an_interpreter_is_not_ended_alone() -> None:
    """There is nothing that could."""
    with tree_that("subint", "waits") as tree:
        text = run_cli("kill", tree.child, code=2)
    assert "is an interpreter inside process" in text


# -- Mistakes --------------------------------------------------------------------------


def test_an_actor_that_is_none_is_named() -> None:
    """With what to try."""
    with tree_that("trio", "waits"):
        text = run_cli("dump", "nonesuch", code=1)
    assert "there is no actor 'nonesuch'" in text


def test_only_one_actor_is_ended() -> None:
    """A name that several have is refused; what they are called otherwise is told."""
    with tree_that("trio", "waits") as tree, tree_that("trio", "waits") as other:
        # Both have the name of the program that runs them as their parent's.
        pid, uuid = tree.process.pid, actors_of(tree)[tree.name]["uuid"]
        assert f"{tree.name}@{pid}" in run_cli("tree", uuid[:6])
        assert tree.name in run_cli("tree", f"{tree.name}@{pid}")
        assert other.name not in run_cli("tree", str(pid))


@pytest.mark.parametrize(
    "args", [(), ("nonesuch",), ("dump",), ("kill", "x", "-t", "-1")]
)
def test_a_wrong_command_line_is_an_exit_code(args: tuple[str, ...]) -> None:
    """And says what is wrong."""
    assert run_cli(*args, code=2)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a full device")
def test_what_cannot_be_written_is_an_error() -> None:
    """In one line, and not by the last words of Python."""
    with tree_that("trio", "waits"), Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "tractor", "ps"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=SAFETY,
        )
    assert done.returncode == cli.FAILED
    assert re.fullmatch("tractor: .*No space left on device\n", done.stderr)


def test_without_an_output_there_is_no_error() -> None:
    """Only the exit code is left."""
    with tree_that("trio", "waits"):
        closed = shlex.join([sys.executable, "-m", "tractor", "ps"]) + " >&-"
        done = subprocess.run(
            ["/bin/sh", "-c", closed],
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=SAFETY,
        )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_name_with_a_space_is_listed_whole() -> None:
    """Also where only the command line of a mute actor has it."""
    command = "python -m tractor._child --name my worker --link 3 --lifeline 4"
    process = ProcessFacts(1, 0, command, "S", [])
    assert name_of(ActorNode(None, Answer(process, None))) == "my worker"

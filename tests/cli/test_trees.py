"""`ps`, `tree`, `dump` and `kill`, upon a tree that knows nothing of them."""

import json
import os
import signal
import subprocess
import sys
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
def tree_that(start_method: str, fn: str, *words: str) -> Iterator[Tree]:
    """Such a tree, once it misbehaves; killed in the end."""
    name = f"t{uuid4().hex[:8]}"
    with (
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
    """Look, find the culprit, end it, look again."""

    def type_in(*args: str) -> str:
        words = ["-m", "tractor", *args]
        terminal = pexpect.spawn(
            sys.executable, words, timeout=SAFETY, encoding="utf-8", cwd=str(ROOT)
        )
        terminal.expect(pexpect.EOF)
        terminal.close()
        return str(terminal.before)

    with tree_that("trio", "loops") as tree:
        assert f"{tree.child}@" in type_in("tree")
        assert "in loops (" in type_in("dump", tree.child)
        assert "is gone" in type_in("kill", tree.name)
        assert tree.process.wait(SAFETY) == 128 + signal.SIGTERM
        assert tree.name not in type_in("ps")


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

"""Trees are found from inside of one, too, and by what runs in them alone."""

import os
import shlex

import pytest
import trio

from tests._helpers import open_tree
from tractor.devx import find_trees
from tractor.devx._trees import _is_actor

linux = pytest.mark.skipif(
    not hasattr(os, "memfd_create"), reason="needs Linux's memfd"
)


@linux
async def test_a_root_finds_itself_with_its_children_below(start_method: str) -> None:
    """They are siblings, as it started them."""
    async with open_tree(start_method) as an:
        for name in ("one", "two"):
            await an.start_actor(name)
        trees = await trio.to_thread.run_sync(find_trees)
        await an.cancel()
    [mine] = [tree for tree in trees if tree.root.answer.process.pid == os.getpid()]
    assert mine.root.aid is not None
    assert mine.root.aid.name == "root"
    names = [child.aid.name for child in mine.root.children if child.aid is not None]
    assert sorted(names) == ["one", "two"]


@linux
async def test_who_is_no_actor_is_left_out() -> None:
    """And so is not taken for the root of anything."""
    trees = await trio.to_thread.run_sync(find_trees)
    pids = [node.answer.process.pid for tree in trees for node in tree.root.walk()]
    assert os.getpid() not in pids


@pytest.mark.parametrize(
    "argv",
    [
        "python -P -c 'import sys; from tractor._child import main' /x --name a",
        "python -m tractor._child --name a",
        "'tractor._child --name a'",
        """python -c "from multiprocessing.forkserver import main; main(3, 4, [
        'tractor._child'])" """,
    ],
)
def test_an_actor_is_known_by_its_command_line(argv: str) -> None:
    """As it is started, as it calls itself, or as what it is a fork of."""
    assert _is_actor(shlex.split(argv.replace("\n", "")))


@pytest.mark.parametrize(
    "argv",
    [
        "tail -f tractor._child.txt",
        "grep -c tractor._child log",
        "pgrep -f 'tractor._child --name a'",
        "vim tractor/_child.py",
        "",
    ],
)
def test_who_only_talks_of_actors_is_none(argv: str) -> None:
    """Nobody's editor is the root of a tree."""
    assert not _is_actor(shlex.split(argv) or [""])

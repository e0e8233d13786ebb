"""The trees of actors that run on this machine, of this user, seen from outside them.

A process is known to belong to a tree if it has a mailbox (see `_mailbox`) or if its
command line starts an actor. From there one goes up to the root, which may itself be
mute, and down to all that is below. A tree on a backend whose children do not show on
the command line, and in which nobody is ready to answer, is not found.
"""

import os
import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Final

from tractor._proc import PROC, Stat, descendants, read, read_stat
from tractor.devx._ask import PATIENCE, ask
from tractor.devx._facts import Answer
from tractor.devx._mailbox import find_doors
from tractor.devx._tree import ActorTree, build_tree, own_answer
from tractor.runtime import maybe_actor

# On the command line of an actor, after -c, or of the forkserver that it is a fork of.
_BOOT: Final = re.compile(
    r"from tractor\._child import |multiprocessing\.forkserver .*'tractor\._child'"
)
_MODULE: Final = "tractor._child"  # after -m
_TITLE: Final = f"{_MODULE} --name "  # instead, where there is `setproctitle`
_MP_CHILD: Final = "--multiprocessing-fork"  # an argument of what that has started


def find_trees(
    within: float = PATIENCE, *, last_resort: bool = True
) -> list[ActorTree]:
    """Each tree of this user's actors, by the process id of its root.

    It works while they are stuck; those that say nothing are shown from outside. This
    process is left out, unless an actor runs in it. It needs Linux; elsewhere there is
    nothing to be found.

    Args:
        within: Seconds for all answers together; > 0.
        last_resort: Whether those that say nothing get the signal upon which
            `faulthandler` writes their stacks. It fills their memory a little each
            time, so whoever asks again and again does without.
    """
    own = own_answer() if maybe_actor() is not None else None
    found: dict[int, Stat] = {}
    roots: list[list[tuple[int, Stat]]] = []
    left_out = os.getpid() if own is None else 0
    for root, stat in sorted(_roots(left_out).items()):
        if root not in found:
            tree = [(root, stat), *descendants(root)]
            found.update(tree)
            roots.append([each for each in tree if each[0] != left_out])
    processes = [each for tree in roots for each in tree]
    answers = _ask(processes, own, within, last_resort=last_resort)
    trees = []
    for tree in roots:
        pids = {pid for pid, _ in tree}
        of_tree = [each for each in answers if each.process.pid in pids]
        top = _first(of_tree, tree[0][0])
        trees.append(build_tree(top, [each for each in of_tree if each is not top]))
    return trees


def _ask(
    processes: list[tuple[int, Stat]],
    own: Answer | None,
    within: float,
    *,
    last_resort: bool,
) -> list[Answer]:
    """What they answer, this one without being asked."""
    if own is None:
        return ask(processes, within, last_resort)
    # An actor in a sub-interpreter does not speak for its whole process.
    speaks = not own.interpreter
    questions = [
        (pid, None if speaks and pid == os.getpid() else stat)
        for pid, stat in processes
    ]
    return [own, *ask(questions, within, last_resort)]


def _first(answers: list[Answer], pid: int) -> Answer:
    """That of the root itself, and not of an interpreter inside it."""
    return next(
        each for each in answers if each.process.pid == pid and not each.interpreter
    )


def _roots(left_out: int) -> dict[int, Stat]:
    """The topmost process of each tree, and never the one that is left out."""
    members = {pid: stat for pid, stat in _members() if pid != left_out}
    roots = {}
    for pid, stat in members.items():
        root = _topmost(pid, stat, members, left_out)
        if root is not None:
            roots[root[0]] = root[1]
    # One of them may be below another: a program that an actor has started.
    below = {pid for root in roots for pid, _ in descendants(root)}
    return {pid: stat for pid, stat in roots.items() if pid not in below}


def _members() -> Iterator[tuple[int, Stat]]:
    for folder in PROC.glob("[0-9]*"):
        pid = int(folder.name)
        try:
            knows = folder.stat().st_uid == os.geteuid() and (
                pid == os.getpid() or _is_actor(_argv(pid)) or any(find_doors(pid))
            )
        except OSError:  # it has ended, or one may not look at it
            continue
        if knows and (stat := read_stat(folder)) is not None:
            yield pid, stat


def _topmost(
    pid: int, stat: Stat, members: dict[int, Stat], left_out: int
) -> tuple[int, Stat] | None:
    """Of the tree that this process is in.

    What has the command line of a child has been started by an actor, even by a mute
    one. (Its parent is process 1, or a reaper, for a moment after the actor's end.)
    """
    while stat.parent not in (0, 1, left_out) and (
        stat.parent in members or _is_child(pid)
    ):
        above = read_stat(PROC / str(stat.parent))
        if above is None:
            return None
        pid, stat = stat.parent, above
    return pid, stat


def _is_child(pid: int) -> bool:
    argv = _argv(pid)
    return _is_actor(argv) or _MP_CHILD in argv


def _is_actor(argv: list[str]) -> bool:
    """Whether this is the command line of one, and not of who just talks of actors."""
    return argv[0].startswith(_TITLE) or any(
        (option == "-c" and _BOOT.search(value))
        or (option == "-m" and value == _MODULE)
        for option, value in pairwise(argv)
    )


def _argv(pid: int) -> list[str]:
    """At least one text, which is empty for a zombie."""
    return read(PROC / str(pid) / "cmdline").split("\0")

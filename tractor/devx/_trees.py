"""The trees of actors that run on this machine, of this user, seen from outside them.

A process is known to belong to a tree if it has a mailbox (see `_mailbox`) or if its
command line starts an actor. From there one goes up to the root, which may itself be
mute, and down to all that is below. A tree on a backend whose children do not show on
the command line, and in which nobody is ready to answer, is not found.
"""

import os
from collections.abc import Iterator
from typing import Final

from tractor._proc import PROC, Stat, command_of, descendants, read_stat
from tractor.devx._ask import PATIENCE, ask
from tractor.devx._facts import Answer
from tractor.devx._mailbox import find_doors
from tractor.devx._tree import ActorTree, build_tree

_CHILD: Final = "tractor._child"  # what is on the command line of an actor
_MP_CHILD: Final = "--multiprocessing-fork"  # on that of anything by multiprocessing


def find_trees(
    within: float = PATIENCE, *, last_resort: bool = True
) -> list[ActorTree]:
    """Each tree of this user's actors, by the process id of its root.

    It works while they are stuck; those that say nothing are shown from outside. This
    process is left out. It needs Linux; elsewhere there is nothing to be found.

    Args:
        within: Seconds for all answers together; > 0.
        last_resort: Whether those that say nothing get the signal upon which
            `faulthandler` writes their stacks. It fills their memory a little each
            time, so whoever asks again and again does without.
    """
    found: dict[int, Stat] = {}
    roots: list[list[tuple[int, Stat]]] = []
    for root, stat in sorted(_roots().items()):
        if root not in found:
            tree = [(root, stat), *descendants(root)]
            found.update(tree)
            roots.append([each for each in tree if each[0] != os.getpid()])
    answers = ask([each for tree in roots for each in tree], within, last_resort)
    trees = []
    for tree in roots:
        pids = {pid for pid, _ in tree}
        of_tree = [each for each in answers if each.process.pid in pids]
        own = _first(of_tree, tree[0][0])
        trees.append(build_tree(own, [each for each in of_tree if each is not own]))
    return trees


def _first(answers: list[Answer], pid: int) -> Answer:
    """That of the root itself, and not of an interpreter inside it."""
    return next(
        each for each in answers if each.process.pid == pid and not each.interpreter
    )


def _roots() -> dict[int, Stat]:
    """The topmost process of each tree."""
    members = dict(_members())
    roots = {}
    for pid, stat in members.items():
        root = _topmost(pid, stat, members)
        if root is not None:
            roots[root[0]] = root[1]
    # One of them may be below another: a program that an actor has started.
    below = {pid for root in roots for pid, _ in descendants(root)}
    return {pid: stat for pid, stat in roots.items() if pid not in below}


def _members() -> Iterator[tuple[int, Stat]]:
    for folder in PROC.glob("[0-9]*"):
        pid = int(folder.name)
        try:
            ours = folder.stat().st_uid == os.geteuid() and pid != os.getpid()
            knows = ours and (_CHILD in command_of(pid) or any(find_doors(pid)))
        except OSError:  # it has ended, or one may not look at it
            continue
        if knows and (stat := read_stat(folder)) is not None:
            yield pid, stat


def _topmost(pid: int, stat: Stat, members: dict[int, Stat]) -> tuple[int, Stat] | None:
    """Of the tree that this process is in.

    What has the command line of a child has been started by an actor, even by a mute
    one. (Its parent is process 1, or a reaper, for a moment after the actor's end.)
    """
    while stat.parent > 1 and (stat.parent in members or _is_child(pid)):
        above = read_stat(PROC / str(stat.parent))
        if above is None:
            return None
        pid, stat = stat.parent, above
    return pid, stat


def _is_child(pid: int) -> bool:
    command = command_of(pid)
    return _CHILD in command or _MP_CHILD in command

"""`ps`, `tree` and `dump`: finding actors, and showing what they say."""

import argparse
import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec

from tractor.cli._codes import DONE, SILENT, USAGE, CommandError
from tractor.devx import (
    ActorNode,
    ActorTree,
    describe_tree,
    find_trees,
    printable,
)

UUID_PART: Final = 6  # characters of a uuid that name an actor
NO_ACTORS: Final = (
    "no actors found; of a tree on a backend of multiprocessing, or of a root alone, "
    "at least one has to be enabled: see enable_stack_on_sig"
)
COLUMNS: Final = ("PID", "NAME", "S", "STATUS")

_NAME: Final = re.compile(r"tractor\._child.* --name (.+?)(?= --link |$)")


# -- Commands --------------------------------------------------------------------------


def ps(args: argparse.Namespace) -> int:
    """List all actors; an exit code."""
    trees = _trees()
    if args.json:
        print_json([[as_data(each) for each in actors(tree.root)] for tree in trees])
        return DONE
    rows = [COLUMNS]
    for tree in trees:
        for node in actors(tree.root):
            state = node.answer.process.state
            name, status = map(printable, (name_of(node), status_of(node)))
            rows.append((place_of(node), name, state, status))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print("  ".join(cells).rstrip())
    return DONE


def tree(args: argparse.Namespace) -> int:
    """Show who started whom; an exit code."""
    trees = _trees()
    if args.actor is not None:
        trees = [ActorTree(node) for node in chosen(trees, args.actor)]
    if args.json:
        print_json([_with_children(each.root) for each in trees])
        return DONE
    for each in trees:
        if args.mermaid:
            print(each.mermaid(), end="")
        elif args.dot:
            print(each.dot(), end="")
        else:
            print(each)
    return DONE


def dump(args: argparse.Namespace) -> int:
    """Show what actors do and wait for; an exit code."""
    trees = _trees()
    if not args.all:
        nodes = chosen(trees, args.actor)
        # Each alone: what is below it can be had by its own name.
        trees = [ActorTree(ActorNode(node.aid, node.answer)) for node in nodes]
    nodes = [node for each in trees for node in actors(each.root)]
    if args.json:
        print_json([msgspec.to_builtins(node.answer) for node in nodes])
    else:
        for each in trees:
            print("".join(describe_tree(each)), end="")
    return DONE if all(node.answer.report is not None for node in nodes) else SILENT


# -- Actors ----------------------------------------------------------------------------


def _trees() -> list[ActorTree]:
    trees = find_trees()
    if not trees:
        raise CommandError(NO_ACTORS)
    return trees


def chosen(
    trees: Iterable[ActorTree], text: str, *, needed: bool = True
) -> list[ActorNode]:
    """Those that `text` names.

    Raises:
        CommandError: There is none, and one is `needed`.
    """
    found = [
        node for each in trees for node in each.root.walk() if text in _names(node)
    ]
    if not found and len(text) >= UUID_PART:
        found = [
            node
            for each in trees
            for node in each.root.walk()
            if node.aid is not None and node.aid.uuid.startswith(text)
        ]
    if needed and not found:
        msg = f"there is no actor {text!r}; `python -m tractor ps` lists them"
        raise CommandError(msg)
    return found


def only_one(trees: Iterable[ActorTree], text: str) -> ActorNode:
    """The one that `text` names.

    Raises:
        CommandError: There is none, or there are several.
    """
    found = chosen(trees, text)
    if len(found) > 1:
        places = ", ".join(f"{name_of(node)}@{place_of(node)}" for node in found)
        msg = f"{text!r} may be any of {places}"
        raise CommandError(msg, USAGE)
    return found[0]


def _names(node: ActorNode) -> set[str]:
    name, place = name_of(node), place_of(node)
    return {name, place, f"{name}@{place}"} - {"-"}


def actors(node: ActorNode) -> Iterator[ActorNode]:
    """Those of the tree, with its root; not other processes, as those of a program."""
    for each in node.walk():
        if each is node or name_of(each) != "-":
            yield each


def name_of(node: ActorNode) -> str:
    """Its name: as it or its parent says, else as on its command line."""
    if node.aid is not None:
        return node.aid.name
    match = _NAME.search(node.answer.process.command)
    return match[1] if match else "-"


def place_of(node: ActorNode) -> str:
    """Its process id, and in a sub-interpreter the number of that."""
    number = node.answer.interpreter
    return f"{node.answer.process.pid}{f'.{number}' if number else ''}"


def status_of(node: ActorNode) -> str:
    """What it says of itself, or why it does not."""
    if node.actor is not None:
        return node.actor.state
    return node.answer.silence or "no actor runs in it"


def as_data(node: ActorNode) -> dict[str, Any]:
    """For JSON."""
    process = node.answer.process
    return {
        "name": name_of(node) if name_of(node) != "-" else None,
        "uuid": node.aid.uuid if node.aid is not None else None,
        "pid": process.pid,
        "interpreter": node.answer.interpreter,
        "state": process.state,
        "status": status_of(node),
        "answered": node.answer.report is not None,
        "command": process.command,
    }


def _with_children(node: ActorNode) -> dict[str, Any]:
    children = [_with_children(each) for each in node.children]
    return {**as_data(node), "children": children}


def print_json(data: object) -> None:
    """For a program to read, and people too."""
    print(msgspec.json.format(msgspec.json.encode(data)).decode())

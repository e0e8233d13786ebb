"""The tree is put together right from what some say and others do not."""

from tractor import Aid
from tractor.devx import (
    ActorFacts,
    ActorNode,
    Answer,
    CallFacts,
    PeerFacts,
    ProcessFacts,
    Report,
)
from tractor.devx._tree import build_tree

ROOT = Aid("root", "r", 1)
WORKER = Aid("worker", "w", 2)
BELOW = Aid("below", "b", 3)


def process(pid: int, parent: int) -> ProcessFacts:
    """One that sleeps."""
    return ProcessFacts(pid, parent, f"command {pid}", "S", [])


def answer(
    who: Aid,
    parent: Aid | None = None,
    *children: Aid,
    interpreter: int = 0,
    calls: tuple[CallFacts, ...] = (),
) -> Answer:
    """What an actor says."""
    peers = [PeerFacts(each, "child", "open", 0, list(calls)) for each in children]
    if parent is not None:
        peers.append(PeerFacts(parent, "parent", "open", 0, list(calls)))
    actor = ActorFacts(who, parent, "running", peers, [])
    pid = who.pid or 0
    report = Report(pid, interpreter, actor, [], [], [], [])
    host = process(pid, parent.pid or 0 if parent is not None else 0)
    return Answer(host, report, interpreter)


def shape(node: ActorNode) -> object:
    """Names, and those below."""
    name = node.aid.name if node.aid is not None else node.answer.process.pid
    return [name, *map(shape, node.children)]


def test_actors_stand_below_who_started_them() -> None:
    """Whoever is the parent of their process."""
    forkserver = Answer(process(9, 1), None, silence="deaf")
    worker = answer(WORKER, ROOT)
    worker = Answer(process(2, 9), worker.report)
    tree = build_tree(answer(ROOT, None, WORKER), [forkserver, worker])
    assert shape(tree.root) == ["root", [9], ["worker"]]


def test_a_silent_one_is_known_from_its_parent() -> None:
    """By name; those below it, by its process."""
    silent = Answer(process(2, 1), None, silence="no answer")
    below = answer(BELOW, WORKER)
    tree = build_tree(answer(ROOT, None, WORKER), [silent, below])
    assert shape(tree.root) == ["root", ["worker", ["below"]]]
    assert str(tree).splitlines()[1] == "  worker@2 S: no answer"


def test_a_silent_one_is_known_from_its_children() -> None:
    """By name, where nobody above tells of it."""
    silent = Answer(process(2, 1), None, silence="deaf")
    tree = build_tree(answer(ROOT), [silent, answer(BELOW, WORKER)])
    assert shape(tree.root) == ["root", ["worker", ["below"]]]


def test_who_stands_below_nobody_known_stands_below_its_process() -> None:
    """Nobody told of its parent."""
    silent = Answer(process(2, 1), None, silence="deaf")
    below = Answer(process(3, 2), answer(BELOW).report)
    tree = build_tree(answer(ROOT), [silent, below])
    assert shape(tree.root) == ["root", [2, ["below"]]]


def test_an_interpreter_that_is_not_enabled_is_shown() -> None:
    """It has no process of its own that could be described."""
    inside = Aid("inside", "i", 1)
    tree = build_tree(answer(ROOT, None, inside), [])
    assert shape(tree.root) == ["root", ["inside"]]
    assert "not ready to answer" in str(tree)


def test_an_interpreter_leaves_its_siblings_out() -> None:
    """They answer, too, being in the same process; but they are not below it."""
    inside, sibling, below = (Aid(name, name, 1) for name in ("i", "s", "b"))
    own = answer(inside, ROOT, below, interpreter=1)
    others = [
        answer(sibling, ROOT, interpreter=2),
        answer(below, inside, interpreter=3),
    ]
    assert shape(build_tree(own, others).root) == ["i", ["b"]]


def test_both_ends_of_a_call_are_put_together() -> None:
    """The path is known to the callee, the state to each."""
    there = CallFacts(0, outgoing=False, path="m.f", state="busy")
    here = CallFacts(0, outgoing=True, path=None, state="waits")
    late = CallFacts(2, outgoing=True, path=None, state="")
    root = answer(ROOT, None, WORKER, calls=(here, late))
    tree = build_tree(root, [answer(WORKER, ROOT, calls=(there,))])
    assert list(tree.calls()) == [
        "root called worker, 0: m.f",
        "    the caller: waits",
        "    the callee: busy",
        "root called worker, 2: ?",
    ]

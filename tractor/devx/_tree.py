"""The tree of actors below this one, put together from what each of them says.

Each end of a call or a context knows half of it: the caller that it waits, the callee
which function runs. Here both halves meet.
"""

from collections.abc import Iterable, Iterator

from msgspec import Struct

from tractor._types import Aid, Uid
from tractor.devx._actors import take_report
from tractor.devx._ask import DEAF, ask_all, describe_this_process
from tractor.devx._facts import ActorFacts, Answer, CallFacts, TaskFacts
from tractor.devx._graph import Branch, dot, mermaid, outline
from tractor.devx._tasks import current_stacks, runs
from tractor.devx._text import nursery_state, task_lines, task_title


class ActorNode(Struct):
    """An actor, or a process that is none, and what is below it.

    Attributes:
        aid: Who it is; `None` for a process that is no actor, as far as is known.
        answer: What is known of it.
        children: Those that it started.
    """

    aid: Aid | None
    answer: Answer
    children: "list[ActorNode]" = []

    @property
    def actor(self) -> ActorFacts | None:
        """What the actor says of itself, if it does."""
        report = self.answer.report
        return report.actor if report is not None else None

    @property
    def title(self) -> str:
        """One line on it."""
        process = self.answer.process
        number = self.answer.interpreter
        inside = f", interpreter {number}" if number else ""
        if self.aid is None:
            what = f"process {process.pid}{inside} {process.state}"
            return f"{what}: {self.answer.silence if number else process.command:.80}"
        state = self.answer.silence or "no actor runs in it"
        if self.actor is not None:
            state = self.actor.state
        return f"{self.aid.reprol()}{inside} {process.state}: {state}"

    def walk(self) -> "Iterator[ActorNode]":
        """It and all below it, from the top."""
        yield self
        for child in self.children:
            yield from child.walk()

    def as_branch(self) -> Branch:
        """For a picture."""
        return Branch(self.title, [child.as_branch() for child in self.children])


class ActorTree(Struct):
    """Actors and other processes; `str` gives an outline.

    Attributes:
        root: This process; not the root of the whole tree unless that is here.
    """

    root: ActorNode

    def __str__(self) -> str:
        return "\n".join(outline([self.root.as_branch()]))

    def mermaid(self) -> str:
        """A flowchart of mermaid."""
        return mermaid([self.root.as_branch()])

    def dot(self) -> str:
        """A digraph of Graphviz."""
        return dot([self.root.as_branch()])

    def calls(self) -> Iterator[str]:
        """Lines on each call and context under way, with what both ends say."""
        called, served = self._ends(outgoing=True), self._ends(outgoing=False)
        for key in sorted(called.keys() | served.keys()):
            caller, callee, cid = key
            ends = {"caller": called.get(key), "callee": served.get(key)}
            path = ends["callee"].path if ends["callee"] is not None else "?"
            yield f"{caller[0]} called {callee[0]}, {cid}: {path}"
            for side, end in ends.items():
                if end is not None and end.state:
                    yield f"    the {side}: {end.state}"

    def _ends(self, *, outgoing: bool) -> dict[tuple[Uid, Uid, int], CallFacts]:
        """By caller, callee and number."""
        found = {}
        for node in self.root.walk():
            if (actor := node.actor) is None:
                continue
            for peer in actor.peers:
                pair = (actor.aid.uid, peer.aid.uid)
                for call in peer.calls:
                    if call.outgoing == outgoing:
                        caller, callee = pair if outgoing else pair[::-1]
                        found[caller, callee, call.cid] = call
        return found


class TaskTree(Struct):
    """The tasks of this interpreter; `str` gives an outline, with stacks.

    Attributes:
        runs: The first task of each `trio.run`.
    """

    runs: list[TaskFacts]

    def __str__(self) -> str:
        return "\n".join(line for run in self.runs for line in task_lines(run))

    def mermaid(self) -> str:
        """A flowchart of mermaid."""
        return mermaid([_branch_of_task(run) for run in self.runs])

    def dot(self) -> str:
        """A digraph of Graphviz."""
        return dot([_branch_of_task(run) for run in self.runs])


def task_tree() -> TaskTree:
    """The tasks of every `trio.run` of this interpreter, with their stacks.

    May be called from any thread, also while the loop is stuck.
    """
    return TaskTree(runs(current_stacks()))


def actor_tree() -> ActorTree:
    """This actor and all below it, each with its state.

    May be called from any thread and whatever they do: one that says nothing is shown
    as it looks from outside. It takes at most a second and does not give the loop
    back meanwhile; call it by `trio.to_thread.run_sync` where that matters.
    """
    return build_tree(own_answer(), ask_all())


def own_answer() -> Answer:
    """What is known of this process."""
    report = take_report()
    return Answer(describe_this_process(), report, report.interpreter)


def build_tree(own: Answer, others: Iterable[Answer]) -> ActorTree:
    """The tree, by who started whom as the actors say, else as the kernel does."""
    answers = [own, *others]
    told = _told_of(answers)
    parents = _parents_of(answers)
    nodes = [ActorNode(_aid_of(each, told, parents), each) for each in answers]
    root = nodes[0]
    by_pid = {node.answer.process.pid: node for node in nodes if _is_process(node)}
    by_pid[own.process.pid] = root
    by_uid = {node.aid.uid: node for node in nodes if node.aid is not None}
    for node in nodes[1:]:
        starter = _starter_of(node, told)
        if starter in by_uid:
            by_uid[starter].children.append(node)
        elif starter is None or not own.interpreter:
            by_pid.get(node.answer.process.parent, root).children.append(node)
        # else it is of another actor in this process, and not below this one
    for child in told.values():
        if child.aid.uid not in by_uid:  # it is in a sub-interpreter, and not enabled
            answer = Answer(child.teller.process, None, silence=DEAF)
            by_uid[child.starter].children.append(ActorNode(child.aid, answer))
    return ActorTree(root)


class _Told(Struct, frozen=True):
    """A child that an actor tells of."""

    aid: Aid
    starter: Uid
    teller: Answer


def _told_of(answers: list[Answer]) -> dict[Uid, _Told]:
    return {
        peer.aid.uid: _Told(peer.aid, answer.report.actor.aid.uid, answer)
        for answer in answers
        if answer.report is not None and answer.report.actor is not None
        for peer in answer.report.actor.peers
        if peer.relation == "child"
    }


def _is_process(node: ActorNode) -> bool:
    return not node.answer.interpreter


def _starter_of(node: ActorNode, told: dict[Uid, _Told]) -> Uid | None:
    if node.aid is not None and node.aid.uid in told:
        return told[node.aid.uid].starter
    parent = node.actor.parent if node.actor is not None else None
    return parent.uid if parent is not None else None


def _parents_of(answers: list[Answer]) -> dict[int | None, Aid]:
    """Actors that children of another process tell of, by their process id."""
    actors = [each.report.actor for each in answers if each.report is not None]
    return {
        actor.parent.pid: actor.parent
        for actor in actors
        if actor is not None
        if actor.parent is not None and actor.parent.pid != actor.aid.pid
    }


def _aid_of(
    answer: Answer, told: dict[Uid, _Told], parents: dict[int | None, Aid]
) -> Aid | None:
    """Who it is: as it says, else as whoever started it does, or whom it started."""
    if answer.report is not None and answer.report.actor is not None:
        return answer.report.actor.aid
    pid = answer.process.pid
    for child in told.values():
        # What was started from within the same process is a sub-interpreter of it.
        if child.aid.pid == pid != child.teller.process.pid and not answer.interpreter:
            return child.aid
    return parents.get(pid) if not answer.interpreter else None


def _branch_of_task(task: TaskFacts) -> Branch:
    below = []
    for nursery in task.nurseries:
        tasks = [_branch_of_task(each) for each in nursery.tasks]
        below.append(Branch(f"nursery{nursery_state(nursery)}", tasks))
    return Branch(task_title(task), below)

"""What is known of an actor at one moment, as plain records.

They hold names and places and no object of the program, so that they may be kept, sent
to another process, and shown there: `_tasks` and `_actors` make them, `_text` and
`_graph` show them.
"""

from msgspec import Struct

from tractor._proc import KernelThread
from tractor._types import Aid


class Frame(Struct, frozen=True, array_like=True):
    """A place in the code.

    Attributes:
        path: Of the file.
        line: Its number, from 1.
        function: Qualified name.
    """

    path: str
    line: int
    function: str


class NurseryFacts(Struct, frozen=True):
    """A nursery of trio.

    Attributes:
        cancelled: Whether its scope was cancelled.
        shielded: Whether its scope keeps cancellations from outside away.
        tasks: What runs in it.
    """

    cancelled: bool
    shielded: bool
    tasks: "list[TaskFacts]"


class TaskFacts(Struct, frozen=True):
    """A task of trio.

    Attributes:
        name: As trio has it.
        running: Whether it is the one that has the loop; all others wait.
        stack: From its function down to where it is.
        nurseries: Those that it opened, the outermost first.
    """

    name: str
    running: bool
    stack: list[Frame]
    nurseries: list[NurseryFacts]


class ThreadFacts(Struct, frozen=True):
    """A thread that runs Python, of this interpreter.

    Attributes:
        name: Its name.
        tid: Native id.
        stack: From its function down to where it is.
    """

    name: str
    tid: int
    stack: list[Frame]


class CallFacts(Struct, frozen=True):
    """A call or a context that is under way, at one of its ends.

    Attributes:
        cid: Its number on the channel; the other end has the same.
        outgoing: Whether this actor opened it.
        path: ``module.function``, where it runs; `None` where it was called.
        state: In words; empty when there is nothing to say.
        unread: Items that wait to be read here; `None` where it is no context.
    """

    cid: int
    outgoing: bool
    path: str | None
    state: str
    unread: int | None = None


class PeerFacts(Struct, frozen=True):
    """Another actor that this one has a channel to.

    Attributes:
        aid: Who it is.
        relation: ``parent``, ``child`` or ``peer``.
        channel: State of the channel, in words.
        queued: Bytes that wait to be sent to it.
        calls: What is under way between the two.
    """

    aid: Aid
    relation: str
    channel: str
    queued: int
    calls: list[CallFacts]


class ActorFacts(Struct, frozen=True):
    """An actor.

    Attributes:
        aid: Who it is.
        parent: Who started it; `None` for a root.
        state: ``running``, or who asked it to stop.
        peers: Those that it talks with.
        orphans: Actors of its own that it could not stop.
    """

    aid: Aid
    parent: Aid | None
    state: str
    peers: list[PeerFacts]
    orphans: list[Aid]


class Report(Struct, frozen=True):
    """All that an interpreter knows of itself.

    Attributes:
        pid: Its process.
        interpreter: Its number in there; 0 is the first one.
        actor: The actor in it, if one runs.
        runs: The first task of each `trio.run`.
        threads: Those that run Python.
        interpreters: Ids of the sub-interpreters in the process.
        missing: Parts that could not be found out, and why.
    """

    pid: int
    interpreter: int
    actor: ActorFacts | None
    runs: list[TaskFacts]
    threads: list[ThreadFacts]
    interpreters: list[int]
    missing: list[str]


class ProcessFacts(Struct, frozen=True):
    """A process, seen from outside.

    Attributes:
        pid: Its id.
        parent: That of its parent.
        command: Its command line.
        state: A letter; see `tractor._proc.Stat`.
        threads: Those that the kernel knows.
    """

    pid: int
    parent: int
    command: str
    state: str
    threads: list[KernelThread]


class Answer(Struct, frozen=True):
    """What came of asking one interpreter for its report.

    Attributes:
        process: How it looks from outside.
        report: What it said; `None` when it said nothing.
        interpreter: Its number in the process; 0 is the first one.
        silence: Why it said nothing; empty when it did.
        stacks: Of its threads, in the words of `faulthandler`, when its interpreter is
            stuck but that could still be had.
    """

    process: ProcessFacts
    report: Report | None
    interpreter: int = 0
    silence: str = ""
    stacks: str = ""

"""What the scheduler works with: cowns, requests for them, and lanes."""

from collections import deque
from enum import Enum, auto
from typing import Any, Final

TASKS: Final = 256  # async behaviours that run in one lane at a time


class Kind(Enum):
    """Where a request runs."""

    SYNC = auto()  # in any lane, alone
    ASYNC = auto()  # in any lane, beside others
    LOCAL = auto()  # at the scope
    READ = auto()  # at the scope, and only looks


class Node:
    """What is known of one cown.

    Attributes:
        number: Its identity.
        first: The first request that is not placed.
        rest: Those behind it.
        running: How many are placed and have not ended; all are in one lane.
        lane: That lane.
        open: Whether another one may follow there.
        home: The lane that has the value.
        copy: The value, packed; `None` if there is none that counts.
        failed: 0, or as what an error is packed.
        error: The error itself, where it is known here.
        size: Bytes of the last copy.
        wanted: Whether the copy was asked for.
        poison: Why the value is lost.
        pins: Reasons to remember it beside requests: handles, and being exported.
        pinned: Whether it stays at the scope; `copy` is the value itself then.
        seen: Whether somebody has looked at it.
    """

    __slots__ = (
        "copy",
        "error",
        "failed",
        "first",
        "home",
        "lane",
        "number",
        "open",
        "pinned",
        "pins",
        "poison",
        "rest",
        "running",
        "seen",
        "size",
        "wanted",
    )

    def __init__(self, number: int) -> None:
        self.number = number
        self.first: Request | None = None
        self.rest: deque[Request] | None = None
        self.running = 0
        self.lane: Lane | None = None
        self.open = True
        self.home: Lane | None = None
        self.copy: Any = None
        self.failed = 0
        self.error: BaseException | None = None
        self.size = 0
        self.wanted = False
        self.poison: BaseException | None = None
        self.pins = 0
        self.pinned = False
        self.seen = False

    @property
    def free(self) -> bool:
        """Whether nobody needs to know of it any more."""
        return not self.pins and not self.running and self.first is None


class Request:
    """One behaviour, from its scheduling to its end.

    Attributes:
        nodes: All cowns that it needs, its result among them; each once, by number.
        result: Where its outcome goes.
        kind: Where it runs.
        job: What the driver keeps of it.
        order: Its place in the order of scheduling.
        ahead: How many queues it is not the first of.
        lane: Where it was placed.
        parked: The list in which it waits for room.
        puts: Nodes whose values have to go with it.
        refused: Whether it will not run.
    """

    __slots__ = (
        "ahead",
        "job",
        "kind",
        "lane",
        "nodes",
        "order",
        "parked",
        "puts",
        "refused",
        "result",
    )

    def __init__(
        self, nodes: list[Node], result: Node | None, kind: Kind, job: Any
    ) -> None:
        self.nodes = nodes if len(nodes) == 1 else sorted(set(nodes), key=_number)
        self.result = result
        if result is not None:
            self.nodes.append(result)  # a new one, which nobody else has
        self.kind = kind
        self.job = job
        self.order = 0
        self.ahead = 0
        self.lane: Lane | None = None
        self.parked: deque[Request] | None = None
        self.puts: list[Node] | None = None  # most have none
        self.refused = False


def _number(node: Node) -> int:
    return node.number


class Lane:
    """One worker.

    Attributes:
        name: For people.
        ready: Whether it may get something.
        quota: How many sync ones it may have.
        load: How many it has.
        tasks: How many async ones it has.
        placed: What it has, by order.
        outgoing: What it has and was not told of yet.
        backlog: What can go nowhere else, and waits for room.
        forget: Numbers of values that it need not have any more.
        wanted: Numbers of values that it shall give copies of.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.ready = False
        self.quota = 1
        self.load = 0
        self.tasks = 0
        self.placed: dict[int, Request] = {}
        self.outgoing: list[Request] = []
        self.backlog: deque[Request] = deque()
        self.forget: list[int] = []
        self.wanted: list[int] = []

    def has_room(self, kind: Kind) -> bool:
        """Whether one more of this kind fits."""
        if not self.ready:
            return False
        return self.load < self.quota if kind is Kind.SYNC else self.tasks < TASKS

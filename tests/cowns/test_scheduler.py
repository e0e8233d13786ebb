"""The scheduler alone, driven by chance: invariants I1 to I8 and I12 to I14.

The machine plays workers as they are: each runs what it was given in that order, keeps
values, saves some and leaves others unsaved, gives back what it has not begun, and
dies. A value is the number of behaviours that were over it, so that each of them can
see whether it has the right one. `EXAMPLES` runs have `STEPS` steps each.
"""

import os
from collections import deque
from typing import Any, Final

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from tractor.cowns._queues import TASKS, Kind, Lane, Node, Request
from tractor.cowns._scheduler import Scheduler

STEPS: Final = 50
IN_CI: Final = bool(os.environ.get("CI"))
WANTED: Final = os.environ.get("TRACTOR_FUZZ_EXAMPLES", "4000" if IN_CI else "600")
EXAMPLES: Final = max(int(WANTED) // 10, 1)  # 20 000 steps in CI

many: Final = settings(
    max_examples=EXAMPLES,
    stateful_step_count=STEPS,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


class Worker(Lane):
    """What is at the other end of a lane."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.inbox: deque[Request] = deque()
        self.tasks_here: list[Request] = []
        self.values: dict[int, int] = {}
        self.unsaved: set[int] = set()
        self.said: list[tuple[str, Any]] = []  # and not heard yet

    def receive(self, scheduler: Scheduler) -> None:
        """Get what the scope has to tell."""
        for number in self.forget:
            if number in scheduler.nodes and not scheduler.nodes[number].poison:
                assert number not in self.unsaved, "the last state would be lost"
            self.values.pop(number, None)
            self.unsaved.discard(number)
        self.forget.clear()
        for request in self.outgoing:
            for node in request.puts or ():
                assert node.copy is not None
                self.values[node.number] = node.copy
            request.puts = None
            if request.kind is Kind.ASYNC:
                self.tasks_here.append(request)
                self.unsaved -= {node.number for node in request.nodes}
            else:
                self.inbox.append(request)
        self.outgoing.clear()
        if self.wanted:
            self.wanted.clear()
            self.save(set())

    def save(self, but: set[int]) -> None:
        """Say what is unsaved."""
        for number in self.unsaved - but:
            self.said.append(("state", (number, self.values[number])))
        self.unsaved &= but


class Machine(RuleBasedStateMachine):
    """See the module."""

    def __init__(self) -> None:
        super().__init__()
        self.scheduler = Scheduler()
        self.workers: list[Worker] = []
        self.hired = 0
        self.cowns: list[Node] = []
        self.numbers = 0
        self.queues: dict[int, list[int]] = {}  # orders that have not ended, by cown
        self.expected: dict[int, int] = {}  # value of each cown
        self.ended: dict[int, str] = {}
        self.scheduled: set[int] = set()

    # -- what happens ------------------------------------------------------------------

    @initialize(workers=st.integers(1, 3), cowns=st.integers(1, 5))
    def begin(self, workers: int, cowns: int) -> None:
        """Some workers and some cowns."""
        for _ in range(workers):
            self.hire()
        for _ in range(cowns):
            self.new_cown()

    @rule()
    def hire(self) -> None:
        """One more worker, if there are few."""
        if len(self.workers) < 3:
            self.hired += 1
            worker = Worker(f"worker {self.hired}")
            self.workers.append(worker)
            self.scheduler.add_lane(worker)

    @rule()
    def new_cown(self) -> None:
        """One more value."""
        node = self.new_node()
        node.copy, node.size = 0, 8
        self.cowns.append(node)

    def new_node(self) -> Node:
        self.numbers += 1
        node = self.scheduler.nodes[self.numbers] = Node(self.numbers)
        node.pins = 1
        self.queues[node.number] = []
        self.expected[node.number] = 0
        return node

    @rule(data=st.data(), kind=st.sampled_from([*Kind, Kind.SYNC, Kind.SYNC]))
    def schedule(self, data: st.DataObject, kind: Kind) -> None:
        """A behaviour over some cowns, with duplicates, or over none."""
        some = st.lists(st.sampled_from(self.cowns), max_size=4)
        nodes = data.draw(some)
        if kind is Kind.READ:
            nodes = nodes[:1] or self.cowns[:1]
        result = None if kind is Kind.READ else self.new_node()
        request = Request(nodes, result, kind, None)
        self.scheduler.schedule(request)
        self.scheduled.add(request.order)
        for node in request.nodes:
            self.queues[node.number].append(request.order)
        if result is not None and data.draw(st.booleans()):
            self.cowns.append(result)

    @rule(data=st.data())
    def learn(self, data: st.DataObject) -> None:
        """A worker may have more at once, or less."""
        if self.workers:
            worker = data.draw(st.sampled_from(self.workers))
            worker.quota = data.draw(st.integers(1, 8))
            self.scheduler.feed(worker)
            self.scheduler.work()

    @rule(data=st.data())
    def receive(self, data: st.DataObject) -> None:
        """A message arrives at a worker."""
        if self.workers:
            data.draw(st.sampled_from(self.workers)).receive(self.scheduler)

    @rule(data=st.data(), keep=st.booleans())
    def run_plain(self, data: st.DataObject, keep: bool) -> None:
        """A worker runs its next behaviour."""
        busy = [worker for worker in self.workers if worker.inbox]
        if not busy:
            return
        worker = data.draw(st.sampled_from(busy))
        request = worker.inbox.popleft()
        self.check_may_run(request)
        held = self.run_body(request, worker.values)
        worker.save(held)
        worker.unsaved |= held
        if not keep:
            worker.save(set())
        left = worker.unsaved & held
        worker.said.append(("done", (request, left)))

    @rule(data=st.data())
    def run_task(self, data: st.DataObject) -> None:
        """An async behaviour ends."""
        busy = [worker for worker in self.workers if worker.tasks_here]
        if not busy:
            return
        worker = data.draw(st.sampled_from(busy))
        request = data.draw(st.sampled_from(worker.tasks_here))
        worker.tasks_here.remove(request)
        self.check_may_run(request)
        for number in self.run_body(request, worker.values):
            worker.said.append(("state", (number, worker.values[number])))
        worker.said.append(("done", (request, set())))

    @rule(data=st.data())
    def hear(self, data: st.DataObject) -> None:
        """What a worker has said arrives."""
        if self.workers:
            self.hear_all(data.draw(st.sampled_from(self.workers)))

    @rule()
    def run_here(self) -> None:
        """What is placed at the scope ends."""
        while self.scheduler.local:
            request = self.scheduler.local.popleft()
            self.check_may_run(request)
            for node in request.nodes:
                if node is request.result:
                    self.scheduler.copied(node, 0, b"12345678")
                    node.copy = 0
                    continue
                assert node.copy == self.expected[node.number]
                if request.kind is Kind.LOCAL:
                    self.expected[node.number] += 1
                    self.copy(node, self.expected[node.number])
            self.end(request, "done")

    @rule()
    def tell_refused(self) -> None:
        """Behaviours over values that are lost end with an error."""
        while self.scheduler.refused:
            request, node = self.scheduler.refused.popleft()
            assert node.poison is not None
            assert node in request.nodes
            if request.result is not None:
                self.copy(request.result, 0)
            self.end(request, "refused")

    @rule(data=st.data())
    def recall(self, data: st.DataObject) -> None:
        """A worker gives back what it has not begun."""
        if not self.workers:
            return
        worker = data.draw(st.sampled_from(self.workers))
        worker.ready = False
        worker.receive(self.scheduler)
        back = list(worker.inbox)
        worker.inbox.clear()
        self.hear_all(worker)
        self.scheduler.unplace(back)
        worker.ready = True
        self.scheduler.feed(worker)
        self.scheduler.work()

    @precondition(lambda self: self.workers)
    @rule(data=st.data(), mid=st.booleans())
    def kill(self, data: st.DataObject, mid: bool) -> None:
        """A worker dies, perhaps in the midst of a behaviour."""
        worker = data.draw(st.sampled_from(self.workers))
        begun = worker.inbox.popleft() if mid and worker.inbox else None
        if begun is not None:
            worker.save({node.number for node in begun.nodes})
        self.hear_all(worker)  # from the log
        self.workers.remove(worker)
        worker.ready = False
        lost = [begun] if begun is not None else []
        lost += worker.tasks_here
        report = RuntimeError(f"{worker.name} died")
        rest = [one for one in worker.placed.values() if one not in lost]
        self.scheduler.unplace(rest)
        held = set()
        for request in lost:
            for node in request.nodes:
                held.add(node.number)
                if node is not request.result:
                    self.scheduler.poison(node, report)
            assert request.result is not None
            self.copy(request.result, 0)
            self.end(request, "lost")
        before = {n for n, node in self.scheduler.nodes.items() if node.poison}
        self.scheduler.remove_lane(worker, report)
        after = {n for n, node in self.scheduler.nodes.items() if node.poison}
        assert after - before <= worker.unsaved, "others than those it had alone"
        if lost and begun is not None:
            assert not after - before, "exactly what was held is lost"

    @rule(data=st.data())
    def forget(self, data: st.DataObject) -> None:
        """A handle goes; what is scheduled over it is done all the same."""
        if len(self.cowns) > 1:
            node = self.cowns.pop(data.draw(st.integers(0, len(self.cowns) - 1)))
            node.pins -= 1
            if node.free:
                self.scheduler.forget(node)

    # -- how it is played --------------------------------------------------------------

    def run_body(self, request: Request, values: dict[int, int]) -> set[int]:
        held = {one.number for one in request.nodes if one is not request.result}
        for number in held:
            assert values[number] == self.expected[number], "an old value"
            values[number] += 1
            self.expected[number] += 1
        return held

    def check_may_run(self, request: Request) -> None:
        """I1, I2, I4, I7: it is the oldest that has not run, on all of its cowns."""
        for node in request.nodes:
            queue = self.queues[node.number]
            assert queue[0] == request.order, f"{queue} before {request.order}"
        for node in request.nodes:
            self.queues[node.number].pop(0)
        request.job = "ran"

    def hear_all(self, worker: Worker) -> None:
        said, worker.said = worker.said, []
        for kind, content in said:
            if kind == "state":
                node = self.scheduler.nodes.get(content[0])
                if node is not None:
                    self.copy(node, content[1])
                self.scheduler.work()
                continue
            request, unsaved = content
            for node in request.nodes:
                if node.number in unsaved:
                    node.copy = None
            assert request.result is not None
            self.copy(request.result, 0)
            self.end(request, "done")

    def copy(self, node: Node, value: int) -> None:
        self.scheduler.copied(node, 0, b"12345678")
        node.copy = value

    def end(self, request: Request, how: str) -> None:
        """I6: each ends once."""
        assert request.order not in self.ended
        self.ended[request.order] = how
        if request.job != "ran":
            for node in request.nodes:
                self.queues[node.number].remove(request.order)
        lane = request.lane
        self.scheduler.finish(request)
        if lane in self.workers:
            self.scheduler.feed(lane)
        self.scheduler.work()

    # -- what always holds -------------------------------------------------------------

    @invariant()
    def in_flight_is_what_has_not_ended(self) -> None:
        """I12."""
        assert self.scheduler.unfinished.keys() == self.scheduled - self.ended.keys()

    @invariant()
    def lanes_are_not_overfull(self) -> None:
        """Counts agree with what is there."""
        for worker in self.workers:
            sync = [r for r in worker.placed.values() if r.kind is Kind.SYNC]
            assert worker.load == len(sync)
            assert worker.tasks == len(worker.placed) - len(sync) <= TASKS

    def teardown(self) -> None:
        """I3, I8: all that is scheduled ends, whatever has happened."""
        if not self.workers:
            self.hire()
        for _ in range(20 * len(self.scheduled) + 20):
            if not self.scheduler.unfinished:
                break
            self.turn_all()
        assert not self.scheduler.unfinished, "wedged"
        assert not any(self.queues.values())
        for node in list(self.scheduler.nodes.values()):
            assert node.first is None
            assert not node.running

    def turn_all(self) -> None:
        self.run_here()
        self.tell_refused()
        for worker in list(self.workers):
            worker.receive(self.scheduler)
            while worker.inbox:
                request = worker.inbox.popleft()
                self.check_may_run(request)
                held = self.run_body(request, worker.values)
                worker.save(held)
                worker.unsaved |= held
                worker.said.append(("done", (request, held)))
            for request in worker.tasks_here:
                self.check_may_run(request)
                for number in self.run_body(request, worker.values):
                    worker.said.append(("state", (number, worker.values[number])))
                worker.said.append(("done", (request, set())))
            worker.tasks_here.clear()
            self.hear_all(worker)


TestMachine = Machine.TestCase
TestMachine.settings = many


# -- Single facts ----------------------------------------------------------------------


def nodes(scheduler: Scheduler, count: int) -> list[Node]:
    """So many values, with handles."""
    found = []
    for number in range(1, count + 1):
        node = scheduler.nodes[number] = Node(number)
        node.pins, node.copy, node.size = 1, b"v", 1
        found.append(node)
    return found


def behaviour(
    scheduler: Scheduler, *over: Node, kind: Kind = Kind.SYNC, number: int = 1000
) -> Request:
    """Schedule one."""
    result = scheduler.nodes[number] = Node(number)
    request = Request(list(over), result, kind, None)
    scheduler.schedule(request)
    return request


def lane(scheduler: Scheduler, name: str = "a", quota: int = 1) -> Lane:
    """One more worker."""
    made = Lane(name)
    made.quota = quota
    scheduler.add_lane(made)
    return made


def test_a_chain_follows_in_its_lane_and_nowhere_else() -> None:
    """It need not wait for its predecessor there, and has to everywhere else."""
    scheduler = Scheduler()
    (x,) = nodes(scheduler, 1)
    first, second = lane(scheduler, "a", 8), lane(scheduler, "b", 8)
    chain = [behaviour(scheduler, x, number=n) for n in range(10, 20)]
    home = chain[0].lane
    assert home in (first, second)
    assert [one.lane for one in chain[:8]] == [home] * 8
    assert [one.lane for one in chain[8:]] == [None, None]
    scheduler.finish(chain[0])
    assert home is not None
    scheduler.feed(home)
    assert chain[8].lane is home


def test_an_async_one_is_not_followed() -> None:
    """What is behind it waits for its end, in its lane, too."""
    scheduler = Scheduler()
    (x,) = nodes(scheduler, 1)
    lane(scheduler, quota=8)
    first = behaviour(scheduler, x, kind=Kind.ASYNC, number=10)
    second = behaviour(scheduler, x, number=11)
    assert first.lane is not None
    assert second.lane is None
    scheduler.finish(first)
    scheduler.work()
    assert second.lane is not None


def test_a_value_is_preferred_where_it_is() -> None:
    """Of two that have room, the one that has most of the bytes; else the idler one."""
    scheduler = Scheduler()
    big, small = nodes(scheduler, 2)
    big.size = 10_000
    first, second = lane(scheduler, "a", 8), lane(scheduler, "b", 8)
    big.home, small.home = first, second
    both = behaviour(scheduler, big, small, number=10)
    assert both.lane is first
    assert both.puts == [small]
    assert second.forget == [small.number]
    other = behaviour(scheduler, number=11)
    assert other.lane is second
    assert (scheduler.counts.hits, scheduler.counts.misses) == (1, 1)
    assert scheduler.counts.bytes_moved == 1


def test_what_only_another_lane_has_is_asked_for_once() -> None:
    """And what needs it is placed when it has come."""
    scheduler = Scheduler()
    x, y = nodes(scheduler, 2)
    first, second = lane(scheduler, "a", 1), lane(scheduler, "b", 8)
    x.home, x.copy = first, None
    assert behaviour(scheduler, number=10).lane is first
    request = behaviour(scheduler, x, y, number=11)
    scheduler.work()
    assert request.lane is None
    assert first.wanted == [x.number]
    scheduler.copied(x, 0, b"new")
    scheduler.work()
    assert request.lane is second
    assert first.forget == [x.number]


def test_the_oldest_that_waits_gets_the_room() -> None:
    """A chain that goes on for ever starves nobody."""
    scheduler = Scheduler()
    x, y = nodes(scheduler, 2)
    one = lane(scheduler)
    first = behaviour(scheduler, x, number=10)
    other = behaviour(scheduler, y, number=11)
    second = behaviour(scheduler, x, number=12)
    scheduler.finish(first)
    scheduler.feed(one)
    assert other.lane is not None
    assert second.lane is None


def test_duplicates_count_once() -> None:
    """I5."""
    scheduler = Scheduler()
    x, y = nodes(scheduler, 2)
    lane(scheduler)
    request = behaviour(scheduler, x, y, x, x, number=10)
    assert [node.number for node in request.nodes] == [1, 2, 10]
    assert request.lane is not None


def test_dropping_leaves_no_trace() -> None:
    """I13, I14: all of it is given back, and no queue has anything in it."""
    scheduler = Scheduler()
    x, y = nodes(scheduler, 2)
    one = lane(scheduler)
    left = [behaviour(scheduler, x, y, number=10 + n) for n in range(5)]
    assert scheduler.drop_all() == left
    assert x.first is y.first is None
    assert not any((x.running, y.running, one.placed, one.outgoing, x.rest))
    assert not scheduler.unfinished


def test_what_nobody_can_ask_for_is_forgotten() -> None:
    """When the last handle is gone and nothing is scheduled over it, at both sides."""
    scheduler = Scheduler()
    (x,) = nodes(scheduler, 1)
    one = lane(scheduler)
    request = behaviour(scheduler, x, number=10)
    x.pins = 0
    assert not x.free
    scheduler.finish(request)
    assert scheduler.nodes == {}
    assert one.forget == [1]

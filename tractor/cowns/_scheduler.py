"""Who runs next, and where; plain Python that knows neither loops nor actors.

Each cown has one queue, in the order of scheduling. A request is put into the queues of
all its cowns at once, and counts those in which it is not the first; at zero it may be
placed. So it has all of its cowns or none, nobody holds one and waits for another, and
the oldest request of all can always run next: there is no deadlock.

*Placing* takes the request out of the queues and puts it into a *lane*, which is one
worker. A lane runs what it has one after the other, in that order. So a request may
follow in the same lane before those ahead of it have ended, and a chain of small
behaviours costs no way there and back for each. Elsewhere it has to wait for their end.

The value of a cown is at *home* in the lane that had it last. `copy` is what the scope
has of it, and is `None` while the home has a newer one. Nothing is placed away from
home before there is a copy; it is asked for by `wanted`.

What is decided is left in lists for whoever drives this: `Lane.outgoing`, `local`,
`refused`, and `touched` for the lanes that have news.
"""

from collections import deque
from typing import Any

from tractor.cowns._queues import Kind, Lane, Node, Request
from tractor.cowns._stats import Counts


class Scheduler:
    """All queues of one scope.

    Attributes:
        lanes: Those that may be used.
        nodes: All cowns that are known, by number.
        unfinished: All requests, by order.
        ready: Sync ones that could go anywhere, and wait for room.
        ready_tasks: Async ones, likewise.
        local: What is placed at the scope, in order.
        refused: What will not run, with the node whose value is lost.
        touched: Lanes with something new to be told of.
        unseen: What was forgotten before anybody had looked at its error.
    """

    def __init__(self) -> None:
        self.lanes: list[Lane] = []
        self.nodes: dict[int, Node] = {}
        self.unfinished: dict[int, Request] = {}
        self.ready: deque[Request] = deque()
        self.ready_tasks: deque[Request] = deque()
        self.local: deque[Request] = deque()
        self.refused: deque[tuple[Request, Node]] = deque()
        self.touched: set[Lane] = set()
        self.unseen: list[Node] = []
        self.counts = Counts()
        self._here = Lane("the scope")
        self._order = 0
        self._todo: deque[Request] = deque()

    # -- requests ----------------------------------------------------------------------

    def schedule(self, request: Request) -> None:
        """Put it into the queues of all its cowns."""
        self._order += 1
        request.order = self._order
        self.unfinished[self._order] = request
        for node in request.nodes:
            if node.first is None:
                node.first = request
            else:
                if node.rest is None:
                    node.rest = deque()
                node.rest.append(request)
                request.ahead += 1
        if not request.ahead:
            self._todo.append(request)
            self.work()

    def finish(self, request: Request) -> None:
        """It has ended, however; its cowns are for others, after `feed` or `work`."""
        del self.unfinished[request.order]
        lane = request.lane
        if lane is None:  # it was never placed
            for node in request.nodes:
                if node.first is request:
                    self._advance(node)
                elif node.rest is not None:  # what was unplaced came before it
                    node.rest.remove(request)
        else:
            self._leave(request, lane)
            for node in request.nodes:
                node.running -= 1
                if not node.running:
                    node.lane = None
                    node.open = True
                    if node.first is not None:
                        self._todo.append(node.first)
                    elif not node.pins:
                        self.forget(node)

    def unplace(self, requests: list[Request]) -> None:
        """These were not begun, and nothing behind them in their lane was."""
        for request in reversed(requests):
            lane = request.lane
            assert lane is not None
            self._leave(request, lane)
            request.lane = None
            request.puts = None
            for node in request.nodes:
                node.running -= 1
                if not node.running:
                    node.lane = None
                    node.open = True
                if (first := node.first) is not None:
                    first.ahead += 1
                    first.parked = None
                    if node.rest is None:
                        node.rest = deque()
                    node.rest.appendleft(first)
                node.first = request
        self._todo.extend(requests)
        self.work()

    def drop_all(self) -> list[Request]:
        """All that has not ended; nothing is left of it."""
        left = list(self.unfinished.values())
        self.unfinished.clear()
        for queue in (self.ready, self.ready_tasks, self.local, self._todo):
            queue.clear()
        self.refused.clear()
        for node in self.nodes.values():
            node.first = node.rest = node.lane = None
            node.running = 0
        for lane in self.lanes:
            lane.placed.clear()
            lane.outgoing.clear()
            lane.backlog.clear()
            lane.load = lane.tasks = 0
        return left

    # -- values ------------------------------------------------------------------------

    def copied(self, node: Node, failed: int, copy: Any) -> None:
        """Here is what its home has."""
        node.copy = copy
        node.failed = failed
        node.error = None
        node.size = len(copy)
        if node.wanted:
            node.wanted = False
            if node.first is not None:
                self._todo.append(node.first)

    def poison(self, node: Node, reason: BaseException) -> None:
        """Its value is lost, and who waits for it is told."""
        node.poison = reason
        node.copy = node.error = None
        node.wanted = False
        if node.home is not None:
            node.home.forget.append(node.number)
            node.home = None
        if node.first is not None:
            self._todo.append(node.first)

    def forget(self, node: Node) -> None:
        """Nobody can ask for it any more."""
        if self.nodes.pop(node.number, None) is None:
            return
        if node.home is not None:
            node.home.forget.append(node.number)
        if node.failed and not node.seen:
            self.unseen.append(node)

    # -- lanes -------------------------------------------------------------------------

    def add_lane(self, lane: Lane) -> None:
        """One more that may be used."""
        self.lanes.append(lane)
        lane.ready = True
        self.feed(lane)

    def remove_lane(self, lane: Lane, unsaved: BaseException) -> None:
        """It is gone; what it had was finished or unplaced before.

        Args:
            lane: It has ended.
            unsaved: For cowns whose last state only it had.
        """
        lane.ready = False
        if lane in self.lanes:
            self.lanes.remove(lane)
        for node in self.nodes.values():
            if node.home is lane:
                node.home = None
                if node.copy is None and node.poison is None:
                    self.poison(node, unsaved)
        while lane.backlog:
            self._todo.append(lane.backlog.popleft())
        self.work()

    def feed(self, lane: Lane) -> None:
        """Give it what waits for room, oldest first, and place what else can be."""
        while lane.has_room(Kind.SYNC) and (lane.backlog or self.ready):
            queue = lane.backlog
            if not queue or (self.ready and self.ready[0].order < queue[0].order):
                queue = self.ready
            request = queue.popleft()
            self._take_from(queue, request)
        while self.ready_tasks and lane.has_room(Kind.ASYNC):
            self._take_from(self.ready_tasks, self.ready_tasks.popleft())
        self.work()

    def _take_from(self, queue: deque[Request], request: Request) -> None:
        if request.parked is queue and request.lane is None:
            request.parked = None
            self._consider(request)

    def work(self) -> None:
        """Place what can be placed."""
        todo = self._todo
        while todo:
            request = todo.popleft()
            if request.lane is None and not request.ahead:
                self._consider(request)

    # -- deciding ----------------------------------------------------------------------

    def _consider(self, request: Request) -> None:
        """Place a request that is the first in all its queues, or leave it for later.

        Whatever it waits for brings it back here.
        """
        lane: Lane | None = None
        for node in request.nodes:
            if node.poison is not None:
                self._refuse(request, node)
                return
            if node.running:
                if not node.open or (lane is not None and lane is not node.lane):
                    return
                lane = node.lane
        self._place_behind(request, lane)

    def _place_behind(self, request: Request, lane: Lane | None) -> None:
        """Place it; where there is a lane, behind others of its cowns."""
        if request.kind is Kind.LOCAL or request.kind is Kind.READ:
            if lane is None and self._have_copies(request, None):
                self._place(request, self._here)
        elif lane is None:
            self._place_anywhere(request)
        elif request.kind is Kind.SYNC:
            if not lane.has_room(Kind.SYNC):
                request.parked = lane.backlog
                lane.backlog.append(request)
            elif self._have_copies(request, lane):
                self._place(request, lane)

    def _place_anywhere(self, request: Request) -> None:
        best: Lane | None = None
        score = (-1, 0)
        for lane in self.lanes:
            if lane.has_room(request.kind):
                here = 0
                for node in request.nodes:
                    if node.home is lane:
                        here += node.size + 1
                if (mine := (here, -lane.load - lane.tasks)) > score or best is None:
                    best, score = lane, mine
        if best is None:
            sync = request.kind is Kind.SYNC
            queue = self.ready if sync else self.ready_tasks
            if request.parked is not queue:
                request.parked = queue
                queue.append(request)
        elif self._have_copies(request, best):
            self._place(request, best)

    def _have_copies(self, request: Request, lane: Lane | None) -> bool:
        """Whether all that is elsewhere can be had; else it is asked for."""
        missing = False
        for node in request.nodes:
            if node.copy is None and node.home is not None and node.home is not lane:
                missing = True
                if not node.wanted:
                    node.wanted = True
                    node.home.wanted.append(node.number)
                    self.touched.add(node.home)
        return not missing

    def _place(self, request: Request, lane: Lane) -> None:
        request.lane = lane
        request.parked = None
        result = request.result
        sync = request.kind is Kind.SYNC
        for node in request.nodes:
            node.running += 1
            node.lane = lane
            if node is result:
                node.open = False  # nobody can follow before it is there
            else:
                node.open = sync
                if node.home is lane:
                    self.counts.hits += 1
                elif lane is not self._here:
                    self._move(node, lane)
                    if request.puts is None:
                        request.puts = []
                    request.puts.append(node)
                elif node.home is not None and request.kind is Kind.LOCAL:
                    node.home.forget.append(node.number)
                    node.home = None  # the copy is what will be changed
            if node.rest:
                self._advance(node)
            else:
                node.first = None
        if lane is self._here:
            self.local.append(request)
            return
        if sync:
            lane.load += 1
        else:
            lane.tasks += 1
        lane.placed[request.order] = request
        lane.outgoing.append(request)
        self.touched.add(lane)

    def _move(self, node: Node, lane: Lane) -> None:
        node.seen = True
        self.counts.misses += 1
        self.counts.bytes_moved += node.size
        if node.home is not None:
            node.home.forget.append(node.number)
        node.home = lane

    def _refuse(self, request: Request, node: Node) -> None:
        if not request.refused:
            request.refused = True
            self.refused.append((request, node))

    def _advance(self, node: Node) -> None:
        """The first one leaves the queue."""
        node.first = node.rest.popleft() if node.rest else None
        if (first := node.first) is not None:
            first.ahead -= 1
            if not first.ahead:
                self._todo.append(first)
        elif node.free:
            self.forget(node)

    def _leave(self, request: Request, lane: Lane) -> None:
        if lane.placed.pop(request.order, None) is None:
            return
        if request.kind is Kind.SYNC:
            lane.load -= 1
        else:
            lane.tasks -= 1

"""What a scope does by itself: it drives the scheduler, and hears what workers say.

All of it is in one loop, and nothing of it waits.
"""

import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Any, Final

import trio

from tractor import pinned
from tractor.cowns import _records as r
from tractor.cowns._cown import Keeper, number_str
from tractor.cowns._crew import Crew
from tractor.cowns._errors import BehaviourDropped, CownPoisoned
from tractor.cowns._functions import find
from tractor.cowns._local import Local
from tractor.cowns._notices import Change, Notices
from tractor.cowns._post import Post
from tractor.cowns._queues import Kind, Node, Request
from tractor.cowns._scheduler import Scheduler
from tractor.cowns._values import Codec
from tractor.cowns._when import Scheduling
from tractor.futures import BrokenPool, DecisionTrace, WorkerDied
from tractor.log import get_logger
from tractor.runtime import current_actor

log: Final = get_logger("cowns")

CLOSED: Final = "this scope of cowns is closed"

OURS: Final = (CownPoisoned, BehaviourDropped, BrokenPool, WorkerDied)

new_numbers: Final = count(1)  # of cowns, in all scopes of this interpreter


class Reading:
    """Somebody waits for a value."""

    def __init__(self) -> None:
        self.done = trio.Event()
        self.error: BaseException | None = None


class Engine(Scheduling, Keeper):
    """See the module; a `Boss`, and most of a `Keeper`.

    Attributes:
        decision: Which workers, and why.
    """

    def __init__(self, decision: DecisionTrace, serializer: str | None) -> None:
        actor = current_actor()
        self.decision = decision
        max_frame = actor.runtime_vars.max_frame
        self.codec = Codec(serializer, self, actor.aid.uid, max_frame)
        self.notices = Notices(self.codec, self.apply)
        self._is_root = actor.is_root
        self._scheduler = Scheduler()
        self._crew = Crew(decision, serializer, self._scheduler, self)
        self._nursery: trio.Nursery | None = None
        self._closed: str = ""
        self._broken: BrokenPool | None = None
        self._gone: deque[int] = deque()  # numbers of handles
        self._silence = trio.Event()
        self._thread = threading.get_ident()
        self._token = trio.lowlevel.current_trio_token()

    def is_afar(self) -> bool:
        """Whether this is another thread than that of the loop.

        A behaviour over a pinned cown is in one, where a host pumps the main thread.
        """
        return threading.get_ident() != self._thread

    def from_afar[T](self, fn: Callable[..., T], *args: Any) -> T:
        """Call it in the loop, and wait for that; from another thread."""
        return trio.from_thread.run_sync(fn, *args, trio_token=self._token)

    def node_of(self, number: int) -> Node:
        """What is known of a cown; of one that is unknown, that it is lost."""
        node = self._scheduler.nodes.get(number)
        if node is None:  # a handle that was hidden from us, in a global of a worker
            node = self._scheduler.nodes[number] = Node(number)
            node.poison = CownPoisoned(f"cown {number_str(number)} was forgotten")
        return node

    # -- scheduling --------------------------------------------------------------------

    def accept(self, number: int, job: Any, is_async: bool, numbers: list[int]) -> bool:
        """Schedule a behaviour; true if it waits for others, and nothing follows."""
        known = self._scheduler.nodes
        try:
            nodes = [known[one] for one in numbers]
        except KeyError:
            nodes = [self.node_of(one) for one in numbers]
        result = known[number] = Node(number)
        result.pins = 1
        kind = Kind.ASYNC if is_async else Kind.SYNC
        if self._has_pinned:
            for node in nodes:
                if node.pinned:
                    kind = Kind.LOCAL
        self._scheduler.counts.scheduled += 1
        request = Request(nodes, result, kind, job)
        self._scheduler.schedule(request)
        return request.ahead > 0

    def check_open(self) -> None:
        """Raise why nothing can be scheduled, if so."""
        if not (self._closed or self._broken):
            return
        if self._broken is not None:
            raise BrokenPool(*self._broken.args) from self._broken.__cause__
        if self._closed:
            raise RuntimeError(self._closed)

    def turn(self) -> None:
        """Do what follows from what the scheduler has decided."""
        scheduler = self._scheduler
        while scheduler.local or scheduler.refused:
            if scheduler.local:
                self._run_here(scheduler.local.popleft())
            else:
                request, node = scheduler.refused.popleft()
                scheduler.counts.refused += 1
                self._fail(request, poisoned(node))
                scheduler.finish(request)
                scheduler.work()
        while self._gone:
            self._unpin(self._gone.popleft())
        while scheduler.touched:
            scheduler.touched.pop().due.set()  # type: ignore[attr-defined]
        if scheduler.ready or scheduler.ready_tasks:
            self._crew.hire()
        if scheduler.unfinished:
            self._crew.watch()
        else:
            self._silence.set()
            self._silence = trio.Event()
        while scheduler.unseen:
            self._tell_unseen(scheduler.unseen.pop())

    def _unpin(self, number: int) -> None:
        node = self._scheduler.nodes.get(number)
        if node is not None:
            node.pins -= 1
            if node.free:
                self._scheduler.forget(node)

    def _tell_unseen(self, node: Node) -> None:
        error = node.error or self.codec.decode_error(node.failed, node.copy)
        log.error("a behaviour failed, and nobody looked: %r", error)

    # -- what runs here ----------------------------------------------------------------

    def _run_here(self, request: Request) -> None:
        if request.kind is Kind.READ:
            request.job.done.set()
            self._scheduler.finish(request)
            self._scheduler.work()
        else:
            assert self._nursery is not None
            self._nursery.start_soon(self._run_pinned, request)

    async def _run_pinned(self, request: Request) -> None:
        fn, shape, data = request.job
        local = Local(self, self.codec, self.notices)
        try:
            if isinstance(fn, str):
                fn, data = self._unpacked(fn, data)
            nodes = [node for node in request.nodes if node is not request.result]
            value = await pinned.call(partial(local.run, fn, data, shape, nodes))
            packed = 0, self.codec.encode(value)
        except trio.Cancelled:
            raise
        except BaseException as exc:  # noqa: BLE001 (who awaits the result raises it)
            self._fail(request, exc)
        else:
            self._set(request.result, *packed)
        self._take_states(local.states)
        if request.order not in self._scheduler.unfinished:
            return  # it was dropped meanwhile
        self._scheduler.counts.finished += 1
        self._scheduler.finish(request)
        self._scheduler.work()
        self.turn()

    def _unpacked(self, path: str, data: bytes) -> Any:
        if path:
            return find(path), self.codec.decode(data) if data else ()
        return self.codec.decode(data)

    # -- what workers say --------------------------------------------------------------

    def hear(self, post: Post, record: list[Any]) -> None:
        """See `Boss`."""
        kind = record[0]
        if kind == r.STATES:
            self._take_states(record[1])
        elif self._closed or self._broken:
            return
        elif kind == r.NEST:
            self.accept(*record[1:])
        elif kind == r.MADE:
            _, number, data = record
            node = self._scheduler.nodes[number] = Node(number)
            node.pins = 1
            node.copy = data
            node.size = len(data)
        elif kind == r.EXPORT:
            for number in record[1]:
                self.node_of(number).pins += 1
        else:
            try:
                self.apply((record[1], record[2], record[3], record[4]))
            except Exception:
                log.exception("a notice was not set: %s", record[2])

    def hear_done(self, post: Post, record: list[Any]) -> None:
        """See `Boss`."""
        _, order, failed, data, states, unsaved, dropped = record
        request = post.placed.get(order)
        if states:
            self._take_states(states)
        nodes = self._scheduler.nodes
        for number in unsaved:
            if (node := nodes.get(number)) is not None:
                node.copy = None
        for number in dropped:
            self._unpin(number)
        if request is None:
            return
        if failed == r.BROKEN:
            self._scheduler.counts.refused += 1
            self._fail(request, poisoned(_lost(request)))
        else:
            self._set(request.result, failed, data)
            self._scheduler.counts.finished += 1
        self._scheduler.finish(request)

    def _take_states(self, states: list[r.State]) -> None:
        for number, failed, data in states:
            node = self._scheduler.nodes.get(number)
            if node is None:
                continue
            if failed == r.BROKEN:
                error = self.codec.decode_error(*r.unpack(data))
                self._poison(node, error)
            else:
                self._scheduler.copied(node, failed, data)

    def _set(self, result: Node | None, failed: int, data: bytes) -> None:
        assert result is not None
        result.failed = failed
        result.copy = data
        result.size = len(data)

    def _fail(self, request: Request, error: BaseException) -> None:
        result = request.result
        if result is None:
            request.job.error = error
            request.job.done.set()
            return
        self._set(result, *self.codec.encode_error(error))
        result.error = error

    def _poison(self, node: Node, reason: BaseException) -> None:
        self._scheduler.counts.poisoned += 1
        self._scheduler.poison(node, reason)

    def apply(self, change: Change) -> None:
        """A notice changes, for everybody."""
        if self.is_afar():
            self.from_afar(self.apply, change)
            return
        self.check_open()
        data = self.notices.made_of(change)
        if data is not None:
            self.notices.put(change[1], data)
            for post in self._crew.posts:
                post.notices.append((change[1], data))

    # -- as the boss of the crew -------------------------------------------------------

    def board(self) -> list[tuple[str, bytes]]:
        """See `Boss`."""
        return self.notices.packed()

    def lose(self, request: Request, error: WorkerDied) -> None:
        """See `Boss`."""
        for node in request.nodes:
            if node is not request.result:
                self._poison(node, error)
        self._fail(request, error)
        self._scheduler.finish(request)

    def break_(self, error: BrokenPool) -> None:
        """See `Boss`."""
        self._broken = error
        self._drop_all(error)

    # -- its life ----------------------------------------------------------------------

    def open(self, nursery: trio.Nursery) -> None:
        """It may start workers from now on (for the package)."""
        self._nursery = nursery
        self._crew.open(nursery)

    def close(self) -> None:
        """Nothing runs any more (for the package)."""
        self._crew.ending = True
        self._closed = CLOSED
        self._drop_all(BehaviourDropped("the scope ended before its turn"))

    def _drop_all(self, error: BaseException) -> None:
        for request in self._scheduler.drop_all():
            self._fail(request, error)
        self._silence.set()
        self._silence = trio.Event()


def once(node: Node) -> BaseException:
    """Its error, to be raised by one reader.

    What is raised knows the frames of its reader, and so the handles in them. If it
    stayed here as well, none of these would ever be forgotten.
    """
    error = node.error
    assert error is not None
    if type(error) not in OURS:
        node.error = None  # the next one gets what was packed
        return error
    fresh = type(error)(*error.args)
    fresh.__cause__ = error.__cause__
    return fresh


def _lost(request: Request) -> Node:
    """That of its cowns whose value is lost."""
    lost = [node for node in request.nodes if node.poison is not None]
    return lost[0] if lost else request.nodes[0]


def poisoned(node: Node) -> CownPoisoned:
    """What is raised for a cown whose value is lost."""
    error = CownPoisoned(
        f"the value of cown {number_str(node.number)} is lost: {node.poison}"
    )
    error.__cause__ = node.poison
    return error

"""The events that the runtime emits, and the hub through which they pass.

Tracing, diagnostics and tests subscribe; the runtime imports none of them. With nobody
subscribed an event costs one attribute test, because every emitter writes

    if hub.active:
        hub.emit("spawn", aid, backend="trio")

The hub belongs to the interpreter and not to one actor, because a subscriber has to be
able to listen before the runtime exists and after it ended (docs/adr/0006).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Any, Final, Literal

from msgspec import Struct

from tractor._types import Aid

type Kind = Literal[
    "spawn",  # a child is about to be started: backend, parent
    "ready",  # it imported its modules and its link is up: seconds
    "call_start",  # a function was asked for, at the caller: ns, func, cid
    "call_end",  # its outcome is known, at the caller: cid, ok, error
    "task_start",  # a function starts here for a peer: ns, func, cid, caller
    "task_end",  # its outcome is about to be sent: cid, ok, error
    "stream_open",  # this side of a context opened its stream: func, cid
    "stream_close",  # and closed it: cid, ok, sent, received
    "task_queued",  # a pool got a task: task_id, name
    "task_placed",  # a worker got it: task_id, name, worker
    "task_finished",  # its outcome is known: task_id, name, outcome, seconds
    "placement_decided",  # where the tasks of a pool run: decision
    "cancel",  # an actor was asked to stop: canceller
    "rung",  # a ladder took a rung: rung, grace
    "unresponsive",  # it did not answer a heartbeat in time
    "responsive",  # it answers again
    "exit",  # a child is gone: status, report (`None` where no ladder was needed)
    "dropped",  # a record that nobody waits for any more arrived: record
]


class Event(Struct, frozen=True):
    """One step in the life of an actor.

    Attributes:
        kind: Which step; see `Kind`.
        aid: The actor that it happened to.
        at: `time.perf_counter` seconds.
        data: Details; the keys are listed beside each kind.
    """

    kind: Kind
    aid: Aid
    at: float
    data: dict[str, Any]


type Subscriber = Callable[[Event], None]


class Hub:
    """Passes events to subscribers, synchronously and in subscription order.

    A subscriber that raises is dropped and its error logged: an observer never breaks
    what it observes.
    """

    def __init__(self) -> None:
        self.active = False
        self._subscribers: tuple[Subscriber, ...] = ()

    def emit(self, kind: Kind, aid: Aid, /, **data: Any) -> None:
        """Tell every subscriber."""
        event = Event(kind, aid, perf_counter(), data)
        for subscriber in self._subscribers:
            try:
                subscriber(event)
            except Exception:  # noqa: BLE001 (an observer's error is not ours)
                self._drop(subscriber)
                from tractor.log import get_logger

                get_logger("instrument").exception(
                    "subscriber %r raised and was dropped", subscriber
                )

    @contextmanager
    def subscribed(self, subscriber: Subscriber) -> Iterator[None]:
        """Call `subscriber` with every event inside the block."""
        self._subscribers = (*self._subscribers, subscriber)
        self.active = True
        try:
            yield
        finally:
            self._drop(subscriber)

    def _drop(self, subscriber: Subscriber) -> None:
        left = list(self._subscribers)
        if subscriber in left:
            left.remove(subscriber)
        self._subscribers = tuple(left)
        self.active = bool(left)


hub: Final = Hub()

"""From the events of one interpreter to lines.

Both ends of a call know who called whom, and the number of the call on their channel:
together that is the ``task_id`` of the call, and the parent of what runs for it. So
nothing of a trace travels with a call.

Within an actor the parent is a context variable, and so tasks and threads inherit it.
Subscribers are called by the task that an event is about, hence what is set here holds
for the function that is about to run.

Only what is not over yet is remembered.
"""

import os
import threading
from collections.abc import Callable
from contextvars import ContextVar
from itertools import count
from time import perf_counter_ns, time_ns
from typing import Any, Final
from uuid import uuid4

import trio
from msgspec import Struct

from tractor._exceptions import ContextCancelled
from tractor._instrument import Event
from tractor._types import Aid, ErrorInfo
from tractor.log import get_logger
from tractor.runtime import Peer, maybe_actor
from tractor.tracing._lines import Outcome, TraceFile, TraceLine
from tractor.trionics import is_cancellation

log = get_logger("tracing")

VERBS: Final = "tractor.tracing.verbs"
ID: Final = 12  # digits of a uuid: 48 bits tell the actors of a trace apart
SHOWN: Final = 200  # characters of an error's text
NOWHERE: Final = Aid("", "")

_CANCELLED: Final = (":Cancelled", ":ContextCancelled")  # ends of paths of types


class Session(Struct, frozen=True, array_like=True):
    """What all actors of one trace share.

    Attributes:
        path: Of the file; it need not be UTF-8.
        key: Tells one trace from the next.
        epoch: Nanoseconds from the clock of `perf_counter_ns`, which is one for a whole
            machine, to that of the calendar.
    """

    path: bytes
    key: str
    epoch: int

    @classmethod
    def begin(cls, path: str) -> "Session":
        """A new one."""
        return cls(os.fsencode(path), uuid4().hex, time_ns() - perf_counter_ns())


class OpenSpan:
    """Something that is not over yet."""

    __slots__ = ("aid", "data", "kind", "name", "parent", "start_ns", "task_id")

    def __init__(  # noqa: PLR0913 (a record, of which there are many in little time)
        self,
        *,
        aid: Aid,
        name: str,
        kind: str,
        task_id: str,
        parent: str | None,
        start_ns: int,
        data: dict[str, Any],
    ) -> None:
        self.aid = aid
        self.name = name
        self.kind = kind
        self.task_id = task_id
        self.parent = parent
        self.start_ns = start_ns
        self.data = data


current: Final[ContextVar[tuple[str, str] | None]] = ContextVar(
    "tractor_span", default=None
)
"""Key of the session, and ``task_id`` of what this task is part of."""


class Tracer:
    """Writes what happens in this interpreter.

    Args:
        session: Of the trace.
        file: Where to.
        pinned: Whether it lasts as long as the root, since the environment asked.
        on_ready: Told of each child that is ready, before it is called.

    Attributes:
        opened: What is not over, by ``task_id``.
    """

    def __init__(
        self,
        session: Session,
        file: TraceFile,
        *,
        pinned: bool,
        on_ready: Callable[[Peer], None],
    ) -> None:
        self.session = session
        self.pinned = pinned
        self.opened: dict[str, OpenSpan] = {}
        self._file = file
        self._on_ready = on_ready
        self._numbers = count(1)
        self._tasks: dict[trio.lowlevel.Task, str] = {}
        self._streams: dict[tuple[trio.lowlevel.Task, int], str] = {}
        self._spawned: dict[str, str] = {}  # by uuid, until the actor is gone
        self._threads = threading.local()
        self._handlers: dict[str, Callable[[Event, int], None]] = {
            "call_start": self._on_call_start,
            "call_end": self._on_call_end,
            "task_start": self._on_task_start,
            "task_end": self._on_task_end,
            "stream_open": self._on_stream_open,
            "stream_close": self._on_stream_close,
            "spawn": self._on_spawn,
            "ready": self._on_ready_event,
            "exit": self._on_exit,
            "task_queued": self._on_pool_task,
            "task_placed": self._on_pool_task_placed,
            "task_finished": self._on_pool_task_finished,
        }

    def on_event(self, event: Event) -> None:
        """The subscriber."""
        at = int(event.at * 1e9) + self.session.epoch
        self._handlers.get(event.kind, self._on_moment)(event, at)

    def end(self) -> None:
        """Write down what is not over, and close the file."""
        now = self.now()
        for span in list(self.opened.values()):
            self.close(span, now, "open")
        self._file.close()

    # -- for all kinds -----------------------------------------------------------------

    def now(self) -> int:
        """The time, as lines have it."""
        return perf_counter_ns() + self.session.epoch

    def new_id(self) -> str:
        """Of something in this actor."""
        where = own_aid().uuid[:ID] or str(os.getpid())
        return f"{where}-{next(self._numbers)}"

    def parent(self) -> str | None:
        """What the present task, or thread, is part of."""
        found = current.get()
        return found[1] if found is not None and found[0] == self.session.key else None

    def open(
        self,
        kind: str,
        name: str,
        at: int,
        data: dict[str, Any],
        *,
        task_id: str | None = None,
        parent: str | None = None,
    ) -> OpenSpan:
        """Something begins."""
        span = OpenSpan(
            aid=own_aid(),
            name=name,
            kind=kind,
            task_id=task_id or self.new_id(),
            parent=parent or self.parent(),
            start_ns=at,
            data=data,
        )
        self.opened[span.task_id] = span
        return span

    def close(self, span: OpenSpan, at: int, outcome: Outcome, **data: Any) -> None:
        """It is over."""
        self.opened.pop(span.task_id, None)
        self._write(span, max(0, at - span.start_ns), outcome, data)

    def moment(self, kind: str, name: str, at: int, data: dict[str, Any]) -> None:
        """Something that takes no time."""
        span = self.open(kind, name, at, data)
        del self.opened[span.task_id]
        self._write(span, None, "ok", {})

    def _write(
        self,
        span: OpenSpan,
        duration: int | None,
        outcome: Outcome,
        data: dict[str, Any],
    ) -> None:
        line = TraceLine(
            name=span.name,
            kind=span.kind,
            task_id=span.task_id,
            parent=span.parent,
            actor=span.aid.name,
            uuid=span.aid.uuid,
            pid=os.getpid(),
            worker_thread_id=self._thread_id(),
            start_ns=span.start_ns,
            duration_ns=duration,
            outcome=outcome,
            data=span.data | data,
        )
        try:
            self._file.write(line)
        except OSError as exc:  # what is observed goes on
            self._file.close()
            log.error("the trace of this actor ends here: %s", exc)

    def _thread_id(self) -> int:
        try:
            return self._threads.number  # type: ignore[no-any-return]
        except AttributeError:  # a system call, and so not made for every line
            number: int = threading.get_native_id()
            self._threads.number = number
            return number

    # -- calls -------------------------------------------------------------------------

    def _on_call_start(self, event: Event, at: int) -> None:
        data, callee = event.data, event.aid
        if data["ns"] == VERBS:
            return
        task_id = call_id(own_aid().uuid, callee.uuid, data["cid"])
        parent = None
        if trio.lowlevel.current_task().name == f"main of {callee.name}":
            parent = self._spawned.get(callee.uuid)  # by `run_in_actor`
        name, more = f"{data['ns']}.{data['func']}", {"callee": callee.name}
        self.open("call", name, at, more, task_id=task_id, parent=parent)

    def _on_call_end(self, event: Event, at: int) -> None:
        cid, error = event.data["cid"], event.data["error"]
        task_id = call_id(own_aid().uuid, event.aid.uuid, cid)
        if (span := self.opened.get(task_id)) is not None:
            self.close(span, at, outcome_of(error), **described(error))

    def _on_task_start(self, event: Event, at: int) -> None:
        data = event.data
        if data["ns"] == VERBS:
            return
        name, caller = f"{data['ns']}.{data['func']}", data["caller"]
        parent = call_id(caller[1], event.aid.uuid, data["cid"])
        span = self.open("task", name, at, {"caller": caller[0]}, parent=parent)
        self._tasks[trio.lowlevel.current_task()] = span.task_id
        current.set((self.session.key, span.task_id))

    def _on_task_end(self, event: Event, at: int) -> None:
        task_id = self._tasks.pop(trio.lowlevel.current_task(), "")
        if (span := self.opened.get(task_id)) is not None:
            error = event.data["error"]
            self.close(span, at, outcome_of(error), **described(error))

    def _on_stream_open(self, event: Event, at: int) -> None:
        span = self.open("stream", event.data["func"], at, {})
        where = trio.lowlevel.current_task(), event.data["cid"]
        self._streams[where] = span.task_id

    def _on_stream_close(self, event: Event, at: int) -> None:
        data = event.data
        where = trio.lowlevel.current_task(), data["cid"]
        if (span := self.opened.get(self._streams.pop(where, ""))) is not None:
            counts = {name: data[name] for name in ("sent", "received")}
            self.close(span, at, "ok" if data["ok"] else "failed", **counts)

    # -- actors ------------------------------------------------------------------------

    def _on_spawn(self, event: Event, at: int) -> None:
        data = {"backend": event.data["backend"], "of": event.aid.name}
        span = self.open("spawn", f"spawn {event.aid.name}", at, data)
        self._spawned[event.aid.uuid] = span.task_id

    def _on_ready_event(self, event: Event, at: int) -> None:
        task_id = self._spawned.get(event.aid.uuid, "")
        if (span := self.opened.get(task_id)) is not None:
            self.close(span, at, "ok")
        actor = maybe_actor()
        for peer in actor.peers if actor is not None else ():
            if peer.aid == event.aid:
                self._on_ready(peer)

    def _on_exit(self, event: Event, at: int) -> None:
        task_id = self._spawned.pop(event.aid.uuid, "")
        if (span := self.opened.get(task_id)) is not None:  # it was never ready
            self.close(span, at, "failed")
        status, report = event.data["status"], event.data["report"]
        data: dict[str, Any] = {"of": event.aid.name, "status": status and str(status)}
        if report is not None:
            data |= {"outcome": report.outcome, "rung": report.rung}
        self.moment("exit", f"exit {event.aid.name}", at, data)

    def _on_moment(self, event: Event, at: int) -> None:
        """Whatever else there is, decisions among it."""
        data = {"of": event.aid.name, **event.data}
        self.moment(event.kind, event.kind, at, data)

    # -- pools -------------------------------------------------------------------------

    def _on_pool_task(self, event: Event, at: int) -> None:
        self.open("pool", event.data["name"], at, {}, task_id=pool_task_id(event))

    def _on_pool_task_placed(self, event: Event, at: int) -> None:
        span = self.opened.get(pool_task_id(event))
        if span is not None:
            span.data["worker"] = event.data["worker"]
            span.data["queued_ns"] = at - span.start_ns

    def _on_pool_task_finished(self, event: Event, at: int) -> None:
        span = self.opened.get(pool_task_id(event))
        if span is not None:
            self.close(span, at, _POOL_OUTCOMES.get(event.data["outcome"], "failed"))


_POOL_OUTCOMES: Final[dict[str, Outcome]] = {"done": "ok", "cancelled": "cancelled"}


def own_aid() -> Aid:
    """Of the actor of this interpreter, or of nobody."""
    actor = maybe_actor()
    return actor.aid if actor is not None else NOWHERE


def call_id(caller: str, callee: str, cid: int) -> str:
    """What both ends of a call know it by."""
    return f"{caller[:ID]}>{callee[:ID]}:{cid}"


def pool_task_id(event: Event) -> str:
    """Of the task that it is about; pools outlive actors, and so it is theirs."""
    return f"{event.aid.uuid[:ID]}-pool-{event.data['task_id']}"


def outcome_of(error: BaseException | ErrorInfo | None) -> Outcome:
    """In one word."""
    if error is None:
        return "ok"
    if isinstance(error, ErrorInfo):
        cancelled = error.type_path.endswith(_CANCELLED)
    else:
        cancelled = isinstance(error, ContextCancelled) or is_cancellation(error)
    return "cancelled" if cancelled else "failed"


def described(error: BaseException | ErrorInfo | None) -> dict[str, str]:
    """What a line says of an error."""
    if error is None:
        return {}
    if isinstance(error, ErrorInfo):
        kind, text = error.type_path.rpartition(":")[2], error.message
    else:
        kind = type(error).__name__
        try:
            text = str(error)
        except Exception:  # noqa: BLE001 (of the program)
            text = "<no text>"
    return {"error": f"{kind}: {text}"[:SHOWN]}

"""What actors use of the machine and have under way, in numbers, as `top` shows it.

The processor and the memory are the kernel's to tell, whatever the actor does. The rest
is in its answer, if it gives one.
"""

import os
from pathlib import Path
from time import monotonic
from typing import Final

from msgspec import Struct

from tractor._proc import PROC, Birth, read
from tractor.cli._look import actors, name_of, place_of, status_of
from tractor.devx import ActorNode, ActorTree, TaskFacts

_TICKS: Final = os.sysconf("SC_CLK_TCK")  # of the kernel's clocks, per second
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")  # bytes


class Usage(Struct, frozen=True, kw_only=True):
    """One actor, at one moment.

    Attributes:
        pid: Its process.
        interpreter: Its number in there; 0 is the first one.
        place: Both in one, as other commands take it.
        name: Of the actor; ``-`` where it is not known.
        state: Of the process; see `tractor._proc.Stat`.
        cpu: Percent of one processor since the refresh before, or at the first one
            since its start; `None` where it is not known. A process counts with the
            interpreters in it.
        rss: Bytes of memory of its process; `None` for an interpreter in one.
        tasks: Of trio; this and the rest are `None` where it did not answer.
        calls: Under way, by it and for it.
        contexts: So many of these are contexts.
        unread: Items of all streams that it has not read.
        queued: Bytes that wait to be sent, on all channels.
        status: What it says of itself, or why it does not.
    """

    pid: int
    interpreter: int
    place: str
    name: str
    state: str
    cpu: float | None
    rss: int | None
    tasks: int | None
    calls: int | None
    contexts: int | None
    unread: int | None
    queued: int | None
    status: str


class Meter:
    """Remembers how much of the processor each actor has used so far."""

    def __init__(self) -> None:
        self._before: dict[Birth, tuple[float, float]] = {}

    def read(self, trees: list[ActorTree]) -> list[Usage]:
        """All actors of these trees, those that compute the most first."""
        seen: dict[Birth, tuple[float, float]] = {}
        found = [
            self._usage(node, seen) for tree in trees for node in actors(tree.root)
        ]
        self._before = seen
        return sorted(found, key=lambda each: (-(each.cpu or 0), each.pid, each.place))

    def _usage(self, node: ActorNode, seen: dict[Birth, tuple[float, float]]) -> Usage:
        process, report = node.answer.process, node.answer.report
        cpu, rss = None, None
        if node.answer.interpreter == 0:
            clock = read_clock(PROC / str(process.pid))
            cpu = self._percent([clock], seen)
            rss = clock.rss if clock is not None else None
        elif report is not None:
            folder = PROC / str(process.pid) / "task"
            clocks = [read_clock(folder / str(each.tid)) for each in report.threads]
            cpu = self._percent(clocks, seen)
        return Usage(
            pid=process.pid,
            interpreter=node.answer.interpreter,
            place=place_of(node),
            name=name_of(node),
            state=process.state,
            cpu=cpu,
            rss=rss,
            status=status_of(node),
            **_counts(node),
        )

    def _percent(
        self, clocks: "list[Clock | None]", seen: dict[Birth, tuple[float, float]]
    ) -> float | None:
        known = [clock for clock in clocks if clock is not None]
        for clock in known:
            seen[clock.birth] = (clock.at, clock.seconds)
        shares = [self._share(clock) for clock in known]
        return round(100 * sum(shares), 1) if shares else None

    def _share(self, clock: "Clock") -> float:
        at, seconds = self._before.get(clock.birth, (clock.at - clock.age, 0.0))
        took = clock.at - at
        return (clock.seconds - seconds) / took if took > 0 else 0.0


class Clock(Struct, frozen=True):
    """What the kernel has counted for a process or thread.

    Attributes:
        birth: Which one.
        at: When that was, in seconds of `time.monotonic`.
        age: Seconds since its start.
        seconds: Of processors, that it has used.
        rss: Bytes of memory.
    """

    birth: Birth
    at: float
    age: float
    seconds: float
    rss: int


def read_clock(folder: Path) -> Clock | None:
    """Of a process or thread, by its folder; `None` when it is gone."""
    fields = read(folder / "stat").rpartition(")")[2].split()  # proc_pid_stat(5), 3 on
    up = read(PROC / "uptime").split()
    if not fields or not up:
        return None
    started = int(fields[19])
    return Clock(
        birth=(int(folder.name), started),
        at=monotonic(),
        age=float(up[0]) - started / _TICKS,
        seconds=(int(fields[11]) + int(fields[12])) / _TICKS,
        rss=int(fields[21]) * _PAGE,
    )


def _counts(node: ActorNode) -> dict[str, int | None]:
    report = node.answer.report
    counts: dict[str, int | None] = dict.fromkeys(
        ("tasks", "calls", "contexts", "unread", "queued")
    )
    if report is None:
        return counts
    counts["tasks"] = sum(map(_count_tasks, report.runs))
    if report.actor is not None:
        peers = report.actor.peers
        calls = [call for peer in peers for call in peer.calls]
        unread = [call.unread for call in calls if call.unread is not None]
        # A context has two entries at its caller, as a call and as a context.
        counts["calls"] = sum(len({call.cid for call in peer.calls}) for peer in peers)
        counts["contexts"] = len(unread)
        counts["unread"] = sum(unread)
        counts["queued"] = sum(peer.queued for peer in peers)
    return counts


def _count_tasks(task: TaskFacts) -> int:
    below = (each for nursery in task.nurseries for each in nursery.tasks)
    return 1 + sum(map(_count_tasks, below))

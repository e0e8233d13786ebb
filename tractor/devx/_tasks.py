"""Tasks and threads, with their stacks; from any thread, also while the loop is stuck.

A task that waits is a coroutine, and trio walks its frames. The one that runs has no
such frames to walk: its coroutine says nothing about what it has called. What it is at
is known to the thread that runs it, so its stack is that thread's, from the frame of
the task on.
"""

import gc
import inspect
import sys
import threading
from collections.abc import Iterable, Mapping
from itertools import takewhile
from types import FrameType
from typing import Any

import trio

from tractor.devx._facts import Frame, NurseryFacts, TaskFacts, ThreadFacts

type Stacks = Mapping[int, FrameType]
"""The innermost frame of each thread, by `threading.get_ident`."""


def current_stacks(here: FrameType | None = None) -> dict[int, FrameType]:
    """Where each thread is now; the calling one is at `here`, if that is given."""
    stacks = sys._current_frames()
    if here is not None:
        stacks[threading.get_ident()] = here
    return stacks


def threads(stacks: Stacks) -> list[ThreadFacts]:
    """Each thread that runs Python, the main thread first."""
    known = {thread.ident: thread for thread in threading.enumerate()}
    found = []
    for ident, innermost in stacks.items():
        thread = known.get(ident)
        name = thread.name if thread is not None else "not Python's own"
        tid = (thread and thread.native_id) or 0
        found.append(ThreadFacts(name, tid, _stack_of_thread(innermost)))
    return sorted(found, key=lambda thread: thread.tid)


def runs(stacks: Stacks) -> list[TaskFacts]:
    """The first task of each `trio.run` of this interpreter, with all below it."""
    return [_task(root, stacks) for root in _roots()]


def _roots() -> list[trio.lowlevel.Task]:
    # trio tells a thread of its own run only, and the run to look at is another's. By
    # type(), since to ask an unknown object for its class may run its code.
    tasks = [each for each in gc.get_objects() if type(each) is trio.lowlevel.Task]
    return [task for task in tasks if task.parent_nursery is None and _alive(task)]


def _alive(task: trio.lowlevel.Task) -> bool:
    return getattr(task.coro, "cr_frame", None) is not None


def _task(task: trio.lowlevel.Task, stacks: Stacks) -> TaskFacts:
    running = inspect.getcoroutinestate(task.coro) == inspect.CORO_RUNNING
    return TaskFacts(
        name=task.name,
        running=running,
        stack=_stack_of_running(task, stacks) if running else _stack_of_waiting(task),
        nurseries=[_nursery(each, stacks) for each in list(task.child_nurseries)],
    )


def _nursery(nursery: trio.Nursery, stacks: Stacks) -> NurseryFacts:
    # Not by `cancel_called`, which may cancel the scope, and that is not ours to do.
    scope: Any = nursery.cancel_scope
    tasks = sorted(list(nursery.child_tasks), key=lambda task: task.name)
    return NurseryFacts(
        cancelled=bool(getattr(scope, "_cancel_called", False)),
        shielded=scope.shield,
        tasks=[_task(task, stacks) for task in tasks],
    )


# -- Stacks ----------------------------------------------------------------------------


def _stack_of_waiting(task: trio.lowlevel.Task) -> list[Frame]:
    return [_frame(frame, line) for frame, line in task.iter_await_frames()]


def _stack_of_running(task: trio.lowlevel.Task, stacks: Stacks) -> list[Frame]:
    first = task.coro.cr_frame
    for innermost in stacks.values():
        outwards = list(_outwards(innermost))
        if first in outwards:
            inside = takewhile(lambda frame: frame is not first, outwards)
            return _stack([first, *reversed(list(inside))])
    return _stack([first] if first is not None else [])


def _stack_of_thread(innermost: FrameType) -> list[Frame]:
    return _stack(reversed(list(_outwards(innermost))))


def _outwards(frame: FrameType | None) -> Iterable[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _stack(frames: Iterable[FrameType]) -> list[Frame]:
    return [_frame(frame, frame.f_lineno) for frame in frames]


def _frame(frame: FrameType, line: int | None) -> Frame:
    code = frame.f_code
    return Frame(code.co_filename, line or code.co_firstlineno, code.co_qualname)

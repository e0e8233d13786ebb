"""Tasks and threads, with their stacks; from any thread, also while the loop is stuck.

A task that waits is a coroutine, and one can walk its frames. The one that runs has no
such frames to walk: its coroutine says nothing about what it has called. What it is at
is known to the thread that runs it, so its stack is that thread's, from the frame of
the task on.

All of this goes on while somebody looks. What cannot be looked at, as a nursery that is
just being made, costs nothing but itself.
"""

import gc
import inspect
import sys
import threading
from collections.abc import Iterable, Mapping
from itertools import takewhile
from types import AsyncGeneratorType, CoroutineType, FrameType, GeneratorType
from typing import Any, Final

import trio

from tractor.devx._facts import Frame, NurseryFacts, TaskFacts, ThreadFacts
from tractor.runtime import IDLE

LEVELS: Final = 100  # of tasks; more cannot be encoded, or read, in one piece

# The frame of what awaits, and what it awaits.
_AWAITING: Final = (
    ("cr_frame", "cr_await"),
    ("gi_frame", "gi_yieldfrom"),
    ("ag_frame", "ag_await"),
)

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
        name = _text(thread.name) if thread is not None else "not Python's own"
        tid = (thread and thread.native_id) or 0
        found.append((ident, ThreadFacts(name, tid, _stack_of_thread(innermost))))
    main = threading.main_thread().ident
    found.sort(key=lambda each: (each[0] != main, each[1].tid))
    return [facts for _, facts in found]


def runs(stacks: Stacks) -> list[TaskFacts]:
    """The first task of each `trio.run` of this interpreter, with all below it.

    After them come tasks that are too far below these, with what is below those.
    """
    found, waiting = [], _roots(stacks)
    while waiting:
        found.append(_task(waiting.pop(0), stacks, LEVELS, waiting))
    return found


def _roots(stacks: Stacks) -> list[trio.lowlevel.Task]:
    # trio tells a thread of its own run only, and the run to look at is another's. By
    # type(), since to ask an unknown object for its class may run its code.
    tasks = [each for each in gc.get_objects() if type(each) is trio.lowlevel.Task]
    known = dict.fromkeys((*_running_roots(stacks), *tasks))
    return [task for task in known if task.parent_nursery is None and _alive(task)]


def _running_roots(stacks: Stacks) -> Iterable[trio.lowlevel.Task]:
    """Those of runs that threads are in; `gc.freeze` hides them from the other way."""
    for innermost in stacks.values():
        for frame in _outwards(innermost):
            if frame.f_globals.get("__name__") == "trio._core._run":
                root = getattr(frame.f_locals.get("runner"), "init_task", None)
                if type(root) is trio.lowlevel.Task:
                    yield root


def _alive(task: trio.lowlevel.Task) -> bool:
    return getattr(task.coro, "cr_frame", None) is not None


def _task(
    task: trio.lowlevel.Task,
    stacks: Stacks,
    levels: int,
    later: list[trio.lowlevel.Task],
) -> TaskFacts:
    if not levels:
        later.append(task)
        return _words(f"{_text(task.name)}, which follows further below")
    nurseries = [
        _nursery(each, stacks, levels - 1, later) for each in list(task.child_nurseries)
    ]
    try:
        running = inspect.getcoroutinestate(task.coro) == inspect.CORO_RUNNING
        stack = _stack_of_running(task, stacks) if running else _stack_of_waiting(task)
    except Exception as exc:  # noqa: BLE001 (told to the reader)
        running, stack = False, []
        nurseries.append(_unknown("its stack", exc))
    return TaskFacts(_text(task.name), running, stack, nurseries)


def _nursery(
    nursery: trio.Nursery,
    stacks: Stacks,
    levels: int,
    later: list[trio.lowlevel.Task],
) -> NurseryFacts:
    try:
        # Not by `cancel_called`, which may cancel the scope; that is not ours to do.
        scope: Any = nursery.cancel_scope
        # One that has served a call and waits for another has nothing to tell.
        busy = [task for task in list(nursery.child_tasks) if task.name is not IDLE]
        tasks = sorted(busy, key=lambda task: task.name)
        return NurseryFacts(
            cancelled=bool(getattr(scope, "_cancel_called", False)),
            shielded=scope.shield,
            tasks=[_task(task, stacks, levels, later) for task in tasks],
        )
    except Exception as exc:  # noqa: BLE001 (told to the reader)
        return _unknown("a nursery", exc)


def _unknown(what: str, why: Exception) -> NurseryFacts:
    words = f"{what} cannot be shown: {type(why).__name__}: {why}"
    return NurseryFacts(cancelled=False, shielded=False, tasks=[_words(_text(words))])


def _words(text: str) -> TaskFacts:
    """In the place of a task."""
    return TaskFacts(text, running=False, stack=[], nurseries=[])


# -- Stacks ----------------------------------------------------------------------------


def _stack_of_waiting(task: trio.lowlevel.Task) -> list[Frame]:
    return _stack(_frames(task.coro))


def _frames(awaited: Any) -> Iterable[FrameType]:
    """Of a coroutine and what it awaits; trio's own walk ends at `__await__`."""
    while awaited is not None:
        for of_frame, of_next in _AWAITING:
            if (frame := getattr(awaited, of_frame, None)) is not None:
                yield frame
                awaited = getattr(awaited, of_next)
                break
        else:  # a wrapper in C, which has no attributes
            inside = [each for each in gc.get_referents(awaited) if _has_frame(each)]
            awaited = inside[0] if inside else None


def _has_frame(each: object) -> bool:
    return type(each) in (CoroutineType, GeneratorType, AsyncGeneratorType)


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
    path, function = _text(code.co_filename), _text(code.co_qualname)
    return Frame(path, line or code.co_firstlineno, function)


def _text(name: str) -> str:
    """What can be written down: names may have halves of characters in them."""
    return name.encode(errors="backslashreplace").decode()

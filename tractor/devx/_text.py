"""Facts as text for people. Lines of source are read here, by whoever shows them."""

import linecache
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from tractor.devx._facts import (
    ActorFacts,
    Answer,
    CallFacts,
    Frame,
    NurseryFacts,
    ProcessFacts,
    Report,
    TaskFacts,
    ThreadFacts,
)
from tractor.devx._places import folded, has_own_code, where

_FAULTHANDLER: Final = re.compile(r'^  File "(.+)", line (\d+) in (.+)$', re.MULTILINE)

STEP: Final = "    "


def indented(lines: Iterable[str], by: str = STEP) -> Iterator[str]:
    """The lines, further to the right."""
    return (f"{by}{line}" for line in lines)


def stack_lines(stack: Sequence[Frame]) -> Iterator[str]:
    """The program's own part of a stack, as in a traceback: the outermost first."""
    for each in folded(stack) if has_own_code(stack) else ():
        if isinstance(each, int):
            yield f"… {each} of trio, tractor or the standard library"
            continue
        yield f'File "{each.path}", line {each.line}, in {each.function}'
        if source := source_of(each):
            yield f"  {source}"


def source_of(frame: Frame) -> str:
    """The line of code there; empty when there is none to be had."""
    return linecache.getline(frame.path, frame.line).strip()


def place(stack: Sequence[Frame]) -> str:
    """The function and line that say most."""
    if (frame := where(stack)) is None:
        return ""
    return f" in {frame.function} ({Path(frame.path).name}:{frame.line})"


def task_lines(task: TaskFacts) -> Iterator[str]:
    """A task, and all below it."""
    yield task_title(task)
    yield from indented(stack_lines(task.stack))
    for nursery in task.nurseries:
        yield f"{STEP}nursery{nursery_state(nursery)}"
        for each in nursery.tasks:
            yield from indented(task_lines(each), STEP * 2)


def task_title(task: TaskFacts) -> str:
    """One line on a task: its name, and where it is."""
    return (
        f"task {task.name!r} {'runs' if task.running else 'waits'}{place(task.stack)}"
    )


def brief_lines(answer: Answer) -> Iterator[str]:
    """The tasks and threads of a process that are in the program's own code."""
    for stack in _stacks_of(answer.stacks):
        if has_own_code(stack):
            yield f"a thread is{place(stack)}: {_source_at(stack)}"
    if answer.report is None:
        return
    tasks = [task for run in answer.report.runs for task in all_tasks(run)]
    for task in tasks:
        if has_own_code(task.stack):
            yield f"{task_title(task)}: {_source_at(task.stack)}"
    # The first one is where its tasks are, if it has any.
    for thread in answer.report.threads[bool(tasks) :]:
        if has_own_code(thread.stack):
            title = f"thread {thread.name!r} is{place(thread.stack)}"
            yield f"{title}: {_source_at(thread.stack)}"


def all_tasks(task: TaskFacts) -> Iterator[TaskFacts]:
    """It and all below it."""
    yield task
    for nursery in task.nurseries:
        for each in nursery.tasks:
            yield from all_tasks(each)


def _stacks_of(text: str) -> Iterator[list[Frame]]:
    """The stacks in what `faulthandler` wrote, the outermost frame first."""
    for thread in text.split("\n\n"):
        frames = [
            Frame(path, int(line), function)
            for path, line, function in _FAULTHANDLER.findall(thread)
        ]
        yield frames[::-1]


def _source_at(stack: Sequence[Frame]) -> str:
    frame = where(stack)
    return source_of(frame) if frame is not None else ""


def nursery_state(nursery: NurseryFacts) -> str:
    """What is special about a nursery."""
    words = ["cancelled"] * nursery.cancelled + ["shielded"] * nursery.shielded
    return f" ({', '.join(words)})" if words else ""


def thread_lines(thread: ThreadFacts, process: ProcessFacts) -> Iterator[str]:
    """A thread that runs Python, with what the kernel knows of it."""
    seen = next((each for each in process.threads if each.tid == thread.tid), None)
    state = ""
    if seen is not None:
        state = f", {seen.state}{f' in {seen.waits_in}' if seen.waits_in else ''}"
    yield f"thread {thread.name!r} ({thread.tid}{state}){place(thread.stack)}"
    yield from indented(stack_lines(thread.stack))


def process_lines(process: ProcessFacts) -> Iterator[str]:
    """A process, as it is seen from outside."""
    yield f"process {process.pid}, state {process.state}: {process.command:.200}"
    for thread in process.threads:
        waits = f" in {thread.waits_in}" if thread.waits_in else ""
        yield f"{STEP}kernel thread {thread.tid} {thread.name!r} {thread.state}{waits}"


def actor_lines(actor: ActorFacts) -> Iterator[str]:
    """An actor with its channels, calls and contexts."""
    yield f"actor {actor.aid.reprol()} {actor.aid.uuid}: {actor.state}"
    for peer in actor.peers:
        yield (
            f"{STEP}{peer.relation} {peer.aid.reprol()}: channel {peer.channel}, "
            f"{peer.queued} bytes queued"
        )
        yield from indented(map(call_line, peer.calls), STEP * 2)
    for orphan in actor.orphans:
        yield f"{STEP}could not be stopped and was left behind: {orphan.reprol()}"


def call_line(call: CallFacts) -> str:
    """A call or a context, at one of its ends."""
    what = f"{'to' if call.outgoing else 'from'} it, {call.cid}"
    path = f": {call.path}" if call.path is not None else ""
    return f"{what}{path}{f' ({call.state})' if call.state else ''}"


def report_lines(
    report: Report, process: ProcessFacts, *, all_threads: bool
) -> Iterator[str]:
    """All that an interpreter knows of itself."""
    if report.actor is not None:
        yield from actor_lines(report.actor)
    for run in report.runs:
        yield from task_lines(run)
    threads = report.threads if all_threads else report.threads[:1]
    for thread in threads:
        yield from thread_lines(thread, process)
    if report.interpreters:
        yield f"sub-interpreters: {', '.join(map(str, report.interpreters))}"
    for part in report.missing:
        yield f"could not be found out: {part}"


def answer_lines(answer: Answer, *, all_threads: bool = True) -> Iterator[str]:
    """All that is known of one process."""
    yield from process_lines(answer.process)
    if answer.silence:
        yield f"SILENT: {answer.silence}"
    if answer.stacks:
        yield "its threads, by faulthandler (the innermost frame first):"
        yield from indented(answer.stacks.splitlines())
    if answer.report is not None:
        yield from report_lines(answer.report, answer.process, all_threads=all_threads)

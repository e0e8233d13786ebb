"""Asking processes what they know, all at once and within a bound.

One thread sends all requests and then looks for answers. A process that says nothing
for half of the time gets the signal of last resort; whatever it does, it is described
from outside. See `_answer` for the other side.
"""

import os
import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, suppress
from typing import Final

import msgspec

from tractor._proc import (
    PROC,
    Stat,
    catches,
    command_of,
    descendants,
    read_stat,
    threads_of,
)
from tractor.devx._facts import Answer, ProcessFacts, Report
from tractor.devx._mailbox import (
    Door,
    Mailbox,
    current_interpreter,
    find_doors,
    open_door,
    open_pipe,
)

PATIENCE: Final = 1.0  # seconds for all answers together
TICK: Final = 0.01  # seconds between two looks; no event tells of an answer

DEAF: Final = "it is not ready to answer; see enable_stack_on_sig"
STOPPED: Final = "Tt"  # by a signal, by a debugger


def ask_all(within: float = PATIENCE) -> list[Answer]:
    """What each process below this one answers, or what it looks like from outside.

    Sub-interpreters answer each for themselves, those of this process too.

    Args:
        within: Seconds for all of them together; > 0.
    """
    return ask([(os.getpid(), None), *descendants(os.getpid())], within)


def ask(
    processes: Iterable[tuple[int, Stat | None]],
    within: float = PATIENCE,
    last_resort: bool = True,
) -> list[Answer]:
    """What each of these answers, or what it looks like from outside.

    Args:
        processes: Ids, with what the kernel says; `None` for this process, of which
            only the sub-interpreters are asked.
        within: Seconds for all of them together; > 0.
        last_resort: Whether those that say nothing get that signal.
    """
    deadline = time.monotonic() + within
    resort_at = deadline - within / 2 if last_resort else deadline
    with ExitStack() as stack:
        questions = list(_questions(processes, stack))
        waiting = [each for each in questions if each.ask()]
        while waiting and (now := time.monotonic()) < deadline:
            if now >= resort_at:
                for each in waiting:
                    each.ask_for_stacks()
            time.sleep(TICK)
            waiting = [each for each in waiting if not each.look()]
        for each in waiting:
            each.silence = f"no answer within {within:g} s"
        return [each.result() for each in questions]


def _questions(
    processes: Iterable[tuple[int, Stat | None]], stack: ExitStack
) -> Iterator["_Question"]:
    """One for each interpreter with a mailbox, and for each process without any."""
    for pid, stat in processes:
        process = (
            describe_process(pid, stat) if stat is not None else describe_this_process()
        )
        doors, problem = [], ""
        try:
            doors = list(find_doors(pid))
        except OSError as exc:
            problem = f"it cannot be asked: {exc.strerror}"
        # One of each interpreter, which may answer to several signals.
        boxes = {door.interpreter: door for door in doors if _may_knock(pid, door)}
        for box in boxes.values():
            yield _Question(process, box, doors, stack)
        if stat is not None and 0 not in boxes:
            question = _Question(process, None, doors, stack)
            question.silence = problem or DEAF
            yield question


def _may_knock(pid: int, door: Door) -> bool:
    if door.kind == "pipe":
        return (pid, door.interpreter) != (os.getpid(), current_interpreter())
    # A signal without a handler would end the process.
    return door.kind == "signal" and pid != os.getpid() and catches(pid, door.number)


def describe_process(pid: int, stat: Stat) -> ProcessFacts:
    """A process, seen from outside."""
    command = command_of(pid) or f"[{stat.name}]"
    return ProcessFacts(pid, stat.parent, command, stat.state, threads_of(pid))


def describe_this_process() -> ProcessFacts:
    """This one."""
    stat = read_stat(PROC / "self") or Stat("python", "?", os.getppid(), 0)
    return describe_process(os.getpid(), stat)


class _Question:
    """What goes on between this interpreter and one other, while it is asked."""

    def __init__(
        self,
        process: ProcessFacts,
        door: Door | None,
        doors: list[Door],
        stack: ExitStack,
    ) -> None:
        self.silence = ""
        self._process = process
        self._door = door
        self._doors = doors
        self._stack = stack
        self._pidfd = -1
        self._box: Mailbox | None = None
        self._before = 0
        self._report: Report | None = None
        self._stacks: int | None = None
        self._stacks_from = 0

    def ask(self) -> bool:
        """Send the request; whether there may be an answer."""
        if self._process.state == "Z":
            self.silence = "it has ended, and its parent has not noticed"
        elif self._process.state in STOPPED:
            self.silence = "it is stopped by a signal, or by a debugger"
        elif self._door is not None:
            try:
                self._send(self._door)
            except OSError as exc:
                self.silence = f"it cannot be asked: {exc.strerror}"
        return not self.silence

    def _send(self, door: Door) -> None:
        # From now on the number cannot be another process's.
        self._pidfd = self._keep(os.pidfd_open(self._process.pid))
        box = self._box = Mailbox(open_door(door, os.O_RDWR))
        self._stack.callback(box.close)
        pipe = self._keep(open_pipe(door)) if door.kind == "pipe" else None
        self._before = box.answered
        box.ask()
        if pipe is not None:
            os.write(pipe, b"d")
        elif catches(self._process.pid, door.number):
            signal.pidfd_send_signal(self._pidfd, door.number)
        else:
            self.silence = DEAF

    def look(self) -> bool:
        """Whether the answer is there, or something that is none."""
        assert self._box is not None
        try:
            if (answer := self._box.get_answer(self._before)) is None:
                return False
            if answer:
                self._report = msgspec.msgpack.decode(answer, type=Report)
            else:
                self.silence = "it failed to answer; its log says why"
        except (OSError, msgspec.MsgspecError, RecursionError) as exc:
            self.silence = f"its answer cannot be read: {type(exc).__name__}: {exc}"
        return True

    def ask_for_stacks(self) -> None:
        """Send the signal of last resort, once."""
        if self._stacks is not None:
            return
        self._stacks = -1
        pid = self._process.pid
        with suppress(OSError):
            for door in self._doors:
                # From another process only: it stops whoever gets it for a moment.
                if door.kind == "stacks" and catches(pid, door.number):
                    self._stacks = self._keep(open_door(door, os.O_RDONLY))
                    self._stacks_from = os.fstat(self._stacks).st_size
                    signal.pidfd_send_signal(self._pidfd, door.number)

    def result(self) -> Answer:
        """What came of it."""
        stacks = b""
        if self._stacks not in (None, -1) and self._report is None:
            assert self._stacks is not None
            size = max(0, os.fstat(self._stacks).st_size - self._stacks_from)
            stacks = os.pread(self._stacks, size, self._stacks_from)
        text = stacks.decode(errors="replace")
        number = self._door.interpreter if self._door is not None else 0
        return Answer(self._process, self._report, number, self.silence, text)

    def _keep(self, fd: int) -> int:
        self._stack.callback(os.close, fd)
        return fd

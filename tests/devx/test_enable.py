"""`enable_stack_on_sig` in one process: what a signal does, and what it does not."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from tractor.devx import _answer, enable_stack_on_sig
from tractor.devx._answer import SignalAnswerer
from tractor.devx._ask import ask_all
from tractor.devx._mailbox import Mailbox, find_doors

SAFETY = 30  # seconds; a net
linux = pytest.mark.skipif(
    not hasattr(os, "memfd_create"), reason="needs Linux's memfd"
)


class Dumps:
    """Counts what people ask for."""

    def __init__(self) -> None:
        self.asked = threading.Event()

    def __call__(self) -> None:
        self.asked.set()


@pytest.fixture
def dumps() -> Iterator[Dumps]:
    """This process answers to SIGUSR1, and after the test as before."""
    made = Dumps()
    answerer = SignalAnswerer(signal.SIGUSR1, made)
    yield made
    answerer.close()


@pytest.mark.usefixtures("dumps")
def test_to_enable_it_again_does_nothing() -> None:
    """The handler stays, and there is no second mailbox."""
    before = signal.getsignal(signal.SIGUSR1), list(find_doors(os.getpid()))
    enable_stack_on_sig()
    assert before == (signal.getsignal(signal.SIGUSR1), list(find_doors(os.getpid())))


def test_another_thread_is_refused() -> None:
    """Only the main thread may install handlers; nothing is left of the attempt."""
    errors: list[RuntimeError] = []

    def enable() -> None:
        try:
            enable_stack_on_sig(signal.SIGUSR2)
        except RuntimeError as exc:
            errors.append(exc)

    thread = threading.Thread(target=enable)
    thread.start()
    thread.join(SAFETY)
    assert "only the main thread" in str(errors[0])
    assert signal.getsignal(signal.SIGUSR2) is signal.SIG_DFL


def test_a_signal_without_a_request_is_a_person(dumps: Dumps) -> None:
    """They get a dump."""
    os.kill(os.getpid(), signal.SIGUSR1)
    assert dumps.asked.wait(SAFETY)


@linux
def test_a_signal_with_a_request_is_an_actor(dumps: Dumps) -> None:
    """It finds the answer in the mailbox, and nothing is dumped."""
    [door] = [each for each in find_doors(os.getpid()) if each.kind == "signal"]
    box = Mailbox(os.open(door.path, os.O_RDWR))
    try:
        box.ask()
        os.kill(os.getpid(), signal.SIGUSR1)
        answer = box.get_answer(0)
    finally:
        box.close()
    assert answer is not None
    assert test_a_signal_with_a_request_is_an_actor.__name__.encode() in answer
    assert not dumps.asked.is_set()


@linux
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
def test_a_fork_does_not_answer_for_its_parent(dumps: Dumps) -> None:
    """It has a copy of the handler, but the mailbox is not its own."""
    [door] = [each for each in find_doors(os.getpid()) if each.kind == "signal"]
    box = Mailbox(os.open(door.path, os.O_RDWR))
    try:
        box.ask()
        pid = os.fork()
        if pid == 0:
            os.kill(os.getpid(), signal.SIGUSR1)
            os._exit(0)
        os.waitpid(pid, 0)
        assert box.get_answer(0) is None
    finally:
        box.close()
    assert not dumps.asked.is_set()


# -- Where things go wrong -------------------------------------------------------------


@linux
def test_a_request_that_cannot_be_answered_is_no_request_any_more(
    dumps: Dumps, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The asker gets an empty answer, and the next signal is a person's again."""

    def fail(_frame: object) -> None:
        msg = "no report today"
        raise ValueError(msg)

    monkeypatch.setattr(_answer, "take_report", fail)
    [door] = [each for each in find_doors(os.getpid()) if each.kind == "signal"]
    box = Mailbox(os.open(door.path, os.O_RDWR))
    try:
        box.ask()
        os.kill(os.getpid(), signal.SIGUSR1)
        assert box.get_answer(0) == b""
    finally:
        box.close()
    assert "no report today" in caplog.text
    os.kill(os.getpid(), signal.SIGUSR1)
    assert dumps.asked.wait(SAFETY)


@linux
def test_a_mailbox_that_the_program_has_closed_is_done_without(dumps: Dumps) -> None:
    """People still get their dump, and the program no error."""
    for door in find_doors(os.getpid()):
        os.close(int(door.path.rpartition("/")[2]))
    os.kill(os.getpid(), signal.SIGUSR1)
    assert dumps.asked.wait(SAFETY)


def test_without_a_thread_the_dump_is_made_at_once(
    dumps: Dumps, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A limit of threads is a reason to hang, too."""

    def fail(_thread: threading.Thread) -> None:
        msg = "can't start new thread"
        raise RuntimeError(msg)

    monkeypatch.setattr(threading.Thread, "start", fail)
    os.kill(os.getpid(), signal.SIGUSR1)
    assert dumps.asked.is_set()


def test_a_dump_that_fails_raises_nothing_in_the_program(
    dumps: Dumps, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The handler runs in the middle of it, at any line."""
    del dumps  # only the handler is needed
    monkeypatch.setattr(SignalAnswerer, "_start_dump", lambda _self: 1 / 0)
    os.kill(os.getpid(), signal.SIGUSR1)
    assert "ZeroDivisionError" in caplog.text


def test_many_signals_at_once_make_two_dumps_at_most() -> None:
    """One that is under way, and one for what has changed since it began."""
    go_on, dumps = threading.Event(), []

    def dump() -> None:
        dumps.append(threading.current_thread())
        go_on.wait(SAFETY)

    answerer = SignalAnswerer(signal.SIGUSR1, dump)
    try:
        for _ in range(10):
            os.kill(os.getpid(), signal.SIGUSR1)
    finally:
        go_on.set()
        answerer.close()
    for thread in dumps:
        thread.join(SAFETY)
    assert 1 <= len(dumps) <= 2


@linux
def test_two_signals_are_one_actor() -> None:
    """It has two mailboxes, and is asked through one of them."""
    program = """
from tractor.devx import enable_stack_on_sig
enable_stack_on_sig(10)
enable_stack_on_sig(12)
print(flush=True)
input()
"""
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        answers = [each for each in ask_all() if each.process.pid == process.pid]
        process.kill()
    assert len(answers) == 1

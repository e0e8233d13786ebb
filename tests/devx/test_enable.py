"""`enable_stack_on_sig` in one process: what a signal does, and what it does not."""

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from tractor.devx import enable_stack_on_sig
from tractor.devx._answer import SignalAnswerer
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

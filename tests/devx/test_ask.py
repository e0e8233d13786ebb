"""Asking: one answer that is none does not cost the others; what a thread answers."""

import fcntl
import os
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec
import pytest

from tractor.devx import Answer, _answer, _ask
from tractor.devx._answer import ThreadAnswerer

pytestmark = pytest.mark.skipif(
    not hasattr(os, "memfd_create"), reason="needs Linux's memfd"
)

SAFETY: Final = 30  # seconds; a net
HIGH: Final = 1100  # a descriptor that `select` cannot take


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks takes our thread for one of another interpreter."""
    monkeypatch.setattr(_ask, "current_interpreter", lambda: 99)


@pytest.fixture
def answerer() -> Iterator[ThreadAnswerer]:
    """One that answers for this interpreter."""
    made = ThreadAnswerer()
    made.start()
    yield made
    made.close()


def ask_here() -> Answer:
    """What the one thread answers."""
    [answer] = _ask.ask([(os.getpid(), None)], SAFETY)
    return answer


@pytest.mark.usefixtures("answerer")
def test_a_thread_answers() -> None:
    """Again and again."""
    for _ in range(2):
        answer = ask_here()
        assert answer.report is not None
        assert answer.report.pid == os.getpid()


@pytest.mark.usefixtures("answerer")
def test_an_answer_that_cannot_be_read_is_a_silence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And says why."""
    monkeypatch.setattr(msgspec.msgpack, "encode", lambda _report: b"\xc1")
    answer = ask_here()
    assert answer.report is None
    assert "its answer cannot be read: DecodeError" in answer.silence


@pytest.mark.usefixtures("answerer")
def test_who_fails_to_answer_says_so_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for an answer that will not come."""
    monkeypatch.setattr(_answer, "take_report", lambda _frame: 1 / 0)
    assert ask_here().silence == "it failed to answer; its log says why"


def test_a_high_descriptor_is_as_good_as_any(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process may have many; `select` ends at 1024."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limits[1] <= HIGH + 1:
        pytest.skip("the system does not let one have so many")
    pipe = os.pipe

    def high_pipe() -> list[int]:
        low = pipe()
        high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, HIGH) for fd in low]
        for fd in low:
            os.close(fd)
        return high

    resource.setrlimit(resource.RLIMIT_NOFILE, (max(limits[0], 2 * HIGH), limits[1]))
    try:
        monkeypatch.setattr(os, "pipe", high_pipe)
        answerer = ThreadAnswerer()
        monkeypatch.undo()
        monkeypatch.setattr(_ask, "current_interpreter", lambda: 99)
        answerer.start()
        assert ask_here().report is not None
        answerer.close()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_to_end_what_has_ended_writes_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its descriptors are the program's by then."""
    actors = iter([object()])  # one, and none after that
    monkeypatch.setattr(_answer, "maybe_actor", lambda: next(actors, None))
    answerer = ThreadAnswerer()
    answerer.start()
    answerer.join(SAFETY)
    paths = [tmp_path / f"{number}" for number in range(6)]
    files = [path.open("wb", 0) for path in paths]
    answerer.close()
    for file in files:
        file.close()
    assert [path.read_bytes() for path in paths] == [b""] * 6

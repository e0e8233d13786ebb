"""Resource deltas name what a block adds and takes away."""

import os
import threading
from contextlib import suppress
from pathlib import Path
from time import monotonic

import pytest

from tests._helpers import SAFETY
from tractor.devx import track_resource_deltas

pytest_plugins = ["pytester"]


def assert_gone(folder: Path) -> None:
    """Wait for the kernel, which has a thread for a moment more than Python does.

    No event tells of that.
    """
    deadline = monotonic() + SAFETY
    while folder.exists():
        assert monotonic() < deadline, f"{folder} is still there"
        os.sched_yield()


def test_what_is_left_behind_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """With a plus; by default at stderr."""
    with track_resource_deltas("the block"):
        read, write = os.pipe()
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith(f"the block: + descriptor {read}: pipe:")
    with track_resource_deltas(writer=lines.append):
        os.close(read)
        os.close(write)
    assert [line[:12] for line in lines[2:]] == ["- descriptor"] * 2


def test_the_value_is_what_was_there_before() -> None:
    """Threads and descriptors, for example."""
    over = threading.Event()
    thread = threading.Thread(target=over.wait, args=(10,), name="the waiting one")
    thread.start()
    lines: list[str] = []
    with track_resource_deltas(writer=lines.append) as before:
        over.set()
        thread.join()
        assert_gone(Path(f"/proc/self/task/{thread.native_id}"))
    assert "the waiting one" in before.threads
    assert before.fds
    assert [line.partition(" (")[0] for line in lines] == ["- thread 'the waiting one'"]


def test_a_block_that_fails_is_told_of_too() -> None:
    """Its error goes on."""
    lines: list[str] = []
    with suppress(ZeroDivisionError), track_resource_deltas("x", writer=lines.append):
        fds = os.pipe()
        raise ZeroDivisionError
    for fd in fds:
        os.close(fd)
    assert len(lines) == 2


def test_the_fixture_tells_of_each_test(pytester: pytest.Pytester) -> None:
    """Its lines are with the output of the test that leaks."""
    pytester.makeconftest(
        "from tractor.devx import resource_delta_fixture\n"
        "deltas = resource_delta_fixture()\n"
    )
    pytester.makepyfile("import os\ndef test_leak():\n    os.pipe()\n    assert 0\n")
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-rA")
    result.stdout.fnmatch_lines(["*test_leak: + descriptor *: pipe:*"])

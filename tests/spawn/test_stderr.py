"""The pump behind a child's stderr, with the test as the child."""

import contextlib
import itertools
import logging
import os
import pty
import threading
import tty
from collections.abc import Iterator

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tractor.spawn import _stderr
from tractor.spawn._stderr import TAIL_BYTES, StderrTail

SAFETY = 20  # seconds; a net, never what is tested


@pytest.fixture
def ours(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """What the pump takes for our own stderr: a pipe; this is its read end."""
    read_fd, write_fd = os.pipe()
    monkeypatch.setattr(_stderr, "STDERR", write_fd)
    os.set_blocking(read_fd, False)
    yield read_fd
    os.close(read_fd)
    os.close(write_fd)


@pytest.fixture
def tail() -> Iterator[StderrTail]:
    """A tail of which the test holds the child's end; see `child_end`."""
    before = sorted(os.listdir("/dev/fd"))
    yield StderrTail()
    assert sorted(os.listdir("/dev/fd")) == before


def started(tail: StderrTail) -> int:
    """Start the pump; the child's end."""
    child_end = os.dup(tail.write_fd)
    tail.start()
    return child_end


async def read_exactly(fd: int, size: int) -> bytes:
    data = b""
    while len(data) < size:
        await trio.lowlevel.wait_readable(fd)
        data += os.read(fd, size)
    return data


async def test_copies_at_once(
    tail: StderrTail, capfd: pytest.CaptureFixture[str]
) -> None:
    """What the child writes shows on our stderr while the child lives."""
    child_end = started(tail)
    os.write(child_end, b"half a line")
    await wait_all_tasks_blocked()
    assert capfd.readouterr().err == "half a line"
    assert tail.text() == "half a line"
    os.close(child_end)
    await tail.wait_done()


async def test_keeps_the_end(tail: StderrTail, ours: int) -> None:
    """Of much output, all is copied and the last 16 KiB are kept."""
    child_end = started(tail)
    sent = b""
    for number in range(10):
        piece = b"%d" % number * 4000
        os.write(child_end, piece)
        sent += piece
        await wait_all_tasks_blocked()
    os.close(child_end)
    await tail.wait_done()
    assert tail.text() == sent[-TAIL_BYTES:].decode()
    assert await read_exactly(ours, len(sent)) == sent


async def test_ends_at_end_of_file(tail: StderrTail, ours: int) -> None:
    """Everything that was written before the end is known after it."""
    child_end = started(tail)
    os.write(child_end, b"last words\n")
    os.close(child_end)
    with trio.fail_after(SAFETY):
        await tail.wait_done()
    assert tail.text() == "last words\n"
    assert await read_exactly(ours, 11) == b"last words\n"


async def test_grandchildren_do_not_keep_it_open(tail: StderrTail, ours: int) -> None:
    """Once the child is gone, what is there is read, and no more is waited for."""
    child_end = started(tail)
    await wait_all_tasks_blocked()
    os.write(child_end, b"x" * 50_000)
    tail.child_gone()
    with trio.fail_after(SAFETY):
        await tail.wait_done()
    assert tail.text() == "x" * TAIL_BYTES
    assert len(await read_exactly(ours, 50_000)) == 50_000
    with pytest.raises(BrokenPipeError):
        os.write(child_end, b"nobody reads this")
    os.close(child_end)


async def test_a_child_may_be_gone_before_the_pump_runs(
    tail: StderrTail, ours: int
) -> None:
    """`child_gone` may come at any time, and again."""
    child_end = started(tail)
    os.write(child_end, b"short life")
    tail.child_gone()
    tail.child_gone()
    with trio.fail_after(SAFETY):
        await tail.wait_done()
        await tail.wait_done()
    tail.child_gone()
    assert tail.text() == "short life"
    os.close(child_end)


async def test_broken_utf8_is_no_error(tail: StderrTail, ours: int) -> None:
    """The text is readable whatever bytes the child wrote."""
    child_end = started(tail)
    os.write(child_end, b"caf\xe9 \xff")
    os.close(child_end)
    await tail.wait_done()
    assert tail.text() == "caf� �"


async def test_a_closed_stderr_of_ours_is_no_error(
    tail: StderrTail, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With nowhere to copy to, the tail is kept all the same."""
    read_fd, write_fd = os.pipe()
    os.close(read_fd)
    monkeypatch.setattr(_stderr, "STDERR", write_fd)
    child_end = started(tail)
    for _ in range(3):
        os.write(child_end, b"to nobody\n")
        await wait_all_tasks_blocked()
    os.close(child_end)
    os.close(write_fd)
    with trio.fail_after(SAFETY):
        await tail.wait_done()
    assert tail.text() == "to nobody\n" * 3


async def test_a_stuck_stderr_of_ours_blocks_nobody(
    tail: StderrTail, ours: int
) -> None:
    """While nobody reads our stderr the loop runs on; later nothing is missing."""
    child_end = started(tail)
    os.set_blocking(child_end, False)
    sent = b""
    with contextlib.suppress(BlockingIOError):  # once every pipe is full
        for number in itertools.count():
            piece = b"%d;" % number * 1000
            sent += piece[: os.write(child_end, piece)]
            await wait_all_tasks_blocked()
    tail.child_gone()
    with trio.fail_after(SAFETY):
        await tail.wait_done()
        assert tail.text() == sent[-TAIL_BYTES:].decode()
        assert await read_exactly(ours, len(sent)) == sent
    os.close(child_end)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A terminal for our own stderr, with room for a little; this is its other end."""
    master, terminal = pty.openpty()
    tty.setraw(terminal)  # what is written is what is read
    os.set_blocking(terminal, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(terminal, b"x" * 512)
    os.set_blocking(terminal, True)
    while not _stderr._writable(terminal):
        os.read(master, 64)
    monkeypatch.setattr(_stderr, "STDERR", terminal)
    yield master
    os.close(master)
    os.close(terminal)


async def test_a_terminal_with_little_room_blocks_nobody(
    tail: StderrTail, terminal: int
) -> None:
    """It polls as writable, and yet a write of more than it takes would block."""
    net = threading.Timer(SAFETY, os.read, (terminal, 1 << 20))  # would end that
    net.start()
    sent = b"".join(b"%d;" % number for number in range(10_000))
    try:
        child_end = started(tail)
        os.write(child_end, sent)
        os.close(child_end)
        await wait_all_tasks_blocked()
        assert net.is_alive()
        tail.child_gone()
        got = b""
        with trio.fail_after(SAFETY):
            await tail.wait_done()
            while not got.endswith(sent):
                await trio.lowlevel.wait_readable(terminal)
                got += os.read(terminal, 4096)
        assert not got.removesuffix(sent).strip(b"x")
    finally:
        net.cancel()
        net.join()


async def test_a_non_blocking_stderr_of_ours_loses_nothing(
    tail: StderrTail, ours: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`EAGAIN` from our stderr means later, and not never."""
    monkeypatch.setattr(_stderr, "_writable", lambda fd: True)  # as it was just before
    os.set_blocking(_stderr.STDERR, False)
    others = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            others += os.write(_stderr.STDERR, b"x" * 4096)
    child_end = started(tail)
    os.write(child_end, b"y" * 1000)
    os.close(child_end)
    tail.child_gone()
    with trio.fail_after(SAFETY):
        await tail.wait_done()
        assert (await read_exactly(ours, others + 1000))[others:] == b"y" * 1000


async def test_an_unexpected_error_is_logged_and_no_more(
    tail: StderrTail,
    ours: int,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The pump never raises, which would end the whole run."""

    def fail(fd: int, size: int) -> bytes:
        raise OSError(5, "the disk is on fire")

    child_end = started(tail)
    with monkeypatch.context() as patch, caplog.at_level(logging.ERROR):
        patch.setattr(os, "read", fail)
        os.write(child_end, b"z")
        with trio.fail_after(SAFETY):
            await tail.wait_done()
            await wait_all_tasks_blocked()
    assert "not copied" in caplog.text
    os.close(child_end)


def test_ends_with_the_run(tail: StderrTail) -> None:
    """A pump whose child still lives closes its pipe when the run ends."""

    async def main() -> int:
        child_end = started(tail)
        await wait_all_tasks_blocked()
        return child_end

    child_end = trio.run(main)
    with pytest.raises(BrokenPipeError):
        os.write(child_end, b"too late")
    os.close(child_end)


def test_close_undoes_the_pipe(tail: StderrTail) -> None:
    """A tail whose child was never started leaves no descriptor."""
    tail.close()
    assert tail.text() == ""

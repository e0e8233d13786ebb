"""`dump_on_hang` in one actor: when it dumps, where to, and that it breaks nothing."""

import os
import select
import stat
import threading
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

import pytest
import trio

from tractor.devx import _dump, _hang, dump_on_hang, dump_to_file
from tractor.testing import take_census

SOON: Final = 0.01  # seconds until a dump
SAFETY: Final = 30  # seconds; a net


def stuck_in_here(hang: dump_on_hang) -> None:
    """Hold the thread until the dump is made."""
    assert hang.wait_dumped(SAFETY)


def open_pipe(path: Path) -> int:
    """A reader, so that there may be a writer."""
    return os.open(path, os.O_RDONLY | os.O_NONBLOCK)


def read_dump(pipe: int) -> str:
    """Wait for a dump in the pipe; the whole of it."""
    poller = select.poll()
    poller.register(pipe, select.POLLIN)
    assert poller.poll(SAFETY * 1000)
    os.set_blocking(pipe, True)
    with open(pipe, encoding="utf-8") as file:
        return file.read()


async def test_a_loop_that_is_stuck_is_dumped(tmp_path: Path) -> None:
    """The file names the function that holds the loop, its file and its line."""
    path = tmp_path / "dump"
    with dump_on_hang(SOON, path=path) as hang:
        stuck_in_here(hang)
    text = path.read_text()
    brief = text.partition("== the tree")[0]
    assert "a block has taken 0.01 s" in text
    assert "runs in stuck_in_here (" in brief
    assert f'File "{__file__}", line' in text
    assert text.endswith("end of the dump\n")


async def test_tasks_that_wait_are_dumped(tmp_path: Path) -> None:
    """Each with the line of the program where it waits."""
    path = tmp_path / "dump"
    never = trio.Event()

    async def waits_in_vain() -> None:
        await never.wait()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(waits_in_vain)
        with dump_on_hang(SOON, path=path) as hang:
            await trio.to_thread.run_sync(hang.wait_dumped, SAFETY)
        nursery.cancel_scope.cancel()
    assert "waits_in_vain (" in path.read_text()
    assert "await never.wait()" in path.read_text()


async def test_what_ends_in_time_is_not_dumped(tmp_path: Path) -> None:
    """And its thread is gone."""
    path = tmp_path / "dump"
    threads = take_census().threads
    with dump_on_hang(SAFETY, path=path) as hang:
        await trio.lowlevel.checkpoint()
    assert not path.exists()
    assert hang.dumped is None
    assert take_census().threads.keys() <= threads.keys()


@pytest.mark.parametrize("seconds", [0, -1, float("nan")])
def test_a_time_that_is_none_is_refused(seconds: float) -> None:
    """With the number in the text."""
    with pytest.raises(ValueError, match="seconds must be > 0"):
        dump_on_hang(seconds)


def test_no_time_at_all_is_too_long_for_ever() -> None:
    """Its thread waits, instead of ending by an error."""
    with dump_on_hang(float("inf")) as hang:
        [(_, thread)] = hang._watches
        assert thread.is_alive()
    assert not thread.is_alive()


def test_half_a_character_in_a_dump_does_not_end_it(tmp_path: Path) -> None:
    """As in the path of a source file."""
    assert dump_to_file("caf\udce9", tmp_path / "dump") == tmp_path / "dump"
    text = (tmp_path / "dump").read_text()
    assert text.startswith("caf\\udce9\n")
    assert text.endswith("end of the dump\n")


def test_the_file_is_fresh_private_and_named(
    runtime_dir: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Only its owner may read it, and the log says where it is."""
    with dump_on_hang(SOON) as hang:
        stuck_in_here(hang)
    assert hang.dumped is not None
    try:
        assert stat.S_IMODE(hang.dumped.stat().st_mode) == 0o600
        assert hang.dumped.is_relative_to(runtime_dir)
        assert str(hang.dumped) in caplog.text
    finally:
        hang.dumped.unlink()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a full device")
def test_a_full_disk_breaks_nothing(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """The log says so, and the dump is at stderr instead."""
    with dump_on_hang(SOON, path="/dev/full") as hang:
        stuck_in_here(hang)
    assert hang.dumped is None
    assert "cannot be written" in caplog.text
    error = capfd.readouterr().err
    assert "a block has taken" in error
    assert "in stuck_in_here" in error


def test_an_existing_file_is_added_to(tmp_path: Path) -> None:
    """So that a second dump does not cost the first one; and it is private then."""
    path = tmp_path / "dump"
    path.write_text("mine\n")
    path.chmod(0o644)
    with dump_on_hang(SOON, path=path) as hang:
        stuck_in_here(hang)
    assert path.read_text().startswith("mine\na block has taken")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_link_is_not_followed(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Somebody else may have put it there; the dump is at stderr."""
    path, link = tmp_path / "mine", tmp_path / "link"
    path.touch(0o644)
    link.symlink_to(path)
    assert dump_to_file("why", link) is None
    assert path.read_text() == ""
    assert "end of the dump" in capfd.readouterr().err


def test_a_pipe_that_nobody_reads_holds_nobody_up(
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Neither without a reader, nor with one that does not read."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    assert dump_to_file("no reader", path) is None
    assert "end of the dump" in capfd.readouterr().err
    reader = open_pipe(path)
    monkeypatch.setattr(_dump, "PIPE_PATIENCE", 0.01)
    writer = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    try:
        with suppress(BlockingIOError):
            while True:
                os.write(writer, bytes(1 << 16))
        assert dump_to_file("no room", path) is None
    finally:
        os.close(reader)
        os.close(writer)
    assert "end of the dump" in capfd.readouterr().err


async def test_a_loop_goes_on_while_a_dump_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The block is left at once, and the dump is written all the same."""
    begun, go_on = threading.Event(), threading.Event()

    def slow_dump(*_: object, **__: object) -> Path:
        begun.set()
        assert go_on.wait(SAFETY)
        return tmp_path

    monkeypatch.setattr(_hang, "dump_to_file", slow_dump)
    with dump_on_hang(SOON) as hang:
        await trio.to_thread.run_sync(begun.wait, SAFETY)
    assert hang.dumped is None  # so it was not waited for
    go_on.set()
    assert await trio.to_thread.run_sync(hang.wait_dumped, SAFETY)
    assert hang.dumped == tmp_path


def test_other_threads_are_left_out_on_request(tmp_path: Path) -> None:
    """Then it is shorter."""
    path = tmp_path / "dump"
    with dump_on_hang(SOON, path=path, all_threads=False) as hang:
        stuck_in_here(hang)
    assert "thread 'MainThread'" in path.read_text()
    assert "thread 'tractor dump_on_hang'" not in path.read_text()


async def test_it_decorates_functions_of_both_kinds(tmp_path: Path) -> None:
    """Each call is watched, by the name of the function, and returns what it would."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    watch = dump_on_hang(SOON, path=path)

    @watch
    def works(number: int, pipe: int) -> tuple[int, str]:
        return number + 1, read_dump(pipe)

    @watch
    async def works_too(number: int, pipe: int) -> tuple[int, str]:
        return number + 1, await trio.to_thread.run_sync(read_dump, pipe)

    one, two = works(1, open_pipe(path)), await works_too(1, open_pipe(path))
    for number, text in (one, two):
        assert number == 2
        assert text.endswith("end of the dump\n")
    assert "works has taken 0.01 s" in one[1]
    assert "works_too has taken 0.01 s" in two[1]


def test_it_can_be_used_again(tmp_path: Path) -> None:
    """What was dumped before is not taken for a dump of this block."""
    hang = dump_on_hang(SOON, path=tmp_path / "dump")
    with hang:
        stuck_in_here(hang)
    assert hang.dumped is not None
    hang._seconds = SAFETY
    with hang:
        assert not hang.wait_dumped(0)
    assert hang.dumped is None


def test_blocks_may_be_within_each_other(tmp_path: Path) -> None:
    """The end of the inner one is not that of the outer one."""
    hang = dump_on_hang(0.2, path=tmp_path / "dump")
    with hang:
        with hang:
            pass
        stuck_in_here(hang)
    assert hang.dumped == tmp_path / "dump"


def test_generators_are_refused() -> None:
    """To call one does nothing, so it would never be found to hang."""

    def generator() -> Iterator[int]:
        yield 1

    with pytest.raises(TypeError, match="not for a generator"):
        dump_on_hang()(generator)


def test_any_other_callable_will_do() -> None:
    """Also one that has no name."""
    assert dump_on_hang()(partial(int, "7"))() == 7


def test_a_path_that_is_none_is_like_a_full_disk(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """The dump is at stderr."""
    assert dump_to_file("why", "a\0b") is None
    assert "end of the dump" in capfd.readouterr().err

"""Notices of death, of real processes."""

import contextlib
import errno
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tractor.spawn._death import wait_process_exited, was_reaped

SAFETY = 20  # seconds; a net, never what is tested


@pytest.fixture(params=["pidfd", "thread", "no descriptor left"])
def mechanism(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each way to learn of a death."""

    def fail(pid: int) -> int:
        raise OSError(errno.EMFILE, "too many open files")

    match request.param:
        case "pidfd" if not hasattr(os, "pidfd_open"):
            pytest.skip("no pidfd here")
        case "thread":
            monkeypatch.delattr(os, "pidfd_open", raising=False)
        case "no descriptor left":
            monkeypatch.setattr(os, "pidfd_open", fail, raising=False)
    return str(request.param)


@contextmanager
def cat() -> Iterator["subprocess.Popen[bytes]"]:
    """A process that lives until its stdin is closed."""
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as process:
        yield process


def end(process: "subprocess.Popen[bytes]") -> None:
    assert process.stdin is not None
    process.stdin.close()


async def test_returns_at_death_without_reaping(mechanism: str) -> None:
    """The notice comes with the death, and the exit status is still there."""
    noticed = False

    async def wait(pid: int) -> None:
        nonlocal noticed
        await wait_process_exited(pid)
        noticed = True

    with cat() as process, trio.fail_after(SAFETY):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait, process.pid)
            await wait_all_tasks_blocked()
            assert not noticed
            end(process)
        assert process.poll() == 0  # still ours to reap


async def test_many_callers_are_all_told(mechanism: str) -> None:
    """Any number of tasks wait for one process."""
    with cat() as process, trio.fail_after(SAFETY):
        async with trio.open_nursery() as nursery:
            for _ in range(60):
                nursery.start_soon(wait_process_exited, process.pid)
            await wait_all_tasks_blocked()
            end(process)


async def test_callers_need_no_turn(mechanism: str) -> None:
    """Waiting for one process uses up nothing that waiting for another needs."""
    trio.to_thread.current_default_thread_limiter().total_tokens = 1
    with cat() as lasting, cat() as brief, trio.fail_after(SAFETY):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait_process_exited, lasting.pid)
            await wait_all_tasks_blocked()
            end(brief)
            await wait_process_exited(brief.pid)
            end(lasting)


async def test_a_zombie_is_dead(mechanism: str) -> None:
    """A process that died before the call needs no waiting."""
    with cat() as process, trio.fail_after(SAFETY):
        end(process)
        await wait_process_exited(process.pid)
        await wait_process_exited(process.pid)
        assert process.wait() == 0


async def test_the_reaped_are_gone(mechanism: str) -> None:
    """A process that nobody can wait for any more is gone too."""
    with cat() as process:
        end(process)
        process.wait()
        with trio.fail_after(SAFETY):
            await wait_process_exited(process.pid)


async def test_a_cancelled_caller_leaves_no_descriptor(mechanism: str) -> None:
    """Cancellation is prompt, and gives back what was opened."""
    with cat() as process:
        before = sorted(os.listdir("/dev/fd"))
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(wait_process_exited, process.pid)
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        assert sorted(os.listdir("/dev/fd")) == before
        end(process)


async def test_is_always_a_checkpoint(mechanism: str) -> None:
    """A cancelled scope is noticed even where there is nothing to wait for."""
    with cat() as process:
        end(process)
        process.wait()
        with trio.CancelScope() as scope:
            scope.cancel()
            with contextlib.suppress(Exception):
                await wait_process_exited(process.pid)
        assert scope.cancelled_caught


def test_who_was_reaped() -> None:
    """Neither who runs, nor a zombie; by number or by descriptor."""
    with cat() as process:
        pidfd = os.pidfd_open(process.pid) if hasattr(os, "pidfd_open") else None
        assert not was_reaped(process.pid)
        assert not was_reaped(process.pid, pidfd)
        end(process)
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert not was_reaped(process.pid, pidfd)
        process.wait()
        assert was_reaped(process.pid)
        assert was_reaped(process.pid, pidfd)
        if pidfd is not None:
            os.close(pidfd)

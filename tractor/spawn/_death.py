"""Waiting for the death of a process without taking its exit status away.

The notice and the reaping are apart so that any number of tasks can wait for the same
process: whoever owns the handle (a `Popen`, a `multiprocessing.Process`) reaps it.
"""

import os

import trio


async def wait_process_exited(pid: int) -> None:
    """Return when child process `pid` is a zombie or gone; never reaps it.

    Any number of tasks may wait for the same process.

    Args:
        pid: A child of this process that the caller has not reaped yet, because from
            then on the number may belong to somebody else.

    Cancellation: leaves nothing behind, save where there is no pidfd: there a thread
    stays until the process ends.
    """
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        await trio.lowlevel.checkpoint()
    except (AttributeError, OSError):
        # Not Linux ≥ 5.3, forbidden by a sandbox, or no descriptor left.
        await _wait_in_thread(pid)
    else:
        await _wait_on_pidfd(pidfd)


def was_reaped(pid: int, pidfd: int | None = None) -> bool:
    """Whether child process `pid` is gone, and its exit status with it.

    Somebody else in this process has waited for it, or SIGCHLD is ignored here.

    Args:
        pid: A child of this process.
        pidfd: Of the same; without it, a later child of that number is taken for it.
    """
    which = (os.P_PID, pid) if pidfd is None else (os.P_PIDFD, pidfd)
    try:
        os.waitid(*which, os.WEXITED | os.WNOWAIT | os.WNOHANG)
    except ChildProcessError:
        return True
    return False


async def _wait_on_pidfd(pidfd: int) -> None:
    # Each caller has a descriptor of its own: trio allows one waiter for each.
    try:
        await trio.lowlevel.wait_readable(pidfd)
    finally:
        os.close(pidfd)


async def _wait_in_thread(pid: int) -> None:
    await trio.to_thread.run_sync(
        _waitid,
        pid,
        abandon_on_cancel=True,
        # Not the default limiter: forty waiting threads would use it up.
        limiter=trio.CapacityLimiter(1),
    )


def _waitid(pid: int) -> None:
    try:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    except ChildProcessError:
        return  # reaped already, or never ours

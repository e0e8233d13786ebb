"""The conformance suite for spawn backends, ours and those of others.

It stands in for the runtime: it starts real children, talks with them the way a parent
does, and has them misbehave. What is promised is in `PROMISES`, in order; a promise
that rests on a trait which the backend does not claim is passed over.
"""

import gc
import os
import signal
from collections.abc import Awaitable, Callable, Iterable
from time import perf_counter
from typing import Final

import trio
from trio.testing import wait_all_tasks_blocked

from tractor._census import SETTLE, TICK, Census, take_census, wait_for_end
from tractor._types import ExitStatus
from tractor.spawn import SpawnBackend
from tractor.testing import _backend_child as child
from tractor.testing._backend_parent import Kid, kid_of

LIMIT: Final = 20.0  # seconds for each promise; who keeps it needs far less
SLOW_STEP: Final = 1.0  # seconds that one step of a task may hold the loop
WAITERS: Final = 5  # tasks that wait for one child
TAIL: Final = 16 * 1024  # bytes of stderr that are kept; `Child.stderr_tail`

# Seconds after which a start is cancelled: before, in the midst of it, when it is over.
MOMENTS: Final = (0.0, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1)

type Check = Callable[[SpawnBackend], Awaitable[None]]


async def check_spawn_backend(
    backend: SpawnBackend, *, promises: Iterable[str] | None = None
) -> None:
    """Check that `backend` keeps the promises of `SpawnBackend` and `Child`.

    It starts some thirty children, most of them one after the other. Nothing else
    should start or end in this process meanwhile.

    Args:
        backend: An object that the registry could find.
        promises: Names of those to check; by default all in `PROMISES`.

    Raises:
        AssertionError: A promise is broken; the text says which, and how.
    """
    for name in PROMISES if promises is None else promises:
        check, needs = PROMISES[name]
        if all(getattr(backend.traits, trait) for trait in needs.split()):
            await trio.lowlevel.checkpoint()  # a check may have none of its own
            await _check(backend, name, check)


async def _check(backend: SpawnBackend, name: str, check: Check) -> None:
    steps = _Steps()
    trio.lowlevel.add_instrument(steps)
    gc.collect()
    before = take_census()
    try:
        with trio.fail_after(LIMIT):
            await check(backend)
        leaks = await _leaks(before)
        assert not leaks, f"left behind: {'; '.join(leaks)}"
        assert steps.slowest < SLOW_STEP, f"the loop stood still, {steps.slowest:.2f} s"
    except trio.TooSlowError:
        msg = f"spawn backend {backend.key!r}: {name}: not within {LIMIT} s"
        raise AssertionError(msg) from None
    except Exception as error:
        msg = f"spawn backend {backend.key!r}: {name}: {_describe(error)}"
        raise AssertionError(msg) from error
    finally:
        trio.lowlevel.remove_instrument(steps)


def _describe(error: Exception) -> str:
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, AssertionError):
        return str(error)
    return f"{type(error).__name__}: {error}"


async def _leaks(before: Census) -> list[str]:
    """What is left. Unlike in `find_leaks` the loop runs on: others need it to end."""
    deadline = trio.current_time() + SETTLE
    leaks = before.leaks(take_census())
    while leaks and trio.current_time() < deadline:
        await trio.sleep(TICK)
        leaks = before.leaks(take_census())
    return leaks


class _Steps(trio.abc.Instrument):
    """The longest that one step of a task held the loop, in seconds."""

    slowest = 0.0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """Start the clock."""
        del task
        self._began = perf_counter()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """Stop it."""
        del task
        if hasattr(self, "_began"):  # the first one began before us
            self.slowest = max(self.slowest, perf_counter() - self._began)


# -- Starting --------------------------------------------------------------------------


async def _a_child_boots(backend: SpawnBackend) -> None:
    kid = Kid(backend)
    try:
        await kid.start()
        assert kid.link.fileno() == -1, "the child's end of the link is still open here"
        ready = await kid.ready()
        _check_pid(backend, kid.child.pid, ready.pid)
        if backend.traits.main_thread:
            assert await kid.call(child.in_main_thread), "it is not in the main thread"
    finally:
        await kid.aclose()


def _check_pid(backend: SpawnBackend, pid: int | None, true_pid: int) -> None:
    if backend.traits.own_process:
        assert true_pid != os.getpid(), "it is in this process"
        assert pid == true_pid, f"`pid` is {pid}, but the process is {true_pid}"
    else:
        assert true_pid == os.getpid(), f"it is in another process, {true_pid}"
        assert pid in {None, true_pid}, f"`pid` is {pid}, but it is in this process"


async def _children_start_at_once(backend: SpawnBackend) -> None:
    kids = [Kid(backend) for _ in range(4)]
    try:
        async with trio.open_nursery() as nursery:
            for kid in kids:
                nursery.start_soon(kid.start)
        for kid in kids:
            await kid.ready()
        assert len({id(kid.child) for kid in kids}) == len(kids), "a handle is shared"
    finally:
        for kid in kids:
            await kid.aclose()


async def _a_failed_start_leaves_nothing(backend: SpawnBackend) -> None:
    kid = Kid(backend, no_such_option=1)
    try:
        await kid.start()
    except TypeError:
        assert kid.link.fileno() == -1, "the child's end of the link is still open here"
    else:
        msg = "an option that it cannot know was not refused with a TypeError"
        raise AssertionError(msg)
    finally:
        await kid.aclose()


async def _a_cancelled_start_leaves_nothing(backend: SpawnBackend) -> None:
    for moment in MOMENTS:
        before = take_census()
        kid = Kid(backend)
        try:
            with trio.move_on_after(moment) as scope:
                await kid.start()
            assert kid.link.fileno() == -1, "the child's end of the link is still open"
        finally:
            # It does not wait: what was not handed over is gone already, or a leak.
            await kid.aclose()
        if scope.cancelled_caught:
            new = take_census().processes.keys() - before.processes.keys()
            assert not new, f"cancelled after {moment} s, a process was left behind"


# -- Ending ----------------------------------------------------------------------------


async def _an_orderly_end(backend: SpawnBackend) -> None:
    async with kid_of(backend) as kid:
        kid.cancel()
        status = await kid.child.wait()
        await kid.ended.wait()
        assert kid.said_bye, "it ended without a goodbye"
        wanted = ExitStatus(exit_code=0) if backend.traits.own_process else ExitStatus()
        assert status == wanted, f"the status is {status}, not {wanted}"


async def _exit_codes(backend: SpawnBackend) -> None:
    for code in (1, 255):
        async with kid_of(backend) as kid:
            status = await kid.status_after(child.leave, code)
            assert status == ExitStatus(exit_code=code), f"{status}, not {code}"


async def _signals_that_kill(backend: SpawnBackend) -> None:
    async with kid_of(backend) as kid:
        status = await kid.status_after(child.die)
        assert status == ExitStatus(signal=signal.SIGKILL), f"{status}, not SIGKILL"
        await kid.ended.wait()  # the link tells, too


async def _many_wait(backend: SpawnBackend) -> None:
    seen: list[ExitStatus] = []

    async def wait() -> None:
        seen.append(await kid.child.wait())

    async with kid_of(backend) as kid, trio.open_nursery() as nursery:
        with trio.CancelScope() as scope:
            scope.cancel()
            await wait()
        for _ in range(WAITERS):
            nursery.start_soon(wait)
        async with trio.open_nursery() as impatient:
            impatient.start_soon(wait)
            await wait_all_tasks_blocked()
            impatient.cancel_scope.cancel()
        assert seen == [], "`wait` returned while it was alive"
        kid.cancel()
        await wait()
        await wait()
    assert len(seen) == WAITERS + 2, "a task that waited was not told"
    assert len(set(map(str, seen))) == 1, f"not all were told the same: {seen}"


async def _requests_to_the_dead(backend: SpawnBackend) -> None:
    async with kid_of(backend) as kid:
        kid.cancel()
        status = await kid.child.wait()
        kid.child.terminate()
        if backend.traits.can_kill:
            kid.child.kill()
        assert await kid.child.wait() == status, "its status changed after its end"


async def _terminate_asks(backend: SpawnBackend) -> None:
    async with kid_of(backend) as kid:
        kid.child.terminate()
        status = await kid.child.wait()
        await kid.ended.wait()
        assert kid.said_bye, f"it did not end in order, but by {status}"


async def _kill_needs_no_cooperation(backend: SpawnBackend) -> None:
    async with kid_of(backend) as kid:
        await kid.call(child.get_busy)
        kid.child.kill()
        await kid.child.wait()


async def _kill_ends_a_stopped_process(backend: SpawnBackend) -> None:
    async with kid_of(backend) as kid:
        assert kid.child.pid is not None
        await kid.call(child.ignore_sigterm)
        os.kill(kid.child.pid, signal.SIGSTOP)
        kid.child.terminate()
        kid.child.kill()
        status = await kid.child.wait()
        assert status == ExitStatus(signal=signal.SIGKILL), f"{status}, not SIGKILL"


async def _nobody_outlives_the_lifeline(backend: SpawnBackend) -> None:
    async with kid_of(backend) as kid:
        await kid.call(child.get_busy)
        kid.lifeline.close()
        await kid.child.wait()


# -- Its last words --------------------------------------------------------------------


async def _the_end_of_stderr(backend: SpawnBackend) -> None:
    words = "".join(f"line {number}\n" for number in range(3000))
    async with kid_of(backend) as kid:
        await kid.call(child.say, words)
        await kid.status_after(child.leave, 1)
        tail = kid.child.stderr_tail()
        assert tail == words[-TAIL:], f"it ends with {tail[-60:]!r}"


async def _helpers_do_not_delay_the_news(backend: SpawnBackend) -> None:
    async with kid_of(backend) as kid:
        helper = await kid.call(child.start_helper)
        try:
            await kid.call(child.say, "bye")
            await kid.status_after(child.leave, 1)
            assert kid.child.stderr_tail() == "bye"
        finally:
            os.kill(helper, signal.SIGKILL)
            wait_for_end([helper])


PROMISES: Final[dict[str, tuple[Check, str]]] = {
    "a child boots": (_a_child_boots, ""),
    "children start at once": (_children_start_at_once, ""),
    "a failed start leaves nothing": (_a_failed_start_leaves_nothing, ""),
    "a cancelled start leaves nothing": (_a_cancelled_start_leaves_nothing, ""),
    "an orderly end": (_an_orderly_end, ""),
    "exit codes": (_exit_codes, "own_process"),
    "signals that kill": (_signals_that_kill, "own_process"),
    "many wait": (_many_wait, ""),
    "requests to the dead": (_requests_to_the_dead, ""),
    "terminate asks": (_terminate_asks, "own_process main_thread"),
    "kill needs no cooperation": (_kill_needs_no_cooperation, "can_kill"),
    "kill ends a stopped process": (
        _kill_ends_a_stopped_process,
        "can_kill own_process",
    ),
    "nobody outlives the lifeline": (_nobody_outlives_the_lifeline, "own_process"),
    "the end of stderr": (_the_end_of_stderr, "own_process"),
    "helpers do not delay the news": (_helpers_do_not_delay_the_news, "own_process"),
}
"""What is checked, by name, and the traits that it needs."""

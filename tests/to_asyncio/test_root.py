"""A root that is a guest of asyncio: how it ends, by itself and by Ctrl-C."""

import asyncio
import signal
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import pytest
import trio

from tests._helpers import (
    SAFETY,
    T_DOWN,
    Bell,
    Stopwatch,
    start_python,
    within,
    write_program,
)
from tractor import RuntimeFailure
from tractor.to_asyncio import (
    AsyncioRuntimeTranslationError,
    run_as_asyncio_guest,
    run_task,
)

LOOP_END: Final = 1.0  # seconds; docs/adr/0021

# Arguments: a bell, and what it does.
PROGRAM: Final = """
import asyncio, sys
import trio, tractor
from tests._misbehaviours import ring
from tests.to_asyncio import actors
from tractor import to_asyncio

bell, what = sys.argv[1:]
told = []

async def target(chan):
    chan.started_nowait()
    try:
        ring(bell)
        await chan.get()
    except BaseException as error:
        told.append(type(error).__name__)
        raise

async def linked():
    async with to_asyncio.open_channel_from(target):
        await trio.sleep_forever()

async def linked_in_nursery():
    async with trio.open_nursery() as nursery:
        nursery.start_soon(linked)

async def tree():
    async with tractor.open_nursery() as an:
        portal = await an.start_actor(
            "x", enable_modules=[actors.__name__], infect_asyncio=True
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(portal.run, actors.ignores_cancel_in_asyncio, bell)
            nursery.start_soon(linked)

async def stubborn():
    await actors.ignores_cancel_in_asyncio(bell)

async def computes():
    await actors.computes_in_asyncio(bell)

async def computes_in_trio():
    await actors.compute(bell)

if __name__ == "__main__":
    try:
        to_asyncio.run_as_asyncio_guest(globals()[what])
    except* KeyboardInterrupt as group:
        leaves = []
        def count(group):
            for each in group.exceptions:
                if isinstance(each, BaseExceptionGroup):
                    count(each)
                else:
                    leaves.append(type(each).__name__)
        count(group)
        print(*leaves, *told)
"""


@contextmanager
def program(folder: Path, what: str) -> "Iterator[tuple[subprocess.Popen[str], Bell]]":
    """One of them, in place."""
    path = write_program(folder, PROGRAM)
    with Bell() as bell, start_python("trio", path, bell.path, what) as process:
        try:
            bell.wait_heard()
            yield process, bell
        finally:
            process.kill()


# -- Ctrl-C ----------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["linked", "linked_in_nursery"])
def test_ctrl_c_ends_both_sides(tmp_path: Path, what: str) -> None:
    """It is raised once, and the asyncio task is told of a cancellation."""
    with program(tmp_path, what) as (process, _), within(T_DOWN):
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=SAFETY)
    assert (out.split(), err) == (["KeyboardInterrupt", "TrioCancelled"], "")


def test_ctrl_c_ends_a_tree_within_its_bound(tmp_path: Path) -> None:
    """A stubborn actor of it is ended by the ladder, as in any tree."""
    with program(tmp_path, "tree") as (process, bell), within(T_DOWN):
        bell.wait_heard()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=SAFETY)
    assert sorted(out.split()) == ["KeyboardInterrupt", "TrioCancelled"]
    assert "still running: tests.to_asyncio.actors.ignores_cancel_in_asyncio" in err


def test_a_second_ctrl_c_leaves_a_stubborn_task_behind(tmp_path: Path) -> None:
    """The first one waits for it, as for any task that shields itself."""
    with program(tmp_path, "stubborn") as (process, _), within(LOOP_END + T_DOWN):
        process.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.3)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=SAFETY)
    assert out.split() == ["KeyboardInterrupt"]


@pytest.mark.parametrize("what", ["computes", "computes_in_trio"])
def test_a_second_ctrl_c_breaks_into_a_computation(tmp_path: Path, what: str) -> None:
    """The first one needs a loop that turns."""
    with program(tmp_path, what) as (process, _), within(LOOP_END + T_DOWN):
        process.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.3)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=SAFETY)
    assert out.split() == ["KeyboardInterrupt"]


def test_ctrl_c_is_what_it_was_afterwards() -> None:
    """Nothing of ours handles it any more."""
    run_as_asyncio_guest(trio.sleep, 0)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.set_wakeup_fd(-1) == -1


# -- Ends ------------------------------------------------------------------------------


def test_it_returns_what_main_returns() -> None:
    """Arguments go in, the result comes out, errors come as they are."""

    async def main(number: int) -> int:
        if not number:
            raise KeyError(number)
        return 2 * number

    assert run_as_asyncio_guest(main, 4) == 8
    with pytest.raises(KeyError):
        run_as_asyncio_guest(main, 0)


async def test_it_refuses_to_run_in_another_loop() -> None:
    """Neither in one of trio's nor in one of asyncio's."""

    async def main() -> None:
        with pytest.raises(RuntimeFailure, match="a loop runs"):
            run_as_asyncio_guest(trio.sleep, 0)

    await main()
    await trio.to_thread.run_sync(asyncio.run, main())


def test_an_error_of_its_start_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asyncio would only log what a callback raises."""

    def fail(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(trio.lowlevel, "start_guest_run", fail)
    with pytest.raises(MemoryError):
        run_as_asyncio_guest(trio.sleep, 0)


def test_tasks_of_asyncio_end_with_it() -> None:
    """They are cancelled and waited for, and generators are closed."""
    told: list[str] = []

    async def generate() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            await asyncio.sleep(0)
            told.append("closed")

    async def wait() -> None:
        try:
            async for _ in generate():
                await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            told.append("cancelled")

    async def main() -> None:
        task = asyncio.get_running_loop().create_task(wait())
        told.append(task.get_name())
        await run_task(asyncio.sleep, 0)

    run_as_asyncio_guest(main)
    assert sorted(told[1:]) == ["cancelled", "closed"]


def test_a_stubborn_task_holds_it_up_for_a_second(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is named, and left behind."""
    released = False

    async def ignore() -> None:
        while not released:
            try:
                await asyncio.sleep(0.01)
            except asyncio.CancelledError:
                continue

    async def main() -> None:
        asyncio.get_running_loop().create_task(ignore(), name="the one")
        await run_task(asyncio.sleep, 0)

    watch = Stopwatch()
    run_as_asyncio_guest(main)
    watch.check(LOOP_END)
    assert "are left: the one" in caplog.text


# uvloop's own thread, which waits for it, then finds its loop closed.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_holds_it_up_for_a_second(caplog: pytest.LogCaptureFixture) -> None:
    """Of asyncio's executor; the end of the process waits for it, as ever."""
    gate = threading.Event()

    async def main() -> None:
        asyncio.get_running_loop().run_in_executor(None, gate.wait)

    watch = Stopwatch()
    run_as_asyncio_guest(main)
    watch.check(LOOP_END)
    gate.set()
    assert "still run after" in caplog.text


def test_stopping_the_loop_ends_trio_first() -> None:
    """Trio's tasks are cancelled, and the error says what somebody did."""
    told: list[str] = []

    async def main() -> None:
        asyncio.get_running_loop().stop()
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            with trio.CancelScope(shield=True):
                await run_task(asyncio.sleep, 0)
            told.append("cleaned up")
            raise

    with pytest.raises(AsyncioRuntimeTranslationError, match="was stopped"):
        run_as_asyncio_guest(main)
    assert told == ["cleaned up"]


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_what_leaves_the_loop_ends_trio_first(error: type[BaseException]) -> None:
    """An exit or interrupt of a task that is linked with nobody is raised at last."""
    told: list[str] = []

    async def leave() -> None:
        raise error

    async def main() -> None:
        task = asyncio.get_running_loop().create_task(leave())
        task.add_done_callback(lambda task: told.append(repr(task.exception())))
        try:
            await trio.sleep_forever()
        finally:
            told.append("cleaned up")

    with pytest.raises(error):
        run_as_asyncio_guest(main)
    assert told == [f"{error.__name__}()", "cleaned up"]


def test_uvloop_is_used_where_it_is_installed() -> None:
    """Programs need not ask for it."""
    if find_spec("uvloop") is None:
        pytest.skip("uvloop is not installed")

    async def main() -> str:
        return type(asyncio.get_running_loop()).__module__

    assert run_as_asyncio_guest(main) == "uvloop"

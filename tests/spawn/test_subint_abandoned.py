"""Sub-interpreters that nothing can stop: who is told, and how the process ends.

Each test is a program of its own, since what is left behind stays in its process.
"""

import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import pytest

from tests._helpers import SAFETY, run_python, start_python, write_program
from tractor.spawn import available_backends, get_backend

if TYPE_CHECKING:
    from subprocess import CompletedProcess

KEYS: Final = [
    key for key in available_backends() if get_backend(key).traits.can_interrupt
]
# One that computes in C holds its GIL; where that is everybody's, nobody gets a turn.
STUCK: Final = [
    (key, body)
    for key in KEYS
    for body in ("sleeps", "computes")
    if body == "sleeps" or get_backend(key).traits.own_gil
]
EXIT: Final = 1.0  # seconds from the last line of a program to its end
NOISE: Final = 3  # times as long on a machine that does other things, too

# Arguments: what it does when the actor is left behind, the body, a bell.
PROGRAM: Final = """
import atexit, statistics, sys, time
import trio, tractor
from tests._helpers import QUICK, Bell
from tests.interp import actors
from tests import _misbehaviours as mis

TICK, TICKS, WINDOWS = 0.005, 10, 24  # seconds, in a window, windows

def ready():
    # Seconds for which this thread could have run, but no processor was free.
    try:
        with open("/proc/thread-self/schedstat") as file:
            return int(file.read().split()[1]) / 1e9
    except FileNotFoundError:  # a kernel that does not count them
        return 0

async def seconds_of_tick():
    found = []
    for _ in range(WINDOWS):
        began = time.perf_counter() - ready()
        for _ in range(TICKS):
            await trio.sleep(TICK)
        found.append((time.perf_counter() - ready() - began) / TICKS)
    return statistics.quantiles(found)[0]

async def leave_behind(body, bell, graces=QUICK):
    began = time.monotonic()
    try:
        async with tractor.open_nursery(graces=graces) as an:
            fn = getattr(actors, body, None) or getattr(mis, body)
            await an.run_in_actor(fn, name="stuck", bell=bell.path)
            await bell.heard()
            began = time.monotonic()
            await an.cancel()
    except tractor.ActorAbandoned as error:
        took = time.monotonic() - began
        assert took < graces.bound + 1.5, took
        assert error.report.seconds < graces.bound + 0.5, error.report
        print("left behind:", error.aid.name, flush=True)
        return took
    raise AssertionError("it could be stopped")

async def main(body):
    with Bell() as bell:
        {main}

if __name__ == "__main__":
    atexit.register(print, "atexit ran")
    {before}
    trio.run(main, sys.argv[1])
    {after}
    print("over", time.monotonic(), end=" ", flush=False)
    {end}
"""
LEAVE: Final = "await leave_behind(body, bell)"


class Run(NamedTuple):
    """A program that has ended.

    Attributes:
        exiting: Seconds that it took after it had said "over".
    """

    code: int
    out: str
    err: str
    exiting: float


def program(main: str = LEAVE, before: str = "", after: str = "", end: str = "") -> str:
    """The text of a program."""
    return PROGRAM.format(main=main, before=before, after=after, end=end)


def run(key: str, folder: Path, text: str, body: str) -> Run:
    """Run it to its end."""
    path = write_program(folder, text)
    done = run_python(key, path, body)
    return Run(done.returncode, done.stdout, done.stderr, since_over(done))


def since_over(done: "CompletedProcess[str]") -> float:
    """Seconds since it said so."""
    now = time.monotonic()
    _, over, rest = done.stdout.partition("over ")
    assert over, done.stderr
    return now - float(rest.split()[0])


# -- How the process ends --------------------------------------------------------------

ENDINGS: Final = [
    ("pass", 0),
    ("sys.exit(3)", 3),
    ("raise SystemExit(3)", 3),
    ("raise ValueError", 1),
    ("raise KeyboardInterrupt", -signal.SIGINT),
]


@pytest.mark.slow
@pytest.mark.parametrize(("ending", "code"), ENDINGS)
@pytest.mark.parametrize(("key", "body"), STUCK)
def test_the_process_ends(
    *, key: str, body: str, ending: str, code: int, tmp_path: Path
) -> None:
    """In a second, with its exit code, its exit callbacks, and all that it wrote."""
    done = run(key, tmp_path, program(end=ending), body)
    assert done.code == code, done.err
    assert done.exiting < EXIT * NOISE
    assert done.out.endswith("atexit ran\n")
    assert ("Traceback" in done.err) == (code in {1, -signal.SIGINT}), done.err


@pytest.mark.parametrize("key", KEYS)
def test_an_exit_callback_that_fails(key: str, tmp_path: Path) -> None:
    """It is reported and changes neither the exit code nor those after it."""
    text = program(after="atexit.register(lambda: 1 / 0)", end="sys.exit(3)")
    done = run(key, tmp_path, text, "sleeps")
    assert done.code == 3
    assert "ZeroDivisionError" in done.err
    assert done.out.endswith("atexit ran\n")


@pytest.mark.parametrize("key", KEYS)
def test_a_module_as_the_program(key: str, tmp_path: Path) -> None:
    """Where it is run by its name, the exit code is right as well."""
    path = write_program(tmp_path, program(end="raise ValueError"), "runnable.py")
    done = run_python(key, "-m", path.stem, "sleeps", cwd=path.parent)
    assert done.returncode == 1, done.stderr
    assert since_over(done) < EXIT * NOISE


@pytest.mark.parametrize(("key", "body"), STUCK)
def test_under_pytest(key: str, body: str, tmp_path: Path) -> None:
    """A test session with one left behind ends, and its exit code tells of failures."""
    text = (
        program()
        + f"""
def test_it():
    trio.run(main, {body!r})
    print("over", time.monotonic(), flush=True)

def test_that_fails():
    assert False
"""
    )
    path = write_program(tmp_path, text, "test_inner.py")
    command = ("-m", "pytest", "-q", "-s", "-p", "no:cacheprovider", "--rootdir")
    done = run_python(key, *command, tmp_path, path)
    assert done.returncode == 1, done.stdout
    assert "1 failed, 1 passed" in done.stdout
    assert since_over(done) < (EXIT + 0.5) * NOISE  # the report of pytest comes first


# -- Until then ------------------------------------------------------------------------


@pytest.mark.parametrize(("key", "body"), STUCK)
def test_the_loop_keeps_ticking(key: str, body: str, tmp_path: Path) -> None:
    """Nobody takes its turns: a tick takes at most a tenth longer than before.

    Most of the windows may be spoilt by what else the machine does, which is as good
    as never there all of the time, unlike code that computes. Nor does the time count
    for which the kernel gave the processor to others: who waits for a GIL sleeps.
    """
    main = f"""idle = await seconds_of_tick()
        {LEAVE}
        left = await seconds_of_tick()
        assert left < 1.1 * idle, (left, idle)"""
    done = run(key, tmp_path, program(main), body)
    assert done.code == 0, done.err


@pytest.mark.parametrize("key", KEYS[:1])
def test_ticks_tell_of_a_lost_gil(key: str, tmp_path: Path) -> None:
    """Code that computes with the GIL of the loop makes its ticks much longer."""
    main = """idle = await seconds_of_tick()
        import threading
        thread = threading.Thread(target=lambda: all(iter(lambda: 1, 0)), daemon=True)
        thread.start()
        left = await seconds_of_tick()
        assert left > 1.5 * idle, (left, idle)"""
    done = run(key, tmp_path, program(main), "")
    assert done.code == 0, done.err


@pytest.mark.parametrize("key", KEYS)
def test_the_default_bound(key: str, tmp_path: Path) -> None:
    """With the graces that one gets unasked, it is given up after 3 s."""
    main = "await leave_behind(body, bell, tractor.Graces())"
    done = run(key, tmp_path, program(main), "sleeps")
    assert done.code == 0, done.err


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("body", ["blocks_a_thread", "refuses_to_exit"])
def test_a_thread_that_is_stuck(key: str, body: str, tmp_path: Path) -> None:
    """An actor that waits for one, its worker or any other, is left behind with it."""
    done = run(key, tmp_path, program(), body)
    assert done.code == 0, done.err
    assert done.exiting < EXIT * NOISE


@pytest.mark.parametrize("key", KEYS)
def test_a_tree_with_one_below(key: str, tmp_path: Path) -> None:
    """The bound of the root holds for a grandchild that is stuck, and it is told of."""
    main = """began = time.monotonic()
        try:
            async with tractor.open_nursery() as an:
                await an.run_in_actor(mis.has_child, fn=body, bell=bell.path)
                await bell.heard()
                began = time.monotonic()
                await an.cancel()
        except* (tractor.ActorAbandoned, tractor.RemoteActorError) as group:
            print("level1" in str(group.exceptions), flush=True)
        assert time.monotonic() - began < 3.5 + 0.5"""
    done = run(key, tmp_path, program(main), "sleeps")
    assert done.code == 0, done.err
    # By the child that owned it, or where that was interrupted too, by the log.
    assert done.out.startswith("True") or "threads are left" in done.err
    assert done.exiting < EXIT * NOISE


@pytest.mark.parametrize("key", KEYS)
def test_work_goes_on(key: str, tmp_path: Path) -> None:
    """Others can be started, used and ended, in other interpreters."""
    main = f"""{LEAVE}
        async with tractor.open_nursery() as an:
            seen = set()
            for _ in range(3):
                portal = await an.start_actor("x", enable_modules=[actors.__name__])
                seen.add(await portal.run(actors.where))
                await portal.cancel_actor()
        print("hosts:", len(seen), flush=True)"""
    done = run(key, tmp_path, program(main), "sleeps")
    assert done.code == 0, done.err
    assert "hosts: " in done.out
    assert done.exiting < EXIT * NOISE


@pytest.mark.parametrize(("key", "body"), STUCK)
def test_ctrl_c(key: str, body: str, tmp_path: Path) -> None:
    """It ends the program at once, as it does without any actor."""
    main = f"{LEAVE}\n        await trio.sleep_forever()"
    path = write_program(tmp_path, program(main))
    with start_python(key, path, body) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "left behind: stuck\n"
            began = time.monotonic()
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=SAFETY)
        finally:
            process.kill()
    assert process.returncode == -signal.SIGINT, err
    assert time.monotonic() - began < EXIT * NOISE
    assert out == "atexit ran\n"
    assert err.rstrip().endswith("KeyboardInterrupt")


@pytest.mark.parametrize("key", KEYS)
def test_a_daemon_thread_left_behind(key: str, tmp_path: Path) -> None:
    """Its actor ends well, its interpreter is kept and not used again."""
    main = """async with tractor.open_nursery() as an:
            portal = await an.start_actor("x", enable_modules=[actors.__name__])
            left = await portal.run(
                actors.leaves_thread, bell.path, daemon=True, seconds=3600
            )
            await portal.cancel_actor()
            for _ in range(3):
                portal = await an.start_actor("x", enable_modules=[actors.__name__])
                assert await portal.run(actors.where) != left
                await portal.cancel_actor()"""
    done = run(key, tmp_path, program(main), "")
    assert done.code == 0, done.err
    assert "1 threads are left in interpreter" in done.err
    assert done.out.endswith("atexit ran\n")
    assert done.exiting < EXIT * NOISE


# -- Many at once ----------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("key", KEYS)
def test_many_that_fail_at_once(key: str, tmp_path: Path) -> None:
    """The bound of 25 is that of one; and then the process ends as usual."""
    main = """portals = []
        async def start(an):
            portals.append(
                await an.start_actor("x", enable_modules=[mis.__name__])
            )
        try:
            async with tractor.open_nursery() as an:
                async with trio.open_nursery() as tasks:
                    for _ in range(25):
                        tasks.start_soon(start, an)
                print("started", len(portals), flush=True)
                began = time.monotonic()
                async with trio.open_nursery() as tasks:
                    for portal in portals:
                        tasks.start_soon(portal.run, mis.fails)
        except* tractor.RemoteActorError:
            print("failed", flush=True)
        took = time.monotonic() - began
        assert took < 3.5, took"""
    done = run(key, tmp_path, program(main), "")
    assert done.code == 0, done.err
    assert done.out.startswith("started 25\nfailed\n")
    assert done.exiting < EXIT * NOISE

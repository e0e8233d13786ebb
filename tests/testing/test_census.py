"""The census finds each kind of leak by name; the gates in `conftest` act on it."""

import _interpreters
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import pytest
import trio

from tractor import spawn
from tractor.testing import (
    Census,
    _marks,
    become_subreaper,
    clear_leaks,
    find_leaks,
    take_census,
    wait_for_end,
)

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[2]
linux = pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's /proc")
SLEEPER = ["sleep", "86399"]
SAFETY = 40  # seconds; a net


@pytest.fixture
def before() -> Census:
    """A census from before the test's own doings."""
    return take_census()


@pytest.fixture
def sleeper(before: Census) -> Iterator[subprocess.Popen[bytes]]:
    """A child that does not end by itself."""
    del before  # only has to come first
    child = subprocess.Popen(SLEEPER)
    yield child
    child.kill()
    child.wait()


def orphan() -> int:
    """Start a process that loses its parent, and return its id."""
    script = f"{' '.join(SLEEPER)} >/dev/null & echo $!"
    return int(subprocess.check_output(["sh", "-c", script]))


# -- Processes -------------------------------------------------------------------------


def test_a_clean_test_has_no_leaks(before: Census) -> None:
    """What was started, opened and ended again is not reported."""
    subprocess.run(["true"], check=True)
    thread = threading.Thread(target=os.getpid)
    thread.start()
    thread.join()
    left, right = socket.socketpair()
    left.close()
    right.close()
    assert find_leaks(before) == []


@linux
def test_a_child_is_found(before: Census, sleeper: subprocess.Popen[bytes]) -> None:
    """A child that still runs is named by pid and command line."""
    assert find_leaks(before, 0) == [f"child {sleeper.pid}: sleep 86399"]


@linux
def test_a_zombie_is_found(before: Census) -> None:
    """A child that ended, but that nobody waited for, is called a zombie."""
    with subprocess.Popen(["true"]) as child:
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert find_leaks(before, 0) == [f"zombie {child.pid}: [true]"]


@linux
def test_an_orphan_is_found_and_cleared(before: Census) -> None:
    """A grandchild that lost its parent comes to us, is named, killed and reaped."""
    become_subreaper()
    pid = orphan()
    [leak] = find_leaks(before, 0)
    assert leak.startswith(f"child {pid}: ")
    assert "sleep 86399" in leak
    clear_leaks(before)
    assert find_leaks(before, 0) == []


@linux
def test_a_grandchild_is_found_below_its_parent(before: Census) -> None:
    """Descendants count at any depth, and all of them are cleared."""
    with subprocess.Popen(["sh", "-c", "sleep 86399 & echo; wait"], stdout=-1) as child:
        assert child.stdout is not None
        child.stdout.readline()  # the grandchild exists
        processes = take_census().processes
        assert len(processes.keys() - before.processes.keys()) == 2
        clear_leaks(before)
    assert find_leaks(before, 0) == []


@linux
def test_an_orphan_that_ended_is_reaped(before: Census) -> None:
    """What init would have reaped without a word is reaped, and no leak."""
    become_subreaper()
    pid = orphan()
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert take_census().processes != before.processes
    assert find_leaks(before, 0) == []
    assert take_census().processes == before.processes


@linux
def test_wait_for_end_reaps_what_ended(before: Census) -> None:
    """Orphans that a test made on purpose are waited for and then no leak."""
    pid = orphan()
    assert wait_for_end([pid], 0) == [pid]
    os.kill(pid, signal.SIGKILL)
    assert wait_for_end([pid]) == []
    assert wait_for_end([pid]) == []  # long gone
    assert wait_for_end([]) == []
    assert find_leaks(before, 0) == []


@linux
def test_a_child_that_is_just_ending_gets_the_time(
    before: Census, sleeper: subprocess.Popen[bytes]
) -> None:
    """What somebody reaps while we look for leaks is none."""

    def reap() -> None:
        sleeper.kill()
        sleeper.wait()

    thread = threading.Thread(target=reap)
    thread.start()
    assert find_leaks(before) == []
    thread.join()


HELPERS = """
import multiprocessing as mp
from tractor.testing import find_leaks, take_census

if __name__ == "__main__":
    before = take_census()
    context = mp.get_context("forkserver")
    event = context.Event()
    child = context.Process(target=event.wait, daemon=True)
    child.start()
    leak, *ends = find_leaks(before, 0)
    assert leak.startswith(f"child {child.pid}: "), leak
    assert all("pipe:" in end for end in ends), ends
    event.set()
    child.join()
    child.close()
    del child, event
    assert find_leaks(before) == []
"""


@linux
def test_the_helpers_of_multiprocessing_are_no_leak(
    before: Census, tmp_path: Path
) -> None:
    """Its forkserver and resource tracker may stay, but not a child that they made."""
    script = tmp_path / "script.py"
    script.write_text(HELPERS, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    # In a process of its own: the helpers would stay with this one.
    subprocess.run([sys.executable, script], env=environment, check=True)
    # They end after it, which a busy machine may take its time to let them do.
    left = take_census().processes.keys() - before.processes.keys()
    assert wait_for_end((pid for pid, _ in left), SAFETY) == []


# -- Threads ---------------------------------------------------------------------------


def test_a_thread_is_found(before: Census) -> None:
    """A thread that still runs is named."""
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait, name="straggler")
    thread.start()
    try:
        expected = [f"thread 'straggler' (native id {thread.native_id})"]
        assert find_leaks(before, 0) == expected
    finally:
        stop.set()
        thread.join()
    assert find_leaks(before) == []


async def test_an_idle_thread_of_trio_is_no_leak() -> None:
    """Threads that trio keeps for reuse may stay."""
    before = take_census()
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(trio.to_thread.run_sync, os.getpid)
    assert find_leaks(before) == []


async def test_a_busy_thread_of_trio_is_found() -> None:
    """A call that was abandoned in one of trio's threads is a leak, and named."""
    before = take_census()
    stop = threading.Event()

    def stuck() -> None:
        trio.from_thread.run_sync(scope.cancel)
        stop.wait()

    with trio.CancelScope() as scope:
        await trio.to_thread.run_sync(stuck, abandon_on_cancel=True)
    try:
        [leak] = find_leaks(before, 0)
        assert leak.startswith('thread "stuck from ')
    finally:
        stop.set()
    assert find_leaks(before) == []


# -- Everything else -------------------------------------------------------------------


@linux
def test_descriptors_are_found_by_what_they_refer_to(
    before: Census, tmp_path: Path
) -> None:
    """Files, pipes and sockets are named by path, number and address."""
    path = str(tmp_path / "sock")
    with ExitStack() as stack:
        file = stack.enter_context(open(tmp_path / "file", "w", encoding="utf-8"))
        ends = os.pipe()
        for fd in ends:
            stack.callback(os.close, fd)
        sock = stack.enter_context(socket.socket(socket.AF_UNIX))
        sock.bind(path)
        leaks = {
            int(text.split()[1].rstrip(":")): text for text in find_leaks(before, 0)
        }
        assert leaks.keys() == {file.fileno(), *ends, sock.fileno()}
        assert leaks[file.fileno()].endswith(file.name)
        assert "pipe:[" in leaks[ends[0]]
        assert "AF_UNIX" in leaks[sock.fileno()]
        assert path in leaks[sock.fileno()]
        assert sock.getsockname() == path  # naming it has not closed it
    assert find_leaks(before, 0) == []


def test_a_file_opened_again_is_no_leak(tmp_path: Path) -> None:
    """A descriptor that moved to another number is still one."""
    path = tmp_path / "log"
    path.touch()
    first = os.open(path, os.O_RDONLY)
    before = take_census()
    second = os.dup(first)
    os.close(first)
    assert find_leaks(before, 0) == []
    os.close(second)


def test_what_only_a_cycle_keeps_is_collected_first(before: Census) -> None:
    """A pipe that the garbage collector would close is not lost."""

    class Ends:
        def __init__(self) -> None:
            self.me = self
            self.fds = os.pipe()

        def __del__(self) -> None:
            for fd in self.fds:
                os.close(fd)

    Ends()
    assert find_leaks(before, 0) == []


def test_an_interpreter_is_found(before: Census) -> None:
    """A sub-interpreter is named by its number."""
    number = _interpreters.create("isolated")
    try:
        assert find_leaks(before, 0) == [f"sub-interpreter {number}"]
    finally:
        _interpreters.destroy(number)
    assert find_leaks(before, 0) == []


def test_the_main_interpreter_is_none_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not there before somebody imports the module that counts them."""
    with monkeypatch.context() as patch:
        patch.delitem(sys.modules, "_interpreters")
        before = take_census()
    assert find_leaks(before, 0) == []


def test_files_are_found_and_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A socket file that was left in the runtime directory is named, and cleared."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    before = take_census()
    path = tmp_path / "tractor" / "deep" / "stale.sock"
    path.parent.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
    assert find_leaks(before, 0) == [f"file {path}"]
    clear_leaks(before)
    assert not path.exists()
    assert find_leaks(before, 0) == []


# -- The gates of `conftest.py` --------------------------------------------------------

LEAKY = """
import os, subprocess
from pathlib import Path

def test_child():
    subprocess.Popen(["sleep", "86397"]).returncode = 0  # so that it does not warn

def test_after_child():
    assert not Path(f"/proc/self/task/{os.getpid()}/children").read_text()

def test_pipe():
    os.pipe()
"""

SLOW = """
import gc, time
import pytest, trio

async def test_async():
    time.sleep(0.6)

def test_sync():
    async def hog():
        time.sleep(0.6)
    trio.run(hog)

async def test_collector():
    def hold(phase, info):
        if phase == "start":
            time.sleep(0.6)
    gc.callbacks.append(hold)
    gc.collect()
    gc.callbacks.remove(hold)

@pytest.mark.allow_slow_step(reason="measures the watch")
async def test_allowed():
    time.sleep(0.6)

@pytest.mark.allow_slow_step
async def test_no_reason():
    pass
"""

NEEDY = """
import pytest

@pytest.mark.requires_trait("can_kill")
def test_has(start_method, spawn_backend, traits):
    assert start_method == spawn_backend == "trio"
    assert traits.can_kill

@pytest.mark.requires_trait("can_kill")
def test_misuse():
    pass
"""

type Run = Callable[..., pytest.RunResult]


@pytest.fixture
def run_inner(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a test file under our `conftest` and settings."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    pytester.makeconftest("from tests.conftest import *")
    pytester.makepyprojecttoml((ROOT / "pyproject.toml").read_text(encoding="utf-8"))

    def run(source: str, *args: str, alone: bool = False) -> pytest.RunResult:
        method = pytester.runpytest_subprocess if alone else pytester.runpytest
        return method(pytester.makepyfile(source), *args)

    return run


@linux
def test_the_gate_fails_a_leaking_test_and_clears_up(run_inner: Run) -> None:
    """Each leak is reported for its own test, and the next test starts clean."""
    # In a process of its own, because descriptors are not cleared.
    result = run_inner(LEAKY, alone=True)
    result.assert_outcomes(passed=3, errors=2)
    result.stdout.fnmatch_lines(
        [
            "* ERROR at teardown of test_child *",
            "left behind:",
            "  child *: sleep 86397",
            "* ERROR at teardown of test_pipe *",
            "left behind:",
            "  descriptor *: pipe:*",
        ]
    )


@pytest.mark.allow_slow_step(reason="the inner tests are slow, and run in here")
def test_the_gate_fails_a_test_that_holds_up_the_loop(
    run_inner: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slow steps are found with and without pytest-trio; excuses need a reason.

    Those of the garbage collector are nobody's.
    """
    monkeypatch.setattr(os, "getloadavg", lambda: (0.0, 0.0, 0.0))
    result = run_inner(SLOW)
    result.assert_outcomes(passed=4, errors=3)
    result.stdout.fnmatch_lines_random(
        [
            "*task *test_async* held the loop for * s*",
            "*task *hog* held the loop for * s*",
            "*allow_slow_step needs a reason=*",
        ]
    )


@pytest.mark.allow_slow_step(reason="the inner test is slow, and runs in here")
def test_the_gate_is_wider_on_a_busy_machine(
    run_inner: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step may take twice as long where others want the processor, too."""
    monkeypatch.setattr(os, "getloadavg", lambda: (999.0, 0.0, 0.0))
    run_inner(SLOW, "-k", "test_async").assert_outcomes(passed=1, deselected=4)


def test_a_backend_is_run_and_its_traits_are_known(run_inner: Run) -> None:
    """The fixtures agree, and a trait can only be required of a backend."""
    result = run_inner(NEEDY)
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*requires_trait is for tests that use start_method*"])


def test_a_missing_trait_skips_and_is_named(
    run_inner: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reason says which backend lacks which trait."""
    lame = SimpleNamespace(traits=SimpleNamespace(can_kill=False))
    monkeypatch.setattr(_marks, "get_backend", lambda _: lame)
    result = run_inner(NEEDY, "-k", "has")
    result.assert_outcomes(skipped=1, deselected=1)
    result.stdout.fnmatch_lines(["*backend 'trio' lacks the trait 'can_kill'*"])


def test_all_backends_are_those_that_are_available(
    run_inner: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--spawn-backend=all` runs a test once for each."""
    monkeypatch.setattr(spawn, "available_backends", lambda: ["trio", "other"])
    source = "def test_it(start_method): print(start_method)"
    result = run_inner(source, "--spawn-backend=all", "-v")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["*test_it[[]trio[]]*", "*test_it[[]other[]]*"])


def test_an_unknown_backend_is_one_clear_line(run_inner: Run) -> None:
    """A wrong `--spawn-backend` ends the session before it starts."""
    result = run_inner(NEEDY, "--spawn-backend=nonesuch")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --spawn-backend=nonesuch: *'nonesuch'*"])

"""What holds for every test: leave nothing behind, and never hold up the loop.

The fixtures `census` and `no_slow_step` fail the test that breaks either rule, and name
what it left or which task it was. `start_method` runs a test on each spawn backend
that `--spawn-backend` selects.
"""

import functools
import os
import resource
import signal
import tempfile
from collections.abc import Callable, Iterator
from time import perf_counter, thread_time
from typing import Any, Final

import pytest
import trio

from tractor import spawn
from tractor._exceptions import BackendUnavailable
from tractor.testing import become_subreaper, clear_leaks, find_leaks, take_census

SLOW_STEP: Final = 0.5  # seconds; docs/how-to/contribute.md
READ_EVERY: Final = 0.05  # seconds; bounds the error of what a step is excused for

BACKENDS = pytest.StashKey[list[str]]()


# -- Nothing is left behind ------------------------------------------------------------


@pytest.fixture(scope="session", autouse=True)
def runtime_dir() -> Iterator[str]:
    """A runtime directory of this session's own; it adopts its orphans, too."""
    become_subreaper()
    # Not below tmp_path: paths of sockets end at 108 bytes.
    with (
        pytest.MonkeyPatch.context() as patch,
        tempfile.TemporaryDirectory(prefix="tractor-") as path,
    ):
        patch.setenv("XDG_RUNTIME_DIR", path)
        yield path


@pytest.fixture(scope="session", autouse=True)
def sigint() -> None:
    """Ctrl-C works in programs of tests, also where a shell has this in its background.

    Such a process inherits that it ignores SIGINT, and so would all that it starts.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def census(runtime_dir: str) -> Iterator[None]:
    """Fail a test that leaves a child, thread, descriptor or file behind.

    Being the first fixture of each test, it looks after all others are torn down.
    """
    del runtime_dir  # only has to be there
    before = take_census()
    yield
    if leaks := find_leaks(before):
        clear_leaks(before)
        pytest.fail("left behind:\n  " + "\n  ".join(leaks), pytrace=False)


# -- No step holds up the loop ---------------------------------------------------------


class StepWatch(trio.abc.Instrument):
    """Notes each step of a task that takes longer than `limit` seconds.

    Time in which the thread was ready but another process had the processor is not
    the task's fault. The kernel counts it, but reading the count on each step would
    slow them all down, so it is read now and then, and after a slow one.
    """

    def __init__(self, limit: float, slow: list[str]) -> None:
        self._limit = limit
        self._slow = slow
        self._began = 0.0
        self._read_at = -READ_EVERY
        self._waited = 0.0
        self._computed = 0.0
        self._gave_up = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """Start the clock."""
        del task
        self._computed, self._gave_up = thread_time(), _given_up()
        self._began = now = perf_counter()
        if now - self._read_at > READ_EVERY:
            self._read_at, self._waited = now, _waited_for_processor()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """Stop it."""
        took = perf_counter() - self._began
        if took > self._limit:
            took -= _waited_for_processor() - self._waited
        if took > self._limit and _given_up() == self._gave_up:
            # It never blocked, so what it did not compute was the machine's pause.
            took = min(took, thread_time() - self._computed)
        if took > self._limit:
            self._slow.append(f"task {task.name!r} held the loop for {took:.2f} s")


def _waited_for_processor() -> float:
    """Seconds that this thread was ready to run and did not; 0 where not counted."""
    try:
        with open("/proc/thread-self/schedstat", "rb") as file:
            return int(file.read().split()[1]) / 1e9
    except OSError:
        return 0.0


def _given_up() -> int:
    """How often this thread has given up the processor, as whoever blocks does."""
    return resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw


@pytest.fixture(autouse=True)
def no_slow_step(request: pytest.FixtureRequest, census: None) -> Iterator[None]:
    """Fail a test in which one step of a task takes over `SLOW_STEP` seconds.

    Both ways in are watched: the run that pytest-trio starts for an async test, and
    any that the test itself starts with `trio.run`.
    """
    del census  # only has to come first
    marker = request.node.get_closest_marker("allow_slow_step")
    if marker is not None:
        if not marker.kwargs.get("reason"):
            pytest.fail("allow_slow_step needs a reason=", pytrace=False)
        yield
        return
    limit = SLOW_STEP * (2 if os.getloadavg()[0] > 2 * (os.cpu_count() or 1) else 1)
    slow: list[str] = []
    run = _watched(trio.run, limit, slow)
    # pytest-trio took the runner at collection, but asks the closest marker for it.
    if request.node.get_closest_marker("trio") is not None:
        request.node.add_marker(pytest.mark.trio(run=run), append=False)
    with pytest.MonkeyPatch.context() as patch:  # of its own: a test may undo the other
        patch.setattr(trio, "run", run)
        yield
    if slow:
        pytest.fail("\n".join(slow) + f"; at most {limit} s are allowed", pytrace=False)


def _watched(run: Callable[..., Any], limit: float, slow: list[str]) -> Any:
    @functools.wraps(run)
    def watched(*args: Any, **kwargs: Any) -> Any:
        kwargs["instruments"] = [
            *kwargs.get("instruments", ()),
            StepWatch(limit, slow),
        ]
        return run(*args, **kwargs)

    return watched


# -- Spawn backends --------------------------------------------------------------------


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--spawn-backend`."""
    parser.addoption(
        "--spawn-backend",
        default="trio",
        metavar="KEY|all",
        help="run the tests that start actors on this spawn backend, or on all",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Find out on which backends to run."""
    key = config.getoption("--spawn-backend")
    if key == "all":
        config.stash[BACKENDS] = list(spawn.available_backends())
        return
    try:
        spawn.get_backend(key)
    except (ValueError, BackendUnavailable) as error:
        message = f"--spawn-backend={key}: {error}"
        raise pytest.UsageError(message) from error
    config.stash[BACKENDS] = [key]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test that needs a start method on all that were selected."""
    if "start_method" in metafunc.fixturenames:
        keys = metafunc.config.stash[BACKENDS]
        metafunc.parametrize("start_method", keys, indirect=True)


@pytest.fixture
def start_method(request: pytest.FixtureRequest) -> str:
    """Key of the spawn backend to test."""
    key: str = request.param
    return key


@pytest.fixture
def spawn_backend(start_method: str) -> str:
    """The same under its other name."""
    return start_method


@pytest.fixture
def traits(start_method: str) -> spawn.Traits:
    """What the spawn backend under test can do."""
    return spawn.get_backend(start_method).traits


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose backend lacks a trait that it requires."""
    for marker in item.iter_markers("requires_trait"):
        callspec = getattr(item, "callspec", None)
        if callspec is None or "start_method" not in callspec.params:
            pytest.fail("requires_trait is for tests that use start_method", False)
        key = callspec.params["start_method"]
        for name in marker.args:
            if not getattr(spawn.get_backend(key).traits, name):
                pytest.skip(f"spawn backend {key!r} lacks the trait {name!r}")

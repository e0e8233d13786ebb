"""The pytest plugin of `tractor`; docs/how-to/test-actors.md is its manual.

Pytest loads it wherever `tractor` is installed, also for tests that know nothing of
actors. That is why it is a module beside the package: to import one from inside would
import the package and trio. Here nothing but pytest is imported before a test wants a
fixture, a mark or an option of ours; what those do is in `tractor.testing`.
"""

import inspect
import sys
import threading
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING, Any, Final, cast

import pytest

if TYPE_CHECKING:
    from tractor.devx import ActorTree
    from tractor.spawn import Traits
    from tractor.testing import BoundedBlock, HangWatch

ALL: Final = "all"
DEFAULT: Final = "trio"  # what `tractor` itself takes
STACK_ON_SIG: Final = "TRACTOR_ENABLE_STACK_ON_SIG"
SPAWN_METHOD: Final = "TRACTOR_SPAWN_METHOD"
KEY: Final = "spawn_backend"  # of what is noted on a test, for its reports

_backends: Final = pytest.StashKey[list[str]]()
_watch: "Final[pytest.StashKey[HangWatch]]" = pytest.StashKey()

MARKERS: Final = (
    "requires_trait(*names): runs only on spawn backends that have these traits",
    "skipon_spawn_backend(*keys, reason=...): does not run on these spawn backends",
    "hang_after(seconds): is a hang when it takes longer; 0 for never",
    "allow_slow_step(reason): one step of a task may hold the loop for long",
)


# -- Options ---------------------------------------------------------------------------


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add our options."""
    group = parser.getgroup("tractor", "actors")
    group.addoption(
        "--spawn-backend",
        default=DEFAULT,
        metavar="KEY[,KEY]|all",
        help="run the tests that start actors on these spawn backends",
    )
    group.addoption(
        "--hang-after",
        type=float,
        metavar="SECONDS",
        help="fail a test that takes longer, with a dump of its actors; 0 for never",
    )
    group.addoption(
        "--enable-stack-on-sig",
        action="store_true",
        help="have all actors ready to tell where they are, for such dumps",
    )
    group.addoption(
        "--ll",
        "--loglevel",
        dest="tractor_loglevel",
        metavar="LEVEL",
        help="show records of tractor's loggers from this level on",
    )
    help_text = "seconds after which a test is a hang; 0 for never"
    parser.addini("hang_after", help_text, default="0")


def pytest_configure(config: pytest.Config) -> None:
    """Check the options, which imports `tractor` if there are any."""
    for marker in MARKERS:
        config.addinivalue_line("markers", marker)
    text = config.getoption("--spawn-backend")
    config.stash[_backends] = [text] if text == DEFAULT else _chosen(text)
    if (level := config.getoption("tractor_loglevel")) is not None:
        _show_log(level)
    if config.getoption("--enable-stack-on-sig"):
        patch = pytest.MonkeyPatch()
        patch.setenv(STACK_ON_SIG, "1")
        config.add_cleanup(patch.undo)


def _chosen(text: str) -> list[str]:
    from tractor import spawn

    if text == ALL:
        return list(spawn.available_backends())
    keys = list(dict.fromkeys(text.split(",")))
    for key in keys:
        try:
            spawn.get_backend(key)
        except (ValueError, LookupError, RuntimeError) as error:
            message = f"--spawn-backend={text}: {error}"
            raise pytest.UsageError(message) from error
    return keys


def _show_log(level: str) -> None:
    from tractor.log import get_console_log

    try:
        get_console_log(level)
    except ValueError as error:
        message = f"--loglevel={level}: {error}"
        raise pytest.UsageError(message) from error


# -- Spawn backends --------------------------------------------------------------------


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test that needs a start method on all that were selected."""
    own = (mark.args[0] for mark in metafunc.definition.iter_markers("parametrize"))
    if "start_method" in metafunc.fixturenames and "start_method" not in own:
        keys = metafunc.config.stash[_backends]
        metafunc.parametrize("start_method", keys, indirect=True)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test that is not for its backend."""
    if (key := _backend_of(item)) is not None:
        item.user_properties.append((KEY, key))
    for marker in item.iter_markers("skipon_spawn_backend"):
        _skip_on(_needed(key, "skipon_spawn_backend"), marker)
    for marker in item.iter_markers("requires_trait"):
        _skip_without(_needed(key, "requires_trait"), marker)


def _backend_of(item: pytest.Item) -> str | None:
    callspec = getattr(item, "callspec", None)
    return callspec.params.get("start_method") if callspec is not None else None


def _needed(key: str | None, marker: str) -> str:
    if key is None:
        pytest.fail(f"{marker} is for tests that use start_method", pytrace=False)
    return key


def _skip_on(key: str, marker: pytest.Mark) -> None:
    from tractor.testing import check_backend_keys

    try:
        check_backend_keys(marker.args)
    except ValueError as error:
        pytest.fail(f"skipon_spawn_backend: {error}", pytrace=False)
    if key in marker.args:
        reason = marker.kwargs.get("reason")
        pytest.skip(reason or f"does not work on spawn backend {key!r}")


def _skip_without(key: str, marker: pytest.Mark) -> None:
    from tractor import spawn

    traits = spawn.get_backend(key).traits
    for name in marker.args:
        if not hasattr(traits, name):
            pytest.fail(f"requires_trait: there is no trait {name!r}", pytrace=False)
        if not getattr(traits, name):
            pytest.skip(f"spawn backend {key!r} lacks the trait {name!r}")


@pytest.fixture
def start_method(request: pytest.FixtureRequest) -> str:
    """Key of the spawn backend to test."""
    key: str = request.param
    return key


@pytest.fixture
def spawn_backend(start_method: str) -> Iterator[str]:
    """The same; and trees are on this backend, whatever `start_method=` they give."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(SPAWN_METHOD, start_method)
        yield start_method


@pytest.fixture
def spawn_traits(start_method: str) -> "Traits":
    """What the spawn backend under test can do."""
    from tractor import spawn

    return spawn.get_backend(start_method).traits


@pytest.fixture(scope="session")
def loglevel(pytestconfig: pytest.Config) -> str | None:
    """What `--loglevel` says, for `open_root_actor`."""
    level: str | None = pytestconfig.getoption("tractor_loglevel")
    return level


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Count what became of the tests on each backend, where there are several."""
    keys = config.stash[_backends]
    if len(keys) < 2:  # noqa: PLR2004 (several)
        return
    counts = {key: Counter[str]() for key in keys}
    for outcome, reports in terminalreporter.stats.items():
        for report in reports if outcome else ():
            key = dict(getattr(report, "user_properties", ())).get(KEY)
            if key in counts:
                counts[key][outcome] += 1
    terminalreporter.section("spawn backends")
    for key, of_key in counts.items():
        words = ", ".join(f"{count} {outcome}" for outcome, count in of_key.items())
        terminalreporter.line(f"{key}: {words or 'no tests'}")


# -- What a test leaves behind, and how long its steps are -----------------------------


@pytest.fixture(scope="session")
def runtime_dir() -> Iterator[str]:
    """A runtime directory of this session's own; it adopts its orphans, too."""
    import tempfile

    from tractor.testing import become_subreaper

    become_subreaper()
    # Not below tmp_path: paths of sockets end at 108 bytes.
    with (
        pytest.MonkeyPatch.context() as patch,
        tempfile.TemporaryDirectory(prefix="tractor-") as path,
    ):
        patch.setenv("XDG_RUNTIME_DIR", path)
        yield path


@pytest.fixture
def census(runtime_dir: str) -> Iterator[None]:
    """Fail a test that leaves a child, thread, descriptor or file behind."""
    del runtime_dir  # only has to be there
    from tractor.testing import clear_leaks, find_leaks, take_census

    before = take_census()
    yield
    if leaks := find_leaks(before):
        clear_leaks(before)
        pytest.fail("left behind:\n  " + "\n  ".join(leaks), pytrace=False)


@pytest.fixture
def no_slow_step(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test in which one step of a task takes over half a second."""
    from tractor.testing import watched_steps

    marker = request.node.get_closest_marker("allow_slow_step")
    if marker is None:
        with watched_steps(request.node):
            yield
        return
    if not marker.kwargs.get("reason"):
        pytest.fail("allow_slow_step needs a reason=", pytrace=False)
    yield


# -- Hangs -----------------------------------------------------------------------------


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, Any, Any]:
    """Watch over a test and its fixtures; a census in one of these has the thread."""
    if not (seconds := _hang_after(item)):
        return (yield)
    from tractor.testing import HangWatch

    with HangWatch(item.nodeid, seconds) as watch:
        item.stash[_watch] = watch
        return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """Have an async test cancelled when it takes too long."""
    watch, test = item.stash.get(_watch, None), cast("Any", item)
    if watch is not None and inspect.iscoroutinefunction(getattr(test, "obj", None)):
        test.obj = watch.bound(test.obj)
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail a test that took too long, with a dump of its actors."""
    watch = item.stash.get(_watch, None)
    if watch is None or not watch.dump:
        return (yield)
    del item.stash[_watch]  # it is told once
    item.add_report_section(call.when, "actors", watch.dump)
    report = yield
    if report.passed:
        report.outcome = "failed"
        report.longrepr = watch.why
    return report


def _hang_after(item: pytest.Item) -> float:
    if (marker := item.get_closest_marker("hang_after")) is not None:
        return float(marker.args[0])
    option: float | None = item.config.getoption("--hang-after")
    return float(item.config.getini("hang_after")) if option is None else option


@pytest.fixture
def fail_after_w_trace(
    request: pytest.FixtureRequest,
) -> "Callable[[float], BoundedBlock]":
    """`tractor.testing.BoundedBlock`, with its dump in the report of the test."""
    from tractor.testing import BoundedBlock

    def report(text: str) -> None:
        request.node.add_report_section("call", "actors", text)

    return lambda seconds: BoundedBlock(seconds, on_dump=report)


@pytest.fixture
def actor_tree() -> "Callable[[], ActorTree]":
    """`tractor.devx.actor_tree`."""
    from tractor import devx

    return devx.actor_tree


@pytest.hookimpl(optionalhook=True)
def pytest_timeout_set_timer(item: pytest.Item, settings: Any) -> bool | None:
    """Have pytest-timeout, by a thread, show the actors before it ends the run."""
    if settings.method != "thread":
        return None
    timer = threading.Timer(settings.timeout, _on_timeout, (item, settings))
    timer.name = f"tractor_pytest {item.nodeid}"

    def cancel() -> None:
        timer.cancel()
        timer.join()

    item.cancel_timeout = cancel  # type: ignore[attr-defined]
    timer.start()
    return True


def _on_timeout(item: pytest.Item, settings: Any) -> None:
    import pytest_timeout  # type: ignore[import-untyped]  # whose hook this is

    try:
        unwatched = settings.disable_debugger_detection
        if "tractor" in sys.modules and (
            unwatched or not pytest_timeout.is_debugging()
        ):
            _show_actors(item, f"{item.nodeid} has taken {settings.timeout:g} s")
    finally:
        pytest_timeout.timeout_timer(item, settings)


def _show_actors(item: pytest.Item, why: str) -> None:
    from tractor import devx

    text = devx.dump_to_text(why)
    plugins = item.config.pluginmanager
    if (capture := plugins.getplugin("capturemanager")) is not None:
        capture.suspend_global_capture(item)
    writer = item.config.get_terminal_writer()
    writer.line()
    writer.sep("~", title="Actors")
    writer.write(text)
    writer.flush()

"""The pytest plugin of `tractor`; docs/how-to/test-actors.md is its manual.

Pytest loads it wherever `tractor` is installed, also for tests that know nothing of
actors. That is why it is a module beside the package: to import one from inside would
import the package and trio. Here nothing but pytest is imported before a test wants a
fixture, a mark or an option of ours; what those do is in `tractor.testing`.
"""

import inspect
import os
import sys
import threading
from argparse import ArgumentError
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, cast

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tractor.devx import ActorTree
    from tractor.spawn import Traits
    from tractor.testing import BoundedBlock, HangWatch

DEFAULT: Final = "trio"  # what `tractor` itself takes
TRANSPORTS: Final = ("uds", "tcp")  # the first by default
SPAWN_METHOD: Final = "TRACTOR_SPAWN_METHOD"

# Those that may skip a test.
SKIPPING: Final = ("skipon_spawn_backend", "requires_trait", "no_tpt")

_backends: Final = pytest.StashKey[list[str]]()
_watch: "Final[pytest.StashKey[HangWatch]]" = pytest.StashKey()

MARKERS: Final = (
    "requires_trait(*names): runs only on spawn backends that have these traits",
    "skipon_spawn_backend(*keys, reason=...): does not run on these spawn backends",
    "no_tpt(*transports, reason=...): does not run on these transports",
    "hang_after(seconds): is a hang when it takes longer; 0 for never",
    "allow_slow_step(reason): one step of a task may hold the loop for long",
)


# -- Options ---------------------------------------------------------------------------


# By their names that anybody may have taken, the last of which follows "tractor" in the
# one that nobody has.
OPTIONS: Final[dict[tuple[str, ...], dict[str, Any]]] = {
    ("spawn-backend",): {
        "metavar": "KEY[,KEY]|all",
        "help": "run the tests that start actors on these spawn backends",
    },
    ("hang-after",): {
        "type": float,
        "metavar": "SECONDS",
        "help": "fail a test that takes longer, with a dump of its actors; 0 for never",
    },
    ("enable-stack-on-sig",): {
        "action": "store_true",
        "help": "have all actors ready to tell where they are, for such dumps",
    },
    ("ll", "loglevel"): {
        "metavar": "LEVEL",
        "help": "show records of tractor's loggers from this level on",
    },
    ("tpt-proto",): {
        "default": TRANSPORTS[0],
        "metavar": "|".join(TRANSPORTS),
        "help": "transport of trees of tests, unless they say otherwise",
    },
    ("tpdb", "debug-mode"): {
        "action": "store_true",
        "help": "trees of tests are in debug mode: a crash opens a REPL",
    },
}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add our options, by names that nobody else has."""
    group = parser.getgroup("tractor", "actors")
    for (*_, name), attributes in OPTIONS.items():
        group.addoption(f"--tractor-{name}", **attributes)
    help_text = "seconds after which a test is a hang; 0 for never"
    parser.addini("hang_after", help_text, default="0")


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests(
    early_config: pytest.Config, parser: pytest.Parser, args: list[str]
) -> Generator[None]:
    """Add their short names, save those that a plugin or a conftest has taken.

    Values of these, as in ``--ll info``, are not yet known from paths of tests.
    """
    takes = [name for names in OPTIONS if "metavar" in OPTIONS[names] for name in names]
    values = {value for name, value in pairwise(args) if name.lstrip("-") in takes}
    known = early_config.known_args_namespace
    known.file_or_dir = [each for each in known.file_or_dir if each not in values]
    yield
    group = parser.getgroup("tractor")
    for names, attributes in OPTIONS.items():
        same = {"dest": _dest(names), "help": f"the same as --tractor-{names[-1]}"}
        for name in names:
            with suppress(ValueError, ArgumentError):
                group.addoption(f"--{name}", **(attributes | same))


def _dest(names: tuple[str, ...]) -> str:
    return f"tractor_{names[-1].replace('-', '_')}"


def pytest_configure(config: pytest.Config) -> None:
    """Check the options, and obey them, which imports `tractor` if there are any."""
    for marker in MARKERS:
        config.addinivalue_line("markers", marker)
    _check_seconds(config)
    config.stash[_backends] = [os.environ.get(SPAWN_METHOD) or DEFAULT]
    if _any_option(config) or "TRACTOR_TRANSPORTS" in os.environ:
        from tractor.testing._plugin import obey_options

        config.stash[_backends] = obey_options(config)


def _any_option(config: pytest.Config) -> bool:
    return any(
        config.getoption(_dest(names)) not in (attributes.get("default"), None, False)
        for names, attributes in OPTIONS.items()
    )


def _check_seconds(config: pytest.Config) -> None:
    setting = config.getini("hang_after")
    option = config.getoption("tractor_hang_after") or 0.0
    for text, seconds in (
        (f"hang_after = {setting}", setting),
        (f"--hang-after={option:g}", option),
    ):
        try:
            _as_seconds(seconds)
        except ValueError as error:
            message = f"{text}: {error}"
            raise pytest.UsageError(message) from error


# -- Spawn backends --------------------------------------------------------------------


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test that needs our start method on all that were selected."""
    if _is_ours(metafunc) and not _is_given(metafunc):
        keys = metafunc.config.stash[_backends]
        metafunc.parametrize("start_method", keys, indirect=True)


def _is_ours(metafunc: pytest.Metafunc) -> bool:
    """Whether the fixture is; another one may be made of it, or just have its name."""
    for fixture in reversed(metafunc._arg2fixturedefs.get("start_method", ())):
        if fixture.func.__module__ == __name__:
            return True
        if fixture.params or "start_method" not in fixture.argnames:
            return False
    return False


def _is_given(metafunc: pytest.Metafunc) -> bool:
    """Whether a mark has its values, or somebody's hook has given them."""
    names: list[str] = []
    for mark in metafunc.definition.iter_markers("parametrize"):
        given = mark.args[0] if mark.args else mark.kwargs.get("argnames", ())
        names += given.split(",") if isinstance(given, str) else given
    names += [name for call in metafunc._calls for name in call.params]
    return "start_method" in map(str.strip, names)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test that is not for its backend, or for the transport of the run."""
    key = _backend_of(item)
    if key in item.config.stash[_backends]:
        item.user_properties.append(("spawn_backend", key))
    try:
        _hang_after(item)
    except (TypeError, ValueError) as error:
        pytest.fail(f"hang_after: {error}", pytrace=False)
    for name in SKIPPING:
        for marker in item.iter_markers(name):
            from tractor.testing._plugin import obey_mark

            obey_mark(marker, key, item.config.getoption("tractor_tpt_proto"))


def _backend_of(item: pytest.Item) -> str | None:
    callspec = getattr(item, "callspec", None)
    key = callspec.params.get("start_method") if callspec is not None else None
    return key if isinstance(key, str) else None  # else it is somebody else's


@pytest.fixture
def start_method(request: pytest.FixtureRequest) -> str:
    """Key of the spawn backend to test."""
    return cast("str", request.param)


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
    return cast("str | None", pytestconfig.getoption("tractor_loglevel"))


@pytest.fixture(scope="session")
def tpt_proto(pytestconfig: pytest.Config) -> str:
    """The transport that ``--tpt-proto`` names."""
    return cast("str", pytestconfig.getoption("tractor_tpt_proto"))


@pytest.fixture(scope="session")
def reg_addr(runtime_dir: str, tpt_proto: str) -> "Path | tuple[str, int]":
    """An address for a registrar, of this session's own and on that transport."""
    from tractor.testing import private_address

    return private_address(tpt_proto, runtime_dir)


@pytest.fixture(scope="session")
def debug_mode(pytestconfig: pytest.Config) -> bool:
    """Whether ``--debug-mode`` was given."""
    return bool(pytestconfig.getoption("tractor_debug_mode"))


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Count what became of the tests on each backend, where there are several."""
    keys = config.stash[_backends]
    if len(keys) < 2:  # noqa: PLR2004 (several)
        return
    from tractor.testing import count_by_backend

    terminalreporter.section("spawn backends")
    for line in count_by_backend(terminalreporter.stats, keys):
        terminalreporter.line(line)


# -- What a test leaves behind, and how long its steps are -----------------------------


@pytest.fixture(scope="session")
def runtime_dir() -> Iterator[str]:
    """A runtime directory of this session's own; it adopts its orphans, too."""
    from tractor.testing._plugin import private_runtime_dir

    with private_runtime_dir() as path:
        yield path


@pytest.fixture
def census(runtime_dir: str) -> Iterator[None]:
    """Fail a test that leaves a child, thread, descriptor or file behind."""
    del runtime_dir  # only has to be there
    from tractor.testing._plugin import no_leaks

    with no_leaks():
        yield


@pytest.fixture
def no_slow_step(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test in which one step of a task takes over half a second."""
    from tractor.testing._plugin import no_slow_steps

    with no_slow_steps(request.node):
        yield


# -- Hangs -----------------------------------------------------------------------------


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, Any, Any]:
    """Watch over a test and its fixtures; a census in one of these has the thread."""
    try:
        seconds = _hang_after(item)
    except (TypeError, ValueError):  # of which its setup tells
        seconds = 0
    if not seconds:
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
    if (watch := item.stash.get(_watch, None)) is None or not watch.dump:
        return (yield)
    del item.stash[_watch]  # it is told once
    item.add_report_section(call.when, "actors", watch.dump)
    report = yield
    if report.passed:
        report.outcome = "failed"
        report.longrepr = watch.why
    return report


def _hang_after(item: pytest.Item) -> float:
    if item.config.getoption("tractor_debug_mode"):
        return 0.0  # a person takes the time that it takes
    if (marker := item.get_closest_marker("hang_after")) is not None:
        return _as_seconds(*marker.args, **marker.kwargs)
    option: float | None = item.config.getoption("tractor_hang_after")
    return _as_seconds(item.config.getini("hang_after")) if option is None else option


def _as_seconds(seconds: str | float) -> float:
    number = float(seconds)
    if not number >= 0:
        message = f"seconds must be ≥ 0, not {seconds!r}"
        raise ValueError(message)
    return number


@pytest.fixture
def fail_after_w_trace(
    request: pytest.FixtureRequest,
) -> "Callable[[float], BoundedBlock]":
    """`tractor.testing.BoundedBlock`, with its dump in the report of the test."""
    from tractor.testing import BoundedBlock

    report = partial(request.node.add_report_section, "call", "actors")
    return lambda seconds: BoundedBlock(seconds, on_dump=report)


@pytest.fixture
def actor_tree() -> "Callable[[], ActorTree]":
    """`tractor.devx.actor_tree`."""
    from tractor import devx

    return devx.actor_tree


@pytest.hookimpl(optionalhook=True)
def pytest_timeout_set_timer(item: pytest.Item, settings: Any) -> bool | None:
    """Have pytest-timeout, by a thread, show the actors before it ends the run."""
    if item.config.getoption("tractor_debug_mode"):
        item.cancel_timeout = lambda: None  # type: ignore[attr-defined]
        return True
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
        if "tractor" in sys.modules:
            from tractor.testing._plugin import show_before_end

            show_before_end(item, settings)
    finally:
        pytest_timeout.timeout_timer(item, settings)

"""What the pytest plugin `tractor_pytest` does once a test or an option wants it.

The plugin itself is a module beside the package, so that it costs nothing before.
"""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import pytest

from tractor import spawn
from tractor._census import (
    Census,
    become_subreaper,
    clear_leaks,
    find_leaks,
    take_census,
)
from tractor.ipc.network import TreeDir
from tractor.log import get_console_log
from tractor.testing import _session
from tractor.testing._marks import TRANSPORTS, why_to_skip
from tractor.testing._show import show_actors
from tractor.testing._steps import watched_steps

ALL: Final = "all"
DEFAULT: Final = "trio"  # what `tractor` itself takes
DEBUG_MODE: Final = "TRACTOR_DEBUG_MODE"
STACK_ON_SIG: Final = "TRACTOR_ENABLE_STACK_ON_SIG"
SPAWN_METHOD: Final = "TRACTOR_SPAWN_METHOD"
TRANSPORTS_VARIABLE: Final = "TRACTOR_TRANSPORTS"

SWEEPS: Final = 5  # at most; each takes but a few milliseconds, finished or not


# -- Options ---------------------------------------------------------------------------


def obey_options(config: pytest.Config) -> list[str]:
    """Do as the command line says, for this run; the spawn backends to test.

    Raises:
        pytest.UsageError: One of the options cannot be obeyed, in one line.
    """
    transport = config.getoption("tractor_tpt_proto")
    if transport not in TRANSPORTS:
        known = ", ".join(TRANSPORTS)
        message = f"--tpt-proto={transport}: unknown transport; there are {known}"
        raise pytest.UsageError(message)
    if config.getoption("tractor_debug_mode") and (
        missing := _session.missing_debugger()
    ):
        message = f"--debug-mode: {missing}"
        raise pytest.UsageError(message)
    if config.getoption("tractor_debug_mode"):
        _set_env(config, DEBUG_MODE, "1")
    backends = _choose_backends(config)
    if (level := config.getoption("tractor_loglevel")) is not None:
        _checked(f"--loglevel={level}", get_console_log, level)
    if transport != os.environ.get(TRANSPORTS_VARIABLE, TRANSPORTS[0]):
        _set_env(config, TRANSPORTS_VARIABLE, transport)
    if config.getoption("tractor_enable_stack_on_sig"):
        _set_env(config, STACK_ON_SIG, "1")
    return backends


def _choose_backends(config: pytest.Config) -> list[str]:
    text = config.getoption("tractor_spawn_backend")
    if text is None:
        return [os.environ.get(SPAWN_METHOD) or DEFAULT]
    _set_env(config, SPAWN_METHOD, None)  # it would win, whatever a test is run for
    if text == ALL:
        return list(spawn.available_backends())
    keys = list(dict.fromkeys(text.split(",")))
    for key in keys:
        _checked(f"--spawn-backend={text}", spawn.get_backend, key)
    return keys


def _set_env(config: pytest.Config, name: str, value: str | None) -> None:
    patch = pytest.MonkeyPatch()
    if value is None:
        patch.delenv(name, raising=False)
    else:
        patch.setenv(name, value)
    config.add_cleanup(patch.undo)


def _checked[**P, T](
    option: str, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs
) -> T:
    """What `fn` returns; its error is one clear line on that option."""
    try:
        return fn(*args, **kwargs)
    except (ValueError, LookupError, RuntimeError) as error:
        message = f"{option}: {error}"
        raise pytest.UsageError(message) from error


def obey_mark(mark: pytest.Mark, backend: str | None, transport: str) -> None:
    """Skip the test if the mark says so; fail it if the mark cannot be right."""
    try:
        why = why_to_skip(mark.name, mark.args, backend=backend, transport=transport)
    except ValueError as error:
        pytest.fail(str(error), pytrace=False)
    if why:
        pytest.skip(mark.kwargs.get("reason") or why)


# -- Fixtures --------------------------------------------------------------------------


@contextmanager
def private_runtime_dir() -> Iterator[str]:
    """A runtime directory of the session's own; it adopts its orphans, too."""
    become_subreaper()
    # Not below tmp_path: paths of sockets end at 108 bytes.
    with (
        pytest.MonkeyPatch.context() as patch,
        tempfile.TemporaryDirectory(prefix="tractor-") as path,
    ):
        patch.setenv("XDG_RUNTIME_DIR", path)
        yield path


@contextmanager
def no_leaks() -> Iterator[None]:
    """Fail the test if it leaves a child, thread, descriptor or file behind."""
    before = take_census()
    yield
    if leaks := _leaks_since(before):
        clear_leaks(before)
        pytest.fail("left behind:\n  " + "\n  ".join(leaks), pytrace=False)


def _leaks_since(before: Census) -> list[str]:
    """What the next tree would not remove.

    The root of a tree that is killed leaves files, and the next root that starts
    removes them, by design. So one starts, as far as that goes.
    """
    if not find_leaks(before, 0):
        return []
    for _ in range(SWEEPS):
        if take_census().files <= before.files:
            break
        TreeDir.create().close()
    return find_leaks(before)


@contextmanager
def no_slow_steps(item: pytest.Item) -> Iterator[None]:
    """Fail the test if a step of a task holds the loop, unless a mark excuses it."""
    mark = item.get_closest_marker("allow_slow_step")
    if item.config.getoption("tractor_debug_mode"):
        yield  # a REPL is such a step
        return
    if mark is None:
        with watched_steps(item):
            yield
        return
    if not mark.kwargs.get("reason"):
        pytest.fail("allow_slow_step needs a reason=", pytrace=False)
    yield


# -- Time-outs -------------------------------------------------------------------------


def show_before_end(item: pytest.Item, settings: Any) -> None:
    """Show the actors, before pytest-timeout ends the run; not to a debugger."""
    import pytest_timeout  # type: ignore[import-untyped]  # which calls this

    if settings.disable_debugger_detection or not pytest_timeout.is_debugging():
        show_actors(item, f"{item.nodeid} has taken {settings.timeout:g} s")

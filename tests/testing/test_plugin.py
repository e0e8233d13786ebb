"""The pytest plugin: what it costs, and what its options, marks and fixtures do."""

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from tractor import available_backends, testing

pytest_plugins = ["pytester"]

ROOT: Final = Path(__file__).parents[2]
SETTINGS: Final = """
[pytest]
trio_mode = true
addopts = --strict-markers --strict-config -p no:cacheprovider
"""

type Run = Callable[..., pytest.RunResult]


@pytest.fixture
def short_dir() -> Iterator[str]:
    """A folder with a name that leaves room for that of a socket."""
    with tempfile.TemporaryDirectory(prefix="tractor-") as path:
        yield path


@pytest.fixture
def run_inner(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, short_dir: str
) -> Run:
    """Run a test file as somebody else's, who has no settings of ours."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    # A run that is ended by force leaves its things there.
    monkeypatch.setenv("XDG_RUNTIME_DIR", short_dir)
    pytester.makeini(SETTINGS)

    def run(source: str, *args: str, alone: bool = False) -> pytest.RunResult:
        method = pytester.runpytest_subprocess if alone else pytester.runpytest
        return method(pytester.makepyfile(source), *args)

    return run


# -- What it costs ---------------------------------------------------------------------

IMPORTED: Final = """
import sys

def pytest_sessionfinish():
    wanted = ("tractor", "trio", "msgspec", "tractor_pytest")
    print("imported:", *(name for name in wanted if name in sys.modules))
"""


def test_nothing_is_imported_for_tests_without_actors(
    pytester: pytest.Pytester, run_inner: Run
) -> None:
    """Neither collecting nor running them imports the package, or trio."""
    pytester.makeconftest(IMPORTED)
    # That plugin imports trio by itself, and knows the setting.
    others = ("-p", "no:trio", "-c", os.devnull)
    result = run_inner("def test_it(): pass", *others, "-s", alone=True)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*imported: tractor_pytest"])


def test_collecting_tests_with_actors_imports_nothing_either(
    pytester: pytest.Pytester, run_inner: Run
) -> None:
    """Their backend is known without asking the package for it."""
    pytester.makeconftest(IMPORTED)
    others = ("-p", "no:trio", "-c", os.devnull, "--collect-only", "-s")
    result = run_inner("def test_it(start_method): pass", *others, alone=True)
    result.stdout.fnmatch_lines(["*test_it[[]trio[]]*", "*imported: tractor_pytest"])


def test_its_documented_name_loads_it_once(run_inner: Run) -> None:
    """Who asks for it by `-p` does not get its options twice."""
    result = run_inner(
        "def test_it(start_method): pass",
        *("-p", "tractor.testing.pytest_plugin", "--spawn-backend=trio"),
        alone=True,
    )
    result.assert_outcomes(passed=1)


# -- Backends --------------------------------------------------------------------------

NOT_EVERYWHERE: Final = """
import pytest

@pytest.mark.skipon_spawn_backend("mp_spawn", "subint")
def test_function(start_method):
    assert start_method == "trio"

@pytest.mark.skipon_spawn_backend("trio", reason="it is Tuesday")
class TestClass:
    def test_method(self, spawn_backend):
        assert spawn_backend == "mp_spawn"
"""


def test_a_backend_is_skipped_by_name(run_inner: Run) -> None:
    """For a function and for a class, with a reason, or a default one."""
    result = run_inner(NOT_EVERYWHERE, "--spawn-backend=trio,mp_spawn", "-rs")
    result.assert_outcomes(passed=2, skipped=2)
    result.stdout.fnmatch_lines_random(
        ["*does not work on spawn backend 'mp_spawn'", "*it is Tuesday"]
    )


ON_EACH_LEVEL: Final = """
import pytest
{module}

{function}
def test_function(start_method): pass

{klass}
class TestClass:
    def test_method(self, start_method): pass
"""


@pytest.mark.parametrize(
    ("mark", "reason"),
    [
        ('skipon_spawn_backend("trio")', "does not work on spawn backend 'trio'"),
        ('skipon_spawn_backend("trio", reason="of rain")', "of rain"),
        ('requires_trait("can_interrupt")', "lacks the trait 'can_interrupt'"),
        ('no_tpt("tcp")', "does not work on transport 'tcp'"),
        ('no_tpt("tcp", reason="of snow")', "of snow"),
    ],
)
@pytest.mark.parametrize("level", ["module", "function", "klass"])
def test_a_mark_works_on_each_level(
    run_inner: Run, level: str, mark: str, reason: str
) -> None:
    """On a function, a class or a module: what is below it is skipped, and why."""
    texts = dict.fromkeys(("module", "function", "klass"), "")
    head = "pytestmark = " if level == "module" else "@"
    texts[level] = f"{head}pytest.mark.{mark}"
    result = run_inner(ON_EACH_LEVEL.format(**texts), "--tpt-proto=tcp", "-rs")
    skipped = 2 if level == "module" else 1
    result.assert_outcomes(skipped=skipped, passed=2 - skipped)
    result.stdout.fnmatch_lines([f"SKIPPED*{reason}"])


@pytest.mark.parametrize(
    ("mark", "problem"),
    [
        ('skipon_spawn_backend("nonesuch")', "*unknown spawn backend 'nonesuch'*"),
        ('requires_trait("can_fly")', "*there is no trait 'can_fly'*"),
        ('no_tpt("pigeon")', "*no_tpt: unknown transport 'pigeon'; there are uds, tcp"),
    ],
)
def test_a_mark_that_is_misspelt_fails(run_inner: Run, mark: str, problem: str) -> None:
    """It does not skip nothing for ever."""
    source = f"import pytest\n@pytest.mark.{mark}\ndef test_it(start_method): pass"
    result = run_inner(source)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([problem])


def test_the_mark_is_for_tests_with_a_backend(run_inner: Run) -> None:
    """Of another test one cannot say what it runs on."""
    source = (
        "import pytest\n@pytest.mark.skipon_spawn_backend('trio')\ndef test_it(): pass"
    )
    result = run_inner(source)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*is for tests that use start_method*"])


def test_each_backend_has_its_line_in_the_summary(run_inner: Run) -> None:
    """One sees at once on which of them something fails."""
    source = """
    def test_it(start_method): assert start_method == "trio"
    def test_other(start_method): pass
    """
    result = run_inner(source, "--spawn-backend", "trio,mp_spawn")
    result.assert_outcomes(passed=3, failed=1)
    result.stdout.fnmatch_lines(
        ["*= spawn backends =*", "trio: 2 passed", "mp_spawn: 1 * 1 *"]
    )


def test_all_backends_are_run_in_one_session(run_inner: Run) -> None:
    """Each that works here, with a real actor; the summary has a line on each."""
    source = """
    import os, tractor

    async def pid() -> int:
        return os.getpid()

    async def test_it(start_method, spawn_traits):
        async with tractor.open_nursery(start_method=start_method) as an:
            portal = await an.start_actor("x", enable_modules=[__name__])
            assert (await portal.run(pid) != os.getpid()) == spawn_traits.own_process
            await an.cancel()

    def test_once(): pass
    """
    keys = available_backends()
    result = run_inner(source, "--spawn-backend=all", alone=True)
    result.assert_outcomes(passed=len(keys) + 1)
    assert len(keys) >= 3
    result.stdout.fnmatch_lines_random([f"{key}: 1 passed" for key in keys])


def test_trees_of_a_test_are_on_its_backend(run_inner: Run) -> None:
    """Also those that the code under test opens, which knows nothing of tests."""
    source = """
    import tractor

    async def test_it(spawn_backend):
        async with tractor.open_root_actor():
            assert tractor.get_runtime_vars()["start_method"] == spawn_backend

    async def test_after():
        async with tractor.open_root_actor():
            assert tractor.get_runtime_vars()["start_method"] == "trio"
    """
    result = run_inner(source, "--spawn-backend", "mp_spawn")
    result.assert_outcomes(passed=2)


def test_a_test_may_choose_for_itself(run_inner: Run) -> None:
    """Its own parameters win over the option."""
    source = """
    import pytest

    @pytest.mark.parametrize("start_method", ["mp_spawn"], indirect=True)
    def test_it(start_method):
        assert start_method == "mp_spawn"
    """
    run_inner(source).assert_outcomes(passed=1)


def test_a_level_that_is_none_is_one_clear_line(run_inner: Run) -> None:
    """As with a backend that is none."""
    result = run_inner("def test_it(): pass", "--ll=nonesuch")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --loglevel=nonesuch: *"])


def test_the_level_is_for_the_logger_and_for_the_tree(run_inner: Run) -> None:
    """Records of it show up, and a fixture hands the level on."""
    source = """
    from tractor.log import get_logger

    def test_it(loglevel):
        assert loglevel == "runtime"
        get_logger().runtime("here it is")
        assert not "failed"
    """
    result = run_inner(source, "--ll=runtime", alone=True)
    result.stdout.fnmatch_lines(["*RUNTIME*here it is*"])


# -- Transports, addresses, the debugger -----------------------------------------------


def test_an_address_is_private(run_inner: Run) -> None:
    """To the session: a socket in its runtime directory, or a port that is free."""
    source = """
    import os, socket

    def test_it(tpt_proto, reg_addr, runtime_dir):
        assert tpt_proto == "{}"
        family = socket.AF_UNIX if tpt_proto == "uds" else socket.AF_INET
        with socket.socket(family) as server:
            server.bind(str(reg_addr) if tpt_proto == "uds" else reg_addr)
        if tpt_proto == "uds":
            assert str(reg_addr.parent) == runtime_dir == os.environ["XDG_RUNTIME_DIR"]
            assert os.stat(runtime_dir).st_mode & 0o777 == 0o700
    """
    run_inner(source.format("uds")).assert_outcomes(passed=1)
    result = run_inner(source.format("tcp"), "--tpt-proto=tcp")
    result.assert_outcomes(passed=1)


def test_a_transport_that_is_none_is_one_clear_line(run_inner: Run) -> None:
    """As with a backend that is none."""
    result = run_inner("def test_it(): pass", "--tpt-proto=pigeon")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --tpt-proto=pigeon: unknown transport; *"])


@pytest.mark.parametrize("option", ["--debug-mode", "--tpdb"])
@pytest.mark.parametrize("missing", [True, False])
def test_debug_mode_needs_a_debugger(
    run_inner: Run, monkeypatch: pytest.MonkeyPatch, option: str, missing: bool
) -> None:
    """Without one that is one clear line; with one, a test sees what was asked for."""
    why = "the debugger is out" if missing else ""
    monkeypatch.setattr(testing._session, "missing_debugger", lambda: why)
    result = run_inner("def test_it(debug_mode): assert debug_mode", option)
    if missing:
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        result.stderr.fnmatch_lines(["ERROR: --debug-mode: the debugger is out"])
    else:
        result.assert_outcomes(passed=1)
        other = run_inner("def test_it(debug_mode): assert not debug_mode")
        other.assert_outcomes(passed=1)


# -- Leaks -----------------------------------------------------------------------------

KILLED: Final = """
import os, signal, subprocess, sys
import pytest

ROOT = '''
import signal
import trio, tractor

async def main():
    async with tractor.open_nursery():
        print(flush=True)
        await trio.sleep_forever()

trio.run(main)
'''

@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM])
def test_root(census, runtime_dir, signum):
    with subprocess.Popen([sys.executable, "-c", ROOT], stdout=-1) as process:
        process.stdout.readline()
        process.send_signal(signum)
    left = [each for each in os.walk(f"{runtime_dir}/tractor") if each[2]]
    assert bool(left) == (signum == signal.SIGKILL)

def test_file(census, runtime_dir):
    open(f"{runtime_dir}/tractor/mine", "w").close()
"""


def test_what_the_next_root_removes_is_no_leak(run_inner: Run) -> None:
    """A killed one leaves files, by design; one that ends in order leaves none."""
    result = run_inner(KILLED, alone=True)
    result.assert_outcomes(passed=3, errors=1)
    result.stdout.fnmatch_lines(["* at teardown of test_file *", "  file */mine"])


# -- Hangs -----------------------------------------------------------------------------

HANGS: Final = """
import time
import pytest, trio

async def waits_for_ever():
    await trio.sleep_forever()

async def test_async():
    await waits_for_ever()

def test_sync():
    time.sleep(0.5)

@pytest.mark.hang_after(0)
async def test_excused():
    await trio.sleep(0.5)

@pytest.fixture
def slow():
    time.sleep(0.5)

def test_setup(slow):
    pass
"""


def test_a_hang_fails_with_a_dump(run_inner: Run) -> None:
    """An async test is ended, any other fails when it ends; the report says where."""
    result = run_inner(HANGS, "--hang-after=0.2", alone=True)
    result.assert_outcomes(passed=1, failed=2, errors=1)
    result.stdout.fnmatch_lines(
        [
            "*TooSlowError: *::test_async has taken 0.2 s",
            "*- Captured actors *",
            "*waits in waits_for_ever (*): await trio.sleep_forever()",
        ]
    )
    result.stdout.fnmatch_lines(["*::test_sync has taken 0.2 s", "*in test_sync (*"])
    result.stdout.fnmatch_lines(["*ERROR at setup of test_setup*", "*in slow (*"])


CHILD_HANGS: Final = """
import sys
import trio, tractor

async def never_ends():
    await trio.sleep_forever()

async def test_it():
    async with tractor.open_nursery() as an:
        portal = await an.start_actor("stuck", enable_modules=[__name__])
        await portal.run(never_ends)
"""


def test_a_timeout_of_the_run_shows_the_whole_tree(run_inner: Run) -> None:
    """pytest-timeout ends the process; before that one sees what the actors did."""
    result = run_inner(
        CHILD_HANGS,
        *("--enable-stack-on-sig", "--timeout=3", "--timeout-method=thread"),
        alone=True,
    )
    assert result.ret == 1
    result.stdout.fnmatch_lines(
        [
            "*~ Actors ~*",
            "*::test_it has taken 3 s",
            "*stuck@*running",
            "*waits in never_ends (*): await trio.sleep_forever()",
            "*+ Timeout +*",
        ]
    )


def test_a_timeout_by_a_signal_is_left_alone(run_inner: Run) -> None:
    """Where pytest-timeout fails the test alone, it does so as without us."""
    source = "import time\ndef test_it(runtime_dir): time.sleep(30)"
    limits = ("--timeout=0.3", "--timeout-method=signal")
    result = run_inner(source, *limits, alone=True)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*Timeout*0.3*"])


def test_a_timeout_without_actors_is_as_ever(run_inner: Run) -> None:
    """The plugin does not import the package for it."""
    source = "import time\ndef test_it(): time.sleep(30)"
    others = ("-p", "no:trio", "-c", os.devnull)
    limits = ("--timeout=0.3", "--timeout-method=thread")
    result = run_inner(source, *others, *limits, alone=True)
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*+ Timeout +*"])
    assert "Actors" not in result.stdout.str()


def test_blocks_and_decorated_tests_are_bounded(run_inner: Run) -> None:
    """Each fails with what it was doing, and in time they do nothing."""
    source = """
    import pytest, trio, tractor
    from tractor.testing import tractor_test

    async def test_block(fail_after_w_trace):
        async with fail_after_w_trace(0.1):
            await trio.sleep_forever()

    async def test_in_time(fail_after_w_trace, actor_tree):
        async with fail_after_w_trace(30):
            assert "process" in str(actor_tree())

    @tractor_test(timeout=0.1)
    async def test_decorated(start_method):
        await trio.sleep_forever()

    @tractor_test
    async def test_root(spawn_backend):
        assert tractor.is_root_process()
        assert tractor.get_runtime_vars()["start_method"] == spawn_backend
    """
    result = run_inner(source, "--spawn-backend=mp_spawn", alone=True)
    result.assert_outcomes(passed=2, failed=2)
    result.stdout.fnmatch_lines(["*waits in test_block (*", "*TooSlowError*0.1 s*"])
    result.stdout.fnmatch_lines(["*waits in test_decorated (*"])


# -- With pytest-xdist -----------------------------------------------------------------


def test_several_workers_share_the_tests(run_inner: Run) -> None:
    """Each has a runtime directory of its own; hangs and sums are as without them."""
    source = (
        CHILD_HANGS
        + """
def test_addresses(start_method, reg_addr):
    import os
    print("at", os.environ["PYTEST_XDIST_WORKER"], reg_addr)
    assert 0

async def test_more(start_method):
    await test_it()
"""
    )
    options = ("--spawn-backend=trio,mp_spawn", "--enable-stack-on-sig")
    result = run_inner(
        source, *options, "-n2", "--dist=each", "--hang-after=2", alone=True
    )
    result.assert_outcomes(failed=10)
    assert result.stdout.str().count("waits in never_ends (") >= 6
    lines = [line for line in result.outlines if line.startswith("at gw")]
    assert len({line.split()[2] for line in lines}) == 2
    result.stdout.fnmatch_lines(["trio: 4 failed", "mp_spawn: 4 failed"])


def test_a_timeout_of_a_worker_shows_the_whole_tree(run_inner: Run) -> None:
    """At stderr, since a worker has no report of its own; its end is counted."""
    source = CHILD_HANGS.replace("test_it()", "test_it(start_method)")
    limits = ("--timeout=5", "--timeout-method=thread", "-n1")
    options = ("--spawn-backend=trio,mp_spawn", "--enable-stack-on-sig", "-ktrio")
    once = "--max-worker-restart=0"
    result = run_inner(source, *options, *limits, once, alone=True)
    result.stderr.fnmatch_lines(
        ["*::test_it[[]trio[]] has taken 5 s", "*waits in never_ends (*"]
    )
    result.stdout.fnmatch_lines(["*worker 'gw0' crashed*", "trio: 1 failed"])


# -- Gates -----------------------------------------------------------------------------


def test_the_gates_are_there_for_who_wants_them(run_inner: Run) -> None:
    """A test that asks for them fails for what it does; another one does not."""
    source = """
    import os, time
    import pytest, trio

    @pytest.mark.usefixtures("census")
    def test_counted():
        os.pipe()

    def test_not_counted():
        os.pipe()

    @pytest.mark.usefixtures("no_slow_step")
    async def test_timed():
        time.sleep(1.2)

    async def test_not_timed():
        time.sleep(0.6)
    """
    result = run_inner(source, alone=True)
    result.assert_outcomes(passed=4, errors=2)
    result.stdout.fnmatch_lines(["*descriptor *: pipe:*", "*held the loop for * s*"])

"""The pytest plugin: what it costs, and what its options, marks and fixtures do."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

pytest_plugins = ["pytester"]

ROOT: Final = Path(__file__).parents[2]
SETTINGS: Final = """
[pytest]
trio_mode = true
addopts = --strict-markers --strict-config -p no:cacheprovider
"""

type Run = Callable[..., pytest.RunResult]


@pytest.fixture
def run_inner(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a test file as somebody else's, who has no settings of ours."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
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


def test_a_module_is_skipped_by_name(run_inner: Run) -> None:
    """The mark works for all tests of a module."""
    result = run_inner(
        """
        import pytest
        pytestmark = pytest.mark.skipon_spawn_backend("trio")
        def test_it(start_method): pass
        """
    )
    result.assert_outcomes(skipped=1)


@pytest.mark.parametrize(
    ("mark", "problem"),
    [
        ('skipon_spawn_backend("nonesuch")', "*unknown spawn backend 'nonesuch'*"),
        ('requires_trait("can_fly")', "*there is no trait 'can_fly'*"),
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

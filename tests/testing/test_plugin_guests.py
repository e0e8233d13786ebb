"""The pytest plugin where it is a guest: in projects that have names of their own.

It is loaded wherever `tractor` is installed. So it takes no name from anybody, and what
is wrong with its own is told in one line.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

pytest_plugins = ["pytester"]

ROOT: Final = Path(__file__).parents[2]

type Run = Callable[..., pytest.RunResult]


@pytest.fixture
def run_inner(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a test file as somebody else's, who has no settings of ours."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    pytester.makeini("[pytest]\naddopts = --strict-markers -p no:cacheprovider")

    def run(source: str, *args: str) -> pytest.RunResult:
        return pytester.runpytest_subprocess(pytester.makepyfile(source), *args)

    return run


# -- A `start_method` of somebody else's -----------------------------------------------

FIXTURE_WITH_VALUES: Final = """
import pytest

@pytest.fixture(params=["fork", "spawn"])
def start_method(request):
    return request.param

def test_it(start_method):
    assert start_method in ("fork", "spawn")

def test_other(start_method): pass
"""

FIXTURE_WITHOUT: Final = """
import pytest

@pytest.fixture
def start_method(): return "spawn"

def test_it(start_method): assert start_method == "spawn"

@pytest.mark.parametrize(argnames="n", argvalues=[1, 2, 3])
def test_other(n, start_method): pass
"""

FIXTURE_OF_OURS: Final = """
import pytest

@pytest.fixture
def start_method(start_method): return start_method.upper()

def test_it(start_method): assert start_method in ("TRIO", "MP_SPAWN")

def test_other(start_method): pass
"""

MARKS: Final = """
import pytest

@pytest.mark.parametrize("n, start_method", [(1, "fork")])
def test_it(n, start_method): assert start_method == "fork"

@pytest.mark.parametrize(argnames=["start_method"], argvalues=[["fork"], ["spawn"]])
def test_keywords(start_method): pass

@pytest.mark.parametrize("start_method", [object()])
def test_object(start_method): pass
"""


@pytest.mark.parametrize("options", [(), ("-n1",)])
@pytest.mark.parametrize(
    "source", [FIXTURE_WITH_VALUES, FIXTURE_WITHOUT, FIXTURE_OF_OURS, MARKS]
)
def test_a_start_method_of_their_own_is_theirs(
    run_inner: Run, source: str, options: tuple[str, ...]
) -> None:
    """By a fixture or by marks, of whatever kind; one made of ours runs as ours."""
    result = run_inner(source, "--spawn-backend=trio,mp_spawn", *options)
    result.assert_outcomes(passed=4)


def test_a_start_method_that_their_hook_gives_is_theirs(
    pytester: pytest.Pytester, run_inner: Run
) -> None:
    """It has given the values before we are asked."""
    pytester.makeconftest("""
    def pytest_generate_tests(metafunc):
        metafunc.parametrize("start_method", ["fork", "spawn"])
    """)
    source = "def test_it(start_method): assert start_method in ('fork', 'spawn')"
    run_inner(source).assert_outcomes(passed=2)


# -- Options ---------------------------------------------------------------------------

THEIR_OPTIONS: Final = """
def pytest_addoption(parser):
    parser.addoption("--loglevel", default="INFO")
    parser.addoption("--spawn-backend", default="theirs")
"""


def test_an_option_of_their_own_is_theirs(
    pytester: pytest.Pytester, run_inner: Run
) -> None:
    """Ours has another name, and is not lost."""
    pytester.makeconftest(THEIR_OPTIONS)
    source = """
    def test_it(pytestconfig, start_method, loglevel):
        assert pytestconfig.getoption("--loglevel") == "LOUD"
        assert pytestconfig.getoption("--spawn-backend") == "theirs"
        assert start_method == "mp_spawn"
        assert loglevel == "info"
    """
    ours = ("--tractor-spawn-backend=mp_spawn", "--ll=info")
    result = run_inner(source, "--loglevel=LOUD", *ours)
    result.assert_outcomes(passed=1)


def test_values_are_not_taken_for_paths(pytester: pytest.Pytester) -> None:
    """With one of them after a space, pytest still looks where the settings say."""
    pytester.makeini("[pytest]\ntestpaths = inside")
    inside = pytester.mkdir("inside")
    (inside / "conftest.py").write_text(
        "def pytest_addoption(parser): parser.addoption('--theirs')"
    )
    (inside / "test_it.py").write_text("def test_it(start_method): pass")
    options = ("--ll", "info", "--spawn-backend", "trio,mp_spawn", "--theirs=x")
    pytester.runpytest_subprocess(*options).assert_outcomes(passed=2)


@pytest.mark.parametrize(
    ("option", "problem"),
    [
        ("--hang-after=-1", "--hang-after=-1: seconds must be ≥ 0, not -1.0"),
        ("--hang-after=nan", "--hang-after=nan: seconds must be ≥ 0, not nan"),
        ("-ohang_after=soon", "hang_after = soon: could not convert*'soon'"),
    ],
)
def test_a_bound_that_is_none_is_one_clear_line(
    run_inner: Run, option: str, problem: str
) -> None:
    """And no test is run, instead of one after the other in vain."""
    result = run_inner("def test_it(): pass", option)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {problem}"])


@pytest.mark.parametrize(
    ("option", "method"),
    [
        ("--spawn-backend=trio", "trio"),
        ("--spawn-backend=mp_spawn", "mp_spawn"),
        ("-q", "mp_forkserver"),
    ],
)
def test_what_a_test_is_said_to_run_on_it_runs_on(
    run_inner: Run, monkeypatch: pytest.MonkeyPatch, option: str, method: str
) -> None:
    """The environment chooses where the option does not, and else is not heard."""
    monkeypatch.setenv("TRACTOR_SPAWN_METHOD", "mp_forkserver")
    source = f"""
    import tractor
    from tractor.testing import tractor_test

    @tractor_test
    async def test_it(start_method):
        assert start_method == {method!r}
        assert tractor.get_runtime_vars()["start_method"] == start_method
    """
    run_inner(source, option).assert_outcomes(passed=1)


# -- Hangs -----------------------------------------------------------------------------


def test_a_mark_that_is_wrong_fails_its_test(run_inner: Run) -> None:
    """And no other; it may name its argument, and be without end."""
    source = """
    import pytest

    def test_before(): pass

    @pytest.mark.hang_after(seconds=20)
    def test_named(): pass

    @pytest.mark.hang_after(float("inf"))
    def test_without_end(): pass

    @pytest.mark.hang_after("soon")
    def test_word(): pass

    @pytest.mark.hang_after(-1)
    def test_minus(): pass

    @pytest.mark.hang_after()
    def test_none(): pass

    def test_after(): pass
    """
    result = run_inner(source)
    result.assert_outcomes(passed=4, errors=3)
    result.stdout.fnmatch_lines(
        ["*hang_after: could not convert*'soon'", "*hang_after: seconds must be ≥ 0*"]
    )


def test_other_event_loops_run_their_tests(
    pytester: pytest.Pytester, run_inner: Run
) -> None:
    """A bound is no reason to fail there."""
    pytester.makeconftest("""
    import asyncio, inspect, pytest

    @pytest.hookimpl(tryfirst=True)
    def pytest_pyfunc_call(pyfuncitem):
        if inspect.iscoroutinefunction(pyfuncitem.obj):
            asyncio.run(pyfuncitem.obj())
            return True
    """)
    source = """
    import asyncio, unittest

    async def test_it():
        await asyncio.sleep(0)

    class TestCase(unittest.IsolatedAsyncioTestCase):
        async def test_it(self):
            await asyncio.sleep(0)
    """
    run_inner(source, "--hang-after=20").assert_outcomes(passed=2)


def test_a_slow_fixture_leaves_no_time_to_its_test(run_inner: Run) -> None:
    """It is not cut off itself, and what comes after it is."""
    source = """
    import pytest, trio

    @pytest.fixture
    async def slow():
        await trio.sleep(0.5)

    async def test_it(slow):
        await trio.sleep_forever()
    """
    result = run_inner(source, "--hang-after=0.2", "-otrio_mode=true")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*TooSlowError: *::test_it has taken 0.2 s", "*waits in slow (*"]
    )

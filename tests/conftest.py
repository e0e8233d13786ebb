"""What holds for every test: leave nothing behind, and never hold up the loop.

The fixtures are those of our own pytest plugin, `tractor_pytest`; here they are for
every test.
"""

import gc
import signal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tractor import spawn


def pytest_collection_finish() -> None:
    """Let no collection look at modules and thousands of tests again and again.

    It takes longer than any loop may be held, and what is measured with it is not ours.
    """
    _begin_hypothesis()
    gc.collect()
    gc.freeze()


@settings(max_examples=1, database=None)
@given(st.none())
def _begin_hypothesis(_: None) -> None:
    """Its first run looks who holds its random numbers, and cannot see it later."""


@pytest.fixture(scope="session", autouse=True)
def sigint() -> None:
    """Ctrl-C works in programs of tests, also where a shell has this in its background.

    Such a process inherits that it ignores SIGINT, and so would all that it starts.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def gates(census: None, no_slow_step: None) -> None:
    """Both gates of the plugin.

    Being the first fixtures of each test, they look after all others are torn down.
    """
    del census, no_slow_step


@pytest.fixture
def traits(spawn_traits: spawn.Traits) -> spawn.Traits:
    """What the spawn backend under test can do."""
    return spawn_traits

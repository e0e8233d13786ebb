"""What holds after every test: nothing waits, nothing is kept, nobody is told."""

import gc
from collections.abc import Iterator

import pytest

from tractor import pinned
from tractor.pinned._main_thread import main
from tractor.pinned._registry import registry


@pytest.fixture(autouse=True)
def main_thread() -> Iterator[None]:
    """The main thread is as it was, whatever the test did with it."""
    yield
    pinned.set_pump_wakeup(None)
    pinned.set_pump_watchdog(None)
    if len(registry):
        gc.collect()  # handles in cycles
    assert (len(main.queue), len(registry), main.loop) == (0, 0, None)

"""Fixtures for tests of asyncio in actors."""

import pytest
import trio

from tractor.to_asyncio import run_as_asyncio_guest


@pytest.fixture(scope="session", autouse=True)
def first_loop() -> None:
    """One loop before all tests: uvloop makes pipes with the first, and keeps them."""
    run_as_asyncio_guest(trio.sleep, 0)

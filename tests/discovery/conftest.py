"""Addresses and secrets for programs that are to meet."""

from collections.abc import Iterator

import pytest

from tests._helpers import Bell
from tractor.ipc import Address, parse_address
from tractor.ipc.network import runtime_dir as find_runtime_dir
from tractor.ipc.network import user_secret
from tractor.testing import private_address


@pytest.fixture(scope="session", autouse=True)
def shared_secret(runtime_dir: str) -> None:
    """The user has one from the start, or who needs it first would leave it behind."""
    del runtime_dir  # only has to be there
    user_secret(find_runtime_dir())


@pytest.fixture
def address(runtime_dir: str, tpt_proto: str) -> Address:
    """An address of this test's own."""
    return parse_address(private_address(tpt_proto, runtime_dir))


@pytest.fixture
def bell() -> Iterator[Bell]:
    """For programs to say that they are in place."""
    with Bell() as bell:
        yield bell

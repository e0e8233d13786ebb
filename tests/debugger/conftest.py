"""What the sessions share."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from tests.debugger._session import Session
from tractor.devx.debug._desk import Desk


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """A folder in which pdbp cannot be imported: its screens are hard to read."""
    (tmp_path / "pdbp.py").write_text("raise ImportError('not here')\n")
    return tmp_path


@pytest.fixture
def session(plain: Path) -> Iterator[Callable[..., Session]]:
    """Starts programs, which end with the test."""
    with ExitStack() as stack:
        yield lambda *args, **options: stack.enter_context(
            Session(*args, plain=plain, **options)
        )


@pytest.fixture
def path() -> Iterator[str]:
    """A terminal."""
    master, slave = os.openpty()
    yield os.ttyname(slave)
    os.close(slave)
    os.close(master)


@pytest.fixture
def desk(path: str) -> Iterator[Desk]:
    """Its desk."""
    with closing(Desk(path)) as desk:
        yield desk

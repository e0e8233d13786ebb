"""What the sessions share."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.debugger._session import Session


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

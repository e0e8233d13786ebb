"""Type checkers accept and refuse in `calls.py` what they should."""

import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

FILES: Final = sorted(str(path) for path in Path(__file__).parent.glob("*calls.py"))
ROOT: Final = Path(__file__).parents[2]


def check(*command: str) -> None:
    """Run a type checker with the settings of the project."""
    done = subprocess.run(
        [sys.executable, "-m", *command, *FILES],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_mypy_agrees(pytestconfig: pytest.Config) -> None:
    """Every `assert_type` holds, and no ignore is unused (semantics §4.1)."""
    cache = pytestconfig.cache
    assert cache is not None
    check("mypy", f"--cache-dir={cache.mkdir('mypy')}")


@pytest.mark.slow
def test_pyright_agrees() -> None:
    """So does the other type checker that users have."""
    pytest.importorskip("pyright")
    check("pyright", f"--pythonpath={sys.executable}")

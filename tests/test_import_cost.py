"""`import tractor` is cheap: little beyond trio and msgspec, and little time."""

import os
import re
import subprocess
import sys
from typing import Final

import pytest

LIMIT: Final = 40  # ms for our own code and what only it needs
RUNS: Final = 5  # the least of them counts: the others were disturbed

# Dear, or of no use to most programs; each is for who needs it to import.
UNWANTED: Final = (
    "argparse",
    "asyncio",
    "bdb",
    "cmd",
    "code",
    "concurrent.futures",
    "concurrent.interpreters",
    "ctypes",
    "greenback",
    "importlib.metadata",
    "importlib.resources",
    "json",
    "multiprocessing",
    "opentelemetry",
    "pdb",
    "pdbp",
    "pytest",
    "readline",
    "rich",
    "tractor.devx",
    "tractor.testing",
    "tractor.tracing",
    "typer",
    "unittest",
    "xml",
)

NEW_MODULES: Final = """
import sys, trio, msgspec
before = set(sys.modules)
import tractor
print(*sorted(set(sys.modules) - before))
"""


def run_python(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a fresh Python, one that may keep its byte code."""
    environment = {**os.environ}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    return subprocess.run(
        [sys.executable, *arguments],
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )


def own_cost(log: str) -> float:
    """Milliseconds that importing tractor took, by the log of `-X importtime`.

    The log names each module when it is done, with the time that it took itself. So
    what comes after trio and msgspec is ours, or imported for us.
    """
    done = {"trio", "msgspec"}
    microseconds = 0
    for line in log.splitlines():
        if match := re.match(r"import time: +(\d+) \| +\d+ \| +(\S+)$", line):
            if not done:
                microseconds += int(match[1])
            done.discard(match[2])
    return microseconds / 1000


@pytest.fixture(scope="module")
def new_modules() -> set[str]:
    """What `import tractor` loads beyond trio and msgspec."""
    return set(run_python("-c", NEW_MODULES).stdout.split())


def test_nothing_dear_is_imported(new_modules: set[str]) -> None:
    """What only some programs need is not loaded for all of them."""
    found = {
        name
        for name in new_modules
        if any(name == each or name.startswith(f"{each}.") for each in UNWANTED)
    }
    assert found == set()


def test_the_own_code_is_imported(new_modules: set[str]) -> None:
    """The list is that of the import; an empty one would pass all else."""
    assert "tractor" in new_modules


def test_importing_takes_little_time() -> None:
    """Our own code, and what it alone needs, load within `LIMIT`."""
    script = "import trio, msgspec; import tractor"
    logs = [run_python("-X", "importtime", "-c", script).stderr for _ in range(RUNS)]
    assert 0 < min(map(own_cost, logs)) <= LIMIT


def test_the_cost_is_read_from_the_log() -> None:
    """Only what ends after trio and msgspec counts, and only its own time."""
    log = (
        "import time: self [us] | cumulative | imported package\n"
        "import time:       900 |       1000 |   socket\n"
        "import time:       900 |       1000 | trio\n"
        "import time:       900 |       1000 | msgspec\n"
        "a warning\n"
        "import time:       100 |        100 |   tractor.log\n"
        "import time:        50 |        150 | tractor\n"
    )
    assert own_cost(log) == 0.15

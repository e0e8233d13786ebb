"""Which places in a stack a person wants to see: their own code, not the machinery.

A stack of a task is mostly trio and this runtime, and the last frames of every task
that waits are the same. What tells tasks apart is the program's own code.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import outcome
import trio

from tractor.devx._facts import Frame

# What trio wraps each result of a thread in is its machinery, too.
_TRIO: Final = (
    os.path.dirname(trio.__file__) + os.sep,
    os.path.dirname(outcome.__file__) + os.sep,
)
_TEST_RUNNER: Final = tuple(
    f"-packages{os.sep}{name}{os.sep}"
    for name in ("pytest", "_pytest", "pluggy", "pytest_trio", "xdist", "execnet")
)
_TRACTOR: Final = str(Path(__file__).parents[1]) + os.sep
_PLUGIN: Final = f"{_TRACTOR.removesuffix(os.sep)}_pytest.py"
_STDLIB: Final = os.path.dirname(os.__file__) + os.sep


def is_machinery(frame: Frame) -> bool:
    """Whether it is of trio, this package, the standard library or pytest."""
    path = frame.path
    if path.startswith((*_TRIO, _TRACTOR, _PLUGIN, "<frozen ")):
        return True
    if path == "<string>" and frame.function == "<module>":
        return True  # the command line of a child
    if any(part in path for part in _TEST_RUNNER):
        return True
    return path.startswith(_STDLIB) and "-packages" not in path


def has_own_code(stack: Sequence[Frame]) -> bool:
    """Whether some of it is the program's."""
    return not all(map(is_machinery, stack))


def where(stack: Sequence[Frame]) -> Frame | None:
    """The one frame that says most: the program's innermost, else the runtime's."""
    for is_wanted in (
        lambda frame: not is_machinery(frame),
        lambda frame: frame.path.startswith(_TRACTOR),
        lambda _frame: True,
    ):
        if found := [frame for frame in stack if is_wanted(frame)]:
            return found[-1]
    return None


def folded(stack: Sequence[Frame]) -> list[Frame | int]:
    """The program's frames, and between them how many others there are."""
    found: list[Frame | int] = []
    for frame in stack:
        if not is_machinery(frame):
            found.append(frame)
        elif found and isinstance(found[-1], int):
            found[-1] += 1
        else:
            found.append(1)
    return found

"""What imports cost: those of a program, and those of a child in a subprocess.

Whole Pythons, from their start to their end, and the imports alone as such a Python
sees them.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

from benchmarks._harness import Case, Group, Setting, Target, main
from benchmarks._references import fresh, printed

LIBRARIES: Final = "import trio, msgspec"
CHILD: Final = "import trio, msgspec, tractor._child"
STATEMENTS: Final = (
    LIBRARIES,
    CHILD,
    "import tractor",
    "import trio",
    "import tractor.discovery",
    "import tractor.devx",
    "import multiprocessing.connection, concurrent.futures.process",
    "pass",
)
TIMED: Final = """
from time import perf_counter
began = perf_counter()
{}
print((perf_counter() - began) * 1e3)
"""


@asynccontextmanager
async def open_imports(setting: Setting) -> AsyncIterator[Sequence[Case]]:
    """Whole Pythons."""
    del setting
    target = Target("imports of a child", 1.15, LIBRARIES)
    yield [
        Case(
            each,
            "ms",
            fresh("-c", each),
            of=LIBRARIES,
            targets=(target,) if each == CHILD else (),
        )
        for each in STATEMENTS
    ]


@asynccontextmanager
async def open_timed(setting: Setting) -> AsyncIterator[Sequence[Case]]:
    """Imports alone."""
    del setting
    yield [
        Case(each, "ms", printed("-c", TIMED.format(each)), of=LIBRARIES)
        for each in STATEMENTS
    ]


GROUPS: Final = (
    Group("a Python that imports", open_imports, rounds=15, backends=()),
    Group("the imports alone", open_timed, backends=()),
)

if __name__ == "__main__":
    main(__doc__, GROUPS)

"""What a block adds to what this process holds, or takes from it."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from msgspec import Struct

from tractor._census import Census, take_census

type Writer = Callable[[str], object]


class Holdings(Struct, frozen=True):
    """Names of what this process holds.

    Attributes:
        threads: Those of Python and others; not the idle ones that trio keeps.
        interpreters: Ids of sub-interpreters.
        fds: What each descriptor refers to.
        children: Command line of each process below this one.
    """

    threads: list[str]
    interpreters: list[int]
    fds: dict[int, str]
    children: dict[int, str]


@contextmanager
def track_resource_deltas(
    label: str = "", *, writer: Writer | None = None
) -> Iterator[Holdings]:
    """Tell what the block left behind, and what is gone since.

    Threads, sub-interpreters, descriptors, child processes and files of ours count.
    Nothing is waited for: what is just ending is still there. See `find_leaks` of
    `tractor.testing` for a test that fails.

    Args:
        label: What each line begins with.
        writer: Called with each line; by default they go to stderr.

    Returns:
        What there was before (as the target of ``with``).
    """
    write = writer or _to_stderr
    before = take_census()
    try:
        yield _holdings(before)
    finally:
        after = take_census()
        head = f"{label}: " if label else ""
        for sign, lines in (("+", before.leaks(after)), ("-", after.leaks(before))):
            for line in lines:
                write(f"{head}{sign} {line}")


def resource_delta_fixture(
    *, autouse: bool = True, writer: Writer | None = None
) -> Any:
    """A fixture for pytest that tracks each test; its value is what there was before.

    Give it a name in a ``conftest.py``: ``deltas = resource_delta_fixture()``.

    Args:
        autouse: Whether every test there has it.
        writer: See `track_resource_deltas`; by default pytest shows the lines with
            the output of a test that fails.
    """
    import pytest  # whoever calls this has it

    @pytest.fixture(autouse=autouse, name=None)
    def resource_deltas(request: pytest.FixtureRequest) -> Iterator[Holdings]:
        with track_resource_deltas(request.node.nodeid, writer=writer) as before:
            yield before

    return resource_deltas


def _holdings(census: Census) -> Holdings:
    return Holdings(
        threads=sorted(census.threads.values()),
        interpreters=sorted(census.interpreters),
        fds=dict(census.fds),
        children={pid: each.command for (pid, _), each in census.processes.items()},
    )


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr)

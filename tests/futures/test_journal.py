"""What is told of a worker that is dead."""

import os
from collections.abc import Iterator

import pytest

from tractor.futures._journal import ROOM, SLOTS, Journal, make


@pytest.fixture
def sides() -> Iterator[tuple[Journal, Journal]]:
    """Worker and pool."""
    path = make()
    worker, pool = Journal(path), Journal(path)
    os.unlink(path)
    yield worker, pool
    worker.close()
    pool.close()


def test_nothing_is_told_at_first(sides: tuple[Journal, Journal]) -> None:
    """No task has begun, and there is no outcome."""
    assert sides[1].last_begun() == 0
    assert list(sides[1].outcomes()) == []


def test_what_was_begun_and_done(sides: tuple[Journal, Journal]) -> None:
    """The other side sees both."""
    worker, pool = sides
    worker.begin(7)
    assert worker.end(7, "result", b"abc")
    worker.begin(8)
    assert pool.last_begun() == 8
    assert list(pool.outcomes()) == [(7, "result", b"abc")]


def test_the_last_ones_stay(sides: tuple[Journal, Journal]) -> None:
    """As many as a worker may have at once."""
    worker, pool = sides
    for number in range(1, 2 * SLOTS + 2):
        assert worker.end(number, "boxed", bytes([number % 256]) * (number % 9))
    found = {number: data for number, _, data in pool.outcomes()}
    assert sorted(found) == list(range(SLOTS + 2, 2 * SLOTS + 2))
    assert found[SLOTS + 2] == bytes([SLOTS + 2]) * ((SLOTS + 2) % 9)


def test_what_is_too_large_is_refused(sides: tuple[Journal, Journal]) -> None:
    """It fits to the byte, and not one more."""
    worker, pool = sides
    assert not worker.end(1, "result", b"x" * (ROOM + 1))
    assert list(pool.outcomes()) == []
    assert worker.end(1, "result", b"x" * ROOM)
    assert list(pool.outcomes()) == [(1, "result", b"x" * ROOM)]

"""What is told of a worker that is dead."""

import os
from collections.abc import Iterator

import pytest

from tractor.cowns import _log
from tractor.cowns._log import ROOM, SLOT, SLOTS, Log, make


@pytest.fixture
def sides() -> Iterator[tuple[Log, Log]]:
    """Worker and scope."""
    path = make()
    worker, scope = Log(path), Log(path)
    os.unlink(path)
    yield worker, scope
    worker.close()
    scope.close()


def test_what_was_begun_and_said(sides: tuple[Log, Log]) -> None:
    """The other side sees both, and only what it has not heard."""
    worker, scope = sides
    assert scope.last_begun() == 0
    assert scope.after(0) == []
    worker.begin(7)
    for text in (b"one", b"two", b"three"):
        assert worker.put(text)
    assert scope.last_begun() == 7
    assert scope.after(0) == [b"one", b"two", b"three"]
    assert scope.after(2) == [b"three"]


def test_the_ring_keeps_the_last_ones(sides: tuple[Log, Log]) -> None:
    """In their order, also around its end."""
    worker, scope = sides
    for number in range(SLOTS + 5):
        worker.put(str(number).encode())
    assert scope.after(SLOTS) == [str(SLOTS + n).encode() for n in range(5)]
    assert len(scope.after(0)) == SLOTS


def test_what_is_too_large_says_so(sides: tuple[Log, Log]) -> None:
    """It counts all the same."""
    worker, scope = sides
    assert worker.put(bytes(ROOM))
    assert not worker.put(bytes(ROOM + 1))
    assert worker.put(b"last")
    assert scope.after(1) == [b"last"]


def test_what_was_cut_short_does_not_count(sides: tuple[Log, Log]) -> None:
    """A worker that dies as it notes something has noted all before that."""
    worker, scope = sides
    for text in (b"one", b"two"):
        worker.put(text)
    end = _log._START + 2 * SLOT
    worker._map[end - 8 : end] = bytes(8)
    assert scope.after(0) == [b"one"]

"""How many interpreters a pool makes: a matter of what is asked of it, not of time."""

import atexit
import os
import random
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import pytest

from tests._helpers import SAFETY
from tractor.spawn import _interp_pool
from tractor.spawn._interp_boot import SHORT_TURN, Turns
from tractor.spawn._interp_pool import Pool

NUMBERS: Final = 1 << 40  # from here on there are no interpreters
AGES: Final = 3600  # seconds


class Counting(Pool):
    """One whose interpreters are mere numbers."""

    made = 0
    failures = 0  # so many more

    def _make(self) -> int:
        if self.failures:
            self.failures -= 1
            msg = "no more"
            raise OSError(msg)
        self.made += 1
        return NUMBERS + self.made

    def start(self) -> int:
        """What an actor does first; where it runs."""
        number = self.take()
        if number is None:
            number = self.wait(lambda: True)
        assert number is not None
        return number

    def settle(self) -> None:
        """Wait until none is being made."""
        with self._changed:
            assert self._changed.wait_for(lambda: not self._making, SAFETY)


@contextmanager
def counting() -> Iterator[Counting]:
    """One that has none yet."""
    pool = Counting("own")
    try:
        yield pool
    finally:
        atexit.unregister(pool.close)
        pool.close()
        for fd in pool.fds:
            os.close(fd)


@pytest.mark.parametrize("seed", range(8))
def test_one_more_than_actors_at_once(seed: int) -> None:
    """Whatever comes and goes, and however long a spare takes to be made."""
    chooser = random.Random(seed)
    with counting() as pool:
        if chooser.random() < 0.5:
            pool.make_spare(lull=0)
        running: list[int] = []
        most = 0
        for _ in range(60):
            if running and chooser.random() < 0.5:
                pool.give(running.pop(chooser.randrange(len(running))))
            elif len(running) < 4:
                running.append(pool.start())
            most = max(most, len(running))
            if chooser.random() < 0.2:
                pool.settle()
            assert pool.made <= most + 1
        pool.settle()
        assert pool.made == most + 1
        assert len(set(running) | pool.spares()) == pool.made


def test_one_after_the_other() -> None:
    """Two are made, at the beginning, and no more however many actors follow."""
    with counting() as pool:
        pool.give(pool.start())
        pool.settle()
        assert pool.made == 2
        for _ in range(1000):
            pool.give(pool.start())
        pool.settle()
        assert pool.made == 2


def test_many_at_once() -> None:
    """Each that waits has one made, and there is one spare for all."""
    count = 6
    with counting() as pool:
        together = threading.Barrier(count)
        running: list[int] = []

        def start() -> None:
            together.wait(SAFETY)
            running.append(pool.start())

        threads = [threading.Thread(target=start) for _ in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(SAFETY)
        pool.settle()
        assert len(set(running)) == count
        assert pool.made == count + 1


def test_nobody_is_left_waiting_for_a_lull() -> None:
    """Who needs an interpreter gets the spare as soon as it can be made."""
    with counting() as pool:
        pool.make_spare(lull=AGES)
        assert pool.made == 0
        pool.start()
        assert pool.made >= 1


def test_the_end_does_not_wait_for_a_lull() -> None:
    """A spare that was not begun is not made any more."""
    with counting() as pool:
        pool.make_spare(lull=AGES)
        pool.close()
        assert pool.made == 0
        pool.make_spare(lull=0)
        pool.settle()
        assert pool.made == 0


def test_others_than_the_main_interpreter() -> None:
    """They use what there is and make what they need, but no spare."""
    with counting() as pool:
        guest = Counting("own", pool.fds)
        guest.make_spare(lull=0)
        number = guest.start()
        assert guest.made == 1
        pool.give(number)
        assert guest.start() == number
        guest.settle()
        assert (guest.made, pool.made) == (1, 0)


def test_one_that_cannot_be_made() -> None:
    """Who waits is told, a spare is given up, and the next one is tried again."""
    with counting() as pool:
        pool.failures = 1
        with pytest.raises(OSError, match="no more"):
            pool.start()
        pool.failures = 1
        pool.make_spare(lull=0)
        pool.settle()
        assert pool.made == 0
        pool.start()
        pool.settle()
        assert pool.made == 2


# -- Destroying ------------------------------------------------------------------------


def test_destroying_does_not_hold_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """It happens in the background; until it is done, the end of the process waits."""
    may_go_on = threading.Event()
    destroyed: list[int] = []

    def slowly(number: int) -> None:
        may_go_on.wait(SAFETY)
        destroyed.append(number)

    monkeypatch.setattr(_interp_pool, "discard", slowly)
    with counting() as pool:
        pool.destroy(NUMBERS)
        assert destroyed == []
        assert pool.spares() == {NUMBERS}
        may_go_on.set()
        pool.close()
        assert destroyed == [NUMBERS]
        assert pool.spares() == set()


def test_destroying_where_there_can_be_no_more_threads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Then it is done at once."""
    destroyed: list[int] = []

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(_interp_pool, "discard", destroyed.append)
    with counting() as pool:
        monkeypatch.setattr(threading.Thread, "start", refuse)
        pool.destroy(NUMBERS)
        assert destroyed == [NUMBERS]
        assert pool.spares() == set()


# -- How long a thread keeps the GIL ---------------------------------------------------


@pytest.fixture
def usual() -> Iterator[float]:
    """Seconds; put back afterwards."""
    seconds = sys.getswitchinterval()
    yield seconds
    sys.setswitchinterval(seconds)


def test_turns_are_short_until_the_last_is_done(usual: float) -> None:
    """However many make something at once."""
    turns = Turns()
    with turns.short():
        with turns.short():
            assert sys.getswitchinterval() == pytest.approx(SHORT_TURN)
        assert sys.getswitchinterval() == pytest.approx(SHORT_TURN)
    assert sys.getswitchinterval() == usual


def test_turns_that_the_program_has_set(usual: float) -> None:
    """Shorter ones stay; what it sets meanwhile is not undone."""
    turns = Turns()
    sys.setswitchinterval(SHORT_TURN / 2)
    with turns.short():
        assert sys.getswitchinterval() == pytest.approx(SHORT_TURN / 2)
    with turns.short():
        sys.setswitchinterval(2 * usual)
    assert sys.getswitchinterval() == pytest.approx(2 * usual)

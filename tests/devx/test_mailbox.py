"""A mailbox gives whole answers to whoever asked, and older ones to nobody."""

import os
from collections.abc import Iterator

import pytest

from tractor.devx._mailbox import Door, Mailbox, find_doors

pytestmark = pytest.mark.skipif(
    not hasattr(os, "memfd_create"), reason="needs Linux's memfd"
)


@pytest.fixture
def box() -> Iterator[Mailbox]:
    """An empty one."""
    made = Mailbox.create("signal", 10)
    yield made
    made.close()


def answer_to(box: Mailbox, text: bytes) -> None:
    """Do the owner's part."""
    box.put_answer(box.asked, text)


def test_an_answer_is_got_once_it_is_there(box: Mailbox) -> None:
    """And nothing before."""
    before = box.answered
    box.ask()
    assert box.get_answer(before) is None
    answer_to(box, b"here I am")
    assert box.get_answer(before) == b"here I am"


def test_an_old_answer_is_none(box: Mailbox) -> None:
    """A second request waits for a second answer."""
    box.ask()
    answer_to(box, b"a long first answer")
    before = box.answered
    box.ask()
    assert box.get_answer(before) is None
    answer_to(box, b"second")
    assert box.get_answer(before) == b"second"


def test_an_answer_that_is_being_written_is_none(box: Mailbox) -> None:
    """The number comes last."""
    box.ask()
    box.put_answer(0, b"half of")
    assert box.get_answer(0) is None


def test_an_answer_to_another_asker_will_do(box: Mailbox) -> None:
    """It is as new as one's own would be."""
    before = box.answered
    box.ask()
    box.ask()
    answer_to(box, b"to the second")
    assert box.get_answer(before) == b"to the second"


def test_it_is_found_with_its_signal(box: Mailbox) -> None:
    """By whoever may look at the process, and until it is closed."""
    del box  # only has to be there
    [door] = find_doors(os.getpid())
    assert door == Door("signal", 10, 0, door.path)
    assert door.path.startswith(f"/proc/{os.getpid()}/fd/")

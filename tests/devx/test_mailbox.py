"""A mailbox gives whole answers to whoever asked, and older ones to nobody."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tractor.devx._mailbox import Door, Mailbox, find_doors, open_door, open_pipe

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
    assert door == Door("signal", 10, 0, 0, door.owner, door.path)
    assert door.owner[0] == os.getpid()
    assert door.path.startswith(f"/proc/{os.getpid()}/fd/")


def test_a_name_that_says_nothing_is_passed_over(box: Mailbox) -> None:
    """As that of another version; the others are found all the same."""
    del box  # only has to be there
    other = os.memfd_create("tractor-door-new-style")
    try:
        assert [door.kind for door in find_doors(os.getpid())] == ["signal"]
    finally:
        os.close(other)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
def test_a_fork_has_no_door(box: Mailbox) -> None:
    """What it holds is its parent's, and a signal would have no request with it."""
    del box  # only has to be there
    ends, its_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(its_end)
        os.read(ends, 1)
        os._exit(0)
    try:
        assert list(find_doors(pid)) == []
    finally:
        os.close(its_end)
        os.close(ends)
        os.waitpid(pid, 0)


# -- What is not written to ------------------------------------------------------------


@pytest.fixture
def precious(tmp_path: Path) -> Iterator[Path]:
    """A file that gets no byte of ours."""
    path = tmp_path / "precious"
    path.write_text("important")
    yield path
    assert path.read_text() == "important"


def put_at(number: int, path: Path) -> None:
    """Have that number stand for a file, as when it was closed and used again."""
    fd = os.open(path, os.O_RDWR)
    os.dup2(fd, number)
    os.close(fd)


def test_nothing_of_another_user_is_opened(
    box: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root could, and would write what and where a stranger wants."""
    del box  # only has to be there
    [door] = find_doors(os.getpid())
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(PermissionError):
        list(find_doors(os.getpid()))
    with pytest.raises(PermissionError):
        open_door(door, os.O_RDWR)


def test_a_door_whose_number_was_used_again_is_gone(precious: Path) -> None:
    """Its owner has ended meanwhile, and its process went on."""
    Mailbox.create("signal", 10)
    [door] = find_doors(os.getpid())
    number = int(Path(door.path).name)
    put_at(number, precious)
    with pytest.raises(FileNotFoundError):
        open_door(door, os.O_RDWR)
    os.close(number)


def test_a_pipe_whose_number_was_used_again_is_gone(precious: Path) -> None:
    """Be it by a file, or by another pipe."""
    reads, writes = os.pipe()
    box = Mailbox.create("pipe", writes, os.fstat(writes).st_ino)
    [door] = find_doors(os.getpid())
    os.close(open_pipe(door))
    other = os.pipe()
    os.dup2(other[1], writes)
    with pytest.raises(FileNotFoundError):
        open_pipe(door)
    put_at(writes, precious)
    with pytest.raises(FileNotFoundError):
        open_pipe(door)
    box.close()
    for fd in (reads, writes, *other):
        os.close(fd)


def test_an_owner_that_has_lost_its_file_does_not_write(precious: Path) -> None:
    """A daemon closes all that it has; and `close` closes nothing of the program's."""
    box = Mailbox.create("signal", 10)
    [door] = find_doors(os.getpid())
    number = int(Path(door.path).name)
    put_at(number, precious)
    with pytest.raises(OSError, match="Bad file descriptor"):
        box.put_answer(1, b"here I am")
    box.close()
    os.close(number)

"""Shared memory within one process: who has it, for how long, and what is in it."""

import gc
import mmap
import os
import pickle
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import msgspec
import pytest
import trio
import trio.testing

from tractor.ipc import _shm_kinds, _shm_token
from tractor.ipc._shm_token import numpy
from tractor.ipc.shm import (
    CLAIM_TIMEOUT,
    ShmBuffer,
    ShmGone,
    ShmMismatch,
    attach_shm_array,
    attach_shm_buffer,
    attach_shm_list,
    open_shm_array,
    open_shm_buffer,
    open_shm_list,
)
from tractor.msg import forget_err_types, get_err_type

np: Final = numpy()  # here, since it starts threads
CYCLES: Final = 1_000
OPEN: Final[list[Callable[[], Any]]] = [
    lambda: open_shm_buffer(8),
    lambda: open_shm_array(1),
    lambda: open_shm_list([1]),
]


def fds() -> set[str]:
    """Open descriptors."""
    return set(os.listdir("/proc/self/fd"))


# -- Who has it ------------------------------------------------------------------------


def test_both_see_the_same_bytes() -> None:
    """What one writes the other reads, at once."""
    with open_shm_buffer(10) as mine, attach_shm_buffer(mine.token) as theirs:
        mine.write(b"hello")
        theirs.write(b"world", 5)
        assert bytes(mine.view) == bytes(theirs.view) == b"helloworld"


def test_who_attached_it_keeps_it() -> None:
    """After its maker has closed it; and can let others in."""
    with open_shm_buffer(4) as mine:
        mine.view[:] = b"data"
        token = mine.token
        theirs = attach_shm_buffer(token)
    with pytest.raises(ShmGone):
        attach_shm_buffer(token)
    with attach_shm_buffer(theirs.token) as again:
        theirs.close()
        assert bytes(again.view) == b"data"


@pytest.mark.parametrize("make", OPEN)
def test_closing(make: Callable[[], Any]) -> None:
    """It may be done twice, and afterwards nothing else can be done."""
    before = fds()
    with make() as made:
        assert not made.closed
    made.close()
    assert made.closed
    assert "closed" in repr(made)
    assert fds() == before
    for use in (lambda: made.token, made.is_shared):
        with pytest.raises(ValueError, match="was closed here"):
            use()


@pytest.mark.parametrize("make", OPEN)
def test_dropping_closes(make: Callable[[], Any]) -> None:
    """Like the last reference to any file."""
    before = fds()
    made = make()
    assert fds() != before
    del made
    assert fds() == before


def test_a_view_outlives_a_buffer_that_is_dropped() -> None:
    """It may be all that somebody wanted."""
    with open_shm_buffer(4) as mine:
        mine.write(b"data")
        view = attach_shm_buffer(mine.token).view
        assert bytes(view) == b"data"
        assert mine.is_shared()
        del view
        assert not mine.is_shared()


def test_a_slice_outlives_its_buffer() -> None:
    """Memory is not freed below somebody who looks at it, and is seen as in use."""
    with open_shm_buffer(8) as mine:
        with attach_shm_buffer(mine.token) as theirs:
            part = theirs.view[2:4]
        assert mine.is_shared()
        mine.view[2] = 7
        assert part[0] == 7
        part.release()
        del part
        assert not mine.is_shared()


def test_whether_it_is_shared() -> None:
    """Everybody else counts, also one that maps nothing; oneself does not."""
    with open_shm_buffer(8) as mine:
        assert not mine.is_shared()
        first, second = (
            attach_shm_buffer(mine.token, readonly=ro) for ro in (False, True)
        )
        first.close()
        assert mine.is_shared()
        assert second.is_shared()
        second.close()
        assert not mine.is_shared()


def test_it_can_be_attached_to_be_read() -> None:
    """Then writing is an error, whichever way."""
    with (
        open_shm_buffer(8) as mine,
        attach_shm_buffer(mine.token, readonly=True) as theirs,
        open_shm_list([1]) as numbers,
        attach_shm_list(numbers.token, readonly=True) as read,
    ):
        assert theirs.readonly
        with pytest.raises(TypeError):
            theirs.view[0] = 1
        with pytest.raises(TypeError, match="to be read"):
            theirs.write(b"1")
        with pytest.raises(TypeError):
            read[0] = 2
        with pytest.raises(ValueError, match="not this side's to give away"):
            theirs.hand_over()


@pytest.mark.parametrize("make", OPEN)
def test_it_is_not_sent_itself(make: Callable[[], Any]) -> None:
    """The error says what to send."""
    with make() as made:
        with pytest.raises(TypeError, match="send its token"):
            pickle.dumps(made)
        with pytest.raises(TypeError):
            msgspec.msgpack.encode(made)


def test_nobody_can_change_its_size() -> None:
    """Neither by its descriptor nor by one of somebody else."""
    with open_shm_buffer(8) as mine, attach_shm_buffer(mine.token) as theirs:
        for fd in (mine.token.fd, theirs.token.fd):
            for size in (0, 1 << 20):
                with pytest.raises(PermissionError):
                    os.ftruncate(fd, size)


def test_no_child_inherits_it() -> None:
    """A program that is started by hand has nothing of it."""
    with open_shm_buffer(8) as mine, attach_shm_buffer(mine.token) as theirs:
        assert not os.get_inheritable(mine.token.fd)
        assert not os.get_inheritable(theirs.token.fd)


def test_a_thousand_cycles_leave_nothing() -> None:
    """Neither descriptors nor mappings."""
    before = fds(), mappings()
    for _ in range(CYCLES):
        with open_shm_buffer(mmap.PAGESIZE) as mine:
            mine.view[0] = 1
            with attach_shm_buffer(mine.token) as theirs:
                assert theirs.view[0] == 1
    assert (fds(), mappings()) == before


def mappings() -> int:
    """How many there are of shared memory."""
    with open("/proc/self/maps", encoding="utf-8") as maps:
        return sum("tractor-shm" in line for line in maps)


# -- Handing it over -------------------------------------------------------------------


async def test_it_is_taken_once() -> None:
    """By the first who comes; its maker has it no more."""
    mine = open_shm_buffer(4)
    mine.write(b"data")
    token = mine.hand_over()
    assert mine.closed
    with attach_shm_buffer(token) as theirs:
        assert bytes(theirs.view) == b"data"
        with pytest.raises(ShmGone):
            attach_shm_buffer(token)
        assert not theirs.is_shared()


async def test_many_want_it() -> None:
    """Exactly one of several threads gets it."""
    for _ in range(20):
        token = open_shm_buffer(4).hand_over()
        barrier = threading.Barrier(4)
        won: list[ShmBuffer] = []

        def race(
            token: object = token,
            barrier: threading.Barrier = barrier,
            won: list[ShmBuffer] = won,
        ) -> None:
            barrier.wait()
            with suppress(ShmGone):
                won.append(attach_shm_buffer(token))

        threads = [threading.Thread(target=race) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            await trio.to_thread.run_sync(thread.join)
        assert len(won) == 1
        won.pop().close()


def test_what_nobody_takes_is_freed(caplog: pytest.LogCaptureFixture) -> None:
    """After the time that it was given, with a word in the log; and not before."""

    async def main() -> None:
        before = fds()
        first = open_shm_buffer(4).hand_over(claim_timeout=5)
        second = open_shm_buffer(4).hand_over()
        await trio.sleep(4.99)
        attach_shm_buffer(replaced(first)).close()
        await trio.sleep(0.02)
        with pytest.raises(ShmGone, match="taken, or given up there"):
            attach_shm_buffer(first)
        await trio.sleep(CLAIM_TIMEOUT - 5.02)
        attach_shm_buffer(replaced(second)).close()
        await trio.sleep(0.02)
        assert fds() == before

    def replaced(token: Any) -> Any:
        return msgspec.structs.replace(token, turn=None)

    clock = trio.testing.MockClock(autojump_threshold=0)
    with caplog.at_level("WARNING", "tractor"):
        trio.run(main, clock=clock)
    assert "nobody took 4 bytes in time" in caplog.text


def test_what_is_taken_is_not_kept() -> None:
    """Its keeper looks at least once a second, and when something else is kept."""

    async def main() -> None:
        before = fds()
        taken = attach_shm_buffer(open_shm_buffer(4).hand_over())
        taken.close()
        await trio.sleep(1.1)
        assert fds() == before
        for _ in range(50):
            attach_shm_buffer(open_shm_buffer(4).hand_over()).close()
        assert len(fds() - before) == 1

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def test_it_is_handed_over_in_a_trio_run() -> None:
    """Elsewhere nobody would keep it; then it stays with its maker."""
    with open_shm_buffer(4) as mine:
        with pytest.raises(RuntimeError, match="needs a trio run"):
            mine.hand_over()
        assert bytes(mine.view) == bytes(4)


def test_the_end_of_a_run_closes_what_it_opened() -> None:
    """Also what was handed over and what was attached; not what was there before."""
    before = fds()
    held: list[Any] = []

    async def main() -> None:
        held.extend(make() for make in OPEN)
        held.append(attach_shm_buffer(outside.token))
        held[0].hand_over()

    with open_shm_buffer(4) as outside:
        trio.run(main)
        assert all(each.closed for each in held)
        assert not outside.closed
    assert fds() == before


def test_memory_that_is_opened_when_the_run_is_over() -> None:
    """An async generator may: it is closed by being dropped."""
    before = fds()
    generators = []

    async def generate() -> Any:
        try:
            yield
        finally:
            with open_shm_buffer(4) as late:
                assert bytes(late.view) == bytes(4)

    async def main() -> None:
        generators.append(generator := generate())
        await anext(generator)

    trio.run(main)
    assert fds() == before


# -- Bytes -----------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 7, 8, 4095, 4096, 4097, 1 << 20])
def test_sizes(size: int) -> None:
    """Each is exactly what was asked for, and all zero."""
    with open_shm_buffer(size) as mine, attach_shm_buffer(mine.token) as theirs:
        assert mine.size == theirs.size == len(theirs.view) == size
        assert bytes(theirs.view) == bytes(size)
        mine.write(b"\xff" * size)
        assert bytes(theirs.view) == b"\xff" * size
        mine.write(b"\xfe" * size)
        assert bytes(theirs.view) == b"\xfe" * size


async def test_content_does_not_reach_the_count_of_turns() -> None:
    """What is behind the content is not the user's to write."""
    mine = open_shm_buffer(8)
    mine.write(b"\xff" * 8)
    attach_shm_buffer(mine.hand_over()).close()


@pytest.mark.parametrize("size", [-1, 1 << 63, 1 << 70])
def test_sizes_that_cannot_be(size: int) -> None:
    """They are refused, and leave no descriptor."""
    before = fds()
    with pytest.raises(ValueError, match=r"less than nothing|more than this system"):
        open_shm_buffer(size)
    assert fds() == before


@pytest.mark.parametrize(("data", "offset"), [(b"12345", 0), (b"1", 4), (b"1", -1)])
def test_what_does_not_fit(data: bytes, offset: int) -> None:
    """Nothing is written."""
    with open_shm_buffer(4) as buffer:
        with pytest.raises(ValueError, match="are not all there"):
            buffer.write(data, offset)
        assert bytes(buffer.view) == bytes(4)


# -- Arrays ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dtype", "name", "value"),
    [
        ("float64", "<f8", 0.1),
        ("d", "<f8", 0.1),
        (float, "<f8", 0.1),
        ("float32", "<f4", 0.5),
        ("float16", "<f2", 0.5),
        (int, "<i8", -(2**63)),
        ("uint64", "<u8", 2**64 - 1),
        ("<u4", "<u4", 2**32 - 1),
        ("h", "<i2", -(2**15)),
        ("|u1", "|u1", 255),
        (bool, "|b1", True),
    ],
)
def test_types_of_elements(dtype: object, name: str, value: float) -> None:
    """Each has a name that means the same everywhere."""
    with open_shm_array((2, 3), dtype) as mine:
        view: Any = mine.view
        view[1, 2] = value
        assert mine.token.dtype == name
        with attach_shm_array(mine.token) as theirs:
            assert theirs.view[1, 2] == value
            assert (theirs.dtype, theirs.shape) == (name, (2, 3))


def test_an_array_of_one_dimension() -> None:
    """Its shape may be a number."""
    with open_shm_array(3) as array:
        assert array.view.tolist() == [0.0, 0.0, 0.0]
        assert array.size == 24


@pytest.mark.parametrize("shape", [0, -1, (), (2, 0), (1,) * 33])
def test_shapes_that_cannot_be(shape: Any) -> None:
    """They are refused."""
    with pytest.raises(ValueError, match="a shape has 1 to 32 lengths"):
        open_shm_array(shape)


def test_without_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    """An array is a `memoryview`, and other types are for numpy only."""
    for module in (_shm_token, _shm_kinds):
        monkeypatch.setattr(module, "numpy", lambda: None)
    with open_shm_array(3, "int32") as array:
        array.array[1] = 5
        assert array.view.tolist() == [0, 5, 0]
    for dtype in ("complex128", "nonsense", object, None):
        with pytest.raises(TypeError, match="without numpy"):
            open_shm_array(3, dtype)


@pytest.mark.skipif(np is None, reason="numpy is not installed")
def test_with_numpy() -> None:
    """An array is numpy's, of any type that is not of one process."""
    with open_shm_array((2, 2), np.complex128) as mine:
        mine.array[:] = [[1, 2j], [3, 4]]
        with pytest.raises(TypeError, match="a memoryview knows no"):
            _ = mine.view
        with attach_shm_array(mine.token) as theirs:
            mine.array[0, 0] = 9
            assert theirs.array.tolist() == [[9, 2j], [3, 4]]
            kept = theirs.array
        assert mine.is_shared()
        assert kept[0, 1] == 2j
        del kept
        assert not mine.is_shared()
        with attach_shm_array(mine.token, readonly=True) as theirs:
            assert not theirs.array.flags.writeable
    for dtype in (object, [("a", "i4")], "V0"):
        with pytest.raises(TypeError, match="cannot be shared as such"):
            open_shm_array(3, dtype)


# -- Lists -----------------------------------------------------------------------------


def test_items_are_replaced() -> None:
    """By others of any type, one or several."""
    values = [1, 2.5, True, None, "é", b"\0"]
    with open_shm_list(values) as mine, attach_shm_list(mine.token) as theirs:
        assert theirs[:] == values
        theirs[0] = "one"
        theirs[-2:] = [-(2**63), 2**64 - 1]
        assert (mine[0], mine[5], len(mine)) == ("one", 2**64 - 1, 6)
        assert mine[::2] == ["one", True, -(2**63)]
        assert 2.5 in mine
        assert mine.index(None) == 3


def test_a_list_keeps_its_length_and_its_width() -> None:
    """What does not fit is refused, and nothing of it is written."""
    with open_shm_list([0, 0], width=16) as items:
        with pytest.raises(ValueError, match="needs 22 bytes of 16"):
            items[:] = [1, "x" * 17]
        with pytest.raises(ValueError, match="1 items for 2 places"):
            items[:] = [1]
        with pytest.raises(ValueError, match="more than 64 bits"):
            items[0] = 2**64
        with pytest.raises(TypeError, match="and no 'list'"):
            items[0] = [1]  # type: ignore[call-overload]
        for place in (2, -3):
            with pytest.raises(IndexError):
                items[place] = 1
            with pytest.raises(IndexError):
                items[place]
        assert list(items) == [0, 0]


@pytest.mark.parametrize("junk", [b"\xff" * 16, b"\1\0\0\0\x90", b"\0" * 16])
def test_an_item_that_is_none(junk: bytes) -> None:
    """What a writer has half written is not taken for a value."""
    with open_shm_list([1]) as items, attach_shm_buffer(items.token) as bytes_:
        bytes_.write(junk)
        with pytest.raises(ShmMismatch, match="item 0 cannot be read"):
            items[0]


def test_an_empty_list() -> None:
    """Is one as well."""
    with open_shm_list([]) as items, attach_shm_list(items.token) as other:
        assert list(other) == []


def test_nothing_is_left_to_the_collector() -> None:
    """There is no cycle in what is opened."""
    before = fds()
    gc.disable()
    try:
        for make in OPEN:
            make()
        assert fds() == before
    finally:
        gc.enable()


def test_errors_are_known_in_each_run() -> None:
    """Also where those of an earlier actor were forgotten, as between two of them."""

    async def main() -> None:
        open_shm_buffer(1).close()

    forget_err_types()
    trio.run(main)
    assert get_err_type(f"{ShmGone.__module__}:ShmGone") is ShmGone

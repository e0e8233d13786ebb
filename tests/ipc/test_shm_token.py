"""Tokens of shared memory: what they survive, and that no other data opens anything."""

import os
import pickle
import socket
from collections.abc import Callable
from typing import Any, Final

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from tractor.ipc import _shm_token
from tractor.ipc.shm import (
    ShmArrayToken,
    ShmError,
    ShmGone,
    ShmListToken,
    ShmMismatch,
    ShmOutOfReach,
    ShmToken,
    attach_shm_array,
    attach_shm_buffer,
    attach_shm_list,
    open_shm_array,
    open_shm_buffer,
    open_shm_list,
)

ATTACH: Final[list[Callable[..., Any]]] = [
    attach_shm_array,
    attach_shm_buffer,
    attach_shm_list,
]

numbers = st.integers(0, 2**31 - 1)
facts = {
    "host": st.text(max_size=60),
    "user": numbers,
    "pid": numbers,
    "fd": numbers,
    "key": st.binary(min_size=16, max_size=16).map(bytes.hex),
    "size": st.integers(0, 2**62 - 1),
    "turn": st.none() | numbers,
}
shapes = st.lists(st.integers(1, 2**20), min_size=1, max_size=32).map(tuple)
names = st.from_regex(r"[<>|][biufcmMSUV][1-9][0-9]{0,4}", fullmatch=True)
tokens = st.one_of(
    st.builds(ShmToken, **facts),
    st.builds(ShmArrayToken, dtype=names, shape=shapes, **facts),
    st.builds(ShmListToken, count=numbers, width=st.integers(8, 2**31 - 1), **facts),
)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda each: st.lists(each) | st.dictionaries(st.text(), each),
    max_leaves=20,
)


@settings(deadline=None)  # of a machine that is busy
@given(tokens)
def test_a_token_survives_every_way(token: ShmToken) -> None:
    """Msgpack, JSON and pickle give an equal one, of the same kind."""
    kinds = ShmToken | ShmArrayToken | ShmListToken
    for way in (msgspec.msgpack, msgspec.json):
        assert way.decode(way.encode(token), type=kinds) == token
        assert way.decode(way.encode(token), type=type(token)) == token
    assert pickle.loads(pickle.dumps(token)) == token
    assert hash(pickle.loads(pickle.dumps(token))) == hash(token)


@settings(deadline=None)  # of a machine that is busy
@given(tokens | anything, st.sampled_from(ATTACH))
def test_nothing_made_up_is_attached(token: object, attach: Callable[..., Any]) -> None:
    """It is refused by an error of ours, and opens nothing."""
    before = os.listdir("/proc/self/fd")
    with pytest.raises(ShmError):
        attach(token)
    assert os.listdir("/proc/self/fd") == before


@settings(deadline=None)  # of a machine that is busy
@given(st.data())
def test_a_token_that_was_changed_is_refused(data: st.DataObject) -> None:
    """Whatever is changed in it, alone, it leads to this memory no more."""
    with open_shm_array((4, 5), "<i2") as array:
        token = array.token
        field = data.draw(st.sampled_from(sorted(facts)))
        value = data.draw(facts[field])
        if value == getattr(token, field) or (field, value) == ("turn", 0):
            return  # the last one is sound: it takes what nobody has taken yet
        with pytest.raises(ShmError):
            attach_shm_array(replace(token, **{field: value}))


@settings(deadline=None)  # of a machine that is busy
@given(shapes, st.sampled_from(["<f8", "|u1", "<i2", "d", "<c99", "O", "", "é"]))
def test_another_layout_is_refused(shape: tuple[int, ...], dtype: str) -> None:
    """An array has the size that its shape and type say, or it is none."""
    with open_shm_array(7, "<i4") as array, pytest.raises(ShmMismatch):
        attach_shm_array(replace(array.token, shape=shape, dtype=dtype))


@settings(deadline=None)  # of a machine that is busy
@given(st.lists(st.integers(-(2**63), 2**64 - 1) | st.text() | st.binary(), max_size=9))
def test_a_list_is_what_it_was_made_of(values: list[int | str | bytes]) -> None:
    """For who made it and for who attached it."""
    with open_shm_list(values) as mine, attach_shm_list(mine.token) as theirs:
        assert list(mine) == list(theirs) == values


# -- What is wrong is said -------------------------------------------------------------


def test_another_kind() -> None:
    """An array is no list; but all are bytes."""
    with open_shm_array(2) as array:
        with pytest.raises(ShmMismatch, match="token of array where one of list is"):
            attach_shm_list(array.token)
        with attach_shm_buffer(array.token) as buffer:
            assert buffer.size == 16


def test_plain_data_is_a_token_as_well() -> None:
    """As it arrives where no annotation says what it is."""
    with open_shm_array((1, 2)) as array:
        plain = msgspec.msgpack.decode(msgspec.msgpack.encode(array.token))
        assert isinstance(plain, dict)
        with attach_shm_array(plain) as other:
            assert other.shape == (1, 2)


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"user": 4_000_000}, ShmOutOfReach, "is of user 4000000, and this is user"),
        ({"host": "elsewhere/1"}, ShmOutOfReach, "is of another host"),
        ({"key": "0" * 32}, ShmGone, "has this memory no more"),
        ({"key": "../../etc"}, ShmMismatch, "no token of shared memory"),
        ({"pid": -1}, ShmMismatch, "no token of shared memory"),
        ({"size": 9}, ShmMismatch, "has 8 bytes, and its token says 9"),
        ({"turn": 5}, ShmGone, "was taken already"),
    ],
)
def test_what_is_wrong_is_said(
    change: dict[str, Any], error: type[ShmError], text: str
) -> None:
    """The text of the error names it."""
    if "size" in change:
        change = {"size": 17}
        text = "token says 17"
    with open_shm_buffer(8) as buffer, pytest.raises(error, match=text):
        attach_shm_buffer(replace(buffer.token, **change))


def test_another_container() -> None:
    """The same host with other process ids is told apart."""
    with open_shm_buffer(8) as buffer:
        host = buffer.token.host.split("/")[0] + "/1"
        with pytest.raises(ShmOutOfReach, match="another container"):
            attach_shm_buffer(replace(buffer.token, host=host))


def test_a_descriptor_that_is_another_file_by_now() -> None:
    """Nothing of it is opened, however it looks."""
    with open_shm_buffer(8) as buffer:
        token = buffer.token
    ours, theirs = socket.socketpair()
    with ours, theirs, open_shm_buffer(8) as other:
        for fd in (ours.fileno(), other.token.fd):
            with pytest.raises(ShmGone):
                attach_shm_buffer(replace(token, fd=fd))


def test_memory_whose_size_can_change_is_refused() -> None:
    """Who cuts it could end us by SIGBUS, so it is not even mapped."""
    key = "f" * 32
    fd = os.memfd_create(f"tractor-shm-{key}", os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(fd, 16)
        with open_shm_buffer(8) as buffer:
            token = replace(buffer.token, key=key, fd=fd)
        with pytest.raises(ShmMismatch, match="not sealed"):
            attach_shm_buffer(token)
    finally:
        os.close(fd)


def test_a_system_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Says so."""
    monkeypatch.delattr(os, "memfd_create")
    with pytest.raises(ShmError, match="on Linux only"):
        open_shm_buffer(8)


def test_a_system_without_proc(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """Says so, too."""
    monkeypatch.setattr(_shm_token, "_BOOT", tmp_path / "boot_id")
    _shm_token._host_id.cache_clear()
    with pytest.raises(ShmError, match="without /proc"):
        open_shm_buffer(8)

"""Codecs that users make, and which one a task uses."""

from typing import Any, Final

import msgspec
import pytest
import trio
from msgspec import Raw

from tractor._exceptions import MsgTypeError
from tractor.msg import (
    ANY,
    NamespacePath,
    PayloadType,
    apply_codec,
    current_codec,
    current_limit,
    limit_plds,
    mk_codec,
    mk_dec,
)

COMPLEX: Final = [complex]


def enc_hook(obj: Any) -> Any:
    """Complex to builtins."""
    if isinstance(obj, complex):
        return [obj.real, obj.imag]
    raise NotImplementedError


def dec_hook(cls: type, obj: Any) -> Any:
    """Builtins to complex."""
    if cls is complex:
        return complex(*obj)
    raise NotImplementedError


# -- Which one a task uses -------------------------------------------------------------


def test_there_is_no_limit_by_default() -> None:
    """Dialogues use their own types then."""
    assert current_limit() is None
    assert current_codec().pld_spec is Any


def test_a_limit_holds_inside_its_block() -> None:
    """And is the one that the block gets."""
    with limit_plds(int) as limit:
        assert isinstance(limit, PayloadType)
        assert current_limit() is limit
        assert limit.spec is int
    assert current_limit() is None


def test_nested_limits_restore() -> None:
    """The inner one wins, and leaves the outer one as it was, by error too."""
    with limit_plds(int) as outer:
        with limit_plds(str) as inner:
            assert current_limit() is inner
        assert current_limit() is outer
        with pytest.raises(KeyError), limit_plds(str):
            raise KeyError
        assert current_limit() is outer


def test_a_limit_takes_hooks() -> None:
    """As a payload type does."""
    with limit_plds(
        complex | None, enc_hook=enc_hook, dec_hook=dec_hook, ext_types=COMPLEX
    ) as limit:
        assert limit.decode(limit.encode(1j, "it"), "it") == 1j


def test_a_limit_may_leave_payloads_undecoded() -> None:
    """With `Raw`, for those who only pass them on."""
    with limit_plds(Raw) as limit:
        assert current_limit() is limit


def test_a_bad_limit_changes_nothing() -> None:
    """The block is not entered."""
    with pytest.raises(TypeError, match="cannot be the type"), limit_plds("int"):
        pytest.fail("entered")
    assert current_limit() is None


async def test_a_limit_is_of_its_task() -> None:
    """Tasks that are started inside inherit it, others never see it."""
    seen: dict[str, Any] = {}

    async def note(name: str) -> None:
        limit = current_limit()
        seen[name] = None if limit is None else limit.spec

    async with trio.open_nursery() as nursery:
        with limit_plds(int):
            nursery.start_soon(note, "inside")
        nursery.start_soon(note, "outside")
    assert seen == {"inside": int, "outside": None}


def test_a_codec_is_a_limit() -> None:
    """There is one choice to make, by either name."""
    codec = mk_codec(int)
    with apply_codec(codec) as applied:
        assert applied is codec
        assert current_codec() is codec
        assert current_limit() is codec.payload_type
        with limit_plds(str):
            assert current_codec().pld_spec is str
    assert current_codec() is not codec


def test_a_codec_without_a_spec_carries_anything() -> None:
    """Its hooks are used, and payloads are decoded for the user."""
    codec = mk_codec(
        enc_hook=enc_hook,
        ext_types=COMPLEX,
        ext_dec=mk_dec(None, dec_hook=dec_hook, ext_types=COMPLEX),
    )
    with apply_codec(codec):
        limit = current_limit()
        assert limit is not None
        assert limit.decode(limit.encode({"a": [1j]}, "it"), "it") == {"a": [1j]}


# -- Codecs ----------------------------------------------------------------------------


def test_a_codec_encodes_and_decodes() -> None:
    """Values to bytes and back, within its type."""
    codec = mk_codec(list[int])
    data = codec.encode([1, 2])
    assert type(data) is bytes
    assert codec.decode(data) == [1, 2]
    with pytest.raises(MsgTypeError, match="the payload does not fit list"):
        codec.encode(["a"])


def test_a_codec_leaves_payloads_undecoded_by_default() -> None:
    """Whoever owns the dialogue decodes them."""
    codec = mk_codec()
    assert bytes(codec.decode(codec.encode(1))) == b"\x01"


def test_a_codec_tells_what_it_is() -> None:
    """Its type, its library, and the parts of it."""
    codec = mk_codec(int | None)
    assert codec.pld_spec == int | None
    assert codec.pld_spec_str == "int | None"
    assert codec.lib is msgspec
    assert codec.enc.encode(1) == codec.encode(1)
    assert codec.dec.decode(b"\x01") == 1
    assert repr(codec) == "<MsgCodec of int | None>"


def test_a_codec_takes_the_ext_types_of_its_decoder() -> None:
    """They need not be written twice."""
    dec = mk_dec(None, dec_hook=dec_hook, ext_types=COMPLEX)
    codec = mk_codec(Any, enc_hook=enc_hook, ext_dec=dec)
    assert codec.decode(codec.encode([1j])) == [1j]


def test_an_enc_hook_needs_ext_types() -> None:
    """Nobody could tell what its values were."""
    with pytest.raises(TypeError, match="an enc_hook needs ext_types"):
        mk_codec(enc_hook=enc_hook)


# -- Decoders --------------------------------------------------------------------------


def test_a_decoder_decodes() -> None:
    """What fits its type."""
    dec = mk_dec(int)
    assert dec.decode(ANY.encode(3, "it")) == 3
    with pytest.raises(MsgTypeError, match="the payload does not fit int"):
        dec.decode(b"\xc0")


def test_a_decoder_tells_what_it_is() -> None:
    """Under both names of its type."""
    dec = mk_dec(complex, dec_hook=dec_hook, ext_types=COMPLEX)
    assert dec.spec is dec.pld_spec is complex
    assert dec.spec_str == dec.pld_spec_str == "complex"
    assert dec.hook is dec_hook
    assert dec.dec.decode(ANY.encode([0, 1], "it")) == 1j


def test_a_decoder_of_ext_types_takes_them_anywhere() -> None:
    """A spec of `None` is: anything, with those in it."""
    dec = mk_dec(None, ext_types=[NamespacePath])
    sender = PayloadType(ext_types=[NamespacePath])
    (found,) = dec.decode(sender.encode([NamespacePath("a:b")], "it"))
    assert type(found) is NamespacePath


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"spec": None}, "a spec of None needs ext_types"),
        ({"spec": int, "dec_hook": dec_hook}, "a dec_hook needs ext_types"),
        ({"spec": "int"}, "cannot be the type of a payload"),
    ],
)
def test_a_decoder_that_could_not_work_is_refused(
    options: dict[str, Any], text: str
) -> None:
    """At once, and with what to add."""
    with pytest.raises(TypeError, match=text):
        mk_dec(**options)

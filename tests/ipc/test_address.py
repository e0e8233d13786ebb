"""Addresses: what users may give, one text for each, and no surprises from a peer."""

import os
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tractor.ipc import (
    Address,
    TcpAddress,
    UnixAddress,
    by_preference,
    parse_address,
)
from tractor.ipc._address import MAX_UNIX_PATH

PORTS: Final = st.integers(0, 65535)
NAMES: Final = st.from_regex(r"[a-z][a-z0-9]{0,9}(\.[a-z]{2,4})?\.?", fullmatch=True)
IPS: Final = st.ip_addresses().map(str)
ZONED: Final = st.ip_addresses(v=6).map(lambda ip: f"{ip}%eth0")
PATHS: Final = st.text(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1
).map(lambda text: f"/{text}")
ADDRESSES: Final = st.one_of(
    st.builds(TcpAddress, st.one_of(NAMES, IPS, ZONED), PORTS),
    st.builds(
        UnixAddress,
        PATHS.filter(
            lambda path: (
                len(os.fsencode(path)) <= MAX_UNIX_PATH and not path.endswith("/")
            )
        ),
    ),
)

# Near misses, from the words of which addresses are made.
SCRAPS: Final = st.lists(
    st.one_of(
        st.sampled_from(["/", "unix", "ip4", "ip6", "dns", "tcp", "1.2.3.4", "::1"]),
        st.sampled_from(["udp", "%", "[", "]", "a", "é", "-", ".", " "]),
        st.sampled_from(["\0", "\udc80", "80", "070", "65536", "٣", "9" * 5000]),
    )
).map("".join)


# -- What is taken ---------------------------------------------------------------------


@given(ADDRESSES)
def test_the_text_gives_the_address_back(address: Address) -> None:
    """An address travels as text, and arrives as what it was."""
    assert parse_address(str(address)) == address
    assert str(parse_address(str(address))) == str(address)


@given(ADDRESSES)
def test_an_address_survives_the_codec(address: Address) -> None:
    """It can be a field of a record, too."""
    encoded = msgspec.msgpack.encode(address)
    assert msgspec.msgpack.decode(encoded, type=UnixAddress | TcpAddress) == address


@pytest.mark.parametrize(
    ("given", "expected", "text"),
    [
        ("/unix/run/a b.sock", UnixAddress("/run/a b.sock"), "/unix/run/a b.sock"),
        ("/unix//run/a", UnixAddress("//run/a"), "/unix//run/a"),
        (Path("/run/é"), UnixAddress("/run/é"), "/unix/run/é"),
        ("/ip4/1.2.3.4/tcp/80", TcpAddress("1.2.3.4", 80), "/ip4/1.2.3.4/tcp/80"),
        ("/ip6/::1/tcp/0", TcpAddress("::1", 0), "/ip6/::1/tcp/0"),
        ("/dns/a-b.c/tcp/080", TcpAddress("a-b.c", 80), "/dns/a-b.c/tcp/80"),
        ("/dns/1.2.3.4/tcp/80", TcpAddress("1.2.3.4", 80), "/ip4/1.2.3.4/tcp/80"),
        (("fe80::1%eth0", 1), TcpAddress("fe80::1%eth0", 1), "/ip6/fe80::1%eth0/tcp/1"),
        (("host", 65535), TcpAddress("host", 65535), "/dns/host/tcp/65535"),
        (TcpAddress("h", 1), TcpAddress("h", 1), "/dns/h/tcp/1"),
        (UnixAddress("/a"), UnixAddress("/a"), "/unix/a"),
    ],
)
def test_every_form_is_taken(given: Any, expected: Address, text: str) -> None:
    """Text, pairs, paths and addresses (issue 7, item 1)."""
    assert parse_address(given) == expected
    assert str(expected) == text


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("0:0:0:0:0:0:0:1", "::1"),
        ("FE80::1%eth0", "fe80::1%eth0"),
        ("LocalHost", "localhost"),
        ("::FFFF:127.0.0.1", "::ffff:7f00:1"),
    ],
)
def test_a_host_has_one_spelling(one: str, other: str) -> None:
    """So that equal addresses are equal, and found in sets."""
    assert {TcpAddress(one, 1)} == {TcpAddress(other, 1)}


# -- What is not -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "error", "says"),
    [
        ("", ValueError, "'' is not an address"),
        ("host:80", ValueError, "not an address"),
        ("/udp/host/80", ValueError, "'udp', which is no protocol"),
        ("/tcp/80", ValueError, "'tcp', which is no protocol"),
        ("/run/a.sock", ValueError, "'run', which is no protocol"),
        ("/ip4/1.2.3.4", ValueError, "has no port"),
        ("/ip4/1.2.3.4/tcp", ValueError, "has no port"),
        ("/ip4/1.2.3.4/tcp/", ValueError, "has no port"),
        ("/ip4/1.2.3.4/tcp/+1", ValueError, "has no port"),
        ("/ip4/1.2.3.4/tcp/٣", ValueError, "has no port"),
        ("/ip4/1.2.3.4/tcp/65536", ValueError, "65536 is not between 0 and 65535"),
        ("/ip4/1.2.3.4/udp/80", ValueError, "no address of a socket"),
        ("/ip4/1.2.3.4/tcp/80/tls", ValueError, "no address of a socket"),
        ("/ip4/::1/tcp/80", ValueError, "'::1' in .* is not of /ip4"),
        ("/ip6/host/tcp/80", ValueError, "'host' in .* is not of /ip6"),
        ("/dns//tcp/80", ValueError, "'' is neither an IP address nor the name"),
        ("/dns/a b/tcp/80", ValueError, "neither an IP address nor the name"),
        ("/unix", ValueError, "no address of a socket"),
        ("/unix/", ValueError, "names a folder"),
        ("/unix/a\0", ValueError, "NUL"),
        ("/unix/\udc80", ValueError, "cannot be encoded"),
        ("/unix/" + "x" * 100, ValueError, "has 101 bytes, of which 100 are allowed"),
        (Path("/" + "é" * 50), ValueError, "has 101 bytes"),
        (Path("run/a"), ValueError, "is not absolute: 'run/a'"),
        (Path(), ValueError, "is not absolute"),
        (("host", -1), ValueError, "port -1 is not between"),
        (("host", 10**5000), ValueError, "port a huge int is not between"),
        (("host", "80"), TypeError, "a port is an integer, not '80'"),
        (("host", True), TypeError, "a port is an integer, not True"),
        (("host",), ValueError, "not a pair"),
        (("host", 1, 2), ValueError, "not a pair"),
        ((b"host", 1), TypeError, "no text: b'host'"),
        (("[::1]", 1), ValueError, r"'\[::1\]' is neither"),
        (("::1%", 1), ValueError, "neither"),
        (("1.2.3.256", 1), ValueError, "neither"),
        (("127.1", 1), ValueError, "neither"),
        (("0x7f000001", 1), ValueError, "neither"),
        (("a" * 64, 1), ValueError, "neither"),
        (("a\n", 1), ValueError, "neither"),
        (["host", 1], TypeError, "not an address"),
        (b"/unix/a", TypeError, "not an address"),
        (None, TypeError, "not an address"),
        (80, TypeError, "not an address"),
    ],
)
def test_what_is_wrong_is_said(given: Any, error: type[Exception], says: str) -> None:
    """An error says what is wrong, and shows every form that would be right."""
    with pytest.raises(error, match=says) as caught:
        parse_address(given)
    assert "/ip6/::1/tcp/80" in str(caught.value)
    assert len(str(caught.value)) < 600


def test_an_empty_path_is_refused() -> None:
    """However it gets into an address."""
    with pytest.raises(ValueError, match="is empty"):
        UnixAddress("")


@pytest.mark.parametrize("path", [None, b"/a"])
def test_a_path_is_text(path: Any) -> None:
    """A path as bytes would be another text than its peer sees."""
    with pytest.raises(TypeError, match="no text"):
        UnixAddress(path)


def test_a_decoded_address_is_checked() -> None:
    """A peer cannot send one that could not have been made here."""
    bad = msgspec.msgpack.encode({"type": "uds", "path": "a"})
    with pytest.raises(msgspec.ValidationError, match="not absolute"):
        msgspec.msgpack.decode(bad, type=UnixAddress | TcpAddress)


@given(st.one_of(SCRAPS, st.text(), SCRAPS.map(lambda text: f"/unix/{text}")))
@example("/ip4/" + "1" * 100_000 + "/tcp/1")
def test_no_text_does_harm(text: str) -> None:
    """Any text is an address with a text of its own, or a `ValueError`."""
    try:
        address = parse_address(text)
    except ValueError:
        return
    assert parse_address(str(address)) == address


@given(
    st.one_of(
        st.none(),
        st.binary(),
        st.floats(),
        st.lists(st.integers()),
        st.tuples(st.one_of(SCRAPS, st.text(), st.none()), st.integers()),
        st.tuples(SCRAPS, SCRAPS),
        st.tuples(SCRAPS),
    )
)
def test_nothing_else_does_harm(thing: Any) -> None:
    """Anything is an address, a `ValueError` or a `TypeError`."""
    try:
        address = parse_address(thing)
    except (ValueError, TypeError):
        return
    assert parse_address(str(address)) == address


# -- What they tell --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "transport", "local"),
    [
        (UnixAddress("/a"), "uds", True),
        (TcpAddress("127.0.0.1", 1), "tcp", True),
        (TcpAddress("127.255.0.9", 1), "tcp", True),
        (TcpAddress("::1", 1), "tcp", True),
        (TcpAddress("::1%lo", 1), "tcp", True),
        (TcpAddress("::ffff:127.0.0.1", 1), "tcp", True),
        (TcpAddress("Localhost", 1), "tcp", True),
        (TcpAddress("0.0.0.0", 1), "tcp", False),
        (TcpAddress("::", 1), "tcp", False),
        (TcpAddress("::ffff:10.0.0.1", 1), "tcp", False),
        (TcpAddress("128.0.0.1", 1), "tcp", False),
        (TcpAddress("10.127.0.1", 1), "tcp", False),
        (TcpAddress("127.example", 1), "tcp", False),
        (TcpAddress("localhost.example", 1), "tcp", False),
        (TcpAddress("fe80::1%lo", 1), "tcp", False),
    ],
)
def test_what_only_this_machine_reaches(
    address: Address, transport: str, local: bool
) -> None:
    """Anything that could be another machine counts as one (security §2)."""
    assert address.transport == transport
    assert address.is_local is local


def test_the_quickest_come_first() -> None:
    """Unix sockets, this machine, others; the order given decides among equals."""
    far, far2 = TcpAddress("10.0.0.2", 1), TcpAddress("10.0.0.1", 1)
    near, near2 = TcpAddress("::1", 9), TcpAddress("127.0.0.1", 1)
    unix, unix2 = UnixAddress("/b"), UnixAddress("/a")
    given: list[Address] = [far, near, unix, far2, near2, unix2]
    assert by_preference(iter(given)) == [unix, unix2, near, near2, far, far2]

"""The hello: only who knows the secret gets through, and the secret stays one."""

import copy
import hashlib
import hmac
import pickle
import struct
import traceback
from typing import Any, Final, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tractor._exceptions import (
    AuthenticationFailed,
    ForeignProtocol,
    LocalProtocolError,
    TransportClosed,
    VersionMismatch,
)
from tractor.ipc._hello import GREETING_SIZE, MAGIC, PROOF_SIZE
from tractor.ipc.network import Hello, Secret
from tractor.msg.types import PROTOCOL_VERSION

RAW: Final = b"not-for-your-eyes-0123456789abcd"
SECRET: Final = Secret(RAW)
NONCE: Final = slice(12, 44)


def pair(theirs: Secret = SECRET) -> tuple[Hello, Hello]:
    """Both ends of a hello, of which nothing was said yet."""
    return Hello("dialer", SECRET), Hello("listener", theirs)


def greeted() -> tuple[Hello, Hello]:
    """The same after the greetings."""
    dialer, listener = pair()
    listener.receive_greeting(dialer.greeting)
    dialer.receive_greeting(listener.greeting)
    return dialer, listener


# -- Each step -------------------------------------------------------------------------


def test_both_ends_authenticate() -> None:
    """Four messages of fixed size, and each end trusts the other (security §4)."""
    dialer, listener = greeted()
    assert len(dialer.greeting) == len(listener.greeting) == GREETING_SIZE == 44
    assert not listener.authenticated
    listener.check_proof(dialer.proof)
    assert listener.authenticated
    assert not dialer.authenticated
    dialer.check_proof(listener.proof)
    assert dialer.authenticated
    assert len(dialer.proof) == len(listener.proof) == PROOF_SIZE == 32


def test_the_bytes_are_as_written_down() -> None:
    """Magic, version, flags, nonce; HMAC-SHA256 over role, nonces and versions."""
    dialer, listener = greeted()
    listener.check_proof(dialer.proof)
    versions = struct.pack("<HH", PROTOCOL_VERSION, PROTOCOL_VERSION)
    for end, role in [(dialer, b"dialer"), (listener, b"listener")]:
        head = struct.pack("<8sHH", MAGIC, PROTOCOL_VERSION, 0)
        assert end.greeting[:12] == head
        text = role + dialer.greeting[NONCE] + listener.greeting[NONCE] + versions
        assert end.proof == hmac.new(RAW, text, hashlib.sha256).digest()


def test_a_connection_comes_last_in_the_proof() -> None:
    """The bytes that both ends have of it, as they are."""
    dialer, listener = greeted()
    for end in (dialer, listener):
        end.tie_to(b"here 1>there 2")
    listener.check_proof(dialer.proof)
    dialer.check_proof(listener.proof)
    versions = struct.pack("<HH", PROTOCOL_VERSION, PROTOCOL_VERSION)
    text = b"dialer" + dialer.greeting[NONCE] + listener.greeting[NONCE] + versions
    text += b"here 1>there 2"
    assert dialer.proof == hmac.new(RAW, text, hashlib.sha256).digest()


def test_nonces_are_fresh() -> None:
    """Every hello has its own, and keeps it."""
    hellos = [Hello("dialer", SECRET) for _ in range(100)]
    assert len({hello.greeting[NONCE] for hello in hellos}) == 100
    assert all(hello.greeting == hello.greeting for hello in hellos)


def step(hello: Hello, name: str) -> None:
    other: Literal["dialer", "listener"] = (
        "listener" if hello._role == "dialer" else "dialer"
    )
    match name:
        case "greeting":
            hello.receive_greeting(Hello(other, SECRET).greeting)
        case "proof":
            _ = hello.proof
        case "check":
            hello.check_proof(bytes(PROOF_SIZE))


@pytest.mark.parametrize(
    ("role", "steps", "error"),
    [
        ("dialer", "proof", LocalProtocolError),
        ("dialer", "check", LocalProtocolError),
        ("dialer", "greeting greeting", LocalProtocolError),
        ("dialer", "greeting check", AuthenticationFailed),
        ("listener", "proof", LocalProtocolError),
        ("listener", "check", LocalProtocolError),
        ("listener", "greeting greeting", LocalProtocolError),
        ("listener", "greeting proof", LocalProtocolError),
        ("listener", "greeting check", AuthenticationFailed),
    ],
)
def test_steps_out_of_order_are_refused(
    role: Literal["dialer", "listener"], steps: str, error: type[Exception]
) -> None:
    """No step can be skipped or done twice; the last of these is the wrong one."""
    hello = Hello(role, SECRET)
    *before, last = steps.split()
    for name in before:
        step(hello, name)
    with pytest.raises(error):
        step(hello, last)
    assert not hello.authenticated


def test_a_proof_is_tried_once() -> None:
    """One connection is one guess, and a wrong one ends it."""
    dialer, listener = greeted()
    with pytest.raises(AuthenticationFailed):
        listener.check_proof(bytes(PROOF_SIZE))
    with pytest.raises(LocalProtocolError):
        listener.check_proof(dialer.proof)
    with pytest.raises(LocalProtocolError):
        _ = listener.proof


def test_a_greeting_is_tried_once() -> None:
    """Also one that was refused; no proof comes after it."""
    dialer, listener = pair()
    with pytest.raises(ForeignProtocol):
        listener.receive_greeting(bytes(GREETING_SIZE))
    with pytest.raises(LocalProtocolError):
        listener.receive_greeting(dialer.greeting)
    with pytest.raises(LocalProtocolError):
        listener.check_proof(bytes(PROOF_SIZE))


# -- Who is refused --------------------------------------------------------------------


def test_another_secret_is_refused() -> None:
    """By the listener, which has proved nothing by then."""
    dialer, listener = pair(Secret.random())
    listener.receive_greeting(dialer.greeting)
    dialer.receive_greeting(listener.greeting)
    with pytest.raises(AuthenticationFailed, match="does not know the secret"):
        listener.check_proof(dialer.proof)
    with pytest.raises(LocalProtocolError):
        _ = listener.proof


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"GET / HTTP/1.1\r\nHost: localhost:1234\r\nAccept: */*",
        b"SSH-2.0-OpenSSH_9.9".ljust(GREETING_SIZE, b"\n"),
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03".ljust(GREETING_SIZE, b"\1"),
        bytes(GREETING_SIZE),
        MAGIC,
        MAGIC.ljust(GREETING_SIZE - 1, b"\1"),
        MAGIC.ljust(GREETING_SIZE + 1, b"\1"),
    ],
)
def test_something_else_is_foreign(data: bytes) -> None:
    """A browser, a scanner, a cut greeting: no actor, and it is said so."""
    with pytest.raises(ForeignProtocol, match="no actor"):
        Hello("listener", SECRET).receive_greeting(data)


def test_another_version_is_told_by_its_number() -> None:
    """Both versions are in the text, at both ends."""
    old = Hello("dialer", SECRET, version=3)
    new = Hello("listener", SECRET, version=4)
    with pytest.raises(VersionMismatch, match=r"version 3 .* we 4"):
        new.receive_greeting(old.greeting)
    with pytest.raises(VersionMismatch, match=r"version 4 .* we 3"):
        old.receive_greeting(new.greeting)


def test_unknown_flags_are_refused() -> None:
    """They may mean something that would have to be obeyed."""
    greeting = bytearray(Hello("dialer", SECRET).greeting)
    greeting[10] = 2
    with pytest.raises(VersionMismatch, match="flags 0x2"):
        Hello("listener", SECRET).receive_greeting(bytes(greeting))


def test_refusals_are_ends_of_a_connection() -> None:
    """Who handles a closed connection handles these."""
    for kind in (ForeignProtocol, VersionMismatch):
        assert issubclass(kind, AuthenticationFailed)
    assert issubclass(AuthenticationFailed, TransportClosed)


# -- Attacks ---------------------------------------------------------------------------


def test_a_recorded_dialer_gets_nowhere() -> None:
    """A replayed hello meets another nonce (issue 7, attack "replay")."""
    dialer, listener = greeted()
    recorded = dialer.greeting, dialer.proof
    listener.check_proof(recorded[1])
    later = Hello("listener", SECRET)
    later.receive_greeting(recorded[0])
    with pytest.raises(AuthenticationFailed):
        later.check_proof(recorded[1])


def test_a_recorded_listener_gets_nowhere() -> None:
    """The same with the ends exchanged."""
    dialer, listener = greeted()
    listener.check_proof(dialer.proof)
    recorded = listener.greeting, listener.proof
    later = Hello("dialer", SECRET)
    later.receive_greeting(recorded[0])
    with pytest.raises(AuthenticationFailed):
        later.check_proof(recorded[1])


@pytest.mark.parametrize("role", ["dialer", "listener"])
def test_an_echo_is_refused(role: Literal["dialer", "listener"]) -> None:
    """Who sends back what we send has our nonce (issue 7, attack "reflection")."""
    hello = Hello(role, SECRET)
    with pytest.raises(AuthenticationFailed, match="our own greeting"):
        hello.receive_greeting(hello.greeting)


def test_a_proof_of_one_role_is_none_of_the_other() -> None:
    """What the dialer proves cannot be sent back to it."""
    dialer, _ = greeted()
    with pytest.raises(AuthenticationFailed):
        dialer.check_proof(dialer.proof)


@pytest.mark.parametrize(
    "ends",
    [
        (b"a 1>b 2", b"a 3>b 4"),
        (b"a 1>b 2", b"b 2>a 1"),
        (b"a 1>b 2", b""),
        (b"", b"x"),
    ],
)
def test_a_relayed_hello_gets_nowhere(ends: tuple[bytes, bytes]) -> None:
    """Who passes it on has two connections, and each end knows its own (attack)."""
    dialer, listener = greeted()
    for end, connection in zip((dialer, listener), ends, strict=True):
        end.tie_to(connection)
    with pytest.raises(AuthenticationFailed, match="does not know the secret"):
        listener.check_proof(dialer.proof)
    with pytest.raises(AuthenticationFailed):
        dialer.check_proof(listener._proof_of("listener"))


def test_two_dialers_do_not_meet() -> None:
    """Who relays one dialer to another gains nothing."""
    one, other = Hello("dialer", SECRET), Hello("dialer", SECRET)
    one.receive_greeting(other.greeting)
    other.receive_greeting(one.greeting)
    with pytest.raises(AuthenticationFailed):
        one.check_proof(other.proof)


MESSAGES: Final = [
    (sender, index)
    for sender, size in enumerate(
        [GREETING_SIZE, GREETING_SIZE, PROOF_SIZE, PROOF_SIZE]
    )
    for index in range(size)
]


@pytest.mark.parametrize("other", [0x01, 0x80, 0xFF])
def test_no_byte_can_be_changed_on_the_way(other: int) -> None:
    """Whichever byte of whichever message: the two ends never both authenticate."""
    for number, index in MESSAGES:
        assert not survives({(number, index): other})


@given(
    st.dictionaries(st.sampled_from(MESSAGES), st.integers(1, 255), min_size=1),
    st.one_of(st.none(), st.tuples(st.integers(0, 3), st.integers(-40, 40))),
)
def test_no_message_can_be_changed_on_the_way(
    changes: dict[tuple[int, int], int], resized: tuple[int, int] | None
) -> None:
    """Nor can any number of bytes, or the length of a message."""
    assert not survives(changes, resized)


def test_what_is_not_changed_survives() -> None:
    """The two tests above would notice."""
    assert survives({})


def survives(
    changes: dict[tuple[int, int], int], resized: tuple[int, int] | None = None
) -> bool:
    """Whether both ends authenticate; each change is XORed to a byte of a message."""

    def passed_on(number: int, message: bytes) -> bytes:
        data = bytearray(message)
        for (where, index), bits in changes.items():
            if where == number:
                data[index] ^= bits
        if resized is not None and resized[0] == number and resized[1]:
            data = data[: resized[1]] if resized[1] < 0 else data + bytes(resized[1])
        return bytes(data)

    dialer, listener = pair()
    try:
        listener.receive_greeting(passed_on(0, dialer.greeting))
        dialer.receive_greeting(passed_on(1, listener.greeting))
        listener.check_proof(passed_on(2, dialer.proof))
        assert not any(number < 3 for number, _ in changes)  # one end is safe for sure
        dialer.check_proof(passed_on(3, listener.proof))
    except AuthenticationFailed:
        return False
    return dialer.authenticated and listener.authenticated


# -- The secret ------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 15])
def test_a_short_secret_is_refused(size: int) -> None:
    """With the way to make a better one, and without showing it."""
    with pytest.raises(ValueError, match=r"at least 16 bytes.*token_bytes") as caught:
        Secret(RAW[:size])
    assert size == 0 or repr(RAW[:size]) not in str(caught.value)


@pytest.mark.parametrize("value", ["x" * 32, bytearray(32), None, 32])
def test_a_secret_is_bytes(value: Any) -> None:
    """Nothing is converted behind the user's back."""
    with pytest.raises(TypeError, match="a secret is bytes"):
        Secret(value)


def test_a_random_secret_is_long_and_new() -> None:
    """32 bytes of the system's randomness."""
    secrets = {Secret.random() for _ in range(100)}
    assert len(secrets) == 100
    assert {len(secret.reveal()) for secret in secrets} == {32}


def test_secrets_compare_by_value() -> None:
    """And with nothing else."""
    assert Secret(RAW) == SECRET
    assert hash(Secret(RAW)) == hash(SECRET)
    assert Secret.random() != SECRET
    assert SECRET != RAW
    assert SECRET.reveal() == RAW


def test_a_secret_is_never_shown() -> None:
    """Neither alone nor in anything that holds it (security §3)."""
    hello = Hello("dialer", SECRET)
    for text in [repr(SECRET), str(SECRET), f"{SECRET}", f"{SECRET!r}", "%s" % SECRET]:  # noqa: UP031 (each way to write it)
        assert text == "Secret(***)"
    with pytest.raises(TypeError, match="format"):
        format(SECRET, ">40")
    shown = f"{[SECRET]} { ({'secret': SECRET}) } {hello} {vars(hello)}"
    assert "not-for-your-eyes" not in shown
    assert RAW.hex() not in shown
    assert not hasattr(SECRET, "__dict__")


def test_a_secret_is_not_in_a_traceback() -> None:
    """Not even in one that shows the values of variables."""
    dialer, listener = pair(Secret.random())
    dialer.receive_greeting(listener.greeting)
    with pytest.raises(AuthenticationFailed) as caught:
        dialer.check_proof(bytes(PROOF_SIZE))
    lines = traceback.TracebackException.from_exception(
        caught.value, capture_locals=True
    ).format()
    assert "not-for-your-eyes" not in "".join(lines)


def test_a_secret_is_not_pickled() -> None:
    """Nor copied, which goes by the same way; and the error does not show it."""
    for copied in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="not pickled") as caught:
            copied(SECRET)
        assert "not-for-your-eyes" not in str(caught.value)


def test_a_secret_cannot_be_changed() -> None:
    """It may be shared by threads."""
    with pytest.raises(AttributeError, match="cannot be changed"):
        SECRET._value = b"x" * 32
    with pytest.raises(AttributeError, match="cannot be changed"):
        del SECRET._value
    assert SECRET.reveal() == RAW

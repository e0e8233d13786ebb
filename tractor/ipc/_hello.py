"""The mutual proof that both ends of a connection know the secret; no I/O.

Whoever dials speaks and proves first, so a listener never answers a stranger with
anything that depends on the secret:

1. dialer to listener: greeting
2. listener to dialer: greeting
3. dialer to listener: proof
4. listener to dialer: proof

A greeting (44 bytes) is a magic number, the protocol's version and flags (2 bytes each,
little-endian), and a nonce of 32 bytes. A proof (32 bytes) is the HMAC-SHA256, under
the secret, of the role of its maker, both nonces and both versions, each time those of
the dialer first, and of the connection that it is tied to. The role stops reflection:
what one end proves is of no use against it. The nonces stop replay. The connection
stops a relay: over TCP it is the addresses of both ends, which differ where somebody
between them holds two connections.

Nothing is encrypted, and TLS below is not part of the proof: beyond one machine it is
the certificate that stops a relay.
"""

import hmac
import os
import struct
from typing import Final, Literal, Never, Self, final

from tractor._exceptions import (
    AuthenticationFailed,
    ForeignProtocol,
    LocalProtocolError,
    VersionMismatch,
)
from tractor.msg.types import PROTOCOL_VERSION

MAGIC: Final = b"\x89tractor"  # no text, no TLS, and no frame of a sane length
NONCE_SIZE: Final = 32  # bytes
PROOF_SIZE: Final = 32  # bytes, as SHA-256 has
MIN_SECRET: Final = 16  # bytes; fewer could be guessed from a recorded proof

_GREETING: Final = struct.Struct(f"<8sHH{NONCE_SIZE}s")
GREETING_SIZE: Final = _GREETING.size

_NO_FLAGS: Final = 0  # a later version may give them a meaning


@final
class Secret:
    """Bytes that are shown nowhere: neither by `repr` and `str`, nor by a pickle."""

    __slots__ = ("_value",)
    _value: bytes

    def __init__(self, value: bytes) -> None:
        """Keep `value`.

        Raises:
            TypeError: It is not bytes.
            ValueError: It has fewer than 16 bytes.
        """
        if not isinstance(value, bytes):
            msg = f"a secret is bytes, not {type(value).__name__}"
            raise TypeError(msg)
        if len(value) < MIN_SECRET:
            msg = (
                f"a secret has at least {MIN_SECRET} bytes, not {len(value)}; "
                "make one with secrets.token_bytes(32), or for a file with "
                "`openssl rand -hex 32`"
            )
            raise ValueError(msg)
        object.__setattr__(self, "_value", value)

    @classmethod
    def random(cls) -> Self:
        """A new one of 32 bytes."""
        return cls(os.urandom(32))

    def reveal(self) -> bytes:
        """The bytes themselves; whoever takes them keeps them out of sight."""
        return self._value

    def __setattr__(self, name: str, value: object) -> Never:
        msg = "a secret cannot be changed"
        raise AttributeError(msg)

    def __delattr__(self, name: str) -> Never:
        self.__setattr__(name, None)

    def __repr__(self) -> str:
        return "Secret(***)"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._value, other._value)

    def __hash__(self) -> int:
        return hash(self._value)

    def __reduce__(self) -> Never:
        msg = "a secret is not pickled; hand over what reveal() gives, if you must"
        raise TypeError(msg)


class Hello:
    """One end of one hello; each step once, in the order above.

    Args:
        role: Which end this is.
        secret: Must be the same at both.
        version: Must be the same at both, too.
    """

    def __init__(
        self,
        role: Literal["dialer", "listener"],
        secret: Secret,
        *,
        version: int = PROTOCOL_VERSION,
    ) -> None:
        self._role = role
        self._secret = secret
        self._version = version
        self._nonce = os.urandom(NONCE_SIZE)
        self._connection = b""
        self._their_nonce: bytes | None = None  # None until the greeting was good
        self._greeted = False  # whether there was one, good or not
        self._checked = False  # whether there was a proof, good or not
        self._authenticated = False

    def tie_to(self, connection: bytes) -> None:
        """Let the proofs hold for one connection only.

        Args:
            connection: What both ends, and no others, say of it; empty for one that
                cannot be relayed.
        """
        self._connection = connection

    @property
    def greeting(self) -> bytes:
        """What to send first."""
        return _GREETING.pack(MAGIC, self._version, _NO_FLAGS, self._nonce)

    def receive_greeting(self, data: bytes) -> None:
        """Take the greeting of the other end.

        Raises:
            ForeignProtocol: It is no greeting.
            VersionMismatch: It is of another version than ours.
            AuthenticationFailed: It is our own.
            LocalProtocolError: There was one before.
        """
        if self._greeted:
            msg = "one hello takes one greeting"
            raise LocalProtocolError(msg)
        self._greeted = True
        if len(data) != GREETING_SIZE or data[: len(MAGIC)] != MAGIC:
            msg = "the other end is no actor: it does not begin with our greeting"
            raise ForeignProtocol(msg)
        _, version, flags, nonce = _GREETING.unpack(data)
        if version != self._version:
            self._mismatch(version, "upgrade the older one")
        if flags != _NO_FLAGS:
            self._mismatch(version, f"but it wants flags {flags:#x}, unknown here")
        if nonce == self._nonce:
            msg = "the other end sent our own greeting back"
            raise AuthenticationFailed(msg)
        self._their_nonce = nonce

    def _mismatch(self, theirs: int, what: str) -> Never:
        msg = (
            f"the other end speaks version {theirs} of the protocol, "
            f"we {self._version}; {what}"
        )
        raise VersionMismatch(msg)

    @property
    def proof(self) -> bytes:
        """What to send next: to a listener at once, to a dialer once it has proved.

        Raises:
            LocalProtocolError: It is too early for it.
        """
        if self._role == "listener" and not self._authenticated:
            msg = "a listener proves itself only to a dialer that has done so"
            raise LocalProtocolError(msg)
        return self._proof_of(self._role)

    def check_proof(self, data: bytes) -> None:
        """Take the proof of the other end.

        Raises:
            AuthenticationFailed: It does not know our secret, or is not at the other
                end of our connection.
            LocalProtocolError: There was one before, or no greeting.
        """
        if self._checked:
            msg = "one hello takes one proof"
            raise LocalProtocolError(msg)
        expected = self._proof_of("listener" if self._role == "dialer" else "dialer")
        self._checked = True
        if not hmac.compare_digest(expected, data):
            msg = "the other end does not know the secret of this tree"
            if self._connection:
                msg += ", or somebody relays the connection"
            raise AuthenticationFailed(msg)
        self._authenticated = True

    @property
    def authenticated(self) -> bool:
        """Whether the other end has proved that it knows the secret."""
        return self._authenticated

    def _proof_of(self, role: Literal["dialer", "listener"]) -> bytes:
        if self._their_nonce is None:
            msg = "there is no proof before a greeting"
            raise LocalProtocolError(msg)
        nonces = self._nonce, self._their_nonce
        if self._role == "listener":
            nonces = nonces[::-1]
        # One version, twice: a greeting of another one has been refused.
        versions = struct.pack("<HH", self._version, self._version)
        text = b"".join((role.encode(), *nonces, versions, self._connection))
        return hmac.digest(self._secret.reveal(), text, "sha256")

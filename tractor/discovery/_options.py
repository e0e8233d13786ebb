"""What a root is told about transports, registrars and secrets, checked."""

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

from tractor.ipc import Address, AnyAddress, TcpAddress, parse_address
from tractor.ipc.network import Secret, read_secret_file, runtime_dir, user_secret

if TYPE_CHECKING:
    import ssl

SECRET_FILE_VARIABLE: Final = "TRACTOR_SECRET_FILE"
TRANSPORTS_VARIABLE: Final = "TRACTOR_TRANSPORTS"  # separated by commas
TRANSPORTS: Final = ("uds", "tcp")

_WILDCARDS: Final = ("0.0.0.0", "::")


class NetworkOptions(NamedTuple):
    """See `open_root_actor`, whose arguments they are."""

    registry_addrs: tuple[Address, ...]
    transports: tuple[str, ...]
    bind_addrs: tuple[Address, ...]
    secret: Secret | None
    client_tls: "ssl.SSLContext | None"
    server_tls: "ssl.SSLContext | None"
    ensure_registry: bool

    @classmethod
    def checked(
        cls,
        *,
        registry_addrs: Iterable[AnyAddress] | None = None,
        enable_transports: Iterable[str] | None = None,
        tpt_bind_addrs: Iterable[AnyAddress] | None = None,
        secret: bytes | None = None,
        ssl_context: Any = None,
        ensure_registry: bool = False,
    ) -> Self:
        """Those, or the error that the user is to see.

        Raises:
            ValueError, TypeError: One of them cannot be.
        """
        transports = _transports(enable_transports)
        client_tls, server_tls = _tls_sides(ssl_context)
        options = cls(
            _addresses("registry_addrs", registry_addrs),
            transports,
            _addresses("tpt_bind_addrs", tpt_bind_addrs),
            Secret(secret) if secret is not None else None,
            client_tls,
            server_tls,
            ensure_registry,
        )
        options._check()
        return options

    def _check(self) -> None:
        for address in (*self.registry_addrs, *self.bind_addrs):
            if not self.transports:
                msg = f"enable_transports is empty, so {address} cannot be used"
                raise ValueError(msg)
        for address in self.registry_addrs:
            if isinstance(address, TcpAddress) and (
                not address.port or address.host in _WILDCARDS
            ):
                msg = (
                    f"registry_addrs: nobody finds a registrar at {address}; name an "
                    "address and a port by which all reach it"
                )
                raise ValueError(msg)
            if not address.is_local and self.client_tls is None:
                msg = (
                    f"registry_addrs: {address} can be reached from other machines, "
                    "and that needs encryption: give ssl_context, with the "
                    "certificates that are trusted"
                )
                raise ValueError(msg)
        for address in self.bind_addrs:
            if isinstance(address, TcpAddress) and address.host in _WILDCARDS:
                msg = (
                    f"tpt_bind_addrs: {address} is no address that others could be "
                    "told; name the one by which they reach this machine"
                )
                raise ValueError(msg)
            if not address.is_local and self.server_tls is None:
                msg = (
                    f"tpt_bind_addrs: {address} can be reached from other machines, "
                    "and that needs encryption: give ssl_context, with the certificate "
                    "of this one"
                )
                raise ValueError(msg)

    def choose_secret(self) -> Secret:
        """What was given, or is shared by the programs of this user, or is new.

        Raises:
            OSError, ValueError: A file of a secret cannot be used.
        """
        if self.secret is not None:
            return self.secret
        if path := os.environ.get(SECRET_FILE_VARIABLE):
            return read_secret_file(path)
        if self.registry_addrs:  # it is to meet other programs
            return user_secret(runtime_dir())
        return Secret.random()


def _transports(given: Iterable[str] | None) -> tuple[str, ...]:
    if isinstance(given, str):
        msg = f"enable_transports takes a list, not {given!r}"
        raise TypeError(msg)
    source = ""
    if given is None:
        text = os.environ.get(TRANSPORTS_VARIABLE) or TRANSPORTS[0]
        given = [name.strip() for name in text.split(",")]
        source = f"{TRANSPORTS_VARIABLE}={text}: "
    found = tuple(dict.fromkeys(given))
    for transport in found:
        if transport not in TRANSPORTS:
            known = ", ".join(TRANSPORTS)
            msg = f"{source}unknown transport {transport!r}; known ones: {known}"
            raise ValueError(msg)
    return found


def _addresses(option: str, given: Iterable[AnyAddress] | None) -> tuple[Address, ...]:
    if isinstance(given, str):
        msg = f"{option} takes a list of addresses, not {given!r}"
        raise TypeError(msg)
    return tuple(dict.fromkeys(parse_address(each) for each in given or ()))


def _tls_sides(
    given: Any,
) -> "tuple[ssl.SSLContext | None, ssl.SSLContext | None]":
    """The context for connections to others, and that for connections from others."""
    if given is None:
        return None, None
    import ssl  # local: large, and seldom needed

    sides: dict[int, ssl.SSLContext] = {}
    for context in given if isinstance(given, (tuple, list)) else (given,):
        sides[context.protocol] = context
    known = {ssl.PROTOCOL_TLS_CLIENT, ssl.PROTOCOL_TLS_SERVER}
    if not set(sides) <= known:
        msg = (
            "ssl_context takes contexts of PROTOCOL_TLS_CLIENT and "
            "PROTOCOL_TLS_SERVER, one of each at most"
        )
        raise ValueError(msg)
    to_others = sides.get(ssl.PROTOCOL_TLS_CLIENT)
    if to_others is not None and to_others.verify_mode != ssl.CERT_REQUIRED:
        msg = (
            "ssl_context: the one for connections to others checks no certificate, so "
            "somebody in between could speak for them; leave verify_mode as it was"
        )
        raise ValueError(msg)
    return to_others, sides.get(ssl.PROTOCOL_TLS_SERVER)

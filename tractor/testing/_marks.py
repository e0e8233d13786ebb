"""What our marks for pytest say: whether a test is to be skipped, and why.

A name that is misspelt is an error, else the mark would skip nothing for ever.
"""

from collections.abc import Callable, Iterable
from typing import Final

from tractor._exceptions import BackendUnavailable
from tractor.spawn import get_backend

TRANSPORTS: Final = ("uds", "tcp")


def why_to_skip(
    mark: str, names: Iterable[str], *, backend: str | None, transport: str
) -> str:
    """The reason; empty when the test is to run.

    Args:
        mark: ``skipon_spawn_backend``, ``requires_trait`` or ``no_tpt``.
        names: Of backends, traits or transports.
        backend: That the test is for; `None` when it is for none.
        transport: That the run is for.

    Raises:
        ValueError: One of the names is none, or the mark does not fit the test.
    """
    if mark == "no_tpt":
        return _on_transport(list(names), transport)
    if backend is None:
        msg = f"{mark} is for tests that use start_method"
        raise ValueError(msg)
    rules: dict[str, Callable[[list[str], str], str]] = {
        "skipon_spawn_backend": _on_backend,
        "requires_trait": _without_trait,
    }
    return rules[mark](list(names), backend)


def check_backend_keys(keys: Iterable[str]) -> None:
    """Check that there are spawn backends of these names, here or elsewhere.

    Raises:
        ValueError: There is none of one of the names.
    """
    for key in keys:
        try:
            get_backend(key)
        except BackendUnavailable:
            continue  # it is known, and needs what is missing here


def _on_backend(keys: list[str], backend: str) -> str:
    try:
        check_backend_keys(keys)
    except ValueError as error:
        msg = f"skipon_spawn_backend: {error}"
        raise ValueError(msg) from error
    return f"does not work on spawn backend {backend!r}" if backend in keys else ""


def _without_trait(names: list[str], backend: str) -> str:
    traits = get_backend(backend).traits
    for name in names:
        if not hasattr(traits, name):
            msg = f"requires_trait: there is no trait {name!r}"
            raise ValueError(msg)
        if not getattr(traits, name):
            return f"spawn backend {backend!r} lacks the trait {name!r}"
    return ""


def _on_transport(names: list[str], transport: str) -> str:
    for name in names:
        if name not in TRANSPORTS:
            known = ", ".join(TRANSPORTS)
            msg = f"no_tpt: unknown transport {name!r}; there are {known}"
            raise ValueError(msg)
    return f"does not work on transport {transport!r}" if transport in names else ""

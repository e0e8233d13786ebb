"""Which spawn backends there are: the only table from key to module.

A backend is loaded when it is first asked for, so that nobody pays for the ones not
used. It says itself whether it can work here: its object may have a method

    def unavailable(self) -> str | None: ...

that names the missing thing, as in "it needs …". Another optional method,

    def warm_up(self) -> None: ...

may prepare the first start in the background; it is called when the root of a tree
opens that starts its actors so. A backend module that cannot be
imported counts as unavailable too. Outside authors add theirs by an entry point of the
group `tractor.spawn_backends` that names their backend object; a key of ours cannot be
taken.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from importlib import import_module
from types import MappingProxyType
from typing import Final, cast

from tractor._exceptions import BackendUnavailable
from tractor.spawn._backend import SpawnBackend

DEFAULT_BACKEND: Final = "trio"
ENTRY_POINT_GROUP: Final = "tractor.spawn_backends"

_OWN: Final = {
    "trio": "tractor.spawn._trio:backend",
    "mp_spawn": "tractor.spawn._mp:spawn_backend",
    "mp_forkserver": "tractor.spawn._mp:forkserver_backend",
    "subint": "tractor.spawn._subint:backend",
    "subint_legacy": "tractor.spawn._subint:legacy_backend",
}

type Loader = Callable[[], object]

_in_use: Final[ContextVar[Mapping[str, SpawnBackend]]] = ContextVar(
    "tractor_spawn_backends", default=MappingProxyType({})
)


def get_backend(key: str) -> SpawnBackend:
    """The backend called `key`, ready to use.

    Raises:
        ValueError: There is none of that name; the text lists those there are.
        BackendUnavailable: It cannot work here; the text names what is missing.
    """
    if (in_use := _in_use.get().get(key)) is not None:
        return in_use
    loaders = _own() if key in _OWN else _own() | _others()
    if key not in loaders:
        msg = f"unknown spawn backend {key!r}; known ones: {', '.join(loaders)}"
        raise ValueError(msg)
    return _load(key, loaders[key])


def warm_up(key: str) -> None:
    """Let the backend called `key` prepare itself, if it has something to prepare.

    Raises:
        ValueError, BackendUnavailable: As `get_backend`.
    """
    hook = getattr(get_backend(key), "warm_up", None)
    if hook is not None:
        hook()


def available_backends() -> list[str]:
    """Keys of the backends that work here, the default first.

    Costs the import of every one of them, and of the package metadata.
    """
    loaders = _own() | _others()
    works = [key for key, loader in loaders.items() if _works(key, loader)]
    return sorted(works, key=lambda key: key != DEFAULT_BACKEND)  # stable


def known_backends() -> list[str]:
    """Keys of all backends, also of those that cannot work here, the default first.

    Costs the import of the package metadata.
    """
    return [*_own(), *_others()]


@contextmanager
def use_backend(backend: SpawnBackend) -> Iterator[None]:
    """Let `get_backend` find `backend` by its key, in this task and what it starts.

    For fakes, and for a backend that is not installed yet; nothing is listed. A key of
    ours may be taken.
    """
    token = _in_use.set({**_in_use.get(), backend.key: backend})
    try:
        yield
    finally:
        _in_use.reset(token)


def _load(key: str, loader: Loader) -> SpawnBackend:
    try:
        backend = cast("SpawnBackend", loader())
    except Exception as error:
        # Any Exception: an outsider's module that fails to load must break neither
        # the list of those that work, nor a program that does not use it.
        raise _unavailable(key, f"{type(error).__name__}: {error}") from error
    hook = getattr(backend, "unavailable", None)
    if hook is not None and (missing := hook()) is not None:
        raise _unavailable(key, f"it needs {missing}")
    return backend


def _works(key: str, loader: Loader) -> bool:
    try:
        _load(key, loader)
    except BackendUnavailable:
        return False
    return True


def _unavailable(key: str, reason: str) -> BackendUnavailable:
    return BackendUnavailable(f"spawn backend {key!r} cannot work here: {reason}")


def _own() -> dict[str, Loader]:
    return {key: partial(_import, path) for key, path in _OWN.items()}


def _import(path: str) -> object:
    module, _, attribute = path.partition(":")
    return getattr(import_module(module), attribute)


def _others() -> dict[str, Loader]:
    # Local: importing it takes longer than importing all of this package, and only
    # an unknown key and the listing need it.
    from importlib.metadata import entry_points

    found = sorted(entry_points(group=ENTRY_POINT_GROUP))
    return {each.name: each.load for each in found if each.name not in _OWN}

"""Which functions may be called from outside, and how they are named on the wire.

A function is callable when its module is enabled **and** it is defined there, is async,
and has no leading underscore. There are no dotted walks and no re-exported names: a
``from trio import run_process`` must not become a remote shell.

`__mp_main__` and `__main__` are one module with two names: what the program runs as,
and what a child that imported it again calls it.
"""

import inspect
import sys
from collections.abc import Awaitable, Callable, Iterable
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from types import FunctionType
from typing import Any, Final

from tractor._exceptions import ModuleNotExposed
from tractor.msg import types as t
from tractor.runtime._endpoint import endpoint_of

_KINDS: Final = {
    t.CALL: "an async function",
    t.CONTEXT: "a context",
    t.GENERATOR: "an async generator",
}
_CALLED_BY: Final = {
    t.CALL: "run()",
    t.CONTEXT: "open_context()",
    t.GENERATOR: "open_stream_from()",
}

REMEMBERED: Final = 1024  # functions whose paths are; each call asks for one

type AsyncFn = Callable[..., Awaitable[Any]]

MAIN = "__main__"
REPLAYED_MAIN = "__mp_main__"


class Exposure:
    """The functions that one actor serves.

    Args:
        modules: Those of the user.
        services: Those of this package, which are imported when they are called.
    """

    def __init__(self, modules: Iterable[str], services: Iterable[str] = ()) -> None:
        self._services = frozenset(services)
        self.modules = frozenset(_plain_name(name) for name in modules)
        self._found: dict[tuple[str, str, int], AsyncFn] = {}

    def load(self, before: Callable[[str], None] = lambda _: None) -> None:
        """Import every enabled module, except the program's main module.

        Args:
            before: Told the name of each.

        Raises:
            Exception: Whatever an import raises.
        """
        for name in sorted(self.modules - {MAIN}):
            before(name)
            import_module(name)

    def resolve(self, ns: str, name: str, kind: int = t.CALL) -> AsyncFn:
        """The function behind a call of that kind.

        Raises:
            ModuleNotExposed: Its module is not enabled, or it is not its own there.
            AttributeError: There is no such function.
            TypeError: It is not a function of that kind.
        """
        found = self._found.get((ns, name, kind))
        if found is None:
            found = self._found[ns, name, kind] = self._look_up(ns, name, kind)
        return found

    def _look_up(self, ns: str, name: str, kind: int) -> AsyncFn:
        if ns in self._services:
            import_module(ns)
        elif ns not in self.modules:
            msg = (
                f"module {ns!r} is not exposed by this actor; "
                f"add it to enable_modules: start_actor(enable_modules=[{ns!r}])"
            )
            raise ModuleNotExposed(msg)
        fn = find_defined(ns, name)
        _check_kind(fn, f"{ns}.{name}", kind)
        return fn  # type: ignore[no-any-return]


def find_defined(ns: str, name: str) -> Any:
    """What a loaded module defines by that name, and lets others have.

    Raises:
        ModuleNotExposed: It is private, or comes from another module.
        AttributeError: There is no such thing.
    """
    if name.startswith("_"):
        msg = f"{ns}.{name} has a leading underscore; private names are not exposed"
        raise ModuleNotExposed(msg)
    try:
        found = vars(sys.modules[ns])[name]
    except KeyError:
        msg = f"module {ns!r} has no function {name!r}"
        raise AttributeError(msg) from None
    if _plain_name(getattr(found, "__module__", None) or "") != ns:
        msg = f"{ns}.{name} is not defined there; call it by its own module"
        raise ModuleNotExposed(msg)
    return found


def path_of(fn: Callable[..., object], kind: int = t.CALL) -> tuple[str, str]:
    """Module and name by which another actor finds `fn`.

    Raises:
        TypeError: It is not a function of that kind.
        ValueError: It cannot be found by module and name; the text names the fix.
    """
    # Remembered for functions alone: others may compare equal, or have no hash.
    find = _path_of_function if type(fn) is FunctionType else _find_path
    return find(fn, kind)


def _find_path(fn: Callable[..., object], kind: int) -> tuple[str, str]:
    name = getattr(fn, "__qualname__", repr(fn))
    ns = _plain_name(getattr(fn, "__module__", None) or "")
    _check_kind(fn, f"{ns}.{name}", kind)
    if "<lambda>" in name or "<locals>" in name:
        where = "a lambda" if "<lambda>" in name else "defined inside a function"
        msg = f"{name!r} is {where}; move it to the top level of an importable module"
        raise ValueError(msg)
    module = sys.modules.get(ns)
    if ns == MAIN and main_origin() == (None, None):
        msg = (
            f"{name!r} is defined in an interactive session, where another actor "
            "cannot find it; put it into a file and import it"
        )
        raise ValueError(msg)
    if module is None or getattr(module, name, None) is not fn:
        msg = (
            f"{ns}.{name} is not that function, and so another actor cannot find it; "
            "define it at the top level of its module"
        )
        raise ValueError(msg)
    return ns, name


_path_of_function: Final = lru_cache(REMEMBERED)(_find_path)


def check_modules(modules: Iterable[str]) -> list[str]:
    """Names of modules that a child is to import, found but not imported here.

    Raises:
        ModuleNotFoundError: One of them does not exist.
        TypeError: `modules` is a single text.
    """
    if isinstance(modules, str):
        msg = f"enable_modules takes a list of module names, not {modules!r}"
        raise TypeError(msg)
    names = [_plain_name(name) for name in modules]
    for name in names:
        if name in sys.modules:
            continue
        if find_spec(name) is None:
            msg = f"no module named {name!r}; enable_modules takes importable names"
            raise ModuleNotFoundError(msg, name=name)
    return names


def main_origin() -> tuple[str | None, str | None]:
    """Module name and file of the program's main module; neither in a session.

    The name is ``__main__`` for a folder or a zip file that runs as a program.
    """
    main = sys.modules[MAIN]
    spec = getattr(main, "__spec__", None)
    file: str | None = getattr(main, "__file__", None)
    if file is not None and file.startswith("<"):
        file = None  # "<stdin>"
    return getattr(spec, "name", None), file


def _check_kind(fn: object, path: str, kind: int) -> None:
    found = _kind_of(fn)
    if found is None:
        msg = f"{path} is not an async function; declare it with `async def`"
        raise TypeError(msg)
    if found != kind:
        msg = f"{path} is {_KINDS[found]}; use {_CALLED_BY[found]} for it"
        raise TypeError(msg)


def _kind_of(fn: object) -> int | None:
    if inspect.isasyncgenfunction(fn):
        return t.GENERATOR
    if not inspect.iscoroutinefunction(fn):
        return None
    return t.CALL if endpoint_of(fn) is None else t.CONTEXT


def _plain_name(module: str) -> str:
    return MAIN if module == REPLAYED_MAIN else module

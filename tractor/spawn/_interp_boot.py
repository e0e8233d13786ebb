"""Making a sub-interpreter, and what it runs before it can host an actor.

`_interpreters` is what the public `concurrent.interpreters` (Python 3.14) is made of.
It alone can set the configuration, which has to allow the daemon threads that actors
may start.
"""

import _interpreters
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, Literal

type Gil = Literal["own", "shared"]

GILS: Final[tuple[Gil, ...]] = ("own", "shared")
COPIED: Final = ("msgspec._core",)
"""Extension modules of which each interpreter has a copy for itself."""

SHORT_TURN: Final = 0.0005  # seconds, a tenth of CPython's; ai/conc-anal/0005

_PACKAGE: Final = Path(__file__).parents[1]
_PATH: Final = _PACKAGE / "interp" / "_copies.py"
_NAME: Final = "tractor.interp._copies"

# What an import makes stays, so to collect garbage meanwhile is in vain; a tenth of the
# time went there. Who hosts actors turns it on again.
_BOOT: Final = """
import gc, sys, types
gc.disable()
sys.path[:] = {path!r}
module = sys.modules[{name!r}] = types.ModuleType({name!r})
exec(compile({source!r}, {file!r}, "exec"), vars(module))
module.PrivateCopies({copied!r}).install()
"""
_IMPORTS: Final = ("trio", "msgspec", "tractor")
_READY: Final = """
from tractor.spawn._interp_pool import join_pools
from tractor._child import make_host
join_pools({fds!r})
make_host()
"""


def create(gil: Gil) -> int:
    """The number of a new one, in which nothing has run yet.

    Raises:
        OSError: There can be no more.
    """
    try:
        number: int = _interpreters.create(_config(gil), reqrefs=False)
    except _interpreters.InterpreterError as error:
        msg = f"an interpreter could not be made: {error}"
        raise OSError(msg) from error
    return number


def boot_sources(fds: dict[Gil, tuple[int, int]]) -> Iterator[str]:
    """What it has to run, in some parts, so that who ends meanwhile waits for one only.

    Args:
        fds: Of the pools of this process.
    """
    yield _BOOT.format(
        path=[path for path in sys.path if isinstance(path, str)],
        name=_NAME,
        source=_PATH.read_text(),
        file=str(_PATH),
        copied=COPIED,
    )
    for name in _IMPORTS:
        yield f"import {name}"
    yield _READY.format(fds=fds)


def run_in(number: int, source: str) -> str | None:
    """Run it there; what went wrong."""
    failure = _interpreters.exec(number, source)
    return failure.formatted if failure is not None else None


def discard(number: int) -> None:
    """Destroy one in which nothing runs."""
    with suppress(Exception):  # it stays, then
        _interpreters.destroy(number)


def _config(gil: Gil) -> Any:
    if gil == "own":
        return _interpreters.new_config("isolated", allow_daemon_threads=True)
    return _interpreters.new_config("legacy")


class Turns:
    """How long a thread keeps the GIL that others wait for; of the main interpreter."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._usual = self._short = 0.0

    @contextmanager
    def short(self) -> Iterator[None]:
        """Have them short meanwhile, because an import waits for it at each file."""
        with self._lock:
            self._users += 1
            if self._users == 1:
                self._usual = sys.getswitchinterval()
                sys.setswitchinterval(min(self._usual, SHORT_TURN))
                self._short = sys.getswitchinterval()
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                # Unless the program has set it meanwhile.
                if not self._users and sys.getswitchinterval() == self._short:
                    sys.setswitchinterval(self._usual)


turns: Final = Turns()

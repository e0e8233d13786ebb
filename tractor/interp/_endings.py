"""What modules of the standard library do at the end of a process, and how they go on.

They stay when an actor ends, and some of them refuse to work once they have seen an
end. None has a public way back; a test pins the names.
"""

import atexit
import logging
import sys
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final


def run_exit_callbacks() -> None:
    """Do what is done at the end of a process; after that, it may end once more."""
    atexit._run_exitfuncs()
    _end_helpers()
    for name, revive in _REVIVE.items():
        if (module := sys.modules.get(name)) is not None:
            revive(module)


def _end_helpers() -> None:
    """End the processes of `multiprocessing`, which live as long as their parent."""
    for name, attribute in (
        ("tractor.spawn._mp", "server"),
        ("multiprocessing.forkserver", "_forkserver"),
        ("multiprocessing.resource_tracker", "_resource_tracker"),
    ):
        if (module := sys.modules.get(name)) is not None:
            with suppress(OSError):  # its files are gone already
                getattr(module, attribute)._stop()


def _revive_finalizers(module: Any) -> None:
    module.finalize._shutdown = False
    module.finalize._registered_with_atexit = False


def _revive_threads(module: Any) -> None:
    module._shutdown = False
    _at_end_of_threads(module._python_exit)


def _revive_processes(module: Any) -> None:
    module._global_shutdown = False
    _at_end_of_threads(module._python_exit)


def _revive_multiprocessing(module: Any) -> None:
    module._exiting = False
    atexit.register(module._exit_function)


def _at_end_of_threads(callback: Callable[[], object]) -> None:
    register: Any = threading._register_atexit  # type: ignore[attr-defined]
    register(callback)


_REVIVE: Final[dict[str, Callable[[Any], object]]] = {
    logging.__name__: lambda module: atexit.register(module.shutdown),
    weakref.__name__: _revive_finalizers,
    "concurrent.futures.thread": _revive_threads,
    "concurrent.futures.process": _revive_processes,
    "multiprocessing.util": _revive_multiprocessing,
}

"""Own copies of extension modules, for an interpreter that has its own GIL.

An extension module keeps what it computes once in variables of its shared library, and
the loader maps a library into a process only once. Two interpreters with a GIL each
that share one library corrupt the heap, so CPython refuses the second import of a
module that was not made for it. But a library under a path and inode never seen before
is another library: loaded from a copy of its own, the module shares nothing.

The refusal is passed by for those modules alone; every other extension keeps it, and
fails with CPython's own ImportError instead of a crash.

This file runs before `tractor` can be imported, so it needs the stdlib alone.
"""

import ctypes
import os
import sys
import tempfile
from collections.abc import Iterable, Sequence
from importlib.machinery import ExtensionFileLoader, ModuleSpec, PathFinder
from importlib.util import _incompatible_extension_module_restrictions
from types import ModuleType
from typing import Any, Final

COPY_SIZE: Final = 1 << 20  # bytes read at once


class PrivateCopies:
    """A finder that loads chosen extension modules from copies of their files.

    Attributes:
        names: Full names of the modules; add to them before the import.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self.names = set(names)

    def find_spec(
        self,
        name: str,
        path: Sequence[str] | None = None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        """Called by the import system."""
        if name not in self.names:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and isinstance(spec.loader, ExtensionFileLoader):
            spec.loader = _CopyLoader(name, spec.loader.path)
        return spec

    def install(self) -> None:
        """Come before the finders that there are."""
        sys.meta_path.insert(0, self)


class _CopyLoader(ExtensionFileLoader):
    _is_complete = False

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Load a copy that exists for no longer than that."""
        copy = _copy_of(self.path)
        origin = spec.origin
        try:
            made = _init(copy, spec.name)
            if isinstance(made, ModuleType):
                self._is_complete = True
                return made
            # It only said what it consists of (PEP 489): CPython does the rest.
            spec.origin = copy
            with _incompatible_extension_module_restrictions(disable_check=True):
                return super().create_module(spec)
        finally:
            spec.origin = origin  # for tracebacks and `__file__`
            os.unlink(copy)

    def exec_module(self, module: ModuleType) -> None:
        """Finish it, where `create_module` has not done so."""
        if not self._is_complete:
            super().exec_module(module)


def _init(path: str, name: str) -> object:
    """What its init function returns: a module, or in two-phase style a definition.

    CPython would call it in the main interpreter first, where a second module came to
    be that shares the library's variables with ours, but not our GIL: the next garbage
    collection there would free objects of ours.
    """
    init = ctypes.PyDLL(path)["PyInit_" + name.rpartition(".")[2]]
    init.restype = ctypes.py_object
    made: object = init()
    if isinstance(made, ModuleType):
        made.__name__ = name
        module = ctypes.py_object(made)
        definition = ctypes.c_void_p(_api("PyModule_GetDef", ctypes.c_void_p)(module))
        if not _api("PyState_FindModule", ctypes.c_void_p)(definition):
            _api("PyState_AddModule", ctypes.c_int)(module, definition)
    return made


def _api(name: str, restype: Any) -> Any:
    function = ctypes.pythonapi[name]  # of its own, unlike an attribute
    function.restype = restype
    return function


def _copy_of(path: str) -> str:
    # The name must be new for the life of the process, in all interpreters: the loader
    # compares names first. The inode is new by itself, because the mapping holds it.
    prefix = f"tractor-{os.urandom(16).hex()}-"
    with open(path, "rb") as original:
        number, copy = tempfile.mkstemp(suffix=".so", prefix=prefix)
        with open(number, "wb") as file:
            while chunk := original.read(COPY_SIZE):
                file.write(chunk)
    return copy

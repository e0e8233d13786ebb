"""Names of a package that are loaded when somebody first asks for them.

Every child imports the package, and pays for what it imports with time and memory; few
use all of it.
"""

import sys
from collections.abc import Callable, Mapping
from importlib import import_module


def late_names(package: str, homes: Mapping[str, str]) -> Callable[[str], object]:
    """What a package has as its ``__getattr__``.

    Nothing is kept: in an interpreter that is used again its modules are loaded anew.

    Args:
        package: Its name.
        homes: The module of each name; of a module's own name, that module.
    """

    def find(name: str) -> object:
        if name == "__all__":  # for ``import *``, which finds no other late names
            return [each for each in dir(sys.modules[package]) if each[0] != "_"]
        if (home := homes.get(name)) is None:
            msg = f"module {package!r} has no attribute {name!r}"
            raise AttributeError(msg)
        if home not in sys.modules:
            # Else two threads that want a package and a module of it, both for the
            # first time, could each wait for what the other one imports.
            import_module(home.rpartition(".")[0])
        module = import_module(home)
        return module if home == f"{package}.{name}" else getattr(module, name)

    return find

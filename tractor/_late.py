"""Names of a package that are loaded when somebody first asks for them.

Every child imports the package, and pays for what it imports with time and memory; few
use all of it.
"""

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
        if (home := homes.get(name)) is None:
            msg = f"module {package!r} has no attribute {name!r}"
            raise AttributeError(msg)
        module = import_module(home)
        return module if home == f"{package}.{name}" else getattr(module, name)

    return find

"""Names of functions and classes, as text that crosses to other actors.

A `NamespacePath` says where something is; it does not carry it. Both sides need the
module. Whoever loads a path that a peer sent runs an import of the peer's choosing:
that is for the program to allow, and nothing here does it unasked.
"""

from importlib import import_module
from types import MethodType
from typing import Any, Self

_MAIN = "__main__"
_REPLAYED_MAIN = "__mp_main__"  # what a child calls the program it imported again


class NamespacePath(str):
    """``mod.path:name``, with a dotted name for what is inside a class.

    It crosses as plain text; a payload type that names `NamespacePath` makes the text
    one again. ``__mp_main__`` is written as ``__main__``, of which it is a copy.

    Raises:
        ValueError: The text has another form.
        TypeError: It is no text.
    """

    __slots__ = ()

    def __new__(cls, path: str) -> Self:
        if not isinstance(path, str):
            msg = f"a NamespacePath is made of text, not of {type(path).__name__!r}"
            raise TypeError(msg)
        module, _, name = path.partition(":")
        if not (all(module.split(".")) and _is_dotted_name(name)):
            msg = f"{path!r} is not a NamespacePath; write 'mod.path:name'"
            raise ValueError(msg)
        return super().__new__(cls, path)

    @classmethod
    def from_ref(cls, ref: object) -> Self:
        """The path at which `ref` is found.

        Args:
            ref: A function or class at the top level of a module, or inside a class.

        Raises:
            TypeError: It is an instance, or bound to one; those have no name.
            ValueError: It is a lambda, defined inside a function, or not what its name
                leads to.
        """
        module = getattr(ref, "__module__", None)
        name = getattr(ref, "__qualname__", None)
        if not (isinstance(module, str) and isinstance(name, str)):
            msg = (
                f"an instance of {type(ref).__qualname__!r} has no path; only "
                "functions and classes are found by module and name"
            )
            raise TypeError(msg)
        if isinstance(ref, MethodType) and not isinstance(ref.__self__, type):
            msg = (
                f"{name!r} is bound to an instance; refer to the function in its class"
            )
            raise TypeError(msg)
        if "<lambda>" in name or "<locals>" in name:
            kind = "a lambda" if "<lambda>" in name else "defined inside a function"
            msg = (
                f"{name!r} is {kind}; move it to the top level of an importable module"
            )
            raise ValueError(msg)
        path = cls(f"{_MAIN if module == _REPLAYED_MAIN else module}:{name}")
        if not path._leads_to(ref):
            msg = (
                f"{path} is not that object, and so nobody can find it; define it at "
                "the top level of its module under its own name"
            )
            raise ValueError(msg)
        return path

    def load_ref(self) -> Any:
        """What is there; imports the module.

        Raises:
            ImportError: There is no such module, or its import fails.
            AttributeError: Nothing of that name is in it.
        """
        module, name = self.to_tuple()
        found: Any = import_module(module)
        for part in name.split("."):
            try:
                found = getattr(found, part)
            except AttributeError as exc:
                msg = f"there is no {name!r} in module {module!r} (looked for {self})"
                raise AttributeError(msg) from exc
        return found

    def to_tuple(self) -> tuple[str, str]:
        """``("mod.path", "name")``."""
        module, _, name = self.partition(":")
        return module, name

    def _leads_to(self, ref: object) -> bool:
        try:
            found = self.load_ref()
        except (ImportError, AttributeError):
            return False
        # A method of a class is made anew by each look-up.
        return found is ref or (isinstance(ref, MethodType) and bool(found == ref))


def _is_dotted_name(text: str) -> bool:
    return all(part.isidentifier() for part in text.split("."))

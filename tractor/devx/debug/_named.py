"""Functions that are options of a tree: they cross to its actors by name."""

from typing import Any, Final

from tractor.log import get_logger
from tractor.msg import NamespacePath

log = get_logger("devx")

MAIN: Final = "__main__:"
# In a child, the program is there by this name, or not at all.
REPLAYED: Final = "__mp_main__:"


def name_of(option: str, fn: object) -> str:
    """Where other actors find it; empty where they cannot, which is an error line.

    Args:
        option: Name of the option.
        fn: Its value; `None` has no name.
    """
    if fn is None:
        return ""
    try:
        return str(NamespacePath.from_ref(fn))
    except (TypeError, ValueError) as exc:
        log.error("%s works in the root alone: %s", option, exc)
        return ""


class Named:
    """One of them, in one actor; it is looked for when it is needed.

    Args:
        option: Name of the option.
        path: Where it is; empty for nowhere.
        value: What it is, where that is known.

    Attributes:
        final: Whether all modules are there; else who looks may be early.
    """

    def __init__(self, option: str, path: str, value: Any = None) -> None:
        self.final = False
        self._option = option
        self._path = path
        self._value = value
        self._told = False

    def get(self) -> Any:
        """The function; `None` where there is none, or it cannot be found here.

        It is looked for each time until it is found: its module may be half there, and
        who imports it at the same time in another thread is waited for.
        """
        if self._value is not None or not self._path:
            return self._value
        path = self._path
        if path.startswith(MAIN):
            path = REPLAYED + path.removeprefix(MAIN)
        try:
            self._value = NamespacePath(path).load_ref()
        except Exception as exc:  # noqa: BLE001 (whatever an import raises)
            self._tell(exc)
        return self._value

    def _tell(self, exc: Exception) -> None:
        if self._told or not self.final:
            return
        self._told = True
        log.error(
            "%s=%s does not work in this actor: %r; enable its module here",
            self._option,
            self._path,
            exc,
        )

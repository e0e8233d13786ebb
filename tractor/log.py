"""Loggers, levels and the console format.

Underneath it is the stdlib's `logging`: handlers, filters and `caplog` work as
anywhere. On top come six levels, an adapter with a method for each of them, and records
that say in which actor and task they were made.

Which actor that is, a higher layer knows; it tells through `set_actor_info`. Nothing
is looked up or formatted for a level that is off.
"""

import logging
import os
import sys
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any, ClassVar, Final, TextIO

from tractor._types import Aid

TRANSPORT: Final = 5  # every frame
RUNTIME: Final = 15  # life cycle of actors, calls and contexts
DEVX: Final = 17  # debugger and diagnostics
IO: Final = 21  # connections
CANCEL: Final = 22  # who cancelled whom
PDB: Final = 500  # the debugger's own words; never filtered

DEFAULT_LEVEL: Final = "ERROR"
CUSTOM_LEVELS: Final = {
    "TRANSPORT": TRANSPORT,
    "RUNTIME": RUNTIME,
    "DEVX": DEVX,
    "IO": IO,
    "CANCEL": CANCEL,
    "PDB": PDB,
}
"""The levels that the stdlib does not have; `add_log_level` adds to them."""

LOG_FORMAT: Final = (
    "{asctime} {levelname:<9} {actor_name}@{process} {task} "
    "{filename}:{lineno} {message}"
)
DATE_FORMAT: Final = "%H:%M:%S"

_COLORS: Final = ("black", "red", "green", "yellow", "blue", "purple", "cyan", "white")
_PALETTE: Final = {
    "TRANSPORT": "cyan",
    "DEVX": "purple",
    "INFO": "green",
    "IO": "blue",
    "CANCEL": "yellow",
    "WARNING": "yellow",
    "ERROR": "red",
    "CRITICAL": "red",
}
_UNKNOWN_ACTOR: Final = {"actor_name": "-", "actor_uid": None}

type LogSpec = bool | str
"""``True``, ``"level"`` or ``"sub:level,sub2:level"``; see `parse_logspec`."""

type ActorInfo = Callable[[], Aid | None]
"""Says which actor the caller is in. Called from any thread; must not raise."""


class StackLevelAdapter(logging.LoggerAdapter[logging.Logger]):
    """A logger whose records carry `actor_name`, `actor_uid` and `task`.

    File and line of a record are those of the caller.
    """

    actor_info: ClassVar[ActorInfo | None] = None  # of this interpreter, as its actor

    def transport(self, msg: object, *args: object, **kwargs: Any) -> None:
        """Log at level 5: every frame."""
        self._log_for_caller(TRANSPORT, msg, args, kwargs)

    def runtime(self, msg: object, *args: object, **kwargs: Any) -> None:
        """Log at level 15: the life cycle of actors, calls and contexts."""
        self._log_for_caller(RUNTIME, msg, args, kwargs)

    def devx(self, msg: object, *args: object, **kwargs: Any) -> None:
        """Log at level 17: debugger and diagnostics."""
        self._log_for_caller(DEVX, msg, args, kwargs)

    def io(self, msg: object, *args: object, **kwargs: Any) -> None:
        """Log at level 21: connections."""
        self._log_for_caller(IO, msg, args, kwargs)

    def cancel(self, msg: object, *args: object, **kwargs: Any) -> None:
        """Log at level 22: who cancelled whom."""
        self._log_for_caller(CANCEL, msg, args, kwargs)

    def pdb(self, msg: object, *args: object, **kwargs: Any) -> None:
        """Log at level 500: the debugger's own words."""
        self._log_for_caller(PDB, msg, args, kwargs)

    @property
    def level(self) -> int:
        """The least level that gets through, be it its own or inherited."""
        return self.getEffectiveLevel()

    def at_least_level(self, level: int | str) -> bool:
        """Whether records of `level` get through."""
        return self.isEnabledFor(_level_number(level))

    def process(
        self, msg: object, kwargs: MutableMapping[str, Any]
    ) -> tuple[object, MutableMapping[str, Any]]:
        """Add the fields; only called for a record that will be made."""
        given: Mapping[str, object] = kwargs.get("extra") or {}
        kwargs["extra"] = {**(self.extra or {}), **_who_and_where(), **given}
        return msg, kwargs

    def _log_for_caller(
        self,
        level: int,
        msg: object,
        args: tuple[object, ...],
        kwargs: dict[str, Any],
    ) -> None:
        if self.isEnabledFor(level):
            # Two frames up: this one and the method of the level. The stdlib skips
            # its own.
            kwargs["stacklevel"] = kwargs.get("stacklevel", 1) + 2
            self.log(level, msg, *args, **kwargs)


def get_logger(
    name: str | None = None,
    pkg_name: str = "tractor",
    *,
    logger: logging.Logger | None = None,
) -> StackLevelAdapter:
    """The logger `name` below that of the package `pkg_name`.

    Args:
        name: Dotted; a leading `pkg_name` is dropped, so that ``__name__`` will do.
            Without it, the package that the calling module is in.
        pkg_name: Whose logger is the parent; ``""`` for none.
        logger: Wrap this one instead.
    """
    if logger is not None:
        return StackLevelAdapter(logger)
    if name is None:
        # The module that asks; a stack frame is what there is to know it by.
        name = sys._getframe(1).f_globals.get("__package__") or ""
    below = f"{name}.".removeprefix(f"{pkg_name}.")
    full_name = f"{pkg_name}.{below}".strip(".")
    return StackLevelAdapter(logging.getLogger(full_name))


def get_console_log(
    level: int | str | None = None,
    logger: logging.Logger | StackLevelAdapter | None = None,
    *,
    name: str = "",
    pkg_name: str = "tractor",
) -> StackLevelAdapter:
    """A logger that shows records from `level` on at stderr.

    The handler sits at the topmost logger of the package, so that a record is shown
    once however often this is called. Without `level` nothing is changed.

    Args:
        level: Name or number.
        logger: Use this one instead of the package's.
        name: See `get_logger`; empty for the logger of the package itself.
        pkg_name: See `get_logger`.
    """
    if logger is None:
        log = get_logger(name, pkg_name)
    elif isinstance(logger, StackLevelAdapter):
        log = logger
    else:
        log = StackLevelAdapter(logger)
    if level is not None:
        log.setLevel(_level_number(level))
        _show_on_console(log.logger)
    return log


def add_log_level(name: str, value: int, color: str = "white") -> None:
    """Register a level, and a method of `StackLevelAdapter` in lower case.

    Args:
        name: Of the level; the same name and value may be registered again.
        value: Its number; see `logging`.
        color: One of the eight of a terminal.

    Raises:
        ValueError: Another level has the name or the number, the method would hide
            another, or there is no such colour.
    """
    name, method = name.upper(), name.lower()
    if color not in _COLORS:
        msg = f"no colour {color!r}; there are {', '.join(_COLORS)}"
        raise ValueError(msg)
    if logging.getLevelNamesMapping().get(name, value) != value:
        msg = f"there is a level {name!r} already, with another number than {value}"
        raise ValueError(msg)
    if logging.getLevelName(value) not in (name, f"Level {value}"):
        msg = f"level {value} is called {logging.getLevelName(value)!r} already"
        raise ValueError(msg)
    if name not in CUSTOM_LEVELS:
        if hasattr(StackLevelAdapter, method):
            msg = f"level {name!r} would hide the method {method!r} of every logger"
            raise ValueError(msg)
        setattr(StackLevelAdapter, method, _level_method(value))
    logging.addLevelName(value, name)
    CUSTOM_LEVELS[name] = value
    _PALETTE[name] = color


def parse_logspec(
    logspec: LogSpec, default_level: str | None = None, pkg_name: str = "tractor"
) -> tuple[str | None, dict[str, str]]:
    """Read a log specification.

    Returns:
        Level of the package (`None` to leave it), and levels of its sub-loggers.

    Args:
        logspec: ``"info"`` is a level for all; ``"ipc:io,runtime:cancel"`` are levels
            of parts; ``True`` is the default level, ``False`` nothing at all.
        default_level: For ``True``, and for the package where only parts are given.
        pkg_name: Whose parts they are; not to be repeated in their names.

    Raises:
        ValueError: It mixes both forms, names the package, or there is no such level.
    """
    default = _level_name(default_level) if default_level is not None else None
    if logspec is False:
        return None, {}
    if logspec is True:
        return default or DEFAULT_LEVEL, {}
    if ":" not in logspec and "," not in logspec:
        return _level_name(logspec), {}
    levels: dict[str, str] = {}
    for part in logspec.split(","):
        name, colon, level = part.strip().partition(":")
        if not (name and colon):
            msg = f"log spec {logspec!r}: {part.strip()!r} is not 'part:level'"
            raise ValueError(msg)
        if pkg_name in name.split("."):
            msg = f"log spec {logspec!r}: leave {pkg_name!r} out of {name!r}"
            raise ValueError(msg)
        levels[name] = _level_name(level)
    return default, levels


def apply_logspec(
    logspec: LogSpec, default_level: str | None = None, pkg_name: str = "tractor"
) -> tuple[str | None, dict[str, StackLevelAdapter]]:
    """Set levels as `logspec` says, and show what passes them at stderr.

    Returns:
        Level of the package (`None`: left alone), and each logger that was set by the
        name that it was given by; the package's by `pkg_name`.

    Raises:
        ValueError: See `parse_logspec`.
    """
    primary, parts = parse_logspec(logspec, default_level, pkg_name)
    loggers: dict[str, StackLevelAdapter] = {}
    if primary is not None:
        loggers[pkg_name] = get_console_log(primary, pkg_name=pkg_name)
    for name, level in parts.items():
        loggers[name] = get_console_log(level, name=name, pkg_name=pkg_name)
    return primary, loggers


def get_loglevel() -> str:
    """Name of the least level that the package's logger lets through."""
    return _level_name(logging.getLogger("tractor").getEffectiveLevel())


def at_least_level(log: logging.Logger | StackLevelAdapter, level: int | str) -> bool:
    """Whether `log` lets records of `level` through."""
    return log.isEnabledFor(_level_number(level))


def set_actor_info(provider: ActorInfo | None) -> None:
    """From now on ask `provider` in which actor a record is made."""
    StackLevelAdapter.actor_info = provider and staticmethod(provider)


# -- What a record carries -------------------------------------------------------------


def _who_and_where() -> dict[str, object]:
    provider = StackLevelAdapter.actor_info
    aid = provider() if provider is not None else None
    if aid is None:
        return {**_UNKNOWN_ACTOR, "task": _task_name()}
    return {"actor_name": aid.name, "actor_uid": aid.uid, "task": _task_name()}


def _task_name() -> str:
    if "trio" not in sys.modules:
        return "-"
    import trio  # imported already; whoever does not use trio need not load it

    if not trio.lowlevel.in_trio_task():
        return "-"
    return trio.lowlevel.current_task().name


# -- Levels ----------------------------------------------------------------------------


def _level_number(level: int | str) -> int:
    if isinstance(level, int):
        return level
    known = logging.getLevelNamesMapping()
    name = level.strip().upper()
    if name in known:
        return known[name]
    if name.isdecimal():
        return int(name)
    names = ", ".join(sorted(known, key=known.__getitem__)).lower()
    msg = f"no log level {level!r}; there are {names}"
    raise ValueError(msg)


def _level_name(level: int | str) -> str:
    number = _level_number(level)
    name = logging.getLevelName(number)
    return str(number) if name.startswith("Level ") else name


def _level_method(level: int) -> Callable[..., None]:
    def log(self: StackLevelAdapter, msg: object, *args: object, **kwargs: Any) -> None:
        self._log_for_caller(level, msg, args, kwargs)

    return log


# -- The console -----------------------------------------------------------------------


class _ConsoleFormatter(logging.Formatter):
    def __init__(self) -> None:
        unknown = {**_UNKNOWN_ACTOR, "task": "-"}  # for loggers that are not ours
        super().__init__(LOG_FORMAT, DATE_FORMAT, style="{", defaults=unknown)

    def formatMessage(self, record: logging.LogRecord) -> str:
        line = super().formatMessage(record)
        if not _wants_color(sys.stderr):
            return line
        code = 30 + _COLORS.index(_PALETTE.get(record.levelname, "white"))
        colored = f"\x1b[{code}m{record.levelname}\x1b[0m"
        return line.replace(record.levelname, colored, 1)


class _ConsoleHandler(logging.StreamHandler[TextIO]):
    """Writes to what is `sys.stderr` at the time, which tests like to replace."""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)


def _show_on_console(logger: logging.Logger) -> None:
    top = logging.getLogger(logger.name.partition(".")[0])
    if not any(isinstance(handler, _ConsoleHandler) for handler in top.handlers):
        handler = _ConsoleHandler()
        handler.setFormatter(_ConsoleFormatter())
        top.addHandler(handler)


def _wants_color(stream: TextIO) -> bool:
    return not os.environ.get("NO_COLOR") and stream.isatty()


for _name, _value in CUSTOM_LEVELS.items():
    logging.addLevelName(_value, _name)

_package = logging.getLogger("tractor")
if _package.level == logging.NOTSET:  # whoever configured it before us knows better
    _package.setLevel(DEFAULT_LEVEL)

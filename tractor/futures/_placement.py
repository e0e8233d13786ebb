"""Where the tasks of a pool run, and why.

Deciding is pure: `resolve` goes through its rules in order, and the first that applies
decides. What goes in is data (what was asked, the environment, the machine), what comes
out as well, and so a decision can be looked at, logged, and tested.

1. ``TRACTOR_FORCE_FLAVOR``: what the operator forces beats the program.
2. The flavor that was asked for.
3. With ``auto``: ``TRACTOR_FLAVOR``, or that of the config.
4. I/O-bound work: threads, or where they are parallel, threads for all.
5. A pool that wants sub-interpreters, where there are some.
6. Else processes, which isolate best.

What cannot work here falls back to processes, and the reason says so.
"""

import os
import sys
import sysconfig
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from logging import INFO, Logger, getLogger
from typing import Any, Final, Literal

from msgspec import Struct, structs

from tractor._exceptions import BackendUnavailable
from tractor._instrument import hub
from tractor._types import Aid
from tractor.spawn import DEFAULT_BACKEND, available_backends, get_backend

type Flavor = Literal["auto", "threads", "processes", "interpreters", "none"]

FLAVORS: Final = ("auto", "threads", "processes", "interpreters", "none")
PREFIX: Final = "TRACTOR_"
SPAWN_METHOD: Final = "TRACTOR_SPAWN_METHOD"
TRUE: Final = ("1", "true", "yes", "on")
FALSE: Final = ("0", "false", "no", "off")

_numbers: Final = count(1)


class RuntimeConfig(Struct, frozen=True, kw_only=True):
    """What a program, or its operator, wishes for pools.

    Attributes:
        flavor: For pools that ask for ``auto``.
        force_flavor: For all pools, whatever they ask for.
        workers: How many, where a pool does not say.
        io_bound: Whether tasks wait most of the time.
        prefers_interpreters: Whether sub-interpreters are better than processes.
    """

    flavor: str = "auto"
    force_flavor: str | None = None
    workers: int | None = None
    io_bound: bool = False
    prefers_interpreters: bool = False

    def __post_init__(self) -> None:
        check_flavor(self.flavor)
        if self.force_flavor is not None:
            check_flavor(self.force_flavor)
        check_workers(self.workers)

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> "RuntimeConfig":
        """What the environment says; defaults for the rest.

        ``TRACTOR_FLAVOR``, ``TRACTOR_FORCE_FLAVOR``, ``TRACTOR_WORKERS``,
        ``TRACTOR_IO_BOUND``, ``TRACTOR_PREFERS_INTERPRETERS``.

        Raises:
            ValueError: One of them is wrong; the text names it, and what is right.
        """
        environ = os.environ if environ is None else environ
        found: dict[str, Any] = {}
        for name, read in _READERS.items():
            variable = PREFIX + name.upper()
            if text := environ.get(variable, "").strip():
                found[name] = read(variable, text)
        return cls(**found)


class Capabilities(Struct, frozen=True, kw_only=True):
    """What this interpreter and this machine can do.

    Attributes:
        python: Version, as three numbers.
        gil: Whether threads take turns.
        interpreters: Whether there are sub-interpreters with a GIL of their own.
        cpus: Processors that this process may use.
    """

    python: tuple[int, int, int]
    gil: bool
    interpreters: bool
    cpus: int

    @property
    def io_workers(self) -> int:
        """Threads for work that waits."""
        return min(max(5 * self.cpus, 4), 32)


class DecisionTrace(Struct, frozen=True, kw_only=True):
    """Where the tasks of a pool run, and why.

    Attributes:
        requested: The flavor that was asked for.
        resolved: The one that it is; ``provided`` for an executor of the user's.
        reason: The rules that decided, as words joined by ``;``.
        workers: How many there are at most.
        name: Of the pool.
        start_method: Spawn backend of its workers, where they are actors.
    """

    requested: str
    resolved: str
    reason: str
    workers: int
    name: str
    start_method: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """The same as plain data."""
        return structs.asdict(self)


def detect_capabilities() -> Capabilities:
    """Look at this interpreter and this machine."""
    enabled: Callable[[], bool] | None = getattr(sys, "_is_gil_enabled", None)
    try:
        gil = enabled() if enabled is not None else True
    except Exception:  # noqa: BLE001 (who cannot tell has one)
        gil = True
    if not sysconfig.get_config_var("Py_GIL_DISABLED"):
        gil = True
    return Capabilities(
        python=sys.version_info[:3],
        gil=gil,
        interpreters=_backend(own_process=False) is not None,
        cpus=os.process_cpu_count() or 1,
    )


def resolve(
    requested: str, config: RuntimeConfig, can: Capabilities
) -> tuple[str, str]:
    """The flavor and the reason; pure. The rules are those of the module."""
    flavor, reason = _wanted(requested, config, can)
    if flavor == "interpreters" and not can.interpreters:
        return "processes", f"{reason}; fell back: no sub-interpreters here"
    return flavor, reason


def _wanted(
    requested: str, config: RuntimeConfig, can: Capabilities
) -> tuple[str, str]:
    for wish, reason in (
        (config.force_flavor or "auto", "forced"),
        (requested, "explicit"),
        (config.flavor, "config"),
    ):
        if wish != "auto":
            return wish, reason
    if not can.gil:
        return "threads", "threads are parallel"
    if config.io_bound:
        return "threads", "io-bound"
    if config.prefers_interpreters:
        return "interpreters", "prefers interpreters"
    return "processes", "isolation"


def decide(
    *,
    flavor: str,
    workers: int | None,
    name: str | None,
    config: RuntimeConfig | None,
) -> DecisionTrace:
    """Decide for one pool, and tell those who listen.

    Raises:
        ValueError: An argument or an environment variable is out of range.
    """
    check_flavor(flavor)
    check_workers(workers)
    wish = RuntimeConfig.from_env()
    if config is not None:
        force = wish.force_flavor or config.force_flavor
        wish = structs.replace(config, force_flavor=force)
    can = detect_capabilities()
    resolved, reason = resolve(flavor, wish, can)
    count_ = workers or wish.workers
    if count_ is None:
        count_ = can.io_workers if resolved == "threads" else can.cpus
    actors = resolved in ("processes", "interpreters")
    trace = DecisionTrace(
        requested=flavor,
        resolved=resolved,
        reason=reason,
        workers=1 if resolved == "none" else count_,
        name=name or f"pool-{next(_numbers)}",
        start_method=_backend(own_process=resolved == "processes") if actors else None,
    )
    announce(trace)
    return trace


def check_flavor(flavor: str) -> None:
    """Refuse what is none.

    Raises:
        ValueError: It is none.
    """
    if flavor not in FLAVORS:
        msg = f"there is no flavor {flavor!r}; there are {', '.join(FLAVORS)}"
        raise ValueError(msg)


def check_workers(workers: int | None) -> None:
    """Refuse a number of workers that makes no sense.

    Raises:
        ValueError: It is none.
    """
    if workers is not None and workers <= 0:
        msg = "max_workers must be greater than 0"
        raise ValueError(msg)


def _backend(*, own_process: bool) -> str | None:
    """Key of the first spawn backend whose children are parallel and of that kind."""
    first = os.environ.get(SPAWN_METHOD) or DEFAULT_BACKEND
    for key in (first, *available_backends()):
        try:
            traits = get_backend(key).traits
        except (BackendUnavailable, ValueError):
            continue
        if traits.own_gil and traits.own_process == own_process:
            return key
    return None


# -- The environment -------------------------------------------------------------------


def _read_flavor(variable: str, text: str) -> str:
    if text.lower() not in FLAVORS:
        msg = f"{variable}={text!r}: there are {', '.join(FLAVORS)}"
        raise ValueError(msg)
    return text.lower()


def _read_bool(variable: str, text: str) -> bool:
    if text.lower() not in (*TRUE, *FALSE):
        msg = f"{variable}={text!r}: it is one of {', '.join((*TRUE, *FALSE))}"
        raise ValueError(msg)
    return text.lower() in TRUE


def _read_number(variable: str, text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        msg = f"{variable}={text!r}: it is a whole number, 1 or more"
        raise ValueError(msg)
    return number


_READERS: Final[dict[str, Callable[[str, str], Any]]] = {
    "flavor": _read_flavor,
    "force_flavor": _read_flavor,
    "workers": _read_number,
    "io_bound": _read_bool,
    "prefers_interpreters": _read_bool,
}


# -- Who listens -----------------------------------------------------------------------

type Listener = Callable[[DecisionTrace], object]


class _Ears:
    """The one mutable thing that belongs to the interpreter."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.listeners: tuple[Listener, ...] = ()
        self.last: DecisionTrace | None = None


_ears: Final = _Ears()


def announce(trace: DecisionTrace) -> None:
    """Tell all who listen, in the order in which they began to."""
    with _ears.lock:
        _ears.last = trace
        listeners = _ears.listeners
    if hub.active:
        hub.emit(
            "placement_decided",
            Aid(trace.name, "", os.getpid()),
            decision=trace.as_dict(),
        )
    for listener in listeners:
        try:
            listener(trace)
        except Exception:
            getLogger("tractor.futures").exception("a decision listener raised")


def add_decision_listener(listener: Listener) -> None:
    """Have ``listener(trace)`` called for each decision from now on."""
    with _ears.lock:
        _ears.listeners = (*_ears.listeners, listener)


def remove_decision_listener(listener: Listener) -> None:
    """End that; of no effect for one that does not listen."""
    with _ears.lock:
        _ears.listeners = tuple(one for one in _ears.listeners if one != listener)


@contextmanager
def observe_decisions(
    *, logger: Logger | None = None, level: int = INFO
) -> Iterator[None]:
    """Log each decision in the block, by default on ``tractor.futures``."""
    target = logger or getLogger("tractor.futures")

    def note(trace: DecisionTrace) -> None:
        target.log(
            level,
            "pool %s: %s -> %s, %d workers (%s)",
            *(trace.name, trace.requested, trace.resolved, trace.workers, trace.reason),
        )

    add_decision_listener(note)
    try:
        yield
    finally:
        remove_decision_listener(note)


def last_decision() -> DecisionTrace | None:
    """The latest decision of this interpreter, if there was one."""
    return _ears.last

"""Frozen records that every layer shares.

Nothing here does I/O, knows trio, or imports another module of the package.
"""

from typing import Any, Final, Literal

from msgspec import Struct

type Uid = tuple[str, str]
"""``(name, uuid)``: what identifies an actor; names alone need not be unique."""

type Rung = Literal["cancel", "terminate", "interrupt", "kill", "abandon"]
"""A step of the kill ladder, mildest first."""

type Outcome = Literal[
    "returned",
    "raised",
    "cancelled",
    "terminated",
    "interrupted",
    "killed",
    "abandoned",
]
"""How an actor ended."""


class Aid(Struct, frozen=True, array_like=True, eq=False, gc=False):
    """Identity of one actor.

    Attributes:
        name: Chosen by whoever started it; need not be unique.
        uuid: 32 hex digits, unique for every actor that was ever started.
        pid: Process that hosts it; `None` until the host exists.
    """

    name: str
    uuid: str
    pid: int | None = None

    @property
    def uid(self) -> Uid:
        """The unique pair ``(name, uuid)``."""
        return self.name, self.uuid

    def reprol(self) -> str:
        """``name@pid``, or ``name[uuid6]`` while there is no process."""
        where = f"@{self.pid}" if self.pid is not None else f"[{self.uuid[:6]}]"
        return f"{self.name}{where}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Aid) and self.uid == other.uid

    def __hash__(self) -> int:
        return hash(self.uid)


class ExitStatus(Struct, frozen=True, array_like=True, gc=False):
    """What a spawn backend saw of a child's end.

    Exactly one field is set for a process; neither for a child hosted by a thread,
    or one whose status could not be read.
    """

    exit_code: int | None = None
    signal: int | None = None

    @classmethod
    def from_returncode(cls, returncode: int) -> "ExitStatus":
        """From the convention of `subprocess`: a negative code is a signal."""
        if returncode < 0:
            return cls(signal=-returncode)
        return cls(exit_code=returncode)

    def __str__(self) -> str:
        if self.signal is not None:
            return f"signal {_signal_name(self.signal)}"
        if self.exit_code is not None:
            return f"exit code {self.exit_code}"
        return "no exit status"


class ExitReport(Struct, frozen=True):
    """How the ladder got rid of one child.

    Attributes:
        outcome: `cancelled`, `terminated`, `interrupted`, `killed` or `abandoned`.
        rung: The rung after which the death notice came.
        seconds: Time spent on the ladder.
        status: What the backend saw; `None` when abandoned.
    """

    outcome: Outcome
    rung: Rung
    seconds: float
    status: ExitStatus | None


NESTED_RESERVE: Final = 0.2  # seconds a child keeps for itself; docs/adr/0004


class Graces(Struct, frozen=True, kw_only=True):
    """Seconds granted to each rung of the ladder; each ≥ 0, 0 skips the wait.

    The defaults keep the stop of a whole tree under 3.5 s at any depth
    (docs/adr/0004).

    Attributes:
        ack: For the child to acknowledge a cancel request. Part of `cancel`; without
            an acknowledgement the rest of `cancel` is not waited for.
        cancel: From the cancel request to the child's end.
        terminate: From asking the backend to stop the child to its end.
        kill: From killing the child (or interrupting it, where it cannot be killed)
            to its death notice.
    """

    ack: float = 0.5
    cancel: float = 1.5
    terminate: float = 0.5
    kill: float = 1.0

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            if not getattr(self, name) >= 0:
                msg = f"grace {name!r} must be ≥ 0 seconds, not {getattr(self, name)!r}"
                raise ValueError(msg)

    @property
    def bound(self) -> float:
        """Most seconds that a ladder with these graces takes."""
        return self.cancel + self.terminate + self.kill

    def within(self, seconds: float) -> "Graces":
        """Graces for a ladder whose owner is itself cut off after `seconds`.

        Nothing changes where there is time enough. Otherwise the owner keeps a
        reserve to say goodbye in, the rungs that need no cooperation get a quarter
        of the rest, and cooperation gets what remains: a parent's bound always
        exceeds its children's.
        """
        if self.bound + NESTED_RESERVE <= seconds:
            return self
        seconds = max(seconds, 0.0)
        usable = seconds - min(NESTED_RESERVE, seconds / 4)
        tail = min(usable / 8, self.terminate)
        cancel = min(usable - 2 * tail, self.cancel)
        return Graces(
            ack=min(self.ack, cancel / 2),
            cancel=cancel,
            terminate=tail,
            kill=min(tail, self.kill),
        )


class ErrorInfo(Struct, frozen=True, array_like=True):
    """An exception as data: text and builtins, never an object.

    Attributes:
        type_path: ``module:QualName`` of the exception that was sent.
        message: Its text; safe and cut to a bounded length.
        tb_str: Its formatted traceback.
        src_type_path: ``module:QualName`` of the exception where it first arose.
        src_uid: Actor in which it first arose.
        relay_path: Actors that it passed through, the source first.
        args: msgpack of ``exc.args``, with what is not made of builtins as text.
        attrs: Attributes made of builtins (``errno`` and its like).
        members: Members of an exception group, in order; else `None`.
        omitted: How many more members there were than are sent.
        canceller: Who asked, when this is a cancellation; else `None`.
        notes: ``exc.__notes__``.
    """

    type_path: str
    message: str
    tb_str: str
    src_type_path: str
    src_uid: Uid
    relay_path: list[Uid]
    args: bytes = b"\x90"
    attrs: dict[str, Any] = {}
    members: "list[ErrorInfo] | None" = None
    omitted: int = 0
    canceller: Uid | None = None
    notes: list[str] = []


def _signal_name(number: int) -> str:
    # Local: `signal` builds three enums, and only an error message needs them here.
    from signal import Signals

    try:
        return Signals(number).name
    except ValueError:
        return str(number)

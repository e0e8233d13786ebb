"""One record per kind of message, and nothing else.

A record travels as a msgpack array whose first element is its integer tag. Values of
users stay `msgspec.Raw` inside the envelope: whoever owns the dialogue decodes them
with its own types, and a bad payload is that dialogue's problem and nobody else's.

A *dialogue* is one call or context; ``cid`` numbers it on its channel. Whoever made
the channel opens even ones, the other side odd ones, so the two never collide.
"""

from typing import Any, Final

from msgspec import Raw, Struct

from tractor._types import Aid, ErrorInfo, Graces, Uid

PROTOCOL_VERSION: Final = 3
"""Changes with every change of a record; peers of different versions do not talk."""

MAX_FRAME: Final = 16 * 1024 * 1024  # bytes; architecture §5

EMPTY: Final = Raw(b"\xc0")  # msgpack nil


class RuntimeVars(Struct, frozen=True, kw_only=True):
    """What an actor hands on to every actor below it.

    Attributes:
        root: Identity of the tree's root.
        start_method: Key of the spawn backend that children get by default.
        registry_addrs: Where the tree looks for registrars.
        enable_transports: Transports that its listeners may use.
        loglevel: Level of the `tractor` logger; `None` leaves it alone.
        debug_mode: Whether a crash opens a REPL.
        debug_desk: Where the terminal is asked for; empty where there is no debugger.
        debug_greenback: Whether sync code may wait for it while the loop runs on.
        debug_filter: Where the function is that says which errors are worth a REPL.
        repl_fixture: Where the one is that is entered around a REPL.
        debug_hide_tb: Whether a REPL leaves out frames of ours.
        graces: Seconds for each rung of the ladder.
        max_frame: Largest message in bytes.
        boot_timeout: Seconds from spawn to ready.
        max_children: Most children that one actor has at once; `None` for any number.
        max_depth: Most levels below the root; `None` for any number.
        common_modules: Every actor serves these, beside its own.
    """

    root: Aid
    start_method: str
    registry_addrs: tuple[str, ...] = ()
    enable_transports: tuple[str, ...] = ("uds",)
    loglevel: str | None = None
    debug_mode: bool = False
    debug_desk: str = ""
    debug_greenback: bool = False
    debug_filter: str = ""
    repl_fixture: str = ""
    debug_hide_tb: bool = True
    graces: Graces = Graces()
    max_frame: int = MAX_FRAME
    boot_timeout: float = 20.0
    max_children: int | None = None
    max_depth: int | None = None
    common_modules: tuple[str, ...] = ()


class MainModule(Struct, frozen=True, array_like=True):
    """How a child finds the program's ``__main__`` again: by name or by path.

    Paths and arguments of the system travel as bytes: they need not be UTF-8.
    """

    name: str | None
    path: bytes | None


class NetworkVars(Struct, frozen=True, array_like=True):
    """What an actor needs to be found and to find others; never shown to anybody.

    Attributes:
        secret: Proves that it is of the tree.
        folder: Of the tree's sockets; `None` when it has none.
        registrar: The tree's own registrar, or whom the registry address led to.
    """

    secret: bytes
    folder: bytes | None
    registrar: Uid | None

    def __repr__(self) -> str:
        return "<NetworkVars>"  # it gets into logs

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return []


class Record(Struct, frozen=True, array_like=True, gc=False):
    """Base of everything that travels over a channel."""


class SpawnSpec(Record, frozen=True, tag=0):
    """Parent to child, first: who you are and what you need."""

    version: int
    aid: Aid
    parent: Aid
    runtime_vars: RuntimeVars
    enable_modules: list[str]
    main: MainModule | None
    sys_path: list[bytes]
    argv: list[bytes]
    depth: int = 1  # the root's is 0
    network: NetworkVars | None = None
    infect_asyncio: bool = False


class Stage(Record, frozen=True, tag=1):
    """Child to parent while it boots: how far it came (docs/adr/0003)."""

    name: str


class Ready(Record, frozen=True, tag=2):
    """Child to parent: modules are imported, calls are welcome."""

    pid: int


class BootError(Record, frozen=True, tag=3):
    """Child to parent instead of `Ready`."""

    stage: str
    error: ErrorInfo


class Start(Record, frozen=True, tag=4):
    """Caller to callee: run this function; opens a dialogue.

    ``params`` is the pair of positional and keyword arguments, ``kind`` one of the
    constants below: what the caller takes the function for.
    """

    cid: int
    ns: str
    func: str
    params: Raw
    kind: int = 0


CALL: Final = 0  # an async function
CONTEXT: Final = 1  # one decorated with `tractor.context`
GENERATOR: Final = 2  # an async generator


class Started(Record, frozen=True, tag=5):
    """Callee to caller: the context has begun; its first value."""

    cid: int
    pld: Raw


class Yield(Record, frozen=True, tag=6):
    """Either way: one item of the stream."""

    cid: int
    pld: Raw


class Stop(Record, frozen=True, tag=7):
    """Either way: no more items from this side; ``how`` is one of the constants below.

    What an exception ended is in doubt: usually the outcome of that side follows at
    once and says more, and a second `Stop` tells that the exception was dealt with.
    """

    cid: int
    how: int = 0


CLOSED: Final = 0  # and none are wanted
IN_DOUBT: Final = 1  # likewise
HALF_CLOSED: Final = 2  # those of the other side still are, or are no trouble


class Return(Record, frozen=True, tag=8):
    """Callee to caller: the result; ends the dialogue."""

    cid: int
    pld: Raw


class Error(Record, frozen=True, tag=9):
    """Callee to caller: it raised, or was cancelled; ends the dialogue."""

    cid: int
    error: ErrorInfo


class Cancel(Record, frozen=True, tag=10):
    """Caller to callee: stop; you are cut off after `seconds`.

    ``error`` is what made the caller leave, when it was an error.
    """

    cid: int
    canceller: Uid
    seconds: float
    error: ErrorInfo | None = None


class CancelAck(Record, frozen=True, tag=11):
    """The other way: the request arrived and the cancel scope is cancelled.

    ``cid`` is `None` when the whole actor was asked to stop.
    """

    cid: int | None


class CancelActor(Record, frozen=True, tag=12):
    """Stop the whole actor; it is cut off after `seconds`."""

    canceller: Uid
    seconds: float


class Credit(Record, frozen=True, tag=13):
    """Either way: `count` more items may be sent."""

    cid: int
    count: int


class Ping(Record, frozen=True, tag=14):
    """Are you there? Answered by the channel's reader itself."""

    token: int


class Pong(Record, frozen=True, tag=15):
    """Yes."""

    token: int


class Bye(Record, frozen=True, tag=16):
    """The last record of an orderly end, with the error of the actor's own clean-up."""

    error: ErrorInfo | None = None


class Greet(Record, frozen=True, tag=17):
    """Either way, the first on a channel between two that are not parent and child.

    Attributes:
        aid: Who is speaking.
        born: Unix time at which it became an actor.
        max_frame: Largest record that it takes, in bytes.
        member: Whether a registrar at the other side is to list it while the channel
            lasts.
    """

    aid: Aid
    born: float
    max_frame: int
    member: bool = False


type AnyRecord = (
    SpawnSpec
    | Stage
    | Ready
    | BootError
    | Start
    | Started
    | Yield
    | Stop
    | Return
    | Error
    | Cancel
    | CancelAck
    | CancelActor
    | Credit
    | Ping
    | Pong
    | Bye
    | Greet
)


def as_dict(record: Struct) -> dict[str, Any]:
    """Fields of a record, for logs and tests."""
    return {name: getattr(record, name) for name in record.__struct_fields__}

"""Every error class of the package.

The name of an error says whose fault it was. Errors carry plain data, survive pickling,
and say what happened, to whom, and what to try.
"""

from collections.abc import Callable
from typing import Any

from tractor._types import Aid, ErrorInfo, ExitReport, ExitStatus, Uid


class TractorError(Exception):
    """Base of every error that this package defines."""

    def __reduce__(self) -> tuple[Any, ...]:
        # Constructors take plain data by keyword; pickling goes around them.
        return _rebuild, (type(self), self.args), self.__dict__.copy()


def _rebuild(cls: type[TractorError], args: tuple[Any, ...]) -> TractorError:
    error = cls.__new__(cls)
    error.args = args
    return error


# -- The runtime itself ----------------------------------------------------------------


class RuntimeFailure(TractorError, RuntimeError):
    """The runtime cannot do what was asked, for example boot twice.

    Raised by `open_root_actor` and `open_nursery`.
    """


class RuntimeDirError(RuntimeFailure):
    """No folder here is safe for what actors of one user share; the text tells why."""


class NoRuntime(TractorError, RuntimeError):
    """Raised by `current_actor` and its kin where no runtime is running."""


class InternalError(TractorError, RuntimeError):
    """An invariant of this package does not hold; please report it."""


class NoResult(TractorError, RuntimeError):
    """Raised by `Portal.wait_for_result` when no main task was started there."""


class ActorTooSlowError(RuntimeFailure):
    """Raised by `Portal.cancel_actor` when no acknowledgement came in time."""


# -- Starting and ending children ------------------------------------------------------


class NameTaken(RuntimeFailure):
    """An actor of that name runs already.

    Raised by `ActorNursery.start_actor(unique=True)`.
    """


class BackendUnavailable(TractorError, RuntimeError):
    """A spawn backend cannot work here; the text names what is missing.

    Raised by `open_root_actor(start_method=)` and `start_actor(start_method=)`.
    """


class SpawnError(TractorError):
    """A child did not become ready; nothing of it is left.

    Raised by `ActorNursery.start_actor` and `run_in_actor`. An error that the child
    raised while it booted is the ``__cause__``.

    Attributes:
        aid: The actor that should have been.
        stage: How far it came: ``start``, ``connect``, ``import`` or ``ready``.
        status: What the backend saw of the child's end.
        stderr_tail: The last 16 KiB that it wrote to stderr.
    """

    def __init__(
        self,
        message: str,
        *,
        aid: Aid,
        stage: str,
        status: ExitStatus | None = None,
        stderr_tail: str = "",
    ) -> None:
        super().__init__(_with_stderr(message, stderr_tail))
        self.aid = aid
        self.stage = stage
        self.status = status
        self.stderr_tail = stderr_tail


class SpawnTimeout(SpawnError):
    """A child was alive but not ready within the boot time-out, and was killed."""


class Interrupted(BaseException):
    """Raised in an actor in a sub-interpreter that did not stop when it was told to.

    It can come at any line. No Exception, so that loops which swallow those end too.
    """


class ActorAbandoned(TractorError):
    """No rung of the ladder ended a child; it is on the list of orphans.

    Raised at the exit of the nursery that owned it.

    Attributes:
        aid: The actor that is still there.
        report: What the ladder tried.
    """

    def __init__(self, message: str, *, aid: Aid, report: ExitReport) -> None:
        super().__init__(message)
        self.aid = aid
        self.report = report


class RestartLimitReached(TractorError):
    """A supervised actor failed too often; its last error is the ``__cause__``.

    Raised at the exit of `open_supervisor`.

    Attributes:
        name: Of the child.
    """

    def __init__(self, message: str, *, name: str) -> None:
        super().__init__(message)
        self.name = name


# -- Channels --------------------------------------------------------------------------


class TransportClosed(TractorError):
    """The channel ended in an orderly way, or by our own doing.

    Raised by every call on a portal whose channel is closed.
    """


class TransportBroken(TransportClosed):
    """The connection failed underneath the channel (reset, broken pipe)."""


class ActorUnreachable(TransportClosed):
    """Nobody answers where an actor is said to be.

    Raised by `find_actor`, `wait_for_actor` and `get_registry`.
    """


class RegistrarUnavailable(TransportClosed):
    """No registrar answers, so nobody can say where actors are.

    Raised by `find_actor`, `query_actor`, `wait_for_actor` and `get_registry`. Calls,
    contexts and streams that are open go on.
    """


class AddressInUse(TractorError):
    """Somebody else listens there, or is about to; raised where an actor would."""


class AuthenticationFailed(TransportClosed):
    """Nobody who knows our secret is at the other end of a connection to a listener."""


class ForeignProtocol(AuthenticationFailed):
    """The other end of a connection to a listener is no actor at all."""


class VersionMismatch(AuthenticationFailed):
    """The other end of a connection to a listener is of another version than ours."""


class ActorDied(TransportClosed):
    """The peer is gone without having said goodbye.

    Raised by everything that waits for it, and at the exit of the nursery that owned
    it.

    Attributes:
        aid: The dead actor.
        status: What the backend saw; `None` when only the link's end was seen.
        stderr_tail: The last 16 KiB that it wrote to stderr.
    """

    def __init__(
        self, *, aid: Aid, status: ExitStatus | None = None, stderr_tail: str = ""
    ) -> None:
        how = str(status) if status is not None else "its link closed"
        message = f"actor {aid.reprol()!r} died unexpectedly: {how}"
        super().__init__(_with_stderr(message, stderr_tail))
        self.aid = aid
        self.status = status
        self.stderr_tail = stderr_tail

    @property
    def pid(self) -> int | None:
        """Process that hosted it."""
        return self.aid.pid

    @property
    def signal(self) -> int | None:
        """Signal that ended it, if one did."""
        return self.status.signal if self.status is not None else None

    @property
    def exit_code(self) -> int | None:
        """Its exit code, if it ended by itself."""
        return self.status.exit_code if self.status is not None else None


class FrameTooLarge(TractorError, ValueError):
    """A message exceeds ``max_frame`` bytes; raised by its sender, nothing was sent."""

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(
            f"a message of {size} bytes exceeds max_frame={limit}; send it in pieces "
            "over a stream, or raise max_frame in open_root_actor()"
        )
        self.size = size
        self.limit = limit


class LocalProtocolError(TractorError):
    """We would have broken the protocol; nothing was sent."""


class RemoteProtocolError(TractorError):
    """The peer broke the protocol; its channel is closed."""


# -- Errors from the other side --------------------------------------------------------


class RemoteTraceback(Exception):
    """The traceback of a remote error, as text; found as its ``__cause__``."""

    def __init__(self, tb_str: str) -> None:
        super().__init__(tb_str)
        self.tb_str = tb_str

    def __str__(self) -> str:
        return f"\n{self.tb_str}"


class RemoteActorError(TractorError):
    """A task in another actor raised.

    Raised by every call into that task. `unwrap` rebuilds the original.

    Attributes:
        info: The error as data.
        boxed_type: Class of the exception that the peer sent, or `None` where it is
            not known here (see `tractor.msg.reg_err_types`).
        src_type: Class of the exception where it first arose, or `None`.
    """

    def __init__(
        self,
        info: ErrorInfo,
        *,
        boxed_type: type[BaseException] | None,
        src_type: type[BaseException] | None,
    ) -> None:
        super().__init__(info.message)
        self.info = info
        self.boxed_type = boxed_type
        self.src_type = src_type
        self.__cause__ = RemoteTraceback(info.tb_str)

    @property
    def message(self) -> str:
        """Text of the remote error."""
        return self.info.message

    @property
    def boxed_type_str(self) -> str:
        """Name of the class that the peer sent, also when it is not known here."""
        return _class_name(self.info.type_path)

    @property
    def src_type_str(self) -> str:
        """Name of the class of the first error."""
        return _class_name(self.info.src_type_path)

    @property
    def src_uid(self) -> Uid:
        """Actor in which it first arose."""
        return self.info.src_uid

    @property
    def relay_path(self) -> list[Uid]:
        """Actors that it passed through, the source first."""
        return self.info.relay_path

    @property
    def relay_uid(self) -> Uid:
        """Actor that sent it to us."""
        return self.info.relay_path[-1]

    sender = relay_uid

    @property
    def tb_str(self) -> str:
        """The remote traceback."""
        return self.info.tb_str

    def is_inception(self) -> bool:
        """Whether the peer itself only relayed it."""
        return len(self.info.relay_path) > 1

    def unwrap(self) -> BaseException:
        """The first error, rebuilt with its arguments, attributes and members.

        Raises:
            RuntimeError: The class is not known here; register it with
                `tractor.msg.reg_err_types`.
        """
        if self._rebuilt is None and self._rebuilder is not None:
            self._rebuilt = self._rebuilder()
        if self._rebuilt is None:
            msg = (
                f"{self.src_type_str!r} from {self.src_uid[0]!r} cannot be rebuilt "
                "here; register its class with tractor.msg.reg_err_types()"
            )
            raise RuntimeError(msg)
        return self._rebuilt

    _rebuilder: Callable[[], BaseException | None] | None = None  # msg.unbox sets it
    _rebuilt: BaseException | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        # Not the rebuilt error, which may be of a class that cannot be pickled.
        cls, args, state = super().__reduce__()
        return cls, args, {k: v for k, v in state.items() if k != "_rebuilt"}

    def __setstate__(self, state: dict[str, Any] | None) -> None:
        super().__setstate__(state)
        self.__cause__ = RemoteTraceback(self.info.tb_str)

    def __str__(self) -> str:
        name = self.src_type_str
        head = f"{name}: {self.message}" if self.message else name
        hops = " via ".join(name for name, _ in self.relay_path)
        return f"{head} [from actor {hops}]"


class ContextCancelled(RemoteActorError):
    """A remote task was cancelled by request.

    Attributes:
        canceller: uid of the actor that asked; `None` when not known.
    """

    @property
    def canceller(self) -> Uid | None:
        """The uid of whoever asked."""
        return self.info.canceller


class MsgTypeError(TractorError, TypeError):
    """A payload cannot be encoded, or does not fit its type.

    Raised on the side that made it, before anything is sent, and as the
    `RemoteActorError.boxed_type` on the other.
    """


class ModuleNotExposed(TractorError, ModuleNotFoundError):
    """A function was asked for that the callee does not expose.

    Seen as the `RemoteActorError.boxed_type` of a call.
    """


def _class_name(type_path: str) -> str:
    return type_path.partition(":")[2].rpartition(".")[2]


def _with_stderr(message: str, tail: str) -> str:
    if not tail:
        return message
    return f"{message}\n--- its last words on stderr ---\n{tail.rstrip()}"

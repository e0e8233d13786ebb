"""What the end of a child means, in words: why it never ran, and how it failed."""

from collections.abc import Iterable

from msgspec import Struct

from tractor._exceptions import (
    ActorAbandoned,
    ContextCancelled,
    SpawnError,
    SpawnTimeout,
    TransportClosed,
)
from tractor._types import Aid, ExitReport, ExitStatus, Uid
from tractor.msg import types as t
from tractor.msg import unbox


class FailedBoot(Struct, frozen=True, kw_only=True):
    """What is known of a boot, once there is nothing left of the child.

    Attributes:
        aid: Whose.
        stage: How far it got.
        record: What the child said of it at last.
        timeout: Seconds that it had, if it took longer.
        stopped: Whether it was stopped.
        abandoned: Whether it could not be stopped.
        status: How it ended.
        link_error: Why its link ended.
        stderr_tail: What it wrote last.
    """

    aid: Aid
    stage: str
    record: t.Ready | t.BootError | None
    timeout: float | None
    stopped: bool
    abandoned: bool
    status: ExitStatus | None
    link_error: object
    stderr_tail: str

    def error(self) -> SpawnError:
        """What `start_actor` raises."""
        if isinstance(self.record, t.BootError):
            cause = unbox(self.record.error)
            return self.caused_by(cause, f"failed in its stage {self.stage!r}")
        if self.timeout is not None:
            return self._error(
                f"was not ready within boot_timeout={self.timeout} s and was stopped; "
                f"it hung in its stage {self.stage!r}",
                SpawnTimeout,
            )
        if self.stopped:
            return self._error(f"was stopped in its stage {self.stage!r}")
        how = self.status if self.status is not None else self.link_error
        return self._error(f"ended in its stage {self.stage!r}: {how}")

    def caused_by(self, cause: Exception, what: str) -> SpawnError:
        """The same, for an error that is known."""
        error = self._error(f"{what}: {cause}")
        error.__cause__ = cause
        return error

    def _error(self, what: str, cls: type[SpawnError] = SpawnError) -> SpawnError:
        if self.abandoned:
            what += "; it cannot be stopped and was left behind"
        return cls(
            f"actor {self.aid.reprol()!r} {what}",
            aid=self.aid,
            stage=self.stage,
            status=self.status,
            stderr_tail=self.stderr_tail,
        )


def crashed_when_asked(report: ExitReport | None, status: ExitStatus | None) -> bool:
    """Whether a child died of something else, although it was asked and no more."""
    only_asked = report is None or report.rung == "cancel"
    return only_asked and bool(status and (status.signal or status.exit_code))


def own_error(main: Exception | None, canceller: Uid) -> Exception | None:
    """The main task's error, unless `canceller` stopped it.

    That its actor is gone is no error of its own.
    """
    if isinstance(main, ContextCancelled):
        return None if main.canceller == canceller else main
    return None if isinstance(main, TransportClosed) else main


def left_behind(aid: Aid, report: ExitReport | None) -> ActorAbandoned | None:
    """The error for a child that could not be stopped, if this is one."""
    if report is None or report.outcome != "abandoned":
        return None
    msg = f"actor {aid.reprol()!r} cannot be stopped and was left behind"
    return ActorAbandoned(msg, aid=aid, report=report)


def as_one(aid: Aid, errors: Iterable[Exception | None]) -> Exception | None:
    """All that its nursery has to raise for one child."""
    found = [error for error in errors if error is not None]
    if len(found) > 1:
        return ExceptionGroup(f"actor {aid.reprol()!r} failed more than once", found)
    return found[0] if found else None

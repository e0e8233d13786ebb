"""Tasks that serve one call after another.

To start and end a task, and to enter and leave a cancel scope, would be most of what a
short call costs. So a task that has served one waits for the next, inside its scope.
Nobody can tell: each call has context variables of its own, and a scope that was
cancelled serves no other one. Where a call leaves something on its task (a nursery, a
cancel scope, a lock that it holds), the task ends with it, so that trio settles what
hangs on it.
"""

import sys
from collections.abc import Awaitable, Callable
from contextvars import Context
from types import TracebackType
from typing import Any, Final

import trio
from outcome import Value

IDLE: Final = "waits for a call"  # name of a task
MOST_IDLE: Final = 64  # tasks; as many calls as are served at once in a rush

# There is no public way to what is left on a task; a test pins these. Where trio does
# not show them any more, every call has a task of its own.
_STATUS: Final = "_cancel_status"
_HOLDERS: Any = getattr(
    sys.modules.get("trio._core._parking_lot"), "GLOBAL_PARKING_LOT_BREAKER", None
)


class KeptScope:
    """A cancel scope that stays entered from one call to the next.

    A context manager that gives a scope in which nobody was cancelled; it is left, and
    handles what is raised, as trio's own, unless all is well.
    """

    __slots__ = ("_outside", "_scope", "_status", "_task")

    def __init__(self) -> None:
        self._task = trio.lowlevel.current_task()
        self._outside = self._status = getattr(self._task, _STATUS, None)
        self._scope: trio.CancelScope | None = None  # entered

    def __enter__(self) -> trio.CancelScope:
        if self._scope is None:
            scope = trio.CancelScope()
            self._scope = scope.__enter__()
            self._status = getattr(self._task, _STATUS, None)
        return self._scope

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        scope = self._scope
        assert scope is not None
        if exc is None and not scope.cancel_called:
            status = getattr(self._task, _STATUS, None)
            if status is self._status and status is not None:
                return None  # no other scope was left open in it
        self._scope, self._status = None, self._outside
        return scope.__exit__(kind, exc, traceback)

    @property
    def reusable(self) -> bool:
        """Whether the last call has left nothing on the task."""
        task = self._task
        status = getattr(task, _STATUS, None)
        return (
            status is self._status
            and not task.child_nurseries
            and _HOLDERS is not None
            and task not in _HOLDERS
        )

    def leave(self) -> None:
        """Leave it in any case."""
        if self._scope is not None:
            self._scope.__exit__(*sys.exc_info())


type Job = Callable[[KeptScope], Awaitable[None]]


class Workers:
    """The tasks of one actor that serve calls.

    Args:
        spawn: Starts a task; it never gets the context variables of the caller.
    """

    def __init__(self, spawn: Callable[..., None]) -> None:
        self._spawn = spawn
        self._idle: dict[trio.lowlevel.Task, None] = {}  # the last one serves first

    def run(self, job: Job, context: Context, *, name: str) -> None:
        """Run `job(scope)`, which must not raise, in a task.

        Args:
            job: Serves one call, within the scope that it is given.
            context: Its context variables; it gets a copy.
            name: Of the task, if it has to be started.
        """
        while self._idle:
            task, _ = self._idle.popitem()
            # Else somebody who knew it from an earlier call has woken it meanwhile.
            if task.custom_sleep_data is self:
                task.context = context.copy()
                trio.lowlevel.reschedule(task, Value(job))
                return
        self._spawn(self._work, job, context, name=name)

    async def _work(self, job: Job | None, context: Context) -> None:
        task = trio.lowlevel.current_task()

        def abort(_: Any) -> trio.lowlevel.Abort:
            del self._idle[task]
            return trio.lowlevel.Abort.SUCCEEDED

        scope = KeptScope()
        try:
            while job is not None:
                await job(scope)
                job = None  # hold nothing of the call, nor of who made it
                if len(self._idle) < MOST_IDLE and scope.reusable:
                    task.name, task.context = IDLE, context
                    task.custom_sleep_data = self
                    self._idle[task] = None
                    job = await trio.lowlevel.wait_task_rescheduled(abort)
        finally:
            self._idle.pop(task, None)  # one that is woken by others, or interrupted
            if not isinstance(sys.exception(), GeneratorExit):  # else trio is gone
                scope.leave()
                _abandon_nurseries(task)


def _abandon_nurseries(task: trio.lowlevel.Task) -> None:
    """Cancel what a call has left open; at the end of its task it would end the actor.

    Its caller has the error. Most often it is a nursery in an async generator that is
    not read to its end, and that is closed later, by another task.
    """
    # No public way, either; a test pins this one.
    left: list[Any] = getattr(task, "_child_nurseries", [])
    for nursery in left:
        nursery.cancel_scope.cancel(reason="the call that opened it has ended")
        nursery._closed = True  # takes no more tasks, and nobody waits for its own
    left.clear()

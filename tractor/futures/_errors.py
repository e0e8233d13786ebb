"""Errors of pools and of their tasks."""

from concurrent.futures import BrokenExecutor


class BrokenPool(BrokenExecutor):
    """The pool can run nothing any more; raised by `submit`, and by what was queued.

    A worker did not start, or its initializer failed; that error is the ``__cause__``.
    """


class WorkerDied(BrokenPool):
    """The worker that ran a task is gone, and so is the task; the pool goes on.

    What the runtime saw of the death, `tractor.ActorDied` say, is the ``__cause__``.
    """


class PayloadError(BrokenPool):
    """What arrived for a task, or from it, could not be read; the pool goes on.

    The error of the serializer is the ``__cause__``.
    """


class TaskTimeout(TimeoutError):
    """A task ran for longer than its limit, and was stopped; the pool goes on."""


class NestedWait(RuntimeError):
    """A wait that could never end: a worker, or the loop, would wait for itself."""

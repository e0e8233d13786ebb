"""Watching a pool: who failed, how far it is, whether it moves."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, Protocol, TextIO

from tractor._exceptions import TractorError
from tractor.futures._engine import Engine, OnError
from tractor.futures._errors import NestedWait
from tractor.futures._future import Future

BAR: Final = 30  # characters
PERIOD: Final = 0.1  # seconds between two looks
_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}

type Progress = dict[str, Any]
"""``total``, ``completed``, ``failed``, ``cancelled``, ``running``, ``queued``;
``workers`` (name, idle, task, queue_depth), ``tasks`` that have not ended and
``errors``: plain data, and a copy."""


class TasksFailed(TractorError, ExceptionGroup[Exception]):
    """Tasks of a pool failed; its members are their errors, and its text names them.

    Raised by `wait_all(raise_on_error=True)`.
    """

    def __new__(cls, message: str, errors: list[Exception]) -> "TasksFailed":
        return super().__new__(cls, message, errors)

    def __str__(self) -> str:
        return str(self.message)

    def derive(self, excs: Any) -> Any:
        """A part of it."""
        return TasksFailed(self.message, list(excs))

    def __reduce__(self) -> tuple[Any, ...]:
        return TasksFailed, (self.message, list(self.exceptions))


class Watched(Protocol):
    """What has progress: a pool or an executor."""

    def progress(self) -> Progress:
        """How far it is."""
        ...


class Watch:
    """One pool under observation; from any thread."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def wait_all(self, *, raise_on_error: bool) -> None:
        """See `Executor.wait_all`."""
        engine = self._engine
        left = self.unsettled()
        if left and (why := engine.why_not_wait()):
            raise NestedWait(why)

        def are_done() -> bool:
            while left and left[-1].done():
                left.pop()
            return not left

        with engine.changed:
            engine.changed.wait_for(are_done)
        if raise_on_error:
            self.raise_failed()

    def unsettled(self) -> list[Future[Any]]:
        """What there is to wait for."""
        with self._engine.lock:
            return list(self._engine.unsettled.values())

    def raise_failed(self) -> None:
        """Raise the errors of what failed, if anything did.

        Raises:
            TasksFailed: Something did.
        """
        failed = [one for one in self.failed() if one.done()]
        if not failed:
            return
        found = [(one.name, one.exception(0)) for one in failed]
        lines = [f"{name}: {_text(error)}" for name, error in found]
        text = "\n".join([f"{len(failed)} task(s) failed:", *lines])
        raise TasksFailed(text, [_plain(error) for _, error in found])

    def failed(self) -> list[Future[Any]]:
        """See `Executor.failed`."""
        with self._engine.lock:
            return list(self._engine.failures)

    def clear_failed(self) -> None:
        """See `Executor.clear_failed`."""
        with self._engine.lock:
            self._engine.failures.clear()

    def on_error(self, call: OnError | None) -> None:
        """See `Executor.on_error`."""
        self._engine.on_error = call

    def is_responsive(self, timeout: float) -> bool:
        """Whether not all workers are stuck."""
        engine = self._engine
        with engine.lock:
            if engine.broken is not None or engine.closed:
                return False
            if len(engine.placed) < engine.setup.workers:
                return True
            now = time.perf_counter()
            began = max(one.placed_at or now for one in engine.placed.values())
            quiet = time.monotonic() - engine.last_end
        return min(now - began, quiet) < timeout

    def progress(self) -> Progress:
        """See `Executor.progress`."""
        engine = self._engine
        with engine.lock:
            counts = dict(engine.counts)
            placed = list(engine.placed.values())
            queued = [one for one in engine.pending if one.state == "queued"]
            errors = [(one.task_id, one) for one in engine.failures]
            names = engine.workers()
        by_worker: dict[str, list[Future[Any]]] = {name: [] for name in names}
        for one in placed:
            by_worker.setdefault(one.worker or "", []).append(one)
        return {
            "total": sum(counts.values()),
            "completed": counts["done"],
            "failed": counts["failed"],
            "cancelled": counts["cancelled"],
            "running": counts["placed"],
            "queued": counts["queued"],
            "workers": [
                {
                    "id": name,
                    "idle": not has,
                    "task": has[0].name if has else "",
                    "queue_depth": max(0, len(has) - 1),
                }
                for name, has in by_worker.items()
            ],
            "tasks": [_as_dict(one) for one in (*placed, *queued)],
            "errors": [
                {"task_id": number, "message": _message(one)} for number, one in errors
            ],
        }


class Watching:
    """What a pool and an executor tell alike."""

    _watch: Watch

    def failed(self) -> list[Future[Any]]:
        """The futures that failed since `clear_failed`, the last thousand of them."""
        return self._watch.failed()

    def clear_failed(self) -> None:
        """Forget them."""
        self._watch.clear_failed()

    def on_error(self, call: OnError | None) -> None:
        """Have ``call(future, error)`` called for each failure; `None` ends that."""
        self._watch.on_error(call)

    def progress(self) -> Progress:
        """How far it is, as plain data."""
        return self._watch.progress()


def seconds_of(duration: float | str) -> float:
    """A duration: seconds, or a text such as ``"30s"``, ``"5m"``, ``"200ms"``.

    Raises:
        ValueError: It is none, or not > 0.
    """
    seconds = 0.0
    if isinstance(duration, str):
        number = duration.strip().rstrip("hms")
        unit = duration.strip()[len(number) :] or "s"
        try:
            seconds = float(number) * _UNITS[unit]
        except (ValueError, KeyError):
            seconds = 0.0
    else:
        seconds = float(duration)
    if not seconds > 0:
        msg = f"a duration is a number of seconds > 0, or '30s', '5m': {duration!r}"
        raise ValueError(msg)
    return seconds


@contextmanager
def progress_bar(watched: Watched, *, file: TextIO | None = None) -> Iterator[None]:
    """Show on `file`, stderr by default, how far a pool is, during the block.

    With `rich` if it is installed and `file` is a terminal; else one line of text
    that is written again, or, where nobody looks, only at the end.
    """
    import threading

    target = file or sys.stderr
    live = target.isatty() and "NO_COLOR" not in os.environ
    over = threading.Event()
    show = _rich_bar(target) if live else None

    def work() -> None:
        while not over.wait(PERIOD):
            _draw(watched.progress(), target, show, live=live)

    thread = threading.Thread(target=work, name="tractor-progress", daemon=True)
    if live:
        thread.start()
    try:
        yield
    finally:
        over.set()
        if live:
            thread.join()
        _draw(watched.progress(), target, show, live=live)
        if show is not None:
            show.stop()
        elif live:
            target.write("\n")


def _draw(progress: Progress, target: TextIO, show: Any, *, live: bool) -> None:
    ended = sum(progress[key] for key in ("completed", "failed", "cancelled"))
    total = progress["total"]
    if show is not None:
        show.update(show.task_ids[0], completed=ended, total=total)
        return
    filled = BAR * ended // total if total else 0
    line = f"[{'#' * filled}{'.' * (BAR - filled)}] {ended}/{total}"
    if progress["failed"]:
        line += f", {progress['failed']} failed"
    target.write(f"\r{line}" if live else f"{line}\n")
    target.flush()


def _rich_bar(target: TextIO) -> Any:
    try:
        from rich.console import Console
        from rich.progress import Progress as Bar
    except ImportError:
        return None
    bar = Bar(console=Console(file=target))
    bar.add_task("tasks", total=None)
    bar.start()
    return bar


def _as_dict(one: Future[Any]) -> dict[str, Any]:
    now = time.perf_counter()
    placed = one.placed_at
    return {
        "task_id": one.task_id,
        "name": one.name,
        "state": "running" if one.state == "placed" else one.state,
        "worker": one.worker,
        "queued_ms": ((placed or now) - one.queued_at) * 1e3,
        "running_ms": (now - placed) * 1e3 if placed is not None else 0.0,
    }


def _message(one: Future[Any]) -> str:
    error = one.exception(0) if one.done() else None
    return f"{type(error).__name__}: {_text(error)}" if error is not None else ""


def _text(error: BaseException | None) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 (of the program, which may do anything)
        return "<no text>"


def _plain(error: BaseException | None) -> Exception:
    if isinstance(error, Exception):
        return error
    return RuntimeError(repr(error))  # a group of exceptions takes nothing else

"""The lines of a trace, and the file that every actor of a tree appends them to.

Each line is one `write` to a file that is open for appending: the kernel puts it at the
end, whole, whoever else writes. So there is nothing to flush and nothing to merge, and
a process that is killed loses none of the lines that it wrote.
"""

import os
from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct

type Outcome = Literal["ok", "failed", "cancelled", "open"]

MODE: Final = 0o600  # of a trace: it has arguments of spans, which are nobody else's


class TraceLine(Struct, frozen=True, kw_only=True):
    """One line of a trace: something that took time, or a moment.

    Attributes:
        name: ``module.function``, or what the program called it.
        kind: ``call`` (at the caller), ``task`` (a function that runs for a call),
            ``stream``, ``spawn`` (from the start of an actor until it is ready),
            ``pool`` (a task of a pool), ``span`` and ``note`` (of the program); else a
            moment, by the kind of its event.
        task_id: Unique in the trace. Of a call, the same at both of its ends.
        parent: ``task_id`` of what it was part of; `None` where nothing was traced
            around it.
        actor: Name of the actor; empty where none ran.
        uuid: Of the actor; names need not be unique.
        pid: Process of the actor.
        worker_thread_id: As the system numbers it.
        start_ns: When it began, in nanoseconds since 1970.
        duration_ns: How long it took; `None` of a moment.
        outcome: ``open`` if it went on when tracing ended there.
        data: More about it.
    """

    name: str
    kind: str
    task_id: str
    parent: str | None
    actor: str
    uuid: str
    pid: int
    worker_thread_id: int
    start_ns: int
    duration_ns: int | None
    outcome: Outcome
    data: dict[str, Any] = {}


class TraceFile:
    """Takes lines, from any thread.

    Args:
        path: Where.
        new: Whether it begins empty; else lines are added to what is there.
        may_begin: Whether it need not be there in that case.

    Raises:
        OSError: It cannot be written.
    """

    def __init__(self, path: Path, *, new: bool, may_begin: bool = False) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC
        flags |= os.O_CREAT if new or may_begin else 0
        flags |= os.O_TRUNC if new else 0
        # An object and not a number: where an interpreter is destroyed, it is closed.
        self._file = FileIO(os.open(path, flags, MODE), "a")

    def write(self, line: TraceLine) -> None:
        """Append it, unless the file was closed.

        Raises:
            OSError: The disk is full.
        """
        data = encode(line)
        try:
            written = self._file.write(data)
        except ValueError:  # closed by another thread
            return
        if written != len(data):
            msg = f"only {written} of {len(data)} bytes of a trace could be written"
            raise OSError(msg)

    def close(self) -> None:
        """No more lines."""
        self._file.close()


_encoder: Final = msgspec.json.Encoder(enc_hook=repr)


def encode(line: TraceLine) -> bytes:
    """The line as JSON. What cannot be in it is there as text."""
    try:
        return _encoder.encode(line) + b"\n"
    except Exception:  # noqa: BLE001 (of a value of the program, which may do anything)
        plain = {_text(key): _text(value) for key, value in line.data.items()}
        texts = {"name": _text(line.name), "actor": _text(line.actor), "data": plain}
        return _encoder.encode(msgspec.structs.replace(line, **texts)) + b"\n"


def _text(value: object) -> str:
    try:
        text = value if isinstance(value, str) else repr(value)
    except Exception as exc:  # noqa: BLE001 (likewise)
        text = f"<{type(value).__name__}, whose repr raises {type(exc).__name__}>"
    return text.encode(errors="backslashreplace").decode()


def read_trace(path: str | os.PathLike[str]) -> Iterator[TraceLine]:
    """The lines of a trace, in the order in which they were written.

    Raises:
        OSError: It cannot be read.
        msgspec.DecodeError: It is no trace. (A last line that was cut is left out.)
    """
    decoder = msgspec.json.Decoder(TraceLine)
    with open(path, "rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                yield decoder.decode(line)

"""In which handlers of exceptions a raise took place.

An exception that is raised while another one is being handled has that as its
``__context__``, be it handled by an ``except`` clause, which deals with it, or by a
``finally:``, which it only passes on its way. Only the code knows which: so the
bytecode is asked.

Theory of operation. The exception table of a function says for each instruction where
an error in it goes to. The code of a handler begins with PUSH_EXC_INFO, and errors in
it go to the clean-up of that handler, which begins with something else. Hence:

- An instruction whose errors go to a PUSH_EXC_INFO is in the body of a ``try:``.
  Neither that handler nor its clean-up are active; go on outside of them.
- One whose errors go elsewhere is in a handler, if all the code that shares that target
  begins with a PUSH_EXC_INFO. If not, it is in an inner block; go on from there.
- A handler that tests the type of the exception, or drops it at once (a bare
  ``except:``), is an ``except`` clause. Any other is a ``finally:`` or the end of a
  ``with`` block.
"""

import dis
from collections.abc import Iterator
from types import CodeType, FrameType, TracebackType
from typing import Final, Literal

type Kind = Literal["finally", "except"]

_CATCHES: Final = frozenset({"CHECK_EXC_MATCH", "CHECK_EG_MATCH"})


def active_handlers(tb: TracebackType | None) -> list[tuple[FrameType, Kind]]:
    """The handlers within which the exception with this traceback was raised.

    The innermost is the first. The end of a ``with`` block counts as a ``finally:``.
    """
    found: list[tuple[FrameType, Kind]] = []
    while tb is not None:
        frame = tb.tb_frame
        found[:0] = [(frame, k) for k in _handlers_around(frame.f_code, tb.tb_lasti)]
        tb = tb.tb_next
    return found


def _handlers_around(code: CodeType, offset: int) -> Iterator[Kind]:
    if not code.co_exceptiontable:
        return
    layout = _Layout(code)
    seen: set[int] = set()
    target = layout.target_of(offset)
    while target is not None and target not in seen:
        seen.add(target)
        if layout.is_handler(target):  # we are in its `try:`
            target = layout.target_of(target)
        elif (kind := layout.kind_of_region(target)) is not None:
            yield kind
        target = layout.target_of(target) if target is not None else None


class _Layout:
    """The instructions of a function, and where errors in them go to."""

    def __init__(self, code: CodeType) -> None:
        bytecode = dis.Bytecode(code)
        self._names = [(each.offset, each.opname) for each in bytecode]
        self._handlers = {at for at, name in self._names if name == "PUSH_EXC_INFO"}
        # Not in the documentation, nor known to type checkers, but without underscore.
        self._entries = bytecode.exception_entries  # type: ignore[attr-defined]

    def target_of(self, offset: int) -> int | None:
        """Where an error of the instruction at `offset` goes to; `None` for out."""
        for entry in self._entries:
            if entry.start <= offset < entry.end:
                return int(entry.target)
        return None

    def is_handler(self, offset: int) -> bool:
        return offset in self._handlers

    def kind_of_region(self, target: int) -> Kind | None:
        """What the code is whose errors go to `target`; `None` if no handler."""
        regions = [entry for entry in self._entries if entry.target == target]
        body = [
            (offset, name)
            for offset, name in self._names
            if any(entry.start <= offset < entry.end for entry in regions)
        ]
        if not self.is_handler(body[0][0]):
            return None
        caught = any(name in _CATCHES for _, name in body)
        bare = len(body) > 1 and body[1][1] == "POP_TOP"
        return "except" if caught or bare else "finally"

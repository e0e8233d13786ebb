"""What an actor does for its parent, and for nobody else: be traced, and stop that.

Whoever may call this has a file of this user's written, so who asks is checked. A
parent can do that anyway.
"""

import os
from pathlib import Path
from typing import Final

import trio

from tractor.runtime import Actor, current_actor
from tractor.tracing._lines import TraceFile
from tractor.tracing._switch import begin, end, slot, wait_ended
from tractor.tracing._tracer import Session

SHARE: Final = 0.8  # of the time that an actor has for this, for those below it


async def follow(path: bytes, key: str, epoch: int) -> None:
    """Trace this actor, too, and those below it.

    Raises:
        PermissionError: The caller is not the parent of this actor.
        OSError: The file cannot be written.
    """
    actor = _obey()
    if slot.tracer is not None:
        return  # it has a trace of its own, or knows already
    session = Session(path, key, epoch)
    begin(session, TraceFile(Path(os.fsdecode(path)), new=False))
    actor.lifetime_stack.callback(_end_of, key)


async def stop(key: str, seconds: float) -> None:
    """End that trace here; returns when it has ended in the actors below, too.

    Raises:
        PermissionError: The caller is not the parent of this actor.
    """
    _obey()
    if slot.tracer is not None and slot.tracer.session.key == key:
        await wait_ended(end(seconds * SHARE), seconds * SHARE)


def _end_of(key: str) -> None:
    if slot.tracer is not None and slot.tracer.session.key == key:
        end()


def _obey() -> Actor:
    """This actor, if its parent is the caller."""
    actor, task = current_actor(), trio.lowlevel.current_task()
    served = actor.parent.server.invocations if actor.parent is not None else {}
    if not any(each.task is task for each in served.values()):
        msg = "only the parent of an actor may say whether it is traced"
        raise PermissionError(msg)
    return actor

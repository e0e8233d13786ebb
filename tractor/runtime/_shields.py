"""Cancelling tasks that have shielded themselves, where no process can be killed."""

from typing import Any

import trio


def lower_shields(task: trio.lowlevel.Task) -> None:
    """Lift the shields of all scopes that `task` and its child tasks are in.

    Where trio does not show them any more, it does nothing.
    """
    waiting = [task]
    while waiting:
        task = waiting.pop()
        # No public way from a task to its scopes; a test pins this one.
        status: Any = getattr(task, "_cancel_status", None)
        while status is not None:
            if status._scope.shield:
                status._scope.shield = False
            status = status._parent
        for nursery in task.child_nurseries:
            waiting.extend(nursery.child_tasks)

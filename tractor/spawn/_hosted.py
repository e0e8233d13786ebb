"""Children that live in this very process, in interpreters of their own.

No lifeline ends them, since the process goes on without whoever started them.
"""

import sys
from typing import Final

from tractor.spawn._backend import Child

hosted: Final[set[Child]] = set()  # those that this interpreter has started


def terminate_hosted() -> None:
    """Ask them all to stop; from any thread."""
    for child in list(hosted):
        child.terminate()


def own_gil() -> bool:
    """Whether Python code here runs in parallel with that of other interpreters.

    False only in a sub-interpreter that shares the GIL of its process.
    """
    interpreters = sys.modules.get("_interpreters")
    if interpreters is None:  # what hosts actors in interpreters has imported it
        return True
    config = interpreters.get_config(interpreters.get_current()[0])
    return bool(config.gil == "own")

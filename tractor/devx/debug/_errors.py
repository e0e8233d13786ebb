"""What goes wrong with the debugger itself."""

from tractor._exceptions import RuntimeFailure


class DebugRequestError(RuntimeFailure):
    """There can be no REPL: `pause` and its kin raise it."""

"""Exit codes of the command line; docs/how-to/command-line.md tells users of them."""

from typing import Final

DONE: Final = 0
FAILED: Final = 1  # nothing found by that name; or `doctor` found something wrong
USAGE: Final = 2  # of the command line; `argparse` has the same
SILENT: Final = 3  # an actor that was asked for did not answer
ALIVE: Final = 4  # it was told to end, and has not
RAISED: Final = 5  # the function that was called raised an error


class CommandError(Exception):
    """The command cannot be done.

    Args:
        text: What a person reads.
        code: The exit code.
    """

    def __init__(self, text: str, code: int = FAILED) -> None:
        super().__init__(text)
        self.code = code

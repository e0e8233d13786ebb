"""The command line, `python -m tractor`: look at running trees from outside.

docs/how-to/command-line.md is its manual. It needs no help of the trees: it finds and
asks them as `tractor.devx` does, also while they are stuck. Only what `call` calls has
to be able to answer.
"""

from tractor.cli._codes import ALIVE as ALIVE
from tractor.cli._codes import DONE as DONE
from tractor.cli._codes import FAILED as FAILED
from tractor.cli._codes import RAISED as RAISED
from tractor.cli._codes import SILENT as SILENT
from tractor.cli._codes import USAGE as USAGE
from tractor.cli._main import main as main

"""The debugger of a tree: one REPL at a time, at the root's terminal.

The root is opened with ``debug_mode=True``; docs/how-to/debug-a-tree.md shows the rest.
"""

from tractor.devx.debug._crash import (
    maybe_open_crash_handler as maybe_open_crash_handler,
)
from tractor.devx.debug._crash import open_crash_handler as open_crash_handler
from tractor.devx.debug._debugger import attach_child as attach_child
from tractor.devx.debug._debugger import attach_root as attach_root
from tractor.devx.debug._debugger import clocks_stood_still as clocks_stood_still
from tractor.devx.debug._debugger import make_child as make_child
from tractor.devx.debug._errors import DebugRequestError as DebugRequestError
from tractor.devx.debug._options import BoxedMaybeException as BoxedMaybeException
from tractor.devx.debug._options import ReplFixture as ReplFixture
from tractor.devx.debug._pause import acquire_debug_lock as acquire_debug_lock
from tractor.devx.debug._pause import breakpoint as breakpoint
from tractor.devx.debug._pause import debug_mode as debug_mode
from tractor.devx.debug._pause import maybe_init_greenback as maybe_init_greenback
from tractor.devx.debug._pause import maybe_wait_for_debugger as maybe_wait_for_debugger
from tractor.devx.debug._pause import mk_pdb as mk_pdb
from tractor.devx.debug._pause import pause as pause
from tractor.devx.debug._pause import pause_from_sync as pause_from_sync
from tractor.devx.debug._pause import post_mortem as post_mortem
from tractor.devx.debug._pause import sigint_shield as sigint_shield
from tractor.devx.debug._terminal import find_terminal as find_terminal

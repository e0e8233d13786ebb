"""Diagnostics: what waits, where, and for whom, in this actor and all below it.

Nothing here is imported by the rest of the package, nor by `import tractor`.
"""

from tractor.devx._deltas import Holdings as Holdings
from tractor.devx._deltas import resource_delta_fixture as resource_delta_fixture
from tractor.devx._deltas import track_resource_deltas as track_resource_deltas
from tractor.devx._dump import describe_tree as describe_tree
from tractor.devx._dump import dump_to_file as dump_to_file
from tractor.devx._dump import dump_to_text as dump_to_text
from tractor.devx._enable import enable_stack_on_sig as enable_stack_on_sig
from tractor.devx._facts import ActorFacts as ActorFacts
from tractor.devx._facts import Answer as Answer
from tractor.devx._facts import CallFacts as CallFacts
from tractor.devx._facts import Frame as Frame
from tractor.devx._facts import NurseryFacts as NurseryFacts
from tractor.devx._facts import PeerFacts as PeerFacts
from tractor.devx._facts import ProcessFacts as ProcessFacts
from tractor.devx._facts import Report as Report
from tractor.devx._facts import TaskFacts as TaskFacts
from tractor.devx._facts import ThreadFacts as ThreadFacts
from tractor.devx._graph import printable as printable
from tractor.devx._hang import dump_on_hang as dump_on_hang
from tractor.devx._tree import ActorNode as ActorNode
from tractor.devx._tree import ActorTree as ActorTree
from tractor.devx._tree import TaskTree as TaskTree
from tractor.devx._tree import actor_tree as actor_tree
from tractor.devx._tree import task_tree as task_tree
from tractor.devx._trees import find_trees as find_trees
from tractor.devx.debug import BoxedMaybeException as BoxedMaybeException
from tractor.devx.debug import DebugRequestError as DebugRequestError
from tractor.devx.debug import acquire_debug_lock as acquire_debug_lock
from tractor.devx.debug import breakpoint as breakpoint
from tractor.devx.debug import maybe_init_greenback as maybe_init_greenback
from tractor.devx.debug import maybe_open_crash_handler as maybe_open_crash_handler
from tractor.devx.debug import maybe_wait_for_debugger as maybe_wait_for_debugger
from tractor.devx.debug import mk_pdb as mk_pdb
from tractor.devx.debug import open_crash_handler as open_crash_handler
from tractor.devx.debug import pause as pause
from tractor.devx.debug import pause_from_sync as pause_from_sync
from tractor.devx.debug import post_mortem as post_mortem
from tractor.devx.debug import sigint_shield as sigint_shield

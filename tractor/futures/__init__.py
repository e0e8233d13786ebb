"""Pools: calls that run in actors, and the futures of what they return."""

from tractor.futures._algebra import await_all as await_all
from tractor.futures._algebra import await_any as await_any
from tractor.futures._algebra import dataflow as dataflow
from tractor.futures._algebra import ready_future as ready_future
from tractor.futures._algebra import shared_future as shared_future
from tractor.futures._algebra import when_all as when_all
from tractor.futures._algebra import when_any as when_any
from tractor.futures._errors import BrokenPool as BrokenPool
from tractor.futures._errors import NestedWait as NestedWait
from tractor.futures._errors import PayloadError as PayloadError
from tractor.futures._errors import TaskTimeout as TaskTimeout
from tractor.futures._errors import WorkerDied as WorkerDied
from tractor.futures._executor import Executor as Executor
from tractor.futures._executor import default_executor as default_executor
from tractor.futures._executor import peek_default_executor as peek_default_executor
from tractor.futures._executor import set_default_executor as set_default_executor
from tractor.futures._future import Future as Future
from tractor.futures._placement import Capabilities as Capabilities
from tractor.futures._placement import DecisionTrace as DecisionTrace
from tractor.futures._placement import RuntimeConfig as RuntimeConfig
from tractor.futures._placement import add_decision_listener as add_decision_listener
from tractor.futures._placement import detect_capabilities as detect_capabilities
from tractor.futures._placement import last_decision as last_decision
from tractor.futures._placement import observe_decisions as observe_decisions
from tractor.futures._placement import (
    remove_decision_listener as remove_decision_listener,
)
from tractor.futures._pool import Pool as Pool
from tractor.futures._pool import open_pool as open_pool
from tractor.futures._run import Run as Run
from tractor.futures._watch import TasksFailed as TasksFailed
from tractor.futures._watch import progress_bar as progress_bar

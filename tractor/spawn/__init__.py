"""Making children, knowing when they are gone, and stopping them.

Backends are loaded on demand; see `get_backend`.
"""

from tractor.spawn._backend import Child as Child
from tractor.spawn._backend import ChildSpec as ChildSpec
from tractor.spawn._backend import InterruptibleChild as InterruptibleChild
from tractor.spawn._backend import SpawnBackend as SpawnBackend
from tractor.spawn._backend import Traits as Traits
from tractor.spawn._escalation import stop_child as stop_child
from tractor.spawn._hosted import own_gil as own_gil
from tractor.spawn._hosted import terminate_hosted as terminate_hosted
from tractor.spawn._lifeline import Hold as Hold
from tractor.spawn._lifeline import Lifeline as Lifeline
from tractor.spawn._lifeline import hold as hold
from tractor.spawn._registry import DEFAULT_BACKEND as DEFAULT_BACKEND
from tractor.spawn._registry import available_backends as available_backends
from tractor.spawn._registry import get_backend as get_backend
from tractor.spawn._registry import known_backends as known_backends
from tractor.spawn._registry import use_backend as use_backend
from tractor.spawn._registry import warm_up as warm_up

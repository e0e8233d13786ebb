"""Making children, knowing when they are gone, and stopping them.

Backends are loaded on demand; see `get_backend`.
"""

from typing import TYPE_CHECKING as _TYPE_CHECKING

from tractor._late import late_names as _late_names
from tractor.spawn._hosted import own_gil as own_gil
from tractor.spawn._hosted import terminate_hosted as terminate_hosted
from tractor.spawn._lifeline import Hold as Hold
from tractor.spawn._lifeline import Lifeline as Lifeline
from tractor.spawn._lifeline import hold as hold

if _TYPE_CHECKING:
    from tractor.spawn._backend import Child as Child
    from tractor.spawn._backend import ChildSpec as ChildSpec
    from tractor.spawn._backend import InterruptibleChild as InterruptibleChild
    from tractor.spawn._backend import SpawnBackend as SpawnBackend
    from tractor.spawn._backend import Traits as Traits
    from tractor.spawn._escalation import stop_child as stop_child
    from tractor.spawn._registry import DEFAULT_BACKEND as DEFAULT_BACKEND
    from tractor.spawn._registry import available_backends as available_backends
    from tractor.spawn._registry import get_backend as get_backend
    from tractor.spawn._registry import known_backends as known_backends
    from tractor.spawn._registry import use_backend as use_backend
    from tractor.spawn._registry import warm_up as warm_up

# Only who starts actors needs these.
_LATE = {
    "Child": "tractor.spawn._backend",
    "ChildSpec": "tractor.spawn._backend",
    "InterruptibleChild": "tractor.spawn._backend",
    "SpawnBackend": "tractor.spawn._backend",
    "Traits": "tractor.spawn._backend",
    "stop_child": "tractor.spawn._escalation",
    "DEFAULT_BACKEND": "tractor.spawn._registry",
    "available_backends": "tractor.spawn._registry",
    "get_backend": "tractor.spawn._registry",
    "known_backends": "tractor.spawn._registry",
    "use_backend": "tractor.spawn._registry",
    "warm_up": "tractor.spawn._registry",
}

__getattr__ = _late_names(__name__, _LATE)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATE})

"""Helpers over trio alone; none of them needs the runtime."""

from typing import TYPE_CHECKING as _TYPE_CHECKING

from tractor._late import late_names as _late_names
from tractor.trionics._groups import collapse_eg as collapse_eg
from tractor.trionics._groups import get_collapsed_eg as get_collapsed_eg
from tractor.trionics._groups import is_cancellation as is_cancellation
from tractor.trionics._groups import is_multi_cancelled as is_multi_cancelled
from tractor.trionics._masking import Unmasked as Unmasked
from tractor.trionics._masking import masked_error as masked_error
from tractor.trionics._masking import (
    maybe_raise_from_masking_exc as maybe_raise_from_masking_exc,
)

if _TYPE_CHECKING:
    from tractor.trionics._broadcast import AsyncReceiver as AsyncReceiver
    from tractor.trionics._broadcast import BroadcastReceiver as BroadcastReceiver
    from tractor.trionics._broadcast import BroadcastStatistics as BroadcastStatistics
    from tractor.trionics._broadcast import Lagged as Lagged
    from tractor.trionics._broadcast import broadcast_receiver as broadcast_receiver
    from tractor.trionics._gather import gather_contexts as gather_contexts
    from tractor.trionics._nurseries import maybe_open_nursery as maybe_open_nursery
    from tractor.trionics._nurseries import start_or_cancel as start_or_cancel
    from tractor.trionics._processes import (
        supervise_run_process as supervise_run_process,
    )
    from tractor.trionics._shared_context import (
        maybe_open_context as maybe_open_context,
    )
    from tractor.trionics._unboxed import unboxed as unboxed

_LATE = {
    "AsyncReceiver": "tractor.trionics._broadcast",
    "BroadcastReceiver": "tractor.trionics._broadcast",
    "BroadcastStatistics": "tractor.trionics._broadcast",
    "Lagged": "tractor.trionics._broadcast",
    "broadcast_receiver": "tractor.trionics._broadcast",
    "gather_contexts": "tractor.trionics._gather",
    "maybe_open_nursery": "tractor.trionics._nurseries",
    "start_or_cancel": "tractor.trionics._nurseries",
    "supervise_run_process": "tractor.trionics._processes",
    "maybe_open_context": "tractor.trionics._shared_context",
    "unboxed": "tractor.trionics._unboxed",
}

__getattr__ = _late_names(__name__, _LATE)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATE})

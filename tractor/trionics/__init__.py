"""Helpers over trio alone; none of them needs the runtime."""

from tractor.trionics._broadcast import AsyncReceiver as AsyncReceiver
from tractor.trionics._broadcast import BroadcastReceiver as BroadcastReceiver
from tractor.trionics._broadcast import BroadcastStatistics as BroadcastStatistics
from tractor.trionics._broadcast import Lagged as Lagged
from tractor.trionics._broadcast import broadcast_receiver as broadcast_receiver
from tractor.trionics._gather import gather_contexts as gather_contexts
from tractor.trionics._groups import collapse_eg as collapse_eg
from tractor.trionics._groups import get_collapsed_eg as get_collapsed_eg
from tractor.trionics._groups import is_cancellation as is_cancellation
from tractor.trionics._groups import is_multi_cancelled as is_multi_cancelled
from tractor.trionics._masking import Unmasked as Unmasked
from tractor.trionics._masking import masked_error as masked_error
from tractor.trionics._masking import (
    maybe_raise_from_masking_exc as maybe_raise_from_masking_exc,
)
from tractor.trionics._nurseries import maybe_open_nursery as maybe_open_nursery
from tractor.trionics._nurseries import start_or_cancel as start_or_cancel
from tractor.trionics._processes import supervise_run_process as supervise_run_process
from tractor.trionics._shared_context import maybe_open_context as maybe_open_context
from tractor.trionics._unboxed import unboxed as unboxed

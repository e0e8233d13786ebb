"""The actor runtime: identity, calling, serving, supervision."""

from typing import TYPE_CHECKING as _TYPE_CHECKING

from tractor._late import late_names as _late_names
from tractor.runtime._actor import Actor as Actor
from tractor.runtime._calls import PostedCall as PostedCall
from tractor.runtime._calls import post as post
from tractor.runtime._context import Context as Context
from tractor.runtime._context import Unresolved as Unresolved
from tractor.runtime._context import current_ipc_ctx as current_ipc_ctx
from tractor.runtime._endpoint import context as context
from tractor.runtime._exposure import MAIN as MAIN
from tractor.runtime._exposure import REPLAYED_MAIN as REPLAYED_MAIN
from tractor.runtime._exposure import Exposure as Exposure
from tractor.runtime._exposure import check_modules as check_modules
from tractor.runtime._exposure import find_defined as find_defined
from tractor.runtime._exposure import main_origin as main_origin
from tractor.runtime._exposure import path_of as path_of
from tractor.runtime._flow import StreamStatistics as StreamStatistics
from tractor.runtime._peer import Peer as Peer
from tractor.runtime._portal import Portal as Portal
from tractor.runtime._state import claim as claim
from tractor.runtime._state import current_actor as current_actor
from tractor.runtime._state import get_runtime_vars as get_runtime_vars
from tractor.runtime._state import is_root_process as is_root_process
from tractor.runtime._state import maybe_actor as maybe_actor
from tractor.runtime._state import orphans as orphans
from tractor.runtime._state import release as release
from tractor.runtime._state import set_replaying as set_replaying
from tractor.runtime._stream import MsgStream as MsgStream
from tractor.runtime._workers import IDLE as IDLE

if _TYPE_CHECKING:
    from tractor.runtime._heartbeat import Heartbeat as Heartbeat
    from tractor.runtime._heartbeat import open_heartbeat as open_heartbeat
    from tractor.runtime._monitor import Down as Down
    from tractor.runtime._monitor import monitor as monitor
    from tractor.runtime._nursery import ActorNursery as ActorNursery
    from tractor.runtime._nursery import open_actor_nursery as open_actor_nursery
    from tractor.runtime._supervised import ChildInfo as ChildInfo
    from tractor.runtime._supervisor import Supervisor as Supervisor
    from tractor.runtime._supervisor import open_supervisor as open_supervisor

_LATE = {
    "ActorNursery": "tractor.runtime._nursery",
    "open_actor_nursery": "tractor.runtime._nursery",
    "Heartbeat": "tractor.runtime._heartbeat",
    "open_heartbeat": "tractor.runtime._heartbeat",
    "Down": "tractor.runtime._monitor",
    "monitor": "tractor.runtime._monitor",
    "ChildInfo": "tractor.runtime._supervised",
    "Supervisor": "tractor.runtime._supervisor",
    "open_supervisor": "tractor.runtime._supervisor",
}

__getattr__ = _late_names(__name__, _LATE)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATE})

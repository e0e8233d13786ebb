"""Structured-concurrent actors: trees of trio runs that live and end together."""

from typing import TYPE_CHECKING as _TYPE_CHECKING

from tractor._exceptions import ActorAbandoned as ActorAbandoned
from tractor._exceptions import ActorDied as ActorDied
from tractor._exceptions import ActorTooSlowError as ActorTooSlowError
from tractor._exceptions import ActorUnreachable as ActorUnreachable
from tractor._exceptions import AddressInUse as AddressInUse
from tractor._exceptions import AuthenticationFailed as AuthenticationFailed
from tractor._exceptions import BackendUnavailable as BackendUnavailable
from tractor._exceptions import ContextCancelled as ContextCancelled
from tractor._exceptions import ForeignProtocol as ForeignProtocol
from tractor._exceptions import FrameTooLarge as FrameTooLarge
from tractor._exceptions import InternalError as InternalError
from tractor._exceptions import LocalProtocolError as LocalProtocolError
from tractor._exceptions import ModuleNotExposed as ModuleNotExposed
from tractor._exceptions import MsgTypeError as MsgTypeError
from tractor._exceptions import NameTaken as NameTaken
from tractor._exceptions import NoResult as NoResult
from tractor._exceptions import NoRuntime as NoRuntime
from tractor._exceptions import RegistrarUnavailable as RegistrarUnavailable
from tractor._exceptions import RemoteActorError as RemoteActorError
from tractor._exceptions import RemoteProtocolError as RemoteProtocolError
from tractor._exceptions import RestartLimitReached as RestartLimitReached
from tractor._exceptions import RuntimeDirError as RuntimeDirError
from tractor._exceptions import RuntimeFailure as RuntimeFailure
from tractor._exceptions import SpawnError as SpawnError
from tractor._exceptions import SpawnTimeout as SpawnTimeout
from tractor._exceptions import TractorError as TractorError
from tractor._exceptions import TransportBroken as TransportBroken
from tractor._exceptions import TransportClosed as TransportClosed
from tractor._exceptions import VersionMismatch as VersionMismatch
from tractor._late import late_names as _late_names
from tractor._types import Aid as Aid
from tractor._types import ExitReport as ExitReport
from tractor._types import ExitStatus as ExitStatus
from tractor._types import Graces as Graces
from tractor.ipc import Channel as Channel
from tractor.msg import reg_err_types as reg_err_types
from tractor.runtime import Actor as Actor
from tractor.runtime import Context as Context
from tractor.runtime import MsgStream as MsgStream
from tractor.runtime import Portal as Portal
from tractor.runtime import StreamStatistics as StreamStatistics
from tractor.runtime import context as context
from tractor.runtime import current_actor as current_actor
from tractor.runtime import current_ipc_ctx as current_ipc_ctx
from tractor.runtime import get_runtime_vars as get_runtime_vars
from tractor.runtime import is_root_process as is_root_process

if _TYPE_CHECKING:
    from tractor import cowns as cowns
    from tractor import devx as devx
    from tractor import discovery as discovery
    from tractor import futures as futures
    from tractor import pinned as pinned
    from tractor import to_actor as to_actor
    from tractor import to_asyncio as to_asyncio
    from tractor._cluster import open_actor_cluster as open_actor_cluster
    from tractor._daemon import run_daemon as run_daemon
    from tractor._root import open_nursery as open_nursery
    from tractor._root import open_root_actor as open_root_actor
    from tractor.devx.debug import breakpoint as breakpoint
    from tractor.devx.debug import debug_mode as debug_mode
    from tractor.devx.debug import pause as pause
    from tractor.devx.debug import pause_from_sync as pause_from_sync
    from tractor.devx.debug import post_mortem as post_mortem
    from tractor.discovery import find_actor as find_actor
    from tractor.discovery import get_registry as get_registry
    from tractor.discovery import query_actor as query_actor
    from tractor.discovery import wait_for_actor as wait_for_actor
    from tractor.runtime import ActorNursery as ActorNursery
    from tractor.runtime import ChildInfo as ChildInfo
    from tractor.runtime import Down as Down
    from tractor.runtime import Heartbeat as Heartbeat
    from tractor.runtime import Supervisor as Supervisor
    from tractor.runtime import monitor as monitor
    from tractor.runtime import open_heartbeat as open_heartbeat
    from tractor.runtime import open_supervisor as open_supervisor
    from tractor.spawn import available_backends as available_backends

# Every child imports this module, and most need none of these.
_LATE = {
    "open_nursery": "tractor._root",
    "open_root_actor": "tractor._root",
    "ActorNursery": "tractor.runtime",
    "available_backends": "tractor.spawn",
    "cowns": "tractor.cowns",
    "devx": "tractor.devx",
    "discovery": "tractor.discovery",
    "futures": "tractor.futures",
    "pinned": "tractor.pinned",
    "open_actor_cluster": "tractor._cluster",
    "run_daemon": "tractor._daemon",
    "breakpoint": "tractor.devx.debug",
    "debug_mode": "tractor.devx.debug",
    "pause": "tractor.devx.debug",
    "pause_from_sync": "tractor.devx.debug",
    "post_mortem": "tractor.devx.debug",
    "find_actor": "tractor.discovery",
    "get_registry": "tractor.discovery",
    "query_actor": "tractor.discovery",
    "wait_for_actor": "tractor.discovery",
    "ChildInfo": "tractor.runtime",
    "Down": "tractor.runtime",
    "Heartbeat": "tractor.runtime",
    "Supervisor": "tractor.runtime",
    "monitor": "tractor.runtime",
    "open_heartbeat": "tractor.runtime",
    "open_supervisor": "tractor.runtime",
    "to_actor": "tractor.to_actor",
    "to_asyncio": "tractor.to_asyncio",
}

__getattr__ = _late_names(__name__, _LATE)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATE})

"""asyncio inside of actors: tasks of asyncio, each linked with a task of trio.

An actor that was started with `infect_asyncio=True` runs both kinds of tasks, in one
thread and on one loop; so does a root that `run_as_asyncio_guest` runs. Errors and
cancellation of one side reach the other; see docs/how-to.
"""

from tractor._aio_errors import AsyncioCancelled as AsyncioCancelled
from tractor._aio_errors import (
    AsyncioRuntimeTranslationError as AsyncioRuntimeTranslationError,
)
from tractor._aio_errors import AsyncioTaskExited as AsyncioTaskExited
from tractor._aio_errors import TrioTaskExited as TrioTaskExited
from tractor.to_asyncio._channel import LinkedTaskChannel as LinkedTaskChannel
from tractor.to_asyncio._host import run_as_asyncio_guest as run_as_asyncio_guest
from tractor.to_asyncio._host import run_trio_task_in_future as run_trio_task_in_future
from tractor.to_asyncio._linked import TrioCancelled as TrioCancelled
from tractor.to_asyncio._tasks import open_channel_from as open_channel_from
from tractor.to_asyncio._tasks import run_task as run_task

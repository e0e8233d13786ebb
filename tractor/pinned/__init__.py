"""What must run on the main thread: windows, GPUs, libraries that were born there.

    count = await tractor.pinned.call(count_windows)

runs a plain function on the main thread of the tree's root, from any actor. Where trio
runs there, such calls run by themselves. Where a host owns the main thread, Tk say, it
calls `pump` now and then, or when `set_pump_wakeup` tells it to.

`PinnedResource` is a handle of a value that never leaves that thread
(docs/adr/0019).
"""

from tractor.pinned._call import call as call
from tractor.pinned._errors import ResourceClosed as ResourceClosed
from tractor.pinned._main_thread import pump as pump
from tractor.pinned._main_thread import set_pump_wakeup as set_pump_wakeup
from tractor.pinned._main_thread import set_pump_watchdog as set_pump_watchdog
from tractor.pinned._queue import PumpResult as PumpResult
from tractor.pinned._resource import PinnedResource as PinnedResource

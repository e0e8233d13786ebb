"""Memory that actors of one host share, by tokens that travel as arguments or items.

    with open_shm_buffer(size) as buffer:
        buffer.write(data)
        await portal.run(crunch, buffer.token)   # there: attach_shm_buffer(token)

There are bytes, arrays (`open_shm_array`, `attach_shm_array`) and lists
(`open_shm_list`, `attach_shm_list`), in actors of every backend. Who attaches one sees
the same memory and copies nothing; the last one who has it open or mapped frees it,
however the others ended. `hand_over` gives memory away to one other.

Nothing in it is atomic, and nothing is locked: not even a counter. Let one side write
at a time, and tell the other side by a message. What was written before a message is
sent is there when that has arrived.

It needs Linux, and actors of one user on one machine; see docs/adr/0018.
"""

from tractor.ipc._shm_kinds import (
    CLAIM_TIMEOUT,
    ShmArray,
    ShmBuffer,
    ShmList,
    attach_shm_array,
    attach_shm_buffer,
    attach_shm_list,
    open_shm_array,
    open_shm_buffer,
    open_shm_list,
)
from tractor.ipc._shm_token import (
    ERRORS,
    ShmArrayToken,
    ShmError,
    ShmGone,
    ShmListToken,
    ShmMismatch,
    ShmOutOfReach,
    ShmToken,
)
from tractor.msg import reg_err_types

__all__ = [
    "CLAIM_TIMEOUT",
    "ShmArray",
    "ShmArrayToken",
    "ShmBuffer",
    "ShmError",
    "ShmGone",
    "ShmList",
    "ShmListToken",
    "ShmMismatch",
    "ShmOutOfReach",
    "ShmToken",
    "attach_shm_array",
    "attach_shm_buffer",
    "attach_shm_list",
    "open_shm_array",
    "open_shm_buffer",
    "open_shm_list",
]

# An actor that cannot attach a token says so to whoever sent it.
reg_err_types(ERRORS)

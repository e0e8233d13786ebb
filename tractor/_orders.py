"""The orders of a warden, how long who insists is patient, and how long a report is.

A warden is the helper thread in a sub-interpreter. `tractor.spawn` gives the orders and
`tractor.interp` obeys them; neither knows the other.
"""

from typing import Final

CANCEL: Final = b"c"  # stop the actor in order
INTERRUPT: Final = b"i"  # break into whatever runs
CUT_OFF: Final = b"x"  # nobody waits any more: let go of what others hang on

INSIST: Final = 0.8  # seconds for what is below an actor that did not obey; adr/0011
"""Within them a loop that turns again is spared, because it is stopping the others."""

LAST_WORDS: Final = 16 << 10  # bytes; as much as of the stderr of a process

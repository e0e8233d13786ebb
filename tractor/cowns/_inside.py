"""The scope as behaviours in a worker see it.

What they schedule is scheduled at the scope, in the order in which they did so, and
numbers of new cowns are made of the number of the worker, so that nobody has to be
asked for one.
"""

from itertools import count
from typing import Any, Final

from tractor.cowns import _records as r
from tractor.cowns._cown import Cown
from tractor.cowns._notices import Change, Notices
from tractor.cowns._outbox import Outbox
from tractor.cowns._values import Codec
from tractor.cowns._when import Job, Scheduling
from tractor.runtime import current_actor

CLOSED: Final = "the scope of this behaviour has ended"
OWN: Final = 32  # bits of a number that its maker is free to choose


class Inside(Scheduling):
    """See the module; a `Keeper`.

    Args:
        serializer: See `Codec`.
        maker: Number of the worker.
        outbox: Of the worker.
        max_frame: See `Codec`.
    """

    def __init__(
        self, serializer: str | None, maker: int, outbox: Outbox, max_frame: int
    ) -> None:
        uid = current_actor().aid.uid
        self.codec = Codec(serializer, self, uid, max_frame)
        self.outbox = outbox
        self.notices = Notices(self.codec, self._change)
        self._numbers = count((maker << OWN) + 1)

    def _submit(self, job: Job, is_async: bool, numbers: list[int]) -> Cown[Any]:
        if self.outbox.ended:  # a body that goes on and on would fill the memory
            raise RuntimeError(CLOSED)
        number = next(self._numbers)
        if not self.outbox.put(r.NEST, number, job, is_async, numbers):
            self.outbox.wait_sent()
        return Cown.of(number, self)

    def _change(self, change: Change) -> None:
        self.outbox.put(r.NOTICE, *change)

    # -- as a keeper -------------------------------------------------------------------

    def adopt(self, value: Any, *, pinned: bool) -> int:
        """See `Keeper`."""
        if pinned:
            msg = "a PinnedCown is made where its scope is, in the root"
            raise RuntimeError(msg)
        data = self.codec.encode(value)
        number = next(self._numbers)
        self.outbox.put(r.MADE, number, data)
        return number

    def let_go(self, number: int) -> None:
        """See `Keeper`."""
        self.outbox.dropped.append(number)

    def export(self, number: int) -> None:
        """See `Keeper`."""
        self.outbox.exports.append(number)

    def handle(self, kind: type[Cown[Any]], number: int) -> Cown[Any]:
        """See `Keeper`."""
        return kind.of(number, None)

    async def read(self, number: int) -> Any:
        """See `Keeper`."""
        del number
        msg = "a behaviour waits for nothing; schedule another one over this cown"
        raise RuntimeError(msg)

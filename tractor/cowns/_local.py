"""Behaviours over pinned cowns: they run on the main thread of the root.

Other cowns in their request are unpacked there for the time, and packed again.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from tractor.cowns._cown import Cown, Keeper, PinnedCown, ambient, holding
from tractor.cowns._held import Unreadable, acquire, arranged, is_changed, state_of
from tractor.cowns._notices import Notices
from tractor.cowns._queues import Node
from tractor.cowns._values import Codec
from tractor.cowns._when import Shape

if TYPE_CHECKING:
    from tractor.cowns import _records as r


class Local:
    """One run of one behaviour.

    Attributes:
        states: What it has left in cowns that are not pinned; known when it has ended.
    """

    def __init__(self, keeper: Keeper, codec: Codec, notices: Notices) -> None:
        self.states: list[r.State] = []
        self._keeper: Final = keeper
        self._codec = codec
        self._notices = notices

    def run(
        self,
        fn: Callable[..., Any],
        captures: tuple[Any, ...],
        shape: Shape,
        nodes: list[Node],
    ) -> Any:
        """Run it, here and now, and return what it returns.

        Raises:
            Unreadable: A value could not be unpacked.
            BaseException: Whatever it raises.
        """
        handles = {node.number: _handle(node) for node in nodes}
        args, held = arranged(shape, handles)
        within, holder = ambient.set(self._keeper), holding.set(self)
        try:
            if (bad := acquire(held, self, self._codec)) is not None:
                raise bad[1]
            return fn(*args, *captures)
        except Unreadable:
            raise
        finally:
            self._release(nodes, handles)
            self._notices.forget_reader(self)
            ambient.reset(within)
            holding.reset(holder)

    def _release(self, nodes: list[Node], handles: dict[int, Cown[Any]]) -> None:
        for node in nodes:
            cown = handles[node.number]
            if cown._holder is None:
                continue
            cown._holder = None
            if node.pinned:
                node.copy = cown._value
            elif is_changed(cown):
                self.states.append(state_of(cown, self._codec))


def _handle(node: Node) -> Cown[Any]:
    cown: Cown[Any]
    if node.pinned:
        cown = PinnedCown.of(node.number, None)
        cown._value, cown._failed, cown._packed = node.copy, False, None
    else:
        cown = Cown.of(node.number, None)
        cown._packed = node.failed, node.copy
    return cown

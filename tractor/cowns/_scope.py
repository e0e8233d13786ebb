"""The scope of cowns, as the program that opened it sees it."""

import math
from collections.abc import Callable
from functools import partial
from inspect import iscoroutinefunction
from typing import Any

import trio
from msgspec import structs

from tractor.cowns._cown import Cown
from tractor.cowns._engine import (
    CLOSED,
    Engine,
    Reading,
    new_numbers,
    once,
    poisoned,
)
from tractor.cowns._errors import BehaviourDropped
from tractor.cowns._functions import check_no_generator, check_number, limits
from tractor.cowns._queues import Kind, Node, Request
from tractor.cowns._stats import CownStats
from tractor.cowns._when import Job
from tractor.cowns._when import Request as Wanted


class Scope(Engine):
    """Cowns, and the workers that run behaviours over them; got from `open_cowns`.

    Attributes:
        decision: Which workers, and why.
        notices: The notice board.
    """

    # -- for programs ------------------------------------------------------------------

    def cown(self, value: Any) -> Cown[Any]:
        """A new cown of this scope, wherever this is called.

        Raises:
            MsgTypeError: The value cannot be packed.
        """
        return self._handle(Cown, self.adopt(value, pinned=False))

    async def quiesce(self, timeout: float | None = None) -> None:  # noqa: ASYNC109
        """Wait until nothing is scheduled and nothing runs; the scope goes on.

        Args:
            timeout: Seconds, ≥ 0; without end by default.

        Raises:
            TimeoutError: They are over, and nothing has changed.
            ValueError: `timeout` is negative, or no number.
        """
        if timeout is not None and not timeout >= 0:
            msg = f"timeout is in seconds, 0 or more, not {timeout!r}"
            raise ValueError(msg)
        await trio.lowlevel.checkpoint()
        with trio.move_on_after(math.inf if timeout is None else timeout):
            while self._scheduler.unfinished:
                await self._silence.wait()
            return
        if left := len(self._scheduler.unfinished):
            msg = f"after {timeout} s {left} behaviours have not ended"
            raise TimeoutError(msg)

    def stats(self) -> CownStats:
        """Counts at this moment."""
        return CownStats(
            in_flight=len(self._scheduler.unfinished),
            cowns=len(self._scheduler.nodes),
            workers=len(self._crew.posts),
            **structs.asdict(self._scheduler.counts),
        )

    # -- as a keeper -------------------------------------------------------------------

    def adopt(self, value: Any, *, pinned: bool) -> int:
        """See `Keeper`."""
        if self.is_afar():
            return self.from_afar(partial(self.adopt, value, pinned=pinned))
        self.check_open()
        node = Node(next(new_numbers))
        node.pins = 1
        if pinned:
            if not self._is_root:
                msg = "a PinnedCown is made in the root, whose main thread it stays on"
                raise RuntimeError(msg)
            node.pinned = self._has_pinned = True
            node.copy = value
        else:
            node.copy = self.codec.encode(value)
            node.size = len(node.copy)
        self._scheduler.nodes[node.number] = node
        return node.number

    def let_go(self, number: int) -> None:
        """See `Keeper`."""
        self._gone.append(number)

    def export(self, number: int) -> None:
        """See `Keeper`."""
        if self.is_afar():
            self.from_afar(self.export, number)
        else:
            self.node_of(number).pins += 1

    def handle(self, kind: type[Cown[Any]], number: int) -> Cown[Any]:
        """See `Keeper`."""
        self.export(number)
        return self._handle(kind, number)

    async def read(self, number: int) -> Any:
        """See `Keeper`."""
        await trio.lowlevel.checkpoint_if_cancelled()
        node = self.node_of(number)
        if node.pinned:
            msg = "the value of a PinnedCown has no copy; schedule a behaviour over it"
            raise TypeError(msg)
        if not self._closed:
            reading = Reading()
            self._scheduler.schedule(Request([node], None, Kind.READ, reading))
            self.turn()
            await reading.done.wait()
            if reading.error is not None:
                raise reading.error
        node.seen = True
        if node.error is not None:
            raise once(node)
        if node.poison is not None:
            raise poisoned(node)
        if node.copy is None:
            raise BehaviourDropped(CLOSED)
        if node.failed:
            raise self.codec.decode_error(node.failed, node.copy)
        return self.codec.decode(node.copy)

    def _handle(self, kind: type[Cown[Any]], number: int) -> Cown[Any]:
        return kind.of(number, self)

    # -- scheduling --------------------------------------------------------------------

    def _start_here(
        self,
        fn: Callable[..., Any],
        cowns: tuple[Wanted, ...],
        captures: tuple[Any, ...],
    ) -> Cown[Any] | None:
        shape, numbers = self._shape(cowns)
        nodes = self._scheduler.nodes
        if not any(nodes[one].pinned for one in numbers if one in nodes):
            return None
        check_no_generator(fn)
        if iscoroutinefunction(fn):
            msg = f"{fn.__qualname__!r} is async, and the main thread runs plain ones"
            raise TypeError(msg)
        check_number(fn, len(cowns) + len(captures), *limits(fn))
        return self._submit((fn, shape, captures), False, numbers)

    def _submit(self, job: Job, is_async: bool, numbers: list[int]) -> Cown[Any]:
        if self.is_afar():
            return self.from_afar(self._submit, job, is_async, numbers)
        if self._closed or self._broken:
            self.check_open()
        number = next(new_numbers)
        if not self.accept(number, job, is_async, numbers):
            self.turn()
        return Cown.of(number, self)

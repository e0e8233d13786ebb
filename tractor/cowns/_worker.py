"""What runs in an actor that is a worker of a scope.

Its loop talks with the scope and runs async behaviours, a task each; plain ones run in
the thread of the `Runner`.
"""

import os
from typing import Any, Final

import trio

from tractor.cowns import _records as r
from tractor.cowns._cown import Cown, ambient, holding
from tractor.cowns._held import (
    Functions,
    acquire,
    arranged,
    broken,
    is_changed,
    state_of,
)
from tractor.cowns._inside import Inside
from tractor.cowns._log import Log
from tractor.cowns._outbox import Outbox
from tractor.cowns._runner import Job, Runner
from tractor.log import get_logger
from tractor.runtime import Context, context, current_actor

log: Final = get_logger("cowns")


@context
async def serve(
    ctx: Context, serializer: str | None, log_path: str, maker: int
) -> None:
    """Run what the scope sends, until it closes the stream.

    Args:
        ctx: Opened by the parent of this actor; nobody else may.
        serializer: See `Codec`.
        log_path: Of a file; see `Log`.
        maker: Number of this worker.

    Raises:
        PermissionError: Somebody else asks.
    """
    parent = current_actor().parent
    if parent is None or ctx.chan is not parent.channel:
        msg = "this worker works for its scope alone"
        raise PermissionError(msg)
    worker = _Worker(serializer, Log(log_path), maker, ctx.chan.max_frame)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(worker.run_in_thread)
        await ctx.started(os.getpid())
        async with ctx.open_stream() as stream:
            nursery.start_soon(worker.outbox.send, stream)
            async for kind, content in stream:
                worker.obey(kind, content, nursery)
        nursery.cancel_scope.cancel()


class _Worker:
    def __init__(
        self, serializer: str | None, log: Log, maker: int, max_frame: int
    ) -> None:
        self.outbox = Outbox(log, max_frame)
        self._inside = Inside(serializer, maker, self.outbox, max_frame)
        self._codec = self._inside.codec
        self._runner = Runner(self._inside, log)
        self._functions = Functions(self._codec)

    async def run_in_thread(self) -> None:
        """Let the runner run, until the task around it is cancelled."""
        limiter = trio.CapacityLimiter(1)
        try:
            await trio.to_thread.run_sync(
                self._runner.run, abandon_on_cancel=True, limiter=limiter
            )
        finally:
            self._runner.jobs.clear()
            self._runner.bell.put(False)
            self.outbox.end()

    def obey(self, kind: str, content: list[Any], nursery: trio.Nursery) -> None:
        """Do what the scope asks."""
        if kind == "do":
            puts, jobs = content
            self._put(puts)
            plain = []
            for *job, is_async in jobs:
                if is_async:
                    nursery.start_soon(self._run_task, job)
                else:
                    plain.append(job)
            self._runner.tell(plain)
        elif kind == "forget":
            self._runner.forget(content)
        elif kind == "copy":
            self._runner.tell([[0, "", [], b""]])
        elif kind == "back":
            self.outbox.give_back(self._runner.take_back())
        else:
            for key, data in content:
                self._note(key, data)

    def _note(self, key: str, data: bytes) -> None:
        notices = self._inside.notices
        try:
            notices.put(key, data)
        except Exception:
            log.exception("a notice cannot be unpacked, and so is not here: %s", key)
            notices.put(key, b"")

    def _put(self, puts: list[r.State]) -> None:
        """These values are here from now on."""
        residents = self._runner.residents
        for number, failed, data in puts:
            cown: Cown[Any] = Cown.of(number, None)
            cown._packed = failed, data
            residents[number] = cown

    # -- async behaviours --------------------------------------------------------------

    async def _run_task(self, job: Job) -> None:
        order, path, shape, data = job
        me = object()
        ambient.set(self._inside)
        holding.set(me)
        try:
            args, held = arranged(shape, self._runner.residents)
        except KeyError:  # it was lost on the way of this
            self.outbox.put(r.DONE, order, r.BROKEN, b"", [], [], [])
            return
        unsaved = self._runner.take({cown._number for cown in held})
        if (bad := acquire(held, me, self._codec)) is not None:
            failed, data = self._codec.encode_error(bad[1])
            states = [
                state_of(one, self._codec) for one in held if one._number in unsaved
            ]
            states.append(broken(*bad, self._codec))
        else:
            for cown in held:
                cown._changed = cown._number in unsaved  # of which only we tell now
            try:
                fn, captures = self._functions.get(path, data)
                value = await fn(*args, *captures)
                failed, data = 0, self._codec.encode(value)
            except trio.Cancelled:
                raise
            except BaseException as exc:  # noqa: BLE001 (who awaits the result raises)
                failed, data = self._codec.encode_error(exc)
            states = self._release(held)
        self._inside.notices.forget_reader(me)
        self.outbox.put_states(states)
        dropped = self.outbox.take_dropped()
        self.outbox.put(r.DONE, order, failed, data, [], [], dropped)

    def _release(self, held: list[Cown[Any]]) -> list[r.State]:
        states = []
        for cown in held:
            if cown._holder is not None:  # once for each
                cown._holder = None
                if is_changed(cown):
                    states.append(state_of(cown, self._codec))
        return states

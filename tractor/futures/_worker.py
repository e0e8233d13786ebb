"""What runs in an actor that is a worker of a pool.

The loop of the actor only talks with the pool, and so it always hears. Functions run
one after the other in one thread, the *runner*; async ones in the loop, while the
runner waits for them. What the loop tells the runner are additions to a queue, and
what it may take back is what nobody has begun.
"""

import inspect
import os
import threading
import time
from collections import deque
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, Final

import trio

from tractor._exceptions import FrameTooLarge
from tractor.futures._errors import PayloadError
from tractor.futures._journal import Journal
from tractor.futures._parcels import Kind, Packer, box_short
from tractor.log import get_logger
from tractor.runtime import Context, MsgStream, context, current_actor

log: Final = get_logger("futures")

BATCH: Final = 256 * 1024  # bytes of outcomes that are sent together
SLACK: Final = 4096  # bytes of a frame that are not payload
MERCY: Final = 0.02  # seconds for a task that shall be stopped to end by itself

type Job = list[Any]  # number, path, data
type Answer = tuple[int, Kind, bytes]


@context
async def serve(
    ctx: Context, serializer: str | None, initializer: list[Any] | None, journal: str
) -> None:
    """Run what the pool sends, until it closes the stream.

    Args:
        ctx: Opened by the parent of this actor; nobody else may.
        serializer: See `Packer`.
        initializer: Path and data of a call that comes before all others.
        journal: Path of a file; see `Journal`.

    Raises:
        PermissionError: Somebody else asks.
        BaseException: Whatever the initializer raises.
    """
    parent = current_actor().parent
    if parent is None or ctx.chan is not parent.channel:
        msg = "this worker works for its pool alone"
        raise PermissionError(msg)
    worker = _Worker(Packer(serializer), Journal(journal), ctx.chan.max_frame)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(worker.run_in_thread)
        if initializer is not None:
            await worker.initialize([0, *initializer])
        await ctx.started(os.getpid())
        async with ctx.open_stream() as stream:
            nursery.start_soon(worker.answer, stream)
            async for order in stream:
                worker.obey(order, nursery)
        nursery.cancel_scope.cancel()


class _Worker:
    def __init__(self, packer: Packer, journal: Journal, max_frame: int) -> None:
        self._packer = packer
        self._journal = journal
        self._max_frame = max_frame
        self._uid = current_actor().aid.uid
        self._token = trio.lowlevel.current_trio_token()
        self._jobs: deque[Job] = deque()
        self._bell: SimpleQueue[bool] = SimpleQueue()  # one for each job, or the end
        self._answers: deque[Answer] = deque()
        self._returned: deque[list[Any]] = deque()
        self._news = trio.Event()
        self._told = False
        self._sent = threading.Event()  # nothing is left to be sent
        self._busy = 0.0  # seconds that the jobs since the last answer took
        self._turn = threading.Lock()  # who says what runs next
        self._current = 0
        self._halted = False  # nothing runs next: this worker is to be ended
        self._scope: trio.CancelScope | None = None  # of the async function that runs

    # -- in the loop -------------------------------------------------------------------

    def obey(self, order: list[Any], nursery: trio.Nursery) -> None:
        """Do what the pool asks."""
        kind, content = order
        if kind == "run":
            self._add(content)
        elif kind == "back":
            self._give_back(set(content))
        else:
            self._stop(content, nursery)

    def _add(self, jobs: list[Job]) -> None:
        self._jobs.extend(jobs)
        for _ in jobs:
            self._bell.put(True)

    def _give_back(self, wanted: set[int]) -> None:
        """Return the jobs that nobody has begun."""
        with self._turn:
            taken = [job for job in self._jobs if job[0] in wanted]
            for job in taken:
                self._jobs.remove(job)
        found = [job[0] for job in taken]
        self._returned.append(["back", found])
        self._ring()

    def _stop(self, number: int, nursery: trio.Nursery) -> None:
        """End one job; if that takes the end of the worker, say so."""
        self._give_back({number})
        if number == self._current and not self._cancel():
            nursery.start_soon(self._halt, number)

    def _cancel(self) -> bool:
        """Cancel the async function that runs; false if there is none."""
        if self._scope is not None:
            self._scope.cancel(reason="the task was cancelled")
        return self._scope is not None

    async def _halt(self, number: int) -> None:
        """Say that this job ends with the worker, which begins no other one.

        Else the end of the worker would hit the job after it, where it ends in time.
        """
        await trio.sleep(MERCY)
        with self._turn:
            if number != self._current or self._cancel():
                return
            self._halted = True
        self._returned.append(["stuck", number])
        self._ring()

    async def run_in_thread(self) -> None:
        """Let the runner run, until the task around it is cancelled."""
        limiter = trio.CapacityLimiter(1)
        try:
            await trio.to_thread.run_sync(
                self._run, abandon_on_cancel=True, limiter=limiter
            )
        finally:
            self._jobs.clear()
            self._bell.put(False)
            self._sent.set()

    async def initialize(self, job: Job) -> None:
        """Run the initializer in the runner's thread, and raise what it raises."""
        self._add([job])
        while not self._answers:
            await self._news.wait()
            self._news = trio.Event()
        _, kind, data = self._answers.popleft()
        self._sent.set()
        if kind != "result":
            raise self._packer.unpack_error(kind, data)

    async def answer(self, stream: MsgStream) -> None:
        """Send what there is to send, again and again."""
        while True:
            await self._news.wait()
            self._news = trio.Event()
            while self._returned:
                await stream.send(self._returned.popleft())
            while self._answers:
                batch, size = [], 0
                while self._answers and size < BATCH:
                    number, kind, data = self._answers.popleft()
                    if size and size + len(data) > BATCH:
                        self._answers.appendleft((number, kind, data))
                        break
                    if len(data) + SLACK > self._max_frame:
                        error = FrameTooLarge(len(data), self._max_frame)
                        kind, data = "boxed", box_short(error, self._uid)
                    batch.append((number, kind, data))
                    size += len(data)
                busy, self._busy = self._busy, 0.0
                await stream.send(["done", batch, busy / len(batch)])
            with self._turn:
                if not self._answers:
                    self._sent.set()

    def _ring(self) -> None:
        self._told = False
        self._news.set()

    # -- in the runner -----------------------------------------------------------------

    def _run(self) -> None:
        while self._bell.get():
            with self._turn:
                if not self._jobs:
                    continue  # it was taken back
                job = self._jobs.popleft()
                self._current = job[0]
            self._run_one(job)
            if self._halted:
                return
            del job

    def _run_one(self, job: Job) -> None:
        number, path, data = job
        self._journal.begin(number)
        began = time.perf_counter()
        kind, data = self._outcome(path, data)
        with self._turn:
            self._current = 0
            if self._halted:
                return  # its outcome is known, and nobody waits for this one
        self._busy += time.perf_counter() - began
        noted = self._journal.end(number, kind, data)
        with self._turn:
            if not noted:
                self._sent.clear()
            self._answers.append((number, kind, data))
        if not self._told:
            self._told = True
            with suppress(trio.RunFinishedError):
                self._token.run_sync_soon(self._ring)
        if not noted:
            self._sent.wait()

    def _outcome(self, path: str, data: bytes) -> tuple[Kind, bytes]:
        packer = self._packer
        try:
            fn, args, kwargs = packer.unpack(path, data)
        except BaseException as exc:  # noqa: BLE001 (the waiter raises it)
            if packer.serializer is None:
                return packer.pack_error(exc, self._uid)
            error = PayloadError(f"a worker could not read a task: {exc!r}")
            error.__cause__ = exc
            return packer.pack_error(error, self._uid)
        try:
            if inspect.iscoroutinefunction(fn):
                value = trio.from_thread.run(
                    self._await, fn, args, kwargs, trio_token=self._token
                )
            else:
                value = fn(*args, **kwargs)
            return "result", packer.pack_result(value, path)
        except (_Stopped, trio.Cancelled):
            return "cancelled", b""
        except BaseException as exc:  # noqa: BLE001 (the waiter raises it)
            return packer.pack_error(exc, self._uid)

    async def _await(self, fn: Any, args: list[Any], kwargs: dict[str, Any]) -> Any:
        scope = self._scope = trio.CancelScope()
        try:
            with scope:
                return await fn(*args, **kwargs)
        finally:
            self._scope = None
        raise _Stopped


class _Stopped(BaseException):
    """An async function was cancelled because the pool asked."""

"""A pool whose workers are actors.

One task of the loop looks after each worker, from its start to its end: it opens a
nursery with that one actor, so that whatever happens there ends nobody else. Which task
goes where is decided in one place, `_place_all`, which never waits.

A worker gets a task ahead of time only when all of them are at work, and only when the
last ones took microseconds. What nobody has begun is taken back when another worker
has nothing to do, so that no task waits behind one that is blocked.
"""

import math
import threading
from contextlib import suppress
from typing import Any, Final

import trio

from tractor._exceptions import ActorDied, FrameTooLarge, SpawnError, TractorError
from tractor._root import open_nursery
from tractor.futures import _journal
from tractor.futures._engine import CLEAN_UP, Engine, OnEnd, Setup
from tractor.futures._errors import BrokenPool, WorkerDied
from tractor.futures._future import Future
from tractor.futures._parcels import MAIN, Kind
from tractor.futures._post import Post
from tractor.futures._worker import SLACK, serve
from tractor.log import get_logger
from tractor.runtime import current_actor, main_origin
from tractor.trionics import get_collapsed_eg

log: Final = get_logger("futures")

LULL: Final = 0.005  # seconds that a task waits behind another one, at least
HEARD: Final = 0.5  # seconds for a worker to hear that it shall stop a task
BAD_BOOTS: Final = 3  # workers that die before they did anything; then that is it


class Crew(Engine):
    """See the module. `run` is its life, in a loop where an actor runs."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self._init: list[Any] | None = None
        if setup.initializer is not None:
            parcel = self.packer.pack(setup.initializer, setup.initargs, {})
            self._init = [parcel.path, parcel.data]
        self._posts: dict[str, Post] = {}
        self._hired = 0
        self._asked = False  # whether `_place_all` is about to be called
        self._stops: list[Future[Any]] = []
        self._token: trio.lowlevel.TrioToken | None = None
        self._max_frame = 0
        self._nursery: trio.Nursery | None = None
        self._finished: trio.Event | None = None
        self._rescuing = False
        self._ending = False  # nobody new is hired
        self._bad_boots = 0  # one after the other
        self.before_end: OnEnd | None = None

    # -- from any thread ---------------------------------------------------------------

    def disown(self) -> None:
        """See `Engine`."""
        super().disown()
        self._token = None

    def wake(self) -> None:
        """See `Engine`."""
        with self.lock:
            if self._asked or self._token is None:
                return
            self._asked = True
        with suppress(trio.RunFinishedError):
            self._token.run_sync_soon(self._place_all)

    def stop(self, future: Future[Any]) -> None:
        """See `Engine`."""
        with self.lock:
            self._stops.append(future)
        self.wake()

    def workers(self) -> list[str]:
        """See `Engine`."""
        return list(self._posts)

    # -- in the loop -------------------------------------------------------------------

    async def run(
        self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Run the pool until it is closed and has done everything.

        Cancellation: its workers are stopped within the bound of the ladder, and what
        they have not done is cancelled.
        """
        self._finished = trio.Event()
        self.loop_thread = threading.get_ident()
        try:
            self._max_frame = current_actor().runtime_vars.max_frame
            async with trio.open_nursery() as self._nursery:
                with self.lock:
                    self._token = trio.lowlevel.current_trio_token()
                task_status.started()
                self._place_all()
                await self._finished.wait()
                self._nursery.cancel_scope.cancel(reason="the pool is closed")
        finally:
            with self.lock:
                self.closed = True
                self._token = None
                left = [*self.placed.values(), *self.pending]
            try:
                for future in left:
                    self.cancel(future)
            finally:  # a callback may raise what is no Exception
                self.loop_thread = 0
                if self.before_end is not None:
                    self.before_end()
                self.ended.set()

    def _place_all(self) -> None:
        if self._ending:
            return
        with self.lock:
            self._asked = False
            stops, self._stops = self._stops, []
        for future in stops:
            self._stop(future)
        with self.lock:
            while self.pending and (post := self._choose()) is not None:
                if (placed := self.next_pending(post.name)) is not None:
                    self._hand_over(post, placed)
            finished = self.closed and not self.pending and not self.placed
        if finished and self._finished is not None:
            self._finished.set()
        elif not self._rescuing and self._nursery is not None and self._stuck():
            self._rescuing = True
            self._nursery.start_soon(self._rescue)

    def _hand_over(self, post: Post, future: Future[Any]) -> None:
        size = len(future.parcel.data)
        if size + SLACK > self._max_frame:
            assert self._token is not None
            error = FrameTooLarge(size, self._max_frame)
            self._token.run_sync_soon(self.fail, future, error)  # without the lock
            self.wake()
            return
        post.take(future)
        if post.ready:
            self._watch_limit(post)

    def _choose(self) -> Post | None:
        """Who gets the next task; nobody when all have enough."""
        posts = self._posts.values()
        ready = [post for post in posts if post.ready and not post.leaving]
        for post in ready:
            if not post.has:
                return post
        assert self._nursery is not None
        if len(self._posts) < self.setup.workers:
            self._hired += 1
            name = f"{self.setup.name}-{self._hired}"
            post = self._posts[name] = Post(name)
            self._nursery.start_soon(self._tend, post, name=name)
            return post
        if self.pending[0].limit is not None:
            return None  # its time runs from its beginning, so it comes first or not
        roomy = [p for p in ready if len(p.has) < p.quota and not p.limited]
        return min(roomy, key=lambda post: len(post.has), default=None)

    def _stop(self, future: Future[Any]) -> None:
        """End a task whose future is settled already."""
        post = self._posts.get(future.worker or "")
        if post is None or future.task_id not in post.has:
            return
        if not post.drop_unsent(future):
            assert self._nursery is not None
            self._nursery.start_soon(self._stop_there, post, future.task_id)

    async def _stop_there(self, post: Post, number: int) -> None:
        post.order("stop", number)
        with trio.move_on_after(HEARD):
            await post.heard_of(number)
        if number in post.has and number not in post.stuck:
            with trio.move_on_after(CLEAN_UP):
                await post.rid_of(number)
        if number in post.has:
            post.leave(f"task {number} was to be stopped")

    # -- one worker --------------------------------------------------------------------

    async def _tend(self, post: Post) -> None:
        failure: Exception | None = None
        try:
            post.journal_path = _journal.make()
            with post.scope:
                await self._employ(post)
        except ExceptionGroup as exc:
            inner = get_collapsed_eg(exc)
            failure = inner if isinstance(inner, Exception) else exc
        except (TractorError, OSError) as exc:
            failure = exc
        finally:
            self._dismiss(post, failure)

    async def _employ(self, post: Post) -> None:
        """Have an actor for it, from its start to its end."""
        async with open_nursery() as an:
            portal = await an.start_actor(
                post.name,
                enable_modules=[serve.__module__, *_program()],
                start_method=self.setup.start_method,
            )
            init, journal = self._init, post.journal_path
            async with portal.open_context(
                serve, self.setup.serializer, init, journal
            ) as (ctx, _pid):
                post.open_journal()
                async with ctx.open_stream() as stream, trio.open_nursery() as both:
                    post.ready = True
                    both.start_soon(post.send_orders, stream)
                    self._watch_limit(post)
                    self._place_all()
                    async for answer in stream:
                        self._hear(post, answer)
                    both.cancel_scope.cancel()
            await an.cancel()

    def _hear(self, post: Post, answer: list[Any]) -> None:
        kind, content, *more = answer
        if kind == "done":
            self._bad_boots = 0
            post.learn(more[0])
            for number, outcome, data in content:
                if (future := post.rid(number)) is not None:
                    self._conclude(future, outcome, data)
        elif kind == "back":
            self.put_back([f for n in content if (f := post.rid(n)) is not None])
        else:
            post.stuck.add(content)
            post.tell()
        self._place_all()

    def _conclude(self, future: Future[Any], outcome: Kind, data: bytes) -> None:
        parcel = future.parcel
        if parcel is None:
            return  # its outcome is known
        try:
            if outcome == "result":
                result = self.packer.unpack_result(parcel.types, data)
                self.finish(future, result)
            elif outcome == "cancelled":
                self.cancel(future)
            else:
                self.fail(future, self.packer.unpack_error(outcome, data))
        except Exception as exc:  # noqa: BLE001 (it cannot be read: that task's error)
            self.fail(future, exc)

    def _dismiss(self, post: Post, failure: Exception | None) -> None:
        """It is gone; see to what it had."""
        del self._posts[post.name]
        self._ending |= trio.current_effective_deadline() == -math.inf
        if not self._ending:  # else all that is left is cancelled
            for future, outcome, data in post.unheard():
                self._bad_boots = 0
                self._conclude(future, outcome, data)
        begun, rest = post.split()
        if not post.ready:
            begun, rest = [], [*begun, *rest]
        if not post.leaving and not begun and (rest or not post.ready):
            self._note_bad_boot(post, failure)
        for future in () if self._ending else begun:
            error = WorkerDied(
                f"worker {post.name!r} ended while it had task {future.name!r}: "
                f"{failure or post.leaving}"
            )
            error.__cause__ = failure
            self.fail(future, error)
        self.put_back(rest)
        post.close()
        self._place_all()

    def _note_bad_boot(self, post: Post, failure: Exception | None) -> None:
        """It went before it did anything, and so may the next one."""
        if self._ending:
            return
        self._bad_boots += 1
        # What was killed as it booted may come the next time.
        killed = isinstance(failure, ActorDied | None) or (
            isinstance(failure, SpawnError) and failure.status is not None
        )
        if killed and self._bad_boots < BAD_BOOTS:
            return
        what = "ended before it did anything" if post.ready else "did not start"
        error = BrokenPool(f"worker {post.name!r} {what}: {failure or 'no error'}")
        error.__cause__ = failure
        log.critical("%s", error, exc_info=failure)
        self.break_(error)

    # -- limits, and tasks that wait in the wrong place --------------------------------

    def _watch_limit(self, post: Post) -> None:
        for future in post.has.values():
            if future.limit is not None and self._nursery is not None:
                self._nursery.start_soon(self._limit, post, future, future.limit)

    async def _limit(self, post: Post, future: Future[Any], limit: float) -> None:
        with trio.move_on_after(limit):
            await post.rid_of(future.task_id)
            return
        self.expire(future)

    def _stuck(self) -> bool:
        """Whether a task waits behind another one, and need not."""
        posts = self._posts.values()
        idle = any(p.ready and not p.has and not p.leaving for p in posts)
        if not idle and len(posts) < self.setup.workers:  # one has died
            return any(len(p.has) > 1 for p in posts)
        return idle and any(len(p.has) > 1 or (p.has and not p.ready) for p in posts)

    async def _rescue(self) -> None:
        while True:
            await trio.sleep(LULL)
            if not self._stuck():
                break
            for post in list(self._posts.values()):
                if not post.ready:
                    self.put_back(post.give_up_all())
                elif len(post.has) > 1 and not post.leaving:
                    post.order("back", list(post.has)[1:])
            self._place_all()
        self._rescuing = False


def _program() -> list[str]:
    """The program's main module, if its functions may be asked for."""
    name, _ = main_origin()
    # That of a package which is run by name holds a call and nothing else, as a rule;
    # `multiprocessing` leaves it out, too.
    return [] if name is not None and name.endswith(f".{MAIN}") else [MAIN]

"""The workers of a scope: hired when there is work, replaced when they die.

One task of the loop looks after each worker, from its start to its end: it opens a
nursery with that one actor, so that whatever happens there ends nobody else.
"""

import math
from itertools import count
from typing import Any, Final, Protocol

import trio

from tractor._exceptions import ActorDied, SpawnError, TractorError
from tractor._root import open_nursery
from tractor.cowns import _log
from tractor.cowns import _records as r
from tractor.cowns._post import Post
from tractor.cowns._queues import Request
from tractor.cowns._scheduler import Scheduler
from tractor.cowns._worker import serve
from tractor.futures import BrokenPool, DecisionTrace, WorkerDied
from tractor.futures.parts import program_modules
from tractor.log import get_logger
from tractor.runtime import current_actor
from tractor.trionics import get_collapsed_eg

log: Final = get_logger("cowns")

LULL: Final = 0.02  # seconds that a behaviour waits behind another one, at least
BAD_BOOTS: Final = 3  # workers that die as they boot, after which no more are tried

_makers: Final = count(1)


class Boss(Protocol):
    """What a crew has to do with its scope."""

    def hear(self, post: Post, record: list[Any]) -> None:
        """A worker says something else."""

    def hear_done(self, post: Post, record: list[Any]) -> None:
        """A worker says that a behaviour has ended."""

    def lose(self, request: Request, error: WorkerDied) -> None:
        """A worker died while this ran."""

    def break_(self, error: BrokenPool) -> None:
        """There will be no workers."""

    def turn(self) -> None:
        """Do what follows from what is decided."""

    def board(self) -> list[tuple[str, bytes]]:
        """All notices."""


class Crew:
    """See the module.

    Args:
        decision: How many, and of which kind.
        serializer: See `Codec`.
        scheduler: Gets a lane for each worker.
        boss: Hears what they say.
    """

    def __init__(
        self,
        decision: DecisionTrace,
        serializer: str | None,
        scheduler: Scheduler,
        boss: Boss,
    ) -> None:
        self.posts: list[Post] = []
        self.ending = False
        self._decision = decision
        self._max_frame = current_actor().runtime_vars.max_frame
        self._serializer = serializer
        self._scheduler = scheduler
        self._boss = boss
        self._nursery: trio.Nursery | None = None
        self._bad_boots = 0  # one after the other
        self._rescuing = False

    def open(self, nursery: trio.Nursery) -> None:
        """From now on it may hire."""
        self._nursery = nursery

    def hire(self) -> None:
        """Have more workers, if there is more to do than they can."""
        waiting = len(self._scheduler.ready) + len(self._scheduler.ready_tasks)
        booting = sum(not (post.ready or post.booted) for post in self.posts)
        while (
            booting < waiting
            and len(self.posts) < self._decision.workers
            and not self.ending
            and self._nursery is not None
        ):
            maker = next(_makers)
            post = Post(f"{self._decision.name}-{maker}", maker, self._max_frame)
            self.posts.append(post)
            booting += 1
            self._nursery.start_soon(self._tend, post, name=post.name)

    def watch(self) -> None:
        """See to it that nothing waits long behind another one without need."""
        if not self._rescuing and self._nursery is not None and self._stuck():
            self._rescuing = True
            self._nursery.start_soon(self._rescue)

    # -- one worker --------------------------------------------------------------------

    async def _tend(self, post: Post) -> None:
        failure: Exception | None = None
        try:
            post.log_path = _log.make()
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
                enable_modules=[serve.__module__, *program_modules()],
                start_method=self._decision.start_method,
            )
            async with portal.open_context(
                serve, self._serializer, post.log_path, post.maker
            ) as (ctx, _pid):
                post.open_log()
                async with ctx.open_stream() as stream, trio.open_nursery() as both:
                    post.booted = True
                    self._bad_boots = 0
                    post.notices = self._boss.board()
                    both.start_soon(post.send_orders, stream)
                    self._scheduler.add_lane(post)
                    self._boss.turn()
                    async for kind, content, seconds in stream:
                        if kind == "said":
                            self._hear(post, content, seconds)
                        else:
                            self._take_back(post, content)
                    both.cancel_scope.cancel()
            await an.cancel()

    def _hear(self, post: Post, records: list[bytes], seconds: float | None) -> None:
        if seconds is not None:
            post.progress += 1
            if not post.recalling:
                post.learn(seconds)
        post.heard += len(records)
        self._hear_all(post, records)
        self._scheduler.feed(post)
        self._boss.turn()

    def _hear_all(self, post: Post, records: list[bytes]) -> None:
        hear, hear_done, unpack = self._boss.hear, self._boss.hear_done, r.unpack
        for record in records:
            said = unpack(record)
            if said[0] == r.DONE:
                hear_done(post, said)
            else:
                hear(post, said)

    def _take_back(self, post: Post, orders: list[int]) -> None:
        requests = [post.placed[order] for order in orders if order in post.placed]
        self._scheduler.unplace(requests)
        post.recalled()
        self._scheduler.feed(post)
        self._boss.turn()

    def _dismiss(self, post: Post, failure: Exception | None) -> None:
        """It is gone; see to what it had."""
        self.posts.remove(post)
        post.ready = False
        self.ending |= trio.current_effective_deadline() == -math.inf
        if not self.ending:  # else all that is left is dropped
            self._hear_all(post, post.unheard())
            if not post.booted:
                self._note_bad_boot(post, failure)
            self._bury(post, failure)
        post.close()
        if not self.ending:
            self._boss.turn()

    def _bury(self, post: Post, failure: Exception | None) -> None:
        begun, rest = post.split()
        self._scheduler.counts.deaths += post.booted
        log.error("a worker of cowns ended: %s, with %d begun", failure, len(begun))
        self._scheduler.unplace(rest)
        for request in begun:
            self._boss.lose(request, _died(post, failure, "in the midst of it"))
        unsaved = _died(post, failure, "with the last state of this cown")
        self._scheduler.remove_lane(post, unsaved)

    def _note_bad_boot(self, post: Post, failure: Exception | None) -> None:
        self._bad_boots += 1
        # What was killed as it booted may come the next time.
        killed = isinstance(failure, ActorDied) or (
            isinstance(failure, SpawnError) and failure.status is not None
        )
        if failure is None or (killed and self._bad_boots < BAD_BOOTS):
            return
        error = BrokenPool(f"worker {post.name!r} did not start: {failure}")
        error.__cause__ = failure
        log.critical("%s", error, exc_info=failure)
        self._boss.break_(error)

    # -- behaviours that wait in the wrong place ---------------------------------------

    def _stuck(self) -> bool:
        """Whether something waits behind another one, and somebody has nothing to do.

        That is no harm as long as there is progress.
        """
        idle = any(p.ready and not p.load for p in self.posts)
        if not idle and len(self.posts) >= self._decision.workers:
            return False
        return any(post.load > 1 for post in self.posts)

    async def _rescue(self) -> None:
        while self._stuck():
            before = {post.name: post.progress for post in self.posts}
            await trio.sleep(LULL)
            for post in self.posts:
                slow = before.get(post.name) == post.progress
                if slow and post.load > 1 and post.ready:
                    post.recall()
        self._rescuing = False


def _died(post: Post, failure: Exception | None, how: str) -> WorkerDied:
    why = failure or "it left"
    error = WorkerDied(f"worker {post.name!r} ended {how}: {why}")
    error.__cause__ = failure
    return error

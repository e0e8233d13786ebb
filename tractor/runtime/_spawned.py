"""One child of this actor, from its link to its last trace.

States, left only forward and each exactly once:

    booting   the child is started and imports its modules
    running   it said Ready; calls are welcome
    stopping  somebody asked, or its end was seen: the ladder makes sure of it
    gone      reaped (or abandoned); every waiter was told; `error` is final

Two signals tell of a death, and whichever comes first counts: the end of the link, and
the end of the child. The other one gets a moment to arrive, so that the news carries
the exit status, and so that what the child sent before it died is still read.
"""

import math
import time
from collections.abc import Callable
from typing import Any, Final, cast

import trio
from msgspec.structs import replace

from tractor._exceptions import ActorDied, RuntimeFailure, TransportClosed
from tractor._instrument import hub
from tractor._types import Aid, ExitReport, ExitStatus, Graces, Rung
from tractor.ipc import Channel, make_pair
from tractor.log import get_logger
from tractor.msg import types as t
from tractor.msg import unbox
from tractor.runtime._actor import Actor
from tractor.runtime._ends import (
    FailedBoot,
    as_one,
    crashed_when_asked,
    left_behind,
    own_error,
)
from tractor.runtime._main_task import MainTask
from tractor.runtime._peer import Peer
from tractor.runtime._portal import Portal
from tractor.runtime._state import add_orphan, graces_by, granted_graces
from tractor.spawn import (
    Child,
    ChildSpec,
    InterruptibleChild,
    SpawnBackend,
    stop_child,
)

log = get_logger("spawn")

SETTLE: Final = 0.2  # seconds for the second signal of a death; docs/adr/0004


class SpawnedActor:
    """Supervises one child; a service of the actor that started it.

    Attributes:
        portal: For calling into it, once it runs.
        booted: Set when it runs, or never will.
        boot_error: Why it never will.
        gone: Set when nothing of it is left, or it was abandoned.
        error: What its nursery has to raise, if anything; final once it is gone.
        report: What the ladder did, if it was needed.
    """

    def __init__(
        self,
        actor: Actor,
        backend: SpawnBackend,
        spec: t.SpawnSpec,
        options: dict[str, Any],
        main: MainTask | None,
    ) -> None:
        self.spec = spec
        self.main = main
        self.booted = trio.Event()
        self.boot_error: BaseException | None = None
        self.gone = trio.Event()
        self.error: Exception | None = None
        self.report: ExitReport | None = None
        self.stop_called = False
        self._deadline = math.inf
        self.status: ExitStatus | None = None
        self._actor = actor
        self._backend = backend
        self._options = options
        self._stage = "start"
        self._boot_record: t.Ready | t.BootError | None = None
        self._starting = trio.CancelScope()
        self._news = trio.Event()  # of anything that may end the present state
        self._exited = trio.Event()
        self._on_failing: Callable[[], None] = lambda: None
        self._child: Child | None = None
        self._died_of: ExitStatus | None = None
        self._timed_out = False
        self._hurried = False  # it got no time to end when it was asked
        transport, self._childs_end = make_pair()
        channel = Channel(transport, max_frame=spec.runtime_vars.max_frame)
        self.peer = Peer(
            actor,
            spec.aid,
            channel,
            opens_even=True,
            on_cancel_actor=actor.cancel_soon,
            on_boot=self._on_boot,
        )
        self.portal = Portal(self.peer, self)

    @property
    def aid(self) -> Aid:
        """Identity of the actor in the child."""
        return self.peer.aid

    def stop(self, deadline: float = math.inf) -> None:
        """Stop it by the ladder, whose graces shrink to end by then; idempotent."""
        if self.gone.is_set():
            return
        self.stop_called = True
        self._deadline = min(self._deadline, deadline)
        self._actor.stopping.add(self.kill_now)
        self._starting.cancel()
        self._news.set()

    async def run(
        self,
        on_failing: Callable[[], None],
        on_gone: Callable[["SpawnedActor"], None],
    ) -> None:
        """Supervise the child until it is gone; raises nothing but `trio.Cancelled`.

        Args:
            on_failing: Told as soon as it is known that `error` will be set, so that
                its siblings need not wait for its end.
            on_gone: Told when it is gone and `error` is final.
        """
        self._on_failing = on_failing
        try:
            if await self._boot():
                await self._call_main()
                self.booted.set()
                await self._run()
        except trio.Cancelled:
            self.stop_called = True
            self.error = RuntimeFailure(
                f"the runtime ended around actor {self.aid.reprol()!r}; leave the "
                "block of its nursery before that of open_root_actor()"
            )
            on_failing()
            raise
        except Exception as exc:  # a bug of ours must not take every other child along
            log.exception("supervision of %s failed", self.aid.reprol())
            self.error = exc
        finally:
            with trio.CancelScope(shield=True):
                await self._end()
            self._actor.stopping.discard(self.kill_now)
            on_gone(self)
            self.booted.set()
            self.gone.set()

    # -- booting -----------------------------------------------------------------------

    async def _boot(self) -> bool:
        if hub.active:
            parent = self._actor.aid
            hub.emit("spawn", self.aid, backend=self._backend.key, parent=parent)
        started, began = trio.current_time(), time.monotonic()
        timeout = self.spec.runtime_vars.boot_timeout
        with trio.move_on_after(timeout) as patience:
            with self._starting:  # a backend may be stuck
                if not await self._start():
                    return False
            if self._child is not None:
                await self._news.wait()
        while patience.cancelled_caught and await self._actor.stood_still(began):
            began = time.monotonic()
            with trio.move_on_after(timeout) as patience:
                await self._news.wait()
        self._news = trio.Event()
        if isinstance(self._boot_record, t.Ready) and not self.stop_called:
            if hub.active:
                seconds = trio.current_time() - started
                hub.emit("ready", self.aid, seconds=seconds)
            return True
        if patience.cancelled_caught:
            self._timed_out = self.stop_called = True
        return False

    async def _start(self) -> bool:
        """Make the child; whether there is one."""
        try:
            # Before there is a child: a spec that cannot be sent starts none, and one
            # that dies at once does not break the link under it.
            self.peer.channel.send_nowait(self.spec)
            spec = ChildSpec(
                aid=self.aid,
                link=self._childs_end,
                lifeline_fd=self._actor.lifeline.fd,
                options=self._options,
            )
            self._child = await self._backend.start(spec)
        except (ValueError, TypeError) as exc:
            self.boot_error = exc  # of an argument that the caller chose
        except Exception as exc:  # noqa: BLE001 (of the system, or the caller's hook)
            self.boot_error = self._failed_boot().caused_by(exc, "cannot be started")
        if self._child is None:
            self._childs_end.close()
            return False
        self._stage = "connect"
        self.peer.aid = Aid(*self.aid.uid, self._child.pid)
        self._actor.spawn(self._watch_exit, self._child, name="exit watch")
        self._actor.add_peer(self.peer)
        self._actor.spawn(self._watch_link, name="link watch")
        return True

    def kill_now(self) -> None:
        """Do not wait for the ladder; the owner has lost patience."""
        self.stop()
        if self._child is None:
            return
        self._hurried = True
        traits = self._backend.traits
        if traits.can_kill:
            self._child.kill()
        elif traits.can_interrupt:
            cast("InterruptibleChild", self._child).interrupt()

    def _on_boot(self, record: t.Stage | t.Ready | t.BootError) -> None:
        if isinstance(record, t.Stage):
            self._stage = record.name
            return
        if isinstance(record, t.BootError):
            self._stage = record.stage
        self._boot_record = record
        self._news.set()

    async def _watch_exit(self, child: Child) -> None:
        self.status = await child.wait()
        self._exited.set()
        self._news.set()

    async def _watch_link(self) -> None:
        await self.peer.ended.wait()
        self._news.set()

    # -- running -----------------------------------------------------------------------

    async def _call_main(self) -> None:
        """Call its function before anybody else calls one: they start in order."""
        if self.main is not None:
            name = f"main of {self.aid.name}"
            self._actor.spawn(self._run_main, self.main, name=name)
            await self.main.called.wait()

    async def _run(self) -> None:
        while not (
            self.stop_called or self._exited.is_set() or self.peer.ended.is_set()
        ):
            await self._news.wait()
            self._news = trio.Event()

    async def _run_main(self, main: MainTask) -> None:
        await main.run(self.peer)
        if self._main_error() is not None:
            self._on_failing()
        self.stop()

    # -- ending ------------------------------------------------------------------------

    async def _end(self) -> None:
        """Make sure that it is gone, tell every waiter, and find out what to raise."""
        expected = asked = self.stop_called
        if (child := self._child) is not None:
            if self.peer.ended.is_set() or not asked:
                await self._await_exit(child, asked=asked)
            expected = asked or self.peer.bye is not None
            if not expected:
                self._died_of = self.status
                self.peer.fail(self._down)
            failing = not expected or self._bye_error() is not None
            if failing and self.booted.is_set():
                self._on_failing()
            if not self._exited.is_set():
                await self._stop(child)
            # Who was abandoned says no more, and took all the time that there was.
            with trio.move_on_after(SETTLE if self._exited.is_set() else 0):
                await self.peer.ended.wait()
            if self.peer.bye is not None:
                expected = True
            elif expected and self.booted.is_set() and not self._hurried:
                expected = not crashed_when_asked(self.report, self.status)
                self._died_of = None if expected else self.status
        self.peer.fail(self._down)
        self._actor.remove_peer(self.peer)
        if self.main is not None and self.booted.is_set():
            with trio.move_on_after(SETTLE):
                await self.main.wait_done()
            self.main.fail(self._down())
        self._conclude(expected=expected)
        if hub.active:
            hub.emit("exit", self.aid, status=self.status, report=self.report)

    async def _await_exit(self, child: Child, *, asked: bool) -> None:
        """It is about to go by itself, or has gone: give it the time for that."""
        said_so = self.peer.bye is not None or isinstance(
            self._boot_record, t.BootError
        )
        orderly = asked or said_so
        patience = granted_graces(self._actor.graces).cancel if orderly else SETTLE
        with trio.move_on_after(patience):
            await self._watch_exit(child)
        if not orderly:
            with trio.move_on_after(SETTLE):
                await self.peer.ended.wait()

    async def _stop(self, child: Child) -> None:
        deaf = self.peer.ended.is_set() or not self.booted.is_set()
        ask = None if deaf else self._ask
        graces = self._graces()
        if self.peer.overdue:
            # It was given that time already, by whoever had called into it.
            graces = replace(graces, cancel=min(graces.cancel, graces.ack))
        self.report = await stop_child(
            child,
            self._backend.traits,
            graces,
            ask=ask,
            on_rung=self._on_rung,
            stood_still=self._actor.stood_still,
        )
        if self.report.outcome != "abandoned":
            self.status = self.report.status
            self._exited.set()

    def _graces(self) -> Graces:
        traits = self._backend.traits
        graces = graces_by(self._deadline, self._actor.graces, traits)
        if not self._actor.patient and (traits.can_kill or traits.can_interrupt):
            self._hurried = True
            return Graces(ack=0, cancel=0, terminate=0, kill=graces.kill)
        return graces

    async def _ask(self, seconds: float) -> bool:
        return await self.peer.request_cancel(self._actor.aid.uid, seconds)

    def _on_rung(self, rung: Rung, grace: float) -> None:
        log.cancel("%s: %s, %.2f s", self.aid.reprol(), rung, grace)
        if hub.active:
            hub.emit("rung", self.aid, rung=rung, grace=grace)

    def _down(self) -> TransportClosed:
        """The news for whoever waits on it."""
        if self.peer.bye is not None:
            return TransportClosed(f"actor {self.aid.reprol()!r} has ended")
        return ActorDied(
            aid=self.aid, status=self._died_of, stderr_tail=self._stderr_tail()
        )

    def _conclude(self, *, expected: bool) -> None:
        abandoned = left_behind(self.aid, self.report)
        if abandoned is not None:
            add_orphan(self.aid)
        if not self.booted.is_set():
            self.boot_error = self.boot_error or self._failed_boot().error()
            if self.main is not None:
                self.main.fail(TransportClosed(str(self.boot_error)))
            return
        errors = (self._main_error(), self._bye_error(), abandoned)
        self.error = as_one(self.aid, errors) or self.error
        if self.error is None and not expected:
            self.error = self._down()

    def _main_error(self) -> Exception | None:
        error = self.main.error if self.main is not None else None
        return own_error(error, self._actor.aid.uid)

    def _bye_error(self) -> Exception | None:
        """What its own clean-up raised."""
        bye = self.peer.bye
        return unbox(bye.error) if bye is not None and bye.error is not None else None

    def _failed_boot(self) -> FailedBoot:
        timeout = self.spec.runtime_vars.boot_timeout
        return FailedBoot(
            aid=self.aid,
            stage=self._stage,
            record=self._boot_record,
            timeout=timeout if self._timed_out else None,
            stopped=self.report is not None or self._child is None,
            abandoned=left_behind(self.aid, self.report) is not None,
            status=self.status,
            link_error=self.peer.reason,
            stderr_tail=self._stderr_tail(),
        )

    def _stderr_tail(self) -> str:
        return self._child.stderr_tail() if self._child is not None else ""

"""Where pools of actors run when the program has no loop: a thread with a root actor.

There is at most one such thread in an interpreter, because there is at most one actor
in it. The first pool starts it, and it ends with the last one, so that a program whose
pools are closed has neither the thread nor any child.

In an actor its own loop serves, which a thread made by trio can reach.
"""

import threading
from functools import partial
from typing import Final

import trio

from tractor._exceptions import RuntimeFailure
from tractor._root import open_root_actor
from tractor.futures._crew import Crew
from tractor.log import get_logger
from tractor.runtime import maybe_actor

log: Final = get_logger("futures")

NAME: Final = "tractor-futures"  # of the thread, and of the root in it


class Host:
    """One thread with a loop, and the pools in it."""

    def __init__(self, before: "Host | None") -> None:
        self.users = 0
        self.over = False  # it takes no more pools
        self._before = before
        self._ready = threading.Event()
        self._error: BaseException | None = None
        self._token: trio.lowlevel.TrioToken | None = None
        self._nursery: trio.Nursery | None = None
        self._unused = trio.Event()
        self.thread = threading.Thread(target=self._run, name=NAME, daemon=True)

    def add(self, crew: Crew) -> None:
        """Run the crew here until it ends.

        Raises:
            BaseException: The loop could not be started.
        """
        self._ready.wait()
        if self._error is not None:
            raise self._error
        assert self._token is not None
        self._token.run_sync_soon(self._start, crew)

    def _start(self, crew: Crew) -> None:
        assert self._nursery is not None
        crew.before_end = self._leave
        self._nursery.start_soon(self._serve, crew, name=f"pool {crew.setup.name}")

    async def _serve(self, crew: Crew) -> None:
        try:
            await crew.run()
        except Exception:
            log.exception("pool %s failed", crew.setup.name)

    def _leave(self) -> None:
        """A pool is about to tell that it has ended; whoever waits may `join` then."""
        with _slot.lock:
            self.users -= 1
            if not self.users:
                self.over = True
                self._unused.set()

    def _run(self) -> None:
        if self._before is not None:
            self._before.thread.join()
            self._before = None
        try:
            trio.run(self._main)
        except BaseException as exc:
            self._error = exc
            self.over = True
            if self._ready.is_set():
                log.exception("the loop of the pools ended with an error")
        finally:
            self._ready.set()

    async def _main(self) -> None:
        root = open_root_actor(name=NAME, enable_transports=())
        async with root, trio.open_nursery() as self._nursery:
            self._token = trio.lowlevel.current_trio_token()
            self._ready.set()
            await self._unused.wait()


class _Slot:
    """The one mutable thing that belongs to the interpreter."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.host: Host | None = None


_slot: Final = _Slot()


def start(crew: Crew) -> None:
    """Run a crew in the background, wherever this interpreter has a loop for that.

    Raises:
        RuntimeFailure: There is an actor, whose loop cannot be reached from here.
    """
    if _attach(crew):  # which waits for that loop, and so without the lock
        return
    with _slot.lock:
        host = _slot.host
        if host is None or host.over or not host.thread.is_alive():
            host = _slot.host = Host(host if host and host.thread.is_alive() else None)
            host.thread.start()
        host.users += 1
    host.add(crew)


def join() -> None:
    """Wait until the thread is gone, if its last pool has ended."""
    host = _slot.host
    if host is not None and host.over and host.thread is not threading.current_thread():
        host.thread.join()


def forget() -> None:
    """This process was forked from one that may have had the thread; it has not."""
    _slot.lock = threading.Lock()
    _slot.host = None


def _attach(crew: Crew) -> bool:
    """Run it in the loop of this interpreter's actor, if there is one."""
    actor = maybe_actor()
    if actor is None or actor.name == NAME:
        return False
    spawn = partial(actor.spawn, crew.run, name=f"pool {crew.setup.name}")
    if trio.lowlevel.in_trio_run():
        if not actor.runs_here:
            _refuse(crew)
        spawn()
        return True
    try:
        trio.from_thread.run_sync(spawn)
    except RuntimeError:
        _refuse(crew)
    return True


def _refuse(crew: Crew) -> None:
    msg = (
        f"pool {crew.setup.name!r} cannot reach the loop of this interpreter's actor "
        "from this thread: use open_pool() there, and give out its executor()"
    )
    raise RuntimeFailure(msg) from None

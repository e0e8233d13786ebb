"""One actor after the other in this interpreter; called by its driver thread."""

import gc
import logging
import os
import socket
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final

from tractor._exceptions import Interrupted
from tractor._orders import LAST_WORDS
from tractor.interp._copies import PrivateCopies
from tractor.interp._endings import run_exit_callbacks
from tractor.interp._threads import JoinableThreads
from tractor.interp._tidy import Snapshot, join_threads, threads_left
from tractor.interp._warden import Warden

FAILED: Final = 1  # exit code

type Serve = Callable[[socket.socket, Warden], int]
"""Be an actor on this link; the exit code."""


class Host:
    """Hosts actors, and is as good as new after each.

    Args:
        serve: Is an actor.
    """

    def __init__(self, serve: Serve) -> None:
        self._serve = serve
        self._snapshot = Snapshot()
        self._words = ""  # what ended an actor, if it did not end as it should
        gc.freeze()  # what is here now stays, and need not be looked at after each
        gc.enable()  # while all was imported it was off; see tractor/spawn/_interp_boot

    def run(self, link: int, control: int, copies: Iterable[str]) -> None:
        """Host one actor, and report on `control` how that went.

        The report is three numbers: the exit code; 1 if another actor may be hosted;
        the number of threads that still run, for which the interpreter must be kept.
        After them comes the end of what it wrote about an error that ended it.
        """
        self._words = ""
        # Threads inherit it, and `threading` takes those it did not start for daemons.
        threading.current_thread()._daemonic = False  # type: ignore[attr-defined]
        with (
            socket.socket(fileno=control) as parent,
            socket.socket(fileno=link) as ours,
        ):
            warden = Warden(parent, ours)
            code = self._run(ours, warden)
            clean = not (warden.interrupted or copies) and self._restore()
            if not clean:
                gc.unfreeze()  # or it would outlive the interpreter
            left = threads_left()
            words = self._words.encode(errors="replace")[-LAST_WORDS:]
            parent.send(b"%d %d %d\n%b" % (code, clean and not left, left, words))

    def _run(self, link: socket.socket, warden: Warden) -> int:
        codes: list[int] = []
        threads = JoinableThreads()
        while True:  # an interrupt may come at any line
            try:
                if not codes:
                    codes.append(FAILED)
                    warden.start()
                    threads.install()
                    codes.append(self._serve_one(link, warden))
                threads.stop()
                join_threads()
                run_exit_callbacks()
                warden.stop()
            except Interrupted:
                continue
            return codes[-1]

    def _serve_one(self, link: socket.socket, warden: Warden) -> int:
        os.reload_environ()  # type: ignore[attr-defined]  # of 3.14, as all of this
        try:
            return self._serve(link, warden)
        except SystemExit as exc:
            return exc.code if isinstance(exc.code, int) else FAILED
        except BaseException as exc:
            warden.cut_off()
            if warden.interrupted:
                _forget_tasks(exc)
            if isinstance(exc, Interrupted):
                raise
            if not warden.interrupted:
                with suppress(Exception):
                    self._words = traceback.format_exc()
                    sys.stderr.write(self._words)
            return FAILED

    def _restore(self) -> bool:
        try:
            self._snapshot.restore()
        except Exception:  # noqa: BLE001 (then it is not used again)
            with suppress(Exception):
                print("an interpreter cannot be used again:", file=sys.stderr)
                traceback.print_exc()
            return False
        return True


def _forget_tasks(exc: BaseException) -> None:
    """Let go of tasks whose loop was interrupted; each would complain of that."""
    hook = sys.unraisablehook
    sys.unraisablehook = lambda _: None
    logging.disable()
    with warnings.catch_warnings(action="ignore"):
        traceback.clear_frames(exc.__traceback__)
        gc.collect()
    logging.disable(logging.NOTSET)
    sys.unraisablehook = hook


_hosts: Final[list[Host]] = []  # at most one


def prepare(serve: Serve) -> None:
    """Make this interpreter ready; call it once, when all is imported."""
    _hosts.append(Host(serve))


def host(link: int, control: int, copies: Iterable[str] = ()) -> None:
    """Host an actor, which gets copies of these modules; see `Host.run`."""
    for finder in sys.meta_path:
        if isinstance(finder, PrivateCopies):
            finder.names.update(copies)
    _hosts[0].run(link, control, copies)

"""`kill`: ending an actor from outside, and waiting until it is gone."""

import argparse
import os
import select
import signal
import time
from typing import Final

from tractor._proc import PROC, read_stat
from tractor.cli._codes import ALIVE, DONE, USAGE, CommandError
from tractor.cli._look import as_data, name_of, only_one, place_of, print_json
from tractor.devx import ActorNode, find_trees

WITHIN: Final = 5.0  # seconds; a tree takes 3.5 to stop, docs/adr/0004
LONGEST: Final = 2**31 - 1  # milliseconds that `poll` can wait


def kill(args: argparse.Namespace) -> int:
    """End an actor; an exit code."""
    if not args.within >= 0:
        msg = f"--within must be ≥ 0 seconds, not {args.within!r}"
        raise CommandError(msg, USAGE)
    before = _now()
    node = only_one(find_trees(), args.actor)
    who = f"{name_of(node)}@{place_of(node)}"
    if node.answer.interpreter:
        msg = (
            f"{who} is an interpreter inside process {node.answer.process.pid}; "
            "nothing but that process can end it"
        )
        raise CommandError(msg, USAGE)
    signum = signal.SIGKILL if args.now else signal.SIGTERM
    gone = _end(node, who, signum, args.within, before)
    if args.json:
        print_json({**as_data(node), "signal": signum.name, "gone": gone})
    elif gone:
        print(f"{who} is gone")
    else:
        advice = "" if args.now else "; --now does not ask it"
        print(f"{who} got {signum.name} and has not ended in {args.within:g} s{advice}")
    return DONE if gone else ALIVE


def _now() -> int:
    """As `Stat.started` has it."""
    return int(time.clock_gettime(time.CLOCK_BOOTTIME) * os.sysconf("SC_CLK_TCK"))


def _end(
    node: ActorNode, who: str, signum: signal.Signals, within: float, before: int
) -> bool:
    """Send the signal; whether it is gone. It was found after `before`."""
    pid = node.answer.process.pid
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        # From here on the number is this one's; when it was found too, if this one was
        # there before that. (Its command line may change.)
        stat = read_stat(PROC / str(pid))
        if stat is None or stat.started > before:
            return True
        signal.pidfd_send_signal(fd, signum)
        poller = select.poll()
        poller.register(fd, select.POLLIN)
        return bool(poller.poll(min(within * 1000, LONGEST)))
    except ProcessLookupError:
        return True
    except OSError as exc:
        msg = f"{who} cannot be ended: {exc.strerror}"
        raise CommandError(msg) from exc
    finally:
        os.close(fd)

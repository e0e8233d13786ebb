"""From the command line to a command, and from that to an exit code."""

import argparse
import math
import os
import sys
from typing import Final

from tractor.cli import _codes, _doctor, _kill, _look, _top

INTERRUPTED: Final = 130  # exit code after Ctrl-C, as of a shell

EPILOG: Final = """\
exit codes: 0 done; 1 no such actor, function or trace, or doctor found a fault; 2
wrong command line; 3 an actor did not answer; 4 an actor did not end; 5 the function
that was called raised an error; 130 Ctrl-C.

ACTOR is a name, a process id, name@pid, or the beginning of a uuid."""


def main(argv: list[str]) -> int:
    """Run one command.

    Args:
        argv: The command line, without the program.

    Returns:
        The exit code.
    """
    args = _parser().parse_args(argv)
    try:
        code: int = args.run(args)
        if sys.stdout is not None:  # as with `>&-`
            sys.stdout.flush()
    except _codes.CommandError as exc:
        print(f"tractor: {exc}", file=sys.stderr)
        return exc.code
    except BrokenPipeError:  # as by `| head`
        _drop_output()
        return _codes.DONE
    except KeyboardInterrupt:
        return INTERRUPTED
    except OSError as exc:
        _drop_output()
        print(f"tractor: {exc}", file=sys.stderr)
        return _codes.FAILED
    return code


def _drop_output() -> None:
    """What is left in its buffer would fail once more when Python ends."""
    if sys.stdout is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tractor",
        description="Look at the trees of actors that this user runs on this machine.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, text: str, run: object) -> argparse.ArgumentParser:
        command = commands.add_parser(
            name,
            help=text,
            description=text,
            epilog=EPILOG,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.add_argument("--json", action="store_true", help="answer in JSON")
        command.set_defaults(run=run)
        return command

    add("ps", "list all actors", _look.ps)
    tree = add("tree", "show who started whom", _look.tree)
    tree.add_argument("actor", nargs="?", metavar="ACTOR", help="only from this one on")
    picture = tree.add_mutually_exclusive_group()
    picture.add_argument("--mermaid", action="store_true", help="as a flowchart")
    picture.add_argument("--dot", action="store_true", help="for Graphviz")
    dump = add("dump", "show what actors do and wait for", _look.dump)
    which = dump.add_mutually_exclusive_group(required=True)
    which.add_argument("actor", nargs="?", metavar="ACTOR")
    which.add_argument("--all", action="store_true", help="all actors of all trees")
    top = add("top", "show what actors use, again and again", _top.top)
    top.add_argument("actor", nargs="?", metavar="ACTOR", help="only from this one on")
    top.add_argument(
        "-n", type=int, dest="count", help="refreshes; without end if left"
    )
    top.add_argument(
        "-d",
        type=float,
        dest="delay",
        default=_top.DELAY,
        metavar="SECONDS",
        help="between two refreshes (default: %(default)s)",
    )
    kill = add("kill", "end an actor, and with it all below it", _kill.kill)
    kill.add_argument("actor", metavar="ACTOR")
    kill.add_argument("--now", action="store_true", help="by SIGKILL, not by SIGTERM")
    kill.add_argument(
        *("--within", "-t"),
        type=float,
        default=_kill.WITHIN,
        metavar="SECONDS",
        help="for which its end is waited for (default: %(default)s)",
    )
    _add_call(add("call", "call a function of an actor", _run_call))
    _add_trace(add("trace", "make of a trace what viewers show", _run_trace))
    add("doctor", "say what works on this machine, and why not", _doctor.doctor)
    return parser


def _add_call(command: argparse.ArgumentParser) -> None:
    where = command.add_mutually_exclusive_group()
    where.add_argument("--tree", metavar="ID", help="in this tree; doctor lists them")
    where.add_argument("--addr", help="of the registrar, as '/ip4/127.0.0.1/tcp/80'")
    command.add_argument(
        "--timeout",
        type=float,
        default=math.inf,
        metavar="SECONDS",
        help="for which the answer is waited for; without end if left",
    )
    command.add_argument("actor", metavar="ACTOR")
    command.add_argument("ns", metavar="NS", help="module of the function")
    command.add_argument("fn", metavar="FN", help="name of the function")
    command.add_argument(
        "arguments",
        nargs="*",
        metavar="NAME=VALUE",
        help="values are JSON, or else text",
    )


def _add_trace(command: argparse.ArgumentParser) -> None:
    command.add_argument("file", metavar="FILE", help="the trace")
    command.add_argument(
        "--chrome",
        required=True,
        metavar="OUT",
        help="written anew, for Perfetto and Chrome",
    )


def _run_call(args: argparse.Namespace) -> int:
    from tractor.cli._call import call  # local: no other command needs a loop

    return call(args)


def _run_trace(args: argparse.Namespace) -> int:
    from tractor.cli._trace import trace  # local: no other command needs tracing

    return trace(args)

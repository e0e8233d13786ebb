"""`trace`: of the file of a trace, what viewers of traces show."""

import argparse
from pathlib import Path

import msgspec

from tractor.cli._codes import DONE, USAGE, CommandError
from tractor.cli._look import print_json
from tractor.tracing import export_chrome, read_trace


def trace(args: argparse.Namespace) -> int:
    """Make of the trace what was asked for; an exit code."""
    source, target = Path(args.file), Path(args.chrome)
    try:
        if target.exists() and target.samefile(source):
            msg = f"{target} is the trace itself, and would be lost; choose another OUT"
            raise CommandError(msg, USAGE)
        lines, actors = _count(source)
        export_chrome(source, target)
    except OSError as exc:
        where = f"{exc.filename}: " if exc.filename is not None else ""
        msg = f"{where}{exc.strerror or exc}"
        raise CommandError(msg) from exc
    if args.json:
        print_json({"chrome": str(target), "lines": lines, "actors": actors})
    else:
        print(f"{target} has {lines} lines of {actors} actors")
    return DONE


def _count(source: Path) -> tuple[int, int]:
    """How many lines there are, and of how many actors.

    Raises:
        CommandError: It is no trace; says which line is none.
        OSError: It cannot be read.
    """
    number = 0
    actors = set()
    try:
        for number, line in enumerate(read_trace(source), 1):  # noqa: B007 (used below)
            if line.uuid:
                actors.add(line.uuid)
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        msg = f"line {number + 1} of {source} is none of a trace: {exc}"
        raise CommandError(msg) from exc
    if not number:
        msg = f"{source} has no line of a trace"
        raise CommandError(msg)
    return number, len(actors)

"""One way to measure for all benchmarks: cases by turns, and ratios within a round.

A *group* opens what its cases share, and that is never timed. Then all its cases are
measured once in each *round*, one after the other (A B C A B C …), so that a slow
moment of the machine meets all of them; the first round is a warm-up and is dropped. A
case may have a *reference* in its group. Its ratio is made in each round, of the
figures of that round; the median over the rounds is what counts, with half of the
rounds in the range beside it.

A *target* is a bound for a ratio, or for a figure itself: a line of the table that
`benchmarks/run.py` prints. It is never a reason to fail.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import trio

from benchmarks import _machine, _report
from tractor.spawn import available_backends

LIMIT: Final = 900  # seconds for one group; a safety net
ENOUGH: Final = 100  # samples of one round for a 99th percentile
BACKENDS: Final = ("trio", "mp_forkserver", "subint")  # one of each kind of host

type Measure = Callable[[], Awaitable[list[float]]]


@dataclass(frozen=True)
class Target:
    """What a figure should be.

    Attributes:
        what: The line of the table that it is.
        bound: Of the ratio, or of the figure where there is no reference.
        of: Name of the reference, another case of the group.
        stretch: A better one.
        at_least: Whether more is better.
        own: Which figure of the case, ``p50`` or ``p99``.
        backends: For which it is meant; all by default.
    """

    what: str
    bound: float
    of: str | None = None
    stretch: float | None = None
    at_least: bool = False
    own: str = "p50"
    backends: tuple[str, ...] = ()

    def holds(self, figure: float, bound: float) -> bool:
        """Whether a figure is on the right side of the bound."""
        return figure >= bound if self.at_least else figure <= bound


@dataclass(frozen=True)
class Case:
    """One thing that is measured.

    Attributes:
        name: Within its group.
        unit: Of its samples: a time, ``/s``, ``MB/s``, ``MB``, or a count.
        measure: One round of it: samples, a single one where it is a rate.
        of: Name of its reference.
        targets: What its figures should be.
    """

    name: str
    unit: str
    measure: Measure
    of: str | None = None
    targets: tuple[Target, ...] = ()

    @property
    def references(self) -> set[str]:
        """Names of cases that it is compared with."""
        return {each for each in (self.of, *(t.of for t in self.targets)) if each}


@dataclass(frozen=True)
class Setting:
    """Under which circumstances a group runs.

    Attributes:
        backend: The spawn backend; empty for a group that has none of its own.
        quick: Whether small sizes will do.
    """

    backend: str
    quick: bool

    def size(self, full: int, quick: int) -> int:
        """The one or the other."""
        return quick if self.quick else full


type Open = Callable[[Setting], AbstractAsyncContextManager[Sequence[Case]]]


@dataclass(frozen=True)
class Group:
    """Cases that are compared with one another.

    Attributes:
        name: In the table.
        open: Sets up what they share.
        rounds: How many by default, beside the warm-up.
        quick_rounds: How many with ``--quick``.
        backends: Spawn backends that it runs on by default; none for one that has
            nothing to do with them.
    """

    name: str
    open: Open
    rounds: int = 9
    quick_rounds: int = 1
    backends: tuple[str, ...] = BACKENDS


@dataclass
class Samples:
    """What the rounds of one case gave."""

    case: Case
    rounds: list[list[float]] = field(default_factory=list)

    def figures(self, which: str) -> list[float]:
        """The ``p50`` or ``p99`` of each round; none where there are too few."""
        if which == "p50":
            return [statistics.median(each) for each in self.rounds]
        return [
            statistics.quantiles(each, n=100)[98]
            for each in self.rounds
            if len(each) >= ENOUGH
        ]


# -- Running ---------------------------------------------------------------------------


async def run_group(
    group: Group, setting: Setting, rounds: int, only: str
) -> list[dict[str, Any]]:
    """Rows of the table."""
    with trio.fail_after(LIMIT), _machine.Others() as others:
        async with group.open(setting) as cases:
            found = {case.name: Samples(case) for case in _wanted(group, cases, only)}
            for number in range(rounds + 1):
                for each in found.values():
                    samples = await each.case.measure()
                    if number:
                        each.rounds.append(samples)
    return [
        {
            "group": group.name,
            "backend": setting.backend,
            **make_row(each, found, setting.backend),
            "others": others.share,
        }
        for each in found.values()
    ]


def _wanted(group: Group, cases: Sequence[Case], only: str) -> list[Case]:
    names = {each.name for each in cases if only in f"{group.name}/{each.name}"}
    for each in cases:
        if each.name in names:
            names |= each.references
    return [each for each in cases if each.name in names]


def make_row(
    samples: Samples, others: dict[str, Samples], backend: str
) -> dict[str, Any]:
    """What is told of a case: figures, ratio, and how its targets are met."""
    case = samples.case
    figures = samples.figures("p50")
    low, middle, high = spread(figures)
    row: dict[str, Any] = {
        "case": case.name,
        "unit": case.unit,
        "p50": middle,
        "low": low,
        "high": high,
        "p99": statistics.median(tails) if (tails := samples.figures("p99")) else None,
        "rounds": len(figures),
        "of": case.of if case.of in others and case.of != case.name else None,
        "targets": [
            found
            for each in case.targets
            if not each.backends or backend in each.backends
            if (found := _hit(each, samples, others)) is not None
        ],
    }
    if row["of"]:
        reference = others[row["of"]].figures("p50")
        row |= zip(
            ("ratio_low", "ratio", "ratio_high"),
            spread(_ratios(figures, reference)),
            strict=True,
        )
    return row


def _hit(
    target: Target, samples: Samples, others: dict[str, Samples]
) -> dict[str, Any] | None:
    """How a target is met; `None` where there is no reference to say so."""
    figures = samples.figures(target.own)
    reference = None
    if target.of is not None:
        if target.of not in others:
            return None
        reference = others[target.of].figures("p50")
        figures = _ratios(figures, reference)
    if not figures:
        return None
    low, measured, high = spread(figures)
    return {
        "what": target.what,
        "bound": target.bound,
        "stretch": target.stretch,
        "at_least": target.at_least,
        "of": target.of,
        "reference": statistics.median(reference) if reference else None,
        "measured": measured,
        "low": low,
        "high": high,
        "holds": target.holds(measured, target.bound),
        "stretched": target.stretch is not None
        and target.holds(measured, target.stretch),
    }


def _ratios(figures: list[float], reference: list[float]) -> list[float]:
    return [mine / theirs for mine, theirs in zip(figures, reference, strict=False)]


def spread(values: list[float]) -> tuple[float, float, float]:
    """Median, with the quartiles around it."""
    if len(values) == 1:
        return values[0], values[0], values[0]
    low, middle, high = statistics.quantiles(values, method="inclusive")
    return low, middle, high


# -- The command line ------------------------------------------------------------------


def main(doc: str | None, groups: Sequence[Group]) -> None:
    """Measure what the command line says, and print it."""
    options = make_parser(doc).parse_args()
    machine = _machine.describe()  # before there is any load of ours
    found = [row for each in groups for row in _run_on_all(each, options)]
    result = {"machine": machine, "rows": found}
    if options.json is not None:
        options.json.write_text(json.dumps(result, indent=1) + "\n")
    old = json.loads(options.compare.read_text()) if options.compare else None
    for line in _report.lines(result, old):
        print(line)


def _run_on_all(group: Group, options: argparse.Namespace) -> list[dict[str, Any]]:
    wanted: list[str] = options.spawn_backend or list(group.backends)
    if group.backends:
        backends = [key for key in wanted if key in available_backends()]
    else:
        backends = [""]
    rounds = group.quick_rounds if options.quick else group.rounds
    found: list[dict[str, Any]] = []
    for backend in backends:
        setting = Setting(backend, options.quick)
        print(f"measuring {group.name} {backend}".rstrip(), file=sys.stderr, flush=True)
        found += trio.run(
            run_group, group, setting, options.rounds or rounds, options.only
        )
    return found


def make_parser(doc: str | None) -> argparse.ArgumentParser:
    """The options that all benchmarks share."""
    parser = argparse.ArgumentParser(description=(doc or "").partition("\n")[0])
    parser.add_argument("--only", default="", metavar="TEXT", help="of group/case")
    parser.add_argument(
        "--rounds", type=_at_least_one, metavar="N", help="in each group"
    )
    parser.add_argument("--quick", action="store_true", help="small sizes, few rounds")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write it there, too")
    parser.add_argument(
        "--compare", type=Path, metavar="FILE", help="an earlier one of --json"
    )
    parser.add_argument(
        "--spawn-backend",
        type=_keys,
        metavar="KEY[,KEY]|all",
        help=f"by default {','.join(BACKENDS)}, or those that a group names",
    )
    return parser


def _at_least_one(text: str) -> int:
    if (number := int(text)) < 1:
        msg = f"{number} is less than 1"
        raise argparse.ArgumentTypeError(msg)
    return number


def _keys(text: str) -> list[str]:
    works = available_backends()
    keys = works if text == "all" else text.split(",")
    if missing := [key for key in keys if key not in works]:
        msg = (
            f"no such backend here: {', '.join(missing)}; there are {', '.join(works)}"
        )
        raise argparse.ArgumentTypeError(msg)
    return keys

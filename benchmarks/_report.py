"""What was measured, as a table for people.

A result is what ``--json`` writes: a ``machine`` and ``rows``; the rows of several
scripts may be put together.
"""

from collections.abc import Iterator
from itertools import groupby
from typing import Any, Final

from benchmarks import _machine

type Result = dict[str, Any]
type Row = dict[str, Any]
type Cells = tuple[str, ...]

HEAD: Final = ("", "p50", "half of rounds", "p99", "× reference", "half of rounds", "")
TARGET_HEAD: Final = ("what", "backend", "target", "measured", "half of rounds", "")


def lines(result: Result, old: Result | None = None) -> Iterator[str]:
    """Machine, figures, targets, and changes since an older result."""
    yield from _machine_lines(result)
    cells: list[Cells] = [HEAD]
    for (group, backend), rows in groupby(
        result["rows"], key=lambda row: (row["group"], row["backend"])
    ):
        cells += [
            (f"{group} {f'[{backend}]' if backend else ''}".rstrip(),),
            *map(_cells, rows),
        ]
    yield from table(cells)
    yield ""
    yield from target_lines(result)
    if old is not None:
        yield ""
        yield from change_lines(result, old)


def target_lines(result: Result) -> Iterator[str]:
    """Each target, and whether it holds."""
    cells: list[Cells] = [TARGET_HEAD]
    for row in result["rows"]:
        cells += [
            (
                each["what"],
                row["backend"],
                _target(each, row["unit"]),
                _figure(each, each["measured"], row["unit"]),
                f"{number(each['low'])}–{number(each['high'])}",
                _verdict(each),
            )
            for each in row["targets"]
        ]
    if len(cells) > 1:
        yield from table(cells, left=3)


def change_lines(result: Result, old: Result) -> Iterator[str]:
    """How figures differ from an older result.

    Those with a reference by their ratio to it, which the machine changes least.
    """
    before = {_key(row): row for row in old["rows"]}
    cells: list[Cells] = [("change", "", "old", "new", "new / old", "")]
    for row in result["rows"]:
        if (was := before.get(_key(row))) is None:
            continue
        field = "ratio" if "ratio" in row and "ratio" in was else "p50"
        cells.append(
            (
                f"{row['group']}/{row['case']}",
                row["backend"],
                number(was[field]),
                number(row[field]),
                f"{row[field] / was[field]:.2f}" if was[field] else "–",
                "" if _overlap(row, was, field) else "ranges apart",
            )
        )
    yield from table(cells, left=2)


def _overlap(row: Row, was: Row, field: str) -> bool:
    """Whether half of the rounds then and half of those now have a value in common."""
    prefix = "ratio_" if field == "ratio" else ""
    low, high = f"{prefix}low", f"{prefix}high"
    return bool(row[low] <= was[high] and was[low] <= row[high])


def table(cells: list[Cells], left: int = 1) -> Iterator[str]:
    """Columns of one width; the first `left` ones start at the left."""
    last = max(map(len, cells)) - 1
    widths = [
        max((len(row[at]) for row in cells if at < len(row) > 1), default=0)
        for at in range(last + 1)
    ]
    for row in cells:
        padded = [
            cell if at == last or len(row) == 1 else f"{cell:{'<>'[at >= left]}{width}}"
            for at, (cell, width) in enumerate(zip(row, widths, strict=False))
        ]
        yield "  ".join(padded).rstrip()


def number(value: float | None) -> str:
    """Three digits that count."""
    if value is None:
        return ""
    digits = 2 if abs(value) < 10 else 1 if abs(value) < 100 else 0
    return f"{value:,.{digits}f}".replace(",", " ")


def _cells(row: Row) -> Cells:
    ratio = ranges = of = ""
    if "ratio" in row:
        ratio, of = number(row["ratio"]), f"of {row['of']}"
        ranges = f"{number(row['ratio_low'])}–{number(row['ratio_high'])}"
    return (
        f"  {row['case']}",
        f"{number(row['p50'])} {row['unit']:4}",
        f"{number(row['low'])}–{number(row['high'])}",
        number(row["p99"]),
        ratio,
        ranges,
        of,
    )


def _target(target: dict[str, Any], unit: str) -> str:
    sign = "≥" if target["at_least"] else "≤"
    text = f"{sign} {_figure(target, target['bound'], unit)}"
    if target["of"]:
        text += f" {target['of']}"
    if target["stretch"] is not None:
        text += f" (stretch {sign} {_figure(target, target['stretch'], unit)})"
    return text


def _figure(target: dict[str, Any], value: float, unit: str) -> str:
    return f"{number(value)} {'×' if target['of'] else unit}"


def _verdict(target: dict[str, Any]) -> str:
    if target["stretched"]:
        return "holds, stretched"
    return "holds" if target["holds"] else "MISSED"


def _key(row: Row) -> tuple[str, str, str]:
    return row["group"], row["backend"], row["case"]


def _machine_lines(result: Result) -> Iterator[str]:
    machine = result["machine"]
    yield (
        f"Python {machine['python']}, trio {machine['trio']}, "
        f"msgspec {machine['msgspec']}, {machine['system']}"
    )
    others = [row["others"] for row in result["rows"]]
    most = max(others, default=0.0)
    yield (
        f"{machine['cores']} processors, load {machine['load']:.1f}, "
        f"{machine['running']} threads wanted to run before, "
        f"others used up to {most:.1f} processors meanwhile"
    )
    if most > _machine.BUSY or machine["load"] > machine["cores"] / 2:
        yield (
            "WARNING: the machine is busy with other things: "
            "look at ratios and their ranges, and measure again"
        )
    if machine["cores"] < 2:
        yield "WARNING: two actors share one processor"
    yield ""

"""Draw how costs grow, as the documentation shows it.

Takes what ``benchmarks/scaling.py --json FILE`` wrote, and writes one SVG for each
group into a folder. Both axes are logarithmic; bars show half of the rounds.
"""

import argparse
import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

WIDTH, HEIGHT = 560, 320
LEFT, RIGHT, TOP, BOTTOM = 70, 30, 40, 50  # around the axes
COLOURS: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")  # for every eye


class Line(NamedTuple):
    """Figures of one case as it grows: x, median, and the half of the rounds."""

    name: str
    points: list[tuple[float, float, float, float]]


class Plot(NamedTuple):
    """One picture.

    Attributes:
        file: Its name, without the suffix.
        title: What it shows, with the unit of y.
        x: What x is.
        group: Of the rows that it is drawn of.
        cases: What their names look like, by the name of the line; the number is x.
    """

    file: str
    title: str
    x: str
    group: str
    cases: dict[str, str]


PLOTS: Final = (
    Plot(
        "actors",
        "calls per second into one actor",
        "actors that call it",
        "actors",
        {"": r"(\d+) actors"},
    ),
    Plot(
        "contexts",
        "µs: one more context, and a call beside them",
        "open contexts",
        "open contexts",
        {"to open one": r"open (\d+), each", "a call": r"call beside (\d+)"},
    ),
    Plot(
        "depth",
        "µs for a call",
        "levels that it goes down",
        "depth",
        {"": r"depth (\d+)"},
    ),
    Plot(
        "payload",
        "µs for a call that returns what it was given",
        "bytes",
        "payload",
        {"": r"(\d+) bytes"},
    ),
)
TO_MICROSECONDS: Final = {"ms": 1e3, "µs": 1, "/s": 1}


def lines_of(plot: Plot, rows: list[dict[str, Any]]) -> list[Line]:
    """What it shows, one line for each backend and case."""
    found: dict[str, Line] = {}
    for row in rows:
        if row["group"] != plot.group:
            continue
        for name, pattern in plot.cases.items():
            if (match := re.fullmatch(pattern, row["case"])) is None:
                continue
            number = float(match[1]) or 1  # a logarithm has no place for 0
            factor = TO_MICROSECONDS[row["unit"]]
            figures = (row[which] * factor for which in ("p50", "low", "high"))
            full = ", ".join(part for part in (name, row["backend"]) if part)
            found.setdefault(full, Line(full, [])).points.append((number, *figures))
    return list(found.values())


def ticks(least: float, most: float) -> list[float]:
    """Powers of ten from one to the other, and around."""
    first, last = math.floor(math.log10(least)), math.ceil(math.log10(most))
    return [10.0**power for power in range(first, max(last, first + 1) + 1)]


def draw(plot: Plot, lines: list[Line]) -> Iterator[str]:
    """The picture, as SVG."""
    numbers = sorted({x for line in lines for x, *_ in line.points})
    figures = [y for line in lines for _, *ys in line.points for y in ys]
    marks = ticks(min(figures), max(figures))
    x_range = math.log10(numbers[-1] / numbers[0]) or 1
    y_range = math.log10(marks[-1] / marks[0])
    inner_width, inner_height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def place(x: float, y: float) -> tuple[str, str]:
        across = LEFT + inner_width * math.log10(x / numbers[0]) / x_range
        down = TOP + inner_height * (1 - math.log10(y / marks[0]) / y_range)
        return f"{across:.1f}", f"{down:.1f}"

    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="12">'
    )
    yield f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>'
    yield f'<text x="{LEFT}" y="20" font-size="14">{plot.title}</text>'
    for mark in marks:
        _, y = place(numbers[0], mark)
        yield (
            f'<path d="M{LEFT} {y}H{WIDTH - RIGHT}" stroke="#ddd"/>'
            f'<text x="{LEFT - 8}" y="{y}" dy="4" text-anchor="end">{mark:,g}</text>'
        )
    for number in numbers:
        x, _ = place(number, marks[0])
        yield (
            f'<text x="{x}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">'
            f"{_short(number)}</text>"
        )
    yield (
        f'<text x="{LEFT + inner_width / 2}" y="{HEIGHT - 10}" '
        f'text-anchor="middle">{plot.x}</text>'
    )
    for index, line in enumerate(lines):
        colour = COLOURS[index % len(COLOURS)]
        points = [place(x, y) for x, y, *_ in line.points]
        path = "L".join(f"{x} {y}" for x, y in points)
        yield f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2"/>'
        for point, (at, down) in zip(line.points, points, strict=True):
            number, _, low, high = point
            (_, top), (_, bottom) = place(number, high), place(number, low)
            yield f'<path d="M{at} {top}V{bottom}" stroke="{colour}"/>'
            yield f'<circle cx="{at}" cy="{down}" r="3" fill="{colour}"/>'
        if line.name:
            yield (
                f'<text x="{LEFT + 10}" y="{TOP + 14 + 16 * index}" fill="{colour}">'
                f"{line.name}</text>"
            )
    yield "</svg>"


def _short(number: float) -> str:
    for size, unit in ((1 << 20, "Mi"), (1 << 10, "Ki")):
        if number >= size and number % size == 0:
            return f"{number / size:g} {unit}"
    return f"{number:,g}"


def main() -> None:
    """Draw them all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("result", type=Path, help="what --json wrote")
    parser.add_argument("folder", type=Path, help="where the pictures go")
    options = parser.parse_args()
    rows = json.loads(options.result.read_text())["rows"]
    options.folder.mkdir(parents=True, exist_ok=True)
    for plot in PLOTS:
        if lines := lines_of(plot, rows):
            path = options.folder / f"{plot.file}.svg"
            path.write_text("\n".join(draw(plot, lines)) + "\n")
            print(path)


if __name__ == "__main__":
    main()

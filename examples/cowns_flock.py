"""Birds that flock: workers compute parts of the sky, and one window draws them.

The window is pinned to the main thread. It is one of Tk where there is a display, and
else a canvas of text, whose last picture is printed. With the name of a file, the last
frame is saved in it, as SVG.
"""

import math
import os
import random
import sys
from pathlib import Path
from typing import Any

import trio

from tractor.cowns import Cown, PinnedCown, open_cowns

SIZE = 40.0  # of the sky
BIRDS, CELLS, FRAMES = 48, 4, 30

RANGES = ((0, SIZE), (0, SIZE), (-1, 1), (-1, 1))

type Bird = list[float]  # x, y, and the speeds in both directions


class TextCanvas:
    """A window for those who have none."""

    def __init__(self) -> None:
        self.frames = 0
        self.rows: list[str] = []
        self.birds: list[Bird] = []

    def draw(self, birds: list[Bird]) -> None:
        """Show them."""
        self.birds = birds
        rows = [[" "] * int(SIZE) for _ in range(int(SIZE) // 2)]
        for x, y, *_ in birds:
            rows[int(y / 2) % len(rows)][int(x) % int(SIZE)] = "v"
        self.rows = ["".join(row).rstrip() for row in rows]
        self.frames += 1

    def save(self, path: str) -> None:
        """Write the frame as it is, each bird with the way that it flies."""
        lines = [
            f'<path d="M{x:.2f} {y:.2f}l{-vx * 2:.2f} {-vy * 2:.2f}" stroke="gray" '
            f'stroke-width=".2"/><circle cx="{x:.2f}" cy="{y:.2f}" r=".4"/>'
            for x, y, vx, vy in self.birds
        ]
        head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {SIZE} {SIZE}">'
        back = '<rect width="100%" height="100%" fill="white"/>'
        Path(path).write_text("\n".join([head, back, *lines, "</svg>\n"]))


class TkCanvas(TextCanvas):
    """A window of Tk."""

    def __init__(self, tk: Any) -> None:
        super().__init__()
        self.root = tk.Tk()
        self.canvas = tk.Canvas(self.root, width=400, height=400, bg="white")
        self.canvas.pack()

    def draw(self, birds: list[Bird]) -> None:
        """Show them."""
        super().draw(birds)
        self.canvas.delete("all")
        for bird in birds:
            x, y = (place * 400 / SIZE for place in bird[:2])
            self.canvas.create_oval(x - 3, y - 3, x + 3, y + 3, fill="black")
        self.root.update()


def open_canvas() -> TextCanvas:
    """The best that there is here."""
    if os.environ.get("DISPLAY") or sys.platform == "darwin":
        try:
            import tkinter as tk

            return TkCanvas(tk)
        except (ImportError, RuntimeError):
            pass
    return TextCanvas()


def fly(cell: Cown[list[Bird]], others: list[Cown[list[Bird]]]) -> list[Bird]:
    """Where the birds of one cell are next, as the others are now."""
    everybody = cell.value + [bird for other in others for bird in other.value]
    moved = []
    for x, y, vx, vy in cell.value:
        near = [b for b in everybody if math.hypot(b[0] - x, b[1] - y) < SIZE / 4]
        ax = sum(b[2] for b in near) / len(near) - vx
        ay = sum(b[3] for b in near) / len(near) - vy
        ax += (sum(b[0] for b in near) / len(near) - x) / 200
        ay += (sum(b[1] for b in near) / len(near) - y) / 200
        speed = [vx + ax / 2, vy + ay / 2]
        moved.append([(x + speed[0] / 4) % SIZE, (y + speed[1] / 4) % SIZE, *speed])
    return moved


def settle(cell: Cown[list[Bird]], moved: Cown[list[Bird]]) -> None:
    """They are there now."""
    cell.value = moved.value


def draw(window: PinnedCown[TextCanvas], cells: list[Cown[list[Bird]]]) -> None:
    """Show all cells; on the main thread."""
    window.value.draw([bird for cell in cells for bird in cell.value])


def disorder(cells: list[Cown[list[Bird]]]) -> float:
    """How differently they fly; 0 is a perfect flock."""
    birds = [bird for cell in cells for bird in cell.value]
    vx = sum(bird[2] for bird in birds) / len(birds)
    vy = sum(bird[3] for bird in birds) / len(birds)
    return sum(math.hypot(b[2] - vx, b[3] - vy) for b in birds) / len(birds)


async def main() -> None:
    """Fly and draw, frame by frame."""
    chance = random.Random(3)
    canvas = open_canvas()
    async with open_cowns(workers=2) as scope:
        window = PinnedCown(canvas)
        cells: list[Cown[list[Bird]]] = []
        for _ in range(CELLS):
            birds = [
                [chance.uniform(low, high) for low, high in RANGES]
                for _ in range(BIRDS // CELLS)
            ]
            cells.append(Cown(birds))
        before = await scope.schedule(disorder, cells)
        for _ in range(FRAMES):
            moved = [
                scope.schedule(fly, cell, [one for one in cells if one != cell])
                for cell in cells
            ]
            for cell, birds_then in zip(cells, moved, strict=True):
                scope.schedule(settle, cell, birds_then)
            await scope.schedule(draw, window, cells)
        after = await scope.schedule(disorder, cells)
    for path in sys.argv[1:]:
        canvas.save(path)
    print("\n".join(row for row in canvas.rows if row))
    print("frames:", canvas.frames)
    print("they flock:", after < before / 2)


if __name__ == "__main__":
    trio.run(main)

"""A parallel search in rounds: workers look, and between rounds all is quiet."""

import trio

from tractor.cowns import Cown, current_scope, open_cowns

TARGET = 1.2345  # where the function is least
PARTS = 4


def cost(x: float) -> float:
    """What is to be as small as possible."""
    return (x - TARGET) ** 2 + 1


def look(best: Cown[list[float]], start: float, width: float, steps: int) -> None:
    """Try the points of one part, and keep the best one."""
    found = min((start + width * n / steps for n in range(steps + 1)), key=cost)
    if cost(found) < best.value[0]:
        best.value = [cost(found), found]
        current_scope().notices.update("improved", one_more, 0)


def one_more(count: int) -> int:
    """Count."""
    return count + 1


def best_of(parts: list[Cown[list[float]]]) -> list[float]:
    """The best of all parts."""
    return min(part.value for part in parts)


async def main() -> None:
    """Each round looks closer, around what the last one found."""
    async with open_cowns(workers=2) as scope:
        middle, width = 0.0, 20.0
        best = [cost(middle), middle]
        for number in range(1, 5):
            parts = [Cown(best) for _ in range(PARTS)]
            for part, cown in enumerate(parts):
                start = middle - width / 2 + part * width / PARTS
                captures = (start, width / PARTS, 100)
                scope.schedule(look, cown, captures=captures)
            await scope.quiesce()
            best = await scope.schedule(best_of, parts)
            middle, width = best[1], width / 10
            print(f"round {number}: {best[1]:.4f} costs {best[0]:.6f}")
        print("found:", abs(best[1] - TARGET) < 0.001)
        print("somebody improved it:", scope.notices.read("improved", 0) > 0)


if __name__ == "__main__":
    trio.run(main)

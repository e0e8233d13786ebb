"""Philosophers who never starve: nobody takes one fork and waits for the other."""

import trio

from tractor.cowns import Cown, current_scope, open_cowns

NAMES = ("Arendt", "Beauvoir", "Conway", "Diotima", "Elisabeth")
MEALS = 20


def eat(left: Cown[int], right: Cown[int], plate: Cown[int], hunger: int) -> None:
    """Have both forks, eat, and be hungry again."""
    left.value += 1
    right.value += 1
    plate.value += 1
    if hunger > 1:
        current_scope().schedule(eat, left, right, plate, captures=(hunger - 1,))


async def main() -> None:
    """Let them dine until nobody is hungry."""
    async with open_cowns(workers=2) as scope:
        forks = [Cown(0) for _ in NAMES]
        plates = [Cown(0) for _ in NAMES]
        for seat, plate in enumerate(plates):
            left, right = forks[seat], forks[(seat + 1) % len(forks)]
            scope.schedule(eat, left, right, plate, captures=(MEALS,))
        await scope.quiesce(timeout=30)
        for name, plate in zip(NAMES, plates, strict=True):
            print(f"{name} had {await plate} meals")
        print("uses of each fork:", [await fork for fork in forks])


if __name__ == "__main__":
    trio.run(main)

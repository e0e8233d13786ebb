"""Transfers between accounts that always add up, without a lock."""

import random
from typing import Any

import trio

from tractor.cowns import Cown, open_cowns


def transfer(mine: Cown[int], yours: Cown[int], amount: int) -> bool:
    """Move money, if there is enough of it."""
    if mine.value < amount:
        return False
    mine.value -= amount
    yours.value += amount
    return True


def audit(accounts: list[Cown[int]]) -> int:
    """All the money there is."""
    return sum(account.value for account in accounts)


def break_in(account: Cown[int]) -> None:
    """Fail in the middle."""
    account.value += 0
    raise PermissionError("the vault is locked")


async def main() -> None:
    """Schedule thousands of them; audits see nothing half done."""
    chance = random.Random(1)
    async with open_cowns(workers=2) as scope:
        accounts = [Cown(100) for _ in range(5)]
        done: list[Cown[Any]] = []
        audits: list[Cown[Any]] = []
        for number in range(2000):
            mine, yours = chance.sample(accounts, 2)
            amount = chance.randint(1, 60)
            done.append(scope.schedule(transfer, mine, yours, captures=(amount,)))
            if number % 100 == 0:
                audits.append(scope.schedule(audit, accounts))
        moved = sum([await one for one in done])
        print("transfers: 2000, some of them refused:", moved < 2000)
        print("what audits saw:", {await one for one in audits})

        @scope.when(accounts[0], accounts[1])
        def merged(first: Cown[int], second: Cown[int]) -> int:
            second.value += first.value
            first.value = 0
            return second.value

        print("two accounts became one:", await merged == await accounts[1])
        try:
            await scope.schedule(break_in, accounts[0])
        except PermissionError as exc:
            print("caught:", exc)
        print("in the end:", await scope.schedule(audit, accounts))


if __name__ == "__main__":
    trio.run(main)

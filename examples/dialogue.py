"""A dialogue: a function that asks back, as often as it needs to, before it returns.

The guesser has a task of its own for as long as a game lasts. Both sides send and
receive; the game ends with a result, with an error, or because the player leaves.
"""

from collections.abc import Callable
from typing import Literal

import trio

import tractor

type Answer = Literal["higher", "lower", "yes"]


class CheatError(Exception):
    """There is no such number."""


tractor.reg_err_types([CheatError])

unfinished: list[str] = []  # games that the guesser could not finish


@tractor.context
async def guess(ctx: tractor.Context[str, Answer, int], low: int, high: int) -> int:
    """Find a number by asking about it; how many questions that took."""
    questions = 0
    await ctx.started(f"think of a number from {low} to {high}")
    try:
        async with ctx.open_stream() as stream:
            while low <= high:
                middle = (low + high) // 2
                questions += 1
                await stream.send(middle)
                match await stream.receive():
                    case "higher":
                        low = middle + 1
                    case "lower":
                        high = middle - 1
                    case "yes":
                        return questions
    except trio.Cancelled:
        who = ctx.canceller[0] if ctx.canceller else "nobody"
        unfinished.append(f"stopped by {who} after {questions} questions")
        raise
    raise CheatError(f"it is not above {high} and not below {low}")


async def memories() -> list[str]:
    """What the guesser remembers of games that it could not finish."""
    return unfinished


def thinking_of(secret: int) -> Callable[[int], Answer]:
    """The answers of somebody honest."""

    def answer(number: int) -> Answer:
        if number == secret:
            return "yes"
        return "higher" if number < secret else "lower"

    return answer


async def play(portal: tractor.Portal, answer: Callable[[int], Answer]) -> int:
    """One game, and its result."""
    async with portal.open_context(guess, low=1, high=100) as (game, greeting):
        print("guesser:", greeting)
        async with game.open_stream() as questions:
            async for number in questions:
                print(f"  is it {number}? {answer(number)}")
                await questions.send(answer(number))
        return await game.wait_for_result()


async def cheat(portal: tractor.Portal) -> None:
    """The error of the guesser is raised where its next question is awaited."""
    try:
        await play(portal, lambda number: "higher")
    except tractor.RemoteActorError as error:
        print("the game ended with:", repr(error.unwrap()))


async def give_up(portal: tractor.Portal) -> None:
    """Cancel the guesser, which tidies up; this side goes on."""
    async with (
        portal.open_context(guess, 1, 10**9) as (game, _),
        game.open_stream() as questions,
    ):
        for _ in range(3):
            await questions.receive()
            await questions.send("lower")
        print(f"is it {await questions.receive()}? I give up")
        await game.cancel()
    print("the game was", game.repr_state)
    print("the guesser remembers:", await portal.run(memories))


async def main() -> None:
    """Three games, three endings."""
    async with tractor.open_nursery() as an:
        portal = await an.start_actor("guesser", enable_modules=[__name__])
        print("questions:", await play(portal, thinking_of(83)))
        await cheat(portal)
        await give_up(portal)
        await portal.cancel_actor()


if __name__ == "__main__":
    trio.run(main)

"""What an error in another actor looks like here."""

import trio

import tractor


class OutOfStockError(Exception):
    """An error class of this program."""


# Only classes that are listed are rebuilt from what arrives: builtins, those of trio
# and of tractor, and these.
tractor.reg_err_types([OutOfStockError])

prices: dict[str, int] = {}


async def order(item: str, count: int) -> None:
    """Fail in one of several ways."""
    match item:
        case "pear":
            raise OutOfStockError(item, count)
        case "plum":
            try:
                prices[item]
            except KeyError as error:
                raise ValueError(f"no price for a {item}") from error
        case _:
            problems = [ValueError(f"no {item}s"), OutOfStockError(item, count)]
            raise ExceptionGroup("several problems", problems)


async def remote_error_here(portal: tractor.Portal) -> None:
    """An error arrives as a `RemoteActorError`, which knows what it was."""
    try:
        await portal.run(order, "pear", count=3)
    except tractor.RemoteActorError as error:
        print("caught:", error)
        print("its class:", error.boxed_type, "from actor", error.src_uid[0])
        print("unwrapped:", repr(error.unwrap()))


async def traceback_of_the_other_side(portal: tractor.Portal) -> None:
    """The traceback of the other side came along, as text."""
    try:
        await portal.run(order, "plum", count=1)
    except tractor.RemoteActorError as error:
        print("over there:", error.tb_str.splitlines()[-1])


async def group_with_its_members(portal: tractor.Portal) -> None:
    """A group keeps its members, so that ``except*`` works on it."""
    try:
        try:
            await portal.run(order, "melon", count=2)
        except tractor.RemoteActorError as error:
            raise error.unwrap() from error
    except* ValueError as group:
        print("values:", group.exceptions)
    except* OutOfStockError as group:
        print("stock:", group.exceptions)


async def one_cancels_all() -> None:
    """An error that nobody handles ends its nursery, and every actor in it."""
    try:
        async with tractor.open_nursery() as an:
            await an.start_actor("bystander")
            shop = await an.start_actor("shop", enable_modules=[__name__])
            await shop.run(order, "pear", count=3)
    except tractor.RemoteActorError as error:
        print("the nursery raised:", error)
        print("its actors were stopped:", an.cancel_called)


async def main() -> None:
    """Show each of them."""
    async with tractor.open_nursery() as an:
        shop = await an.start_actor("shop", enable_modules=[__name__])
        await remote_error_here(shop)
        await traceback_of_the_other_side(shop)
        await group_with_its_members(shop)
        await an.cancel()
    await one_cancels_all()


if __name__ == "__main__":
    trio.run(main)

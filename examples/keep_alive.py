"""Actors that are started again when they die, and news of who died and who hangs."""

import signal

import trio

import tractor
from tractor.testing import faults

served: list[str] = []  # by this actor; a new one begins anew


async def serve(customer: str) -> int:
    """How many customers this actor has served."""
    served.append(customer)
    return len(served)


async def restart(supervisor: tractor.Supervisor) -> None:
    """A dead actor is replaced by a new one of the same name."""
    first = await supervisor.portal("shop")
    print("served:", [await first.run(serve, name) for name in ("Ada", "Bo")])
    faults.kill(first)
    down = await tractor.monitor(first)
    assert isinstance(down.error, tractor.ActorDied)
    print("the shop", down.reason, "of", signal.Signals(down.error.signal or 0).name)
    again = await supervisor.portal("shop")  # waits until the new one is up
    print("served by the new one:", await again.run(serve, "Cy"))
    print("restarts:", {child.name: child.restarts for child in supervisor.children()})


async def watch(supervisor: tractor.Supervisor) -> None:
    """One that hangs is reported, and left alone."""
    portal = await supervisor.portal("shop")
    async with tractor.open_heartbeat(portal, interval=0.2) as beat:
        faults.stop(portal)
        await beat.wait_unresponsive()
        print("the shop does not answer")
        faults.resume(portal)
        await beat.wait_responsive()
        print("it does again, and remembers:", await portal.run(serve, "Di"))


async def give_up() -> None:
    """A supervisor does not restart for ever."""
    try:
        async with tractor.open_supervisor(max_restarts=2, period=10) as supervisor:
            await supervisor.run_in_actor(fail)
    except tractor.RestartLimitReached as error:
        print("given up:", error)
        print("because of:", repr(error.__cause__).partition("(")[0])


async def fail() -> None:
    """Never works."""
    raise ConnectionError("no shop in sight")


async def main() -> None:
    """Show all three."""
    async with tractor.open_root_actor():
        async with tractor.open_supervisor() as supervisor:
            await supervisor.start_actor("shop", enable_modules=[__name__])
            await restart(supervisor)
            await watch(supervisor)
            await supervisor.cancel()
        await give_up()


if __name__ == "__main__":
    trio.run(main)

"""A program with a main loop of Tk, whose window actors change; prints what it saw.

In a process of its own, since Tcl leaves a thread behind that only its end ends.
"""

import tkinter
from collections.abc import Callable
from typing import Any

from tests._helpers import open_tree
from tests.pinned import _things as do
from tests.pinned._hosts import InThread
from tests.pinned._things import HERE
from tractor import pinned
from tractor.pinned import PinnedResource


def main() -> None:
    """Sleep in Tk's loop, and pump when told to."""
    root = tkinter.Tk()
    root.withdraw()
    window = PinnedResource(root)
    executed = 0

    def pump(_: object) -> None:
        nonlocal executed
        executed += pinned.pump(deadline=0.01).executed

    def tell(event: str) -> Callable[[], None]:
        return lambda: root.event_generate(event, when="tail")

    async def ask() -> list[Any]:
        async with open_tree("trio", enable_modules=[HERE]) as an:
            portal = await an.start_actor("child", enable_modules=[HERE])
            await window.call(lambda root: root.title("hello"))
            said = [
                await window.call(lambda root: root.title()),
                (await portal.run(do.where))[1],
                sum(await portal.run(do.many, 20)),
            ]
            await portal.cancel_actor()
            return said

    root.bind("<<Pump>>", pump)
    root.bind("<<End>>", lambda _: root.quit())
    pinned.set_pump_wakeup(tell("<<Pump>>"))
    guest = InThread(ask, tell("<<End>>"))
    root.after_idle(guest.start)
    root.mainloop()
    print(*guest.result(), executed)
    window.close()
    root.destroy()


if __name__ == "__main__":
    main()

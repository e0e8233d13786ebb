"""`open_root_actor(enable_stack_on_sig=True)`: every actor of the tree answers."""

import os
from pathlib import Path
from typing import Final

import pytest

from tests._helpers import run_python, write_program

pytestmark = pytest.mark.skipif(
    not hasattr(os, "memfd_create"), reason="needs Linux's memfd"
)

PROGRAM: Final = """
    import signal, sys
    import trio, tractor
    from tractor.devx import actor_tree

    OPTIONS = {}

    async def see_all() -> list:
        tree = await trio.to_thread.run_sync(actor_tree)
        return [node.aid.name for node in tree.root.walk() if node.actor is not None]

    async def main():
        async with tractor.open_nursery(**OPTIONS) as an:
            portal = await an.start_actor("child", enable_modules=[__name__])
            async with trio.open_nursery() as nursery:
                nursery.start_soon(lambda: portal.run(have_grandchild))
                while True:
                    names = await see_all()
                    if not OPTIONS or len(names) == 3:
                        break
                nursery.cancel_scope.cancel()
            print(*names, callable(signal.getsignal(signal.SIGUSR1)))
            await an.cancel()

    async def have_grandchild() -> None:
        async with tractor.open_nursery() as an:
            await an.start_actor("grandchild")

    if __name__ == "__main__":
        OPTIONS = {"enable_stack_on_sig": True}
        trio.run(main)
"""


def test_all_actors_are_enabled(start_method: str, tmp_path: Path) -> None:
    """Also those that an actor starts that knows nothing of it, and the root."""
    done = run_python(start_method, write_program(tmp_path, PROGRAM))
    assert (done.stdout, done.stderr) == ("root child grandchild True\n", "")


def test_none_is_without_being_asked(start_method: str, tmp_path: Path) -> None:
    """It costs a handler, and a mailbox."""
    program = PROGRAM.replace('{"enable_stack_on_sig": True}', "{}")
    done = run_python(start_method, write_program(tmp_path, program))
    assert (done.stdout, done.stderr) == ("root False\n", "")


@pytest.mark.parametrize("given", [None, False])
def test_the_environment_may_ask_for_it(
    given: bool | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the program leaves it open."""
    monkeypatch.setenv("TRACTOR_ENABLE_STACK_ON_SIG", "1")
    program = PROGRAM.replace("True}", f"{given}}}").replace("not OPTIONS or", "1 or")
    done = run_python("trio", write_program(tmp_path, program))
    assert done.stdout.endswith(f"{given is None}\n")

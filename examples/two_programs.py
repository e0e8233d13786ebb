"""Two programs of one user, of which one finds the other by its name.

Run it twice, in two terminals, in any order, with an address of your choice::

    python two_programs.py serve /ip4/127.0.0.1/tcp/7315
    python two_programs.py write /ip4/127.0.0.1/tcp/7315

Without arguments it does both by itself.
"""

import subprocess
import sys
import tempfile

import trio

import tractor

notes: list[str] = []  # in the program that serves


async def remember(note: str) -> int:
    """Keep a note, and count them."""
    notes.append(note)
    return len(notes)


def serve(registry: str) -> None:
    """A program that serves until somebody ends it."""
    tractor.run_daemon([__name__], name="notebook", registry_addrs=[registry])
    print("the notebook was closed with these notes:", *notes)


async def write(registry: str) -> None:
    """A program that looks for the other one, also if that starts later."""
    async with (
        tractor.open_root_actor(name="writer", registry_addrs=[registry]),
        tractor.wait_for_actor("notebook") as notebook,
    ):
        for note in ("bread", "salt"):
            print("notes by now:", await notebook.run(remember, note))
        await notebook.cancel_actor()


def run_both() -> None:
    """Run this program twice, with an address that nobody else uses."""
    with tempfile.TemporaryDirectory(prefix="two-") as folder:
        registry = f"/unix{folder}/registrar.sock"
        program = [sys.executable, __file__]
        with subprocess.Popen([*program, "serve", registry]):
            subprocess.run([*program, "write", registry], check=True)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["serve", registry]:
            serve(registry)
        case ["write", registry]:
            trio.run(write, registry)
        case _:
            run_both()

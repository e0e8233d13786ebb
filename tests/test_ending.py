"""What a program may rely on at the end of an actor's process."""

import atexit
import threading
from pathlib import Path
from typing import Any

import pytest

import tractor

KEPT: list[Any] = []  # in the actor: what nobody closes


async def leave_something(folder: str) -> None:
    """Write to a file that stays open, and leave a thread and a callback behind."""
    kept = (Path(folder) / "open").open("w")
    kept.write("written")
    KEPT.append(kept)
    atexit.register((Path(folder) / "atexit").write_text, "called")

    def outlive() -> None:
        threading.main_thread().join(0.05)  # the end of the actor's loop, if not less
        (Path(folder) / "thread").write_text("done")

    threading.Thread(target=outlive).start()


def texts_in(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


@pytest.mark.requires_trait("own_process")
async def test_nothing_is_lost_at_the_end(start_method: str, tmp_path: Path) -> None:
    """Threads are waited for, callbacks run, and open files are flushed."""
    async with tractor.open_nursery(start_method=start_method) as an:
        await an.run_in_actor(leave_something, folder=str(tmp_path))
    found = texts_in(tmp_path)
    assert found == {"open": "written", "atexit": "called", "thread": "done"}

"""Sessions of pages: `python -m tests.debugger.record PAGE` makes them anew.

A session stands in a block of a page, after a comment that says which options the
program has and what is typed:

    <!-- session: --debug | p fruit | c -->
"""

import re
import sys
import tempfile
from pathlib import Path
from typing import Final

from tests._helpers import ROOT
from tests.debugger._session import Session

PROGRAM: Final = "examples/debug_tree.py"
SESSION: Final = re.compile(
    r"(?<=<!-- session: )(?P<what>[^\n]*) -->\n```console\n.*?^```$",
    re.DOTALL | re.MULTILINE,
)
PID: Final = re.compile(r"pid \d+")


def record(what: str) -> str:
    """The text of one session."""
    options, *lines = [part.strip() for part in what.split("|")]
    shown = [f"$ python {PROGRAM} {options}\n"]
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder)
        (plain / "pdbp.py").write_text("raise ImportError('its screens are long')\n")
        with Session(PROGRAM, *options.split(), plain=plain) as session:
            for line in lines:
                shown += [session.prompt(), "(Pdb) "]
                session.type(line)
            shown.append(session.rest())
    text = "".join(shown).replace("\r", "").replace(f"{ROOT}/", "")
    return "\n".join(line.rstrip() for line in text.strip().split("\n"))


def renewed(page: str) -> str:
    """The text of a page with all its sessions made anew."""

    def block(match: re.Match[str]) -> str:
        return f"{match['what']} -->\n```console\n{record(match['what'])}\n```"

    return SESSION.sub(block, page)


def without_pids(page: str) -> str:
    """The text of a page, as it is whenever it was made."""
    return PID.sub("pid N", page)


if __name__ == "__main__":
    for path in map(Path, sys.argv[1:]):
        path.write_text(renewed(path.read_text(encoding="utf-8")), encoding="utf-8")

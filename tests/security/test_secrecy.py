"""The secret of a tree is nowhere to be seen (security §3)."""

import base64
import copy
import io
import pickle
import subprocess
import sys
from pprint import pformat

import pytest
from rich.console import Console

from tests._helpers import ROOT, SAFETY
from tests.security.helpers import RAW, SECRET
from tractor.msg.types import NetworkVars

VARS = NetworkVars(RAW, b"/folder", None)


def check_hidden(text: str | bytes) -> None:
    """It is in there in no way in which one would write it."""
    data = text.encode() if isinstance(text, str) else text
    middle = RAW[8:-8]  # however it is cut
    for part in (
        middle,
        middle.hex().encode(),
        middle.hex().upper().encode(),
        middle.hex(" ").encode(),
        base64.b64encode(RAW).rstrip(b"=")[4:-4],
        ", ".join(map(str, middle)).encode(),
    ):
        assert part not in data


def test_a_tree_never_shows_its_secret() -> None:
    """In no log at any level, dump, repr, error, command line or environment."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.security.secretive"],
        input=RAW,
        capture_output=True,
        cwd=ROOT,
        timeout=SAFETY,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()[-4000:]
    for said in (b"end of the dump", b"below", b"on purpose", b"<NetworkVars>"):
        assert said in done.stdout
    assert b"refused: the other end is no actor" in done.stderr
    check_hidden(done.stdout)
    check_hidden(done.stderr)


@pytest.mark.parametrize("value", [SECRET, VARS], ids=["secret", "vars"])
def test_what_holds_the_secret_hides_it(value: object) -> None:
    """However it is shown as text."""
    for text in (repr(value), str(value), f"{value}", f"{[value]}", pformat([value])):
        check_hidden(text)


def test_rich_does_not_show_the_secret() -> None:
    """Not among the local variables of a traceback, for instance."""
    console = Console(record=True, file=io.StringIO())
    console.print([SECRET, VARS])
    check_hidden(console.export_text())


def test_a_secret_is_not_pickled_by_mistake() -> None:
    """Nor copied into what is."""
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(SECRET)
    with pytest.raises(TypeError, match="not pickled"):
        copy.deepcopy([SECRET])

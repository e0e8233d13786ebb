"""`trace` makes of a trace what viewers show, and says what is wrong with it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import tractor
from tests._helpers import SAFETY
from tractor import cli
from tractor.tracing import note, span, tracing


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """One of two lines, of no actor."""
    with tracing(tmp_path / "trace.jsonl") as path, span("something"):
        note("remarkable")
    return path


def names_in(chrome: Path) -> set[str]:
    """What is shown in it, without names of rows."""
    events: list[dict[str, Any]] = json.loads(chrome.read_text())["traceEvents"]
    return {event["name"] for event in events if event["ph"] != "M"}


def test_it_writes_what_viewers_show(
    trace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And tells how much it was; what was there before is gone."""
    chrome = trace.with_name("chrome.json")
    chrome.write_text("the one of yesterday" * 100)
    assert cli.main(["trace", str(trace), "--chrome", str(chrome)]) == cli.DONE
    assert names_in(chrome) == {"something", "remarkable"}
    assert capsys.readouterr().out == f"{chrome} has 2 lines of 0 actors\n"


def test_it_speaks_json(trace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """For programs."""
    chrome = trace.with_name("chrome.json")
    assert cli.main(["trace", str(trace), "--chrome", str(chrome), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == {"chrome": str(chrome), "lines": 2, "actors": 0}


async def test_actors_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each once."""
    with tracing(tmp_path / "trace.jsonl") as path:
        async with tractor.open_root_actor():
            note("remarkable")
            note("and this")
    chrome = path.with_name("chrome.json")
    assert cli.main(["trace", str(path), "--chrome", str(chrome)]) == cli.DONE
    assert capsys.readouterr().out.endswith(" of 1 actors\n")


def test_it_is_a_command(trace: Path) -> None:
    """Of `python -m tractor`, as the manual has it."""
    chrome = trace.with_name("chrome.json")
    done = subprocess.run(
        [sys.executable, "-m", "tractor", "trace", trace, "--chrome", chrome],
        capture_output=True,
        check=False,
        text=True,
        timeout=SAFETY,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert names_in(chrome) == {"something", "remarkable"}


@pytest.mark.parametrize(
    ("third", "text"),
    [
        (b"hello\n", "malformed"),
        (b"{}\n", "missing required field"),
        (b'{"name": "\xff"}\n', "utf-8"),
        (b"\n", "truncated"),
    ],
)
def test_a_wrong_line_is_named(
    trace: Path, capsys: pytest.CaptureFixture[str], third: bytes, text: str
) -> None:
    """By its number, and what is wrong with it; nothing is written."""
    whole = trace.read_bytes()
    trace.write_bytes(whole + third + whole)
    chrome = trace.with_name("chrome.json")
    assert cli.main(["trace", str(trace), "--chrome", str(chrome)]) == cli.FAILED
    error = capsys.readouterr().err
    assert error.startswith(f"tractor: line 3 of {trace} is none of a trace: ")
    assert text in error
    assert not chrome.exists()


def test_a_file_without_lines_is_no_trace(
    trace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Empty, or with a last line that was cut and no other one."""
    for text in ("", '{"traceEvents": []}'):
        trace.write_text(text)
        chrome = trace.with_name("chrome.json")
        assert cli.main(["trace", str(trace), "--chrome", str(chrome)]) == cli.FAILED
        assert capsys.readouterr().err == f"tractor: {trace} has no line of a trace\n"


def test_what_cannot_be_opened_is_named(
    trace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The trace, or what is to be written."""
    none = trace.with_name("none")
    far = trace.with_name("folder") / "chrome.json"
    for source, target, wrong in ((none, far, none), (trace, far, far)):
        command = ["trace", str(source), "--chrome", str(target)]
        assert cli.main(command) == cli.FAILED
        expected = f"tractor: {wrong}: No such file or directory\n"
        assert capsys.readouterr().err == expected


def test_the_trace_itself_is_not_overwritten(
    trace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Under no name."""
    whole = trace.read_bytes()
    link = trace.with_name("link")
    link.symlink_to(trace)
    for target in (trace, link):
        command = ["trace", str(trace), "--chrome", str(target)]
        assert cli.main(command) == cli.USAGE
        assert "is the trace itself" in capsys.readouterr().err
    assert trace.read_bytes() == whole


def test_it_has_to_be_told_what_to_make(
    trace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A form has to be chosen."""
    with pytest.raises(SystemExit, match="2"):
        cli.main(["trace", str(trace)])
    assert "--chrome" in capsys.readouterr().err

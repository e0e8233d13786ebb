"""`doctor` tells what works here, and what does not, and why."""

import json
import resource
from pathlib import Path

import pytest

from tractor import cli
from tractor._exceptions import BackendUnavailable
from tractor.cli import _doctor


def test_this_machine_is_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    """Each backend has a line, with its traits."""
    assert cli.main(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    [line] = [line for line in lines if "backend trio" in line]
    assert line.startswith("ok")
    assert "can_kill" in line


def test_it_speaks_json(capsys: pytest.CaptureFixture[str]) -> None:
    """For programs."""
    assert cli.main(["doctor", "--json"]) == 0
    findings = json.loads(capsys.readouterr().out)
    assert {"what", "verdict", "text"} == findings[0].keys()


def test_a_backend_that_does_not_work_says_why(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """That is a fault if it is the default, and a note otherwise."""

    def get_backend(key: str) -> object:
        msg = f"spawn backend {key!r} cannot work here: it needs luck"
        raise BackendUnavailable(msg)

    monkeypatch.setattr(_doctor, "get_backend", get_backend)
    assert cli.main(["doctor"]) == 1
    lines = capsys.readouterr().out.splitlines()
    verdicts = [line.split()[0] for line in lines if "it needs luck" in line]
    assert verdicts[0] == "fault"
    assert set(verdicts[1:]) == {"note"}


@pytest.mark.parametrize(
    ("mode", "verdict", "text"),
    [(0o700, "ok", "run"), (0o755, "note", "open to other users")],
)
def test_the_runtime_directory_is_looked_at(
    tmp_path: Path, mode: int, verdict: str, text: str
) -> None:
    """Others must not be able to put their files there."""
    folder = tmp_path / "run"
    folder.mkdir()
    folder.chmod(mode)
    finding = _doctor._runtime_dir(str(folder))
    assert finding.verdict == verdict
    assert text in finding.text


@pytest.mark.parametrize("base", [None, "/nonesuch"])
def test_without_a_runtime_directory_there_is_another(base: str | None) -> None:
    """It is said which."""
    assert "files go where temporary ones do" in _doctor._runtime_dir(base).text


def test_few_descriptors_are_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tree with many actors needs more."""
    monkeypatch.setattr(resource, "getrlimit", lambda _: (64, resource.RLIM_INFINITY))
    finding = _doctor._files()
    assert (finding.verdict, "any number" in finding.text) == ("note", True)

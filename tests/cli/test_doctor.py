"""`doctor` tells what works here, and what does not, and why."""

import json
import os
import resource
import tempfile
from pathlib import Path

import pytest

from tractor import cli
from tractor._exceptions import BackendUnavailable, RuntimeDirError
from tractor.cli import _doctor
from tractor.ipc.network import TreeDir


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


def test_the_runtime_directory_is_looked_at(runtime_dir: str) -> None:
    """The one that actors use, and what runs there."""
    tree = TreeDir.create()
    try:
        directory, trees = _doctor._runtime()
    finally:
        tree.close()
    assert (directory.verdict, directory.text) == ("ok", f"{runtime_dir}/tractor")
    assert trees.text == f"{tree.path.name} (root {os.getpid()})"
    assert [each.text for each in _doctor._runtime()][1] == "none runs"


@pytest.mark.parametrize("base", [None, "/nonesuch"])
def test_without_a_runtime_directory_there_is_another(
    base: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is said which, and why."""
    if base is None:
        monkeypatch.delenv("XDG_RUNTIME_DIR")
    else:
        monkeypatch.setenv("XDG_RUNTIME_DIR", base)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    [directory, _] = _doctor._runtime()
    assert directory.verdict == "note"
    assert directory.text.startswith("/")
    assert ("/nonesuch cannot be used" if base else "no XDG") in directory.text


def test_no_place_for_actors_is_a_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what is wrong with each."""
    monkeypatch.setattr(_doctor, "runtime_dir", lambda: _no_place(tmp_path))
    [finding] = _doctor._runtime()
    assert (finding.verdict, finding.text) == ("fault", f"{tmp_path}: no")


def _no_place(path: Path) -> Path:
    msg = f"{path}: no"
    raise RuntimeDirError(msg)


def test_few_descriptors_are_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tree with many actors needs more."""
    monkeypatch.setattr(resource, "getrlimit", lambda _: (64, resource.RLIM_INFINITY))
    finding = _doctor._files()
    assert (finding.verdict, "any number" in finding.text) == ("note", True)

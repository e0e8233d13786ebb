"""Dump files: nobody else chooses where they are, or reads them (security §8)."""

import os
import stat
from pathlib import Path

import pytest

from tractor.devx import dump_to_file


@pytest.fixture
def loot(tmp_path: Path) -> Path:
    """A file of ours that somebody wants to be written to."""
    path = tmp_path / "loot"
    path.write_text("precious")
    return path


def test_a_dump_makes_a_file_of_its_own(runtime_dir: str, loot: Path) -> None:
    """Names that can be guessed are no use, and nobody else reads it (security §8)."""
    folder = Path(runtime_dir, "tractor")
    folder.mkdir(mode=0o700, exist_ok=True)
    traps = [folder / f"dump-{os.getpid()}{end}" for end in (".txt", "-.txt", "")]
    for trap in traps:
        trap.symlink_to(loot)
    try:
        path = dump_to_file("a test")
        assert path is not None
        assert path.parent == folder
        info = path.lstat()
        assert stat.S_ISREG(info.st_mode)
        assert stat.S_IMODE(info.st_mode) == 0o600
        path.unlink()
    finally:
        for trap in traps:
            trap.unlink()
    assert loot.read_text() == "precious"


def test_a_dump_follows_no_link(tmp_path: Path, loot: Path) -> None:
    """Where its file was to be, somebody has put a link (security §8)."""
    link = tmp_path / "dump.txt"
    link.symlink_to(loot)
    dump_to_file("a test", link)
    assert loot.read_text() == "precious"


def test_a_dump_goes_to_no_folder_of_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder for dumps is a link, and leads elsewhere (security §8)."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "tractor").symlink_to(tmp_path / "elsewhere")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    path = dump_to_file("a test")
    try:
        assert os.listdir(tmp_path / "elsewhere") == []
    finally:
        if path is not None:
            path.unlink()

"""What README.md, docs/ and ai/ say is so: programs, tables, links, tests."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[1]
PAGES: Final = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "ai").rglob("*.md")),
]
ADRS: Final = sorted((ROOT / "docs/adr").glob("[0-9]*.md"))

# <!-- examples/hello.py -->        the whole file follows
# <!-- from examples/hello.py -->   lines of it follow
BLOCK: Final = re.compile(
    r"(?:<!-- (?P<part>from )?(?P<path>examples/\w+\.py) -->\n)?"
    r"^```python\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
LINK: Final = re.compile(r"\]\((?!https?:|mailto:)(?P<target>[^)#\s]+)(?:#[^)]*)?\)")
CITED_TEST: Final = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")
CITED_ADR: Final = re.compile(r"docs/adr/(\d{4})")
FENCED: Final = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)

every_page: Final = pytest.mark.parametrize(
    "page", PAGES, ids=lambda page: str(page.relative_to(ROOT))
)


@every_page
def test_python_blocks_are_programs_of_examples(page: Path) -> None:
    """Every block of Python is a file of examples/, or lines of one, to the letter."""
    for block in BLOCK.finditer(page.read_text()):
        assert block["path"], f"from no file of examples/:\n{block['code']}"
        program = (ROOT / block["path"]).read_text()
        if block["part"]:
            assert block["code"] in program, f"not in {block['path']}:\n{block['code']}"
        else:
            assert block["code"] == program, f"{block['path']} is another one by now"


@every_page
def test_relative_links_lead_somewhere(page: Path) -> None:
    """Every link to a file of this repository has one at its other end."""
    targets = [link["target"] for link in LINK.finditer(page.read_text())]
    assert [to for to in targets if not (page.parent / to).exists()] == []


@every_page
def test_cited_tests_exist(page: Path) -> None:
    """Every test that a page names is there."""
    missing = [
        f"{path}::{name}"
        for path, name in CITED_TEST.findall(page.read_text())
        if not defines(ROOT / path, name)
    ]
    assert missing == []


def defines(path: Path, name: str) -> bool:
    """Whether there is such a file, with such a function in it."""
    return path.exists() and (not name or f"def {name}(" in path.read_text())


@every_page
def test_one_sentence_stands_on_one_line(page: Path) -> None:
    """No line of prose has a second sentence, and none is wrapped."""
    prose = FENCED.sub("", page.read_text())
    wrong = [line for line in prose.splitlines() if ends_early(line)]
    assert wrong == []


def ends_early(line: str) -> bool:
    """Whether a sentence ends in the middle of the line; tables are not prose."""
    plain = re.sub(r"`[^`]*`|^\d+\. ", "", line)
    return not line.startswith("|") and bool(re.search(r"[.!?]\)? +[A-Z]", plain))


def test_what_comes_from_the_code_is_current() -> None:
    """What scripts/fill-docs writes is what it would write now."""
    done = subprocess.run(
        [sys.executable, ROOT / "scripts/fill-docs", "--check"],
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout


def test_readme_is_short() -> None:
    """A newcomer reads the first page to its end."""
    assert len((ROOT / "README.md").read_text().splitlines()) < 100


def cited_adrs() -> Iterator[tuple[str, str]]:
    """Number of each ADR that the code refers to, and where it does."""
    for folder in ("tractor", "tests", "benchmarks"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            for number in CITED_ADR.findall(path.read_text()):
                yield number, str(path.relative_to(ROOT))


def test_adrs_are_numbered_without_gaps() -> None:
    """Their numbers are 0001, 0002 and so on, each once."""
    numbers = [int(path.name[:4]) for path in ADRS]
    assert numbers == list(range(1, len(numbers) + 1))


@pytest.mark.parametrize("path", ADRS, ids=lambda path: path.name)
def test_adr_has_its_three_parts(path: Path) -> None:
    """Each has context, decision and consequences, and is in the list."""
    heads = re.findall(r"^## (.+)$", path.read_text(), re.MULTILINE)
    assert heads[:3] == ["Context", "Decision", "Consequences"]
    assert f"({path.name})" in (ROOT / "docs/adr/README.md").read_text()


def test_adrs_that_the_code_names_exist() -> None:
    """A reference to an ADR in the code leads to one."""
    known = {path.name[:4] for path in ADRS}
    assert [cited for cited in cited_adrs() if cited[0] not in known] == []

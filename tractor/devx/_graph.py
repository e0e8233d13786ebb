"""A tree as a picture: for mermaid, which Markdown pages show, and for Graphviz."""

from collections.abc import Iterator

from msgspec import Struct


def printable(text: str) -> str:
    """`text` in one line that does nothing to a terminal.

    Names and command lines may have line ends and escape sequences in them, which are
    shown here as Python writes them.
    """
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode()
        for char in text
    )


class Branch(Struct, frozen=True):
    """A node of the picture, with what is below it."""

    label: str
    below: "list[Branch]" = []


def outline(branches: list[Branch], indent: str = "") -> Iterator[str]:
    """Lines of text, indented by level."""
    for branch in branches:
        yield f"{indent}{printable(branch.label)}"
        yield from outline(branch.below, f"{indent}  ")


def mermaid(branches: list[Branch]) -> str:
    """A flowchart of mermaid."""
    lines = ["flowchart TD"]
    for number, above, label in _numbered(branches):
        lines.append(f'    n{number}["{_for_mermaid(label)}"]')
        if above is not None:
            lines.append(f"    n{above} --> n{number}")
    return "\n".join(lines) + "\n"


def dot(branches: list[Branch]) -> str:
    """A digraph of Graphviz."""
    lines = ["digraph tractor {", "    node [shape=box];"]
    for number, above, label in _numbered(branches):
        text = label.replace("\\", r"\\").replace('"', r"\"")
        lines.append(f'    n{number} [label="{text}"];')
        if above is not None:
            lines.append(f"    n{above} -> n{number};")
    return "\n".join([*lines, "}"]) + "\n"


def _for_mermaid(label: str) -> str:
    # Its entities are those of HTML, with # in place of &.
    return "".join(f"#{ord(char)};" if char in '#"<>`' else char for char in label)


def _numbered(branches: list[Branch]) -> Iterator[tuple[int, int | None, str]]:
    """Number, number of the one above, and label of each, from the top."""
    waiting: list[tuple[int | None, Branch]] = [(None, each) for each in branches]
    number = 0
    while waiting:
        above, branch = waiting.pop(0)
        yield number, above, printable(branch.label)
        waiting.extend((number, each) for each in branch.below)
        number += 1

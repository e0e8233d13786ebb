"""Every row of docs/reference/linked-tasks.md, in a root and in an actor."""

import re
from pathlib import Path
from typing import Final

import pytest

from tests._helpers import open_tree
from tests.to_asyncio import cells
from tests.to_asyncio.cells import ACTS, Cell, run_cell, run_cells
from tractor.to_asyncio import run_as_asyncio_guest

PAGE: Final = Path(__file__).parents[2] / "docs/reference/linked-tasks.md"
TABLE: Final = re.compile(
    r"<!-- cells: (?P<started>\w+) -->\n\n(?P<rows>.*?)\n<!-- end of cells -->",
    re.DOTALL,
)

type Outcomes = tuple[str, str]


def read_tables(page: str) -> dict[Cell, Outcomes]:
    """What the page says of each cell."""
    found = {}
    for table in TABLE.finditer(page):
        for row in table["rows"].strip().splitlines()[2:]:
            columns = [each.strip() for each in row.replace("`", "").split("|")[1:-1]]
            task, trio_side, *outcomes = columns
            cell = Cell(table["started"], task, trio_side)
            assert cell not in found, "it is there twice"
            found[cell] = (outcomes[0], outcomes[1])
    return found


CELLS: Final = read_tables(PAGE.read_text())


@pytest.mark.parametrize("cell", CELLS, ids=" - ".join)
def test_a_cell_has_its_outcomes(cell: Cell) -> None:
    """Trio and the asyncio task end with what the table says."""
    assert run_as_asyncio_guest(run_cell, cell) == CELLS[cell]


async def test_all_cells_in_an_actor(start_method: str) -> None:
    """So they do on every spawn backend, one after the other in one actor."""
    async with open_tree(start_method) as an:
        portal = await an.start_actor(
            "x", enable_modules=[cells.__name__], infect_asyncio=True
        )
        found = await portal.run(run_cells, list[tuple[str, str, str]](CELLS))
        await an.cancel()
    got = dict(zip(CELLS, map(tuple, found), strict=True))
    assert got == CELLS


def test_every_act_has_its_rows() -> None:
    """The tables have whatever a side may do, before and after `started_nowait`."""
    for started in ("no", "yes"):
        assert {cell.asyncio_side for cell in CELLS if cell.started == started} >= ACTS
    assert {cell.trio_side for cell in CELLS if cell.started == "yes"} >= ACTS

"""What `tractor.cowns` has in common with pools: for the package, not for programs."""

from typing import Final

from tractor.futures import _crew
from tractor.futures._parcels import Kind, Packer, find, path_of
from tractor.futures._placement import decide
from tractor.futures._shared_file import make_shared, map_shared

__all__ = [
    "Kind",
    "Packer",
    "decide",
    "find",
    "make_shared",
    "map_shared",
    "path_of",
    "program_modules",
]

program_modules: Final = _crew._program

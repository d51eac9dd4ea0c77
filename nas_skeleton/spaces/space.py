"""The space as one object: 15,625 cells by index, with their names, neighbours and classes.

What stem, macro skeleton and recipe surround the cells is the card's business (`card`), and what a
candidate costs is in `costs`.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping
from functools import cached_property
from types import MappingProxyType
from typing import SupportsIndex

from nas_skeleton.errors import InputError
from nas_skeleton.spaces import keys
from nas_skeleton.spaces.cell import EDGES, OPERATIONS, Cell, arch_string, matrix, parse_arch
from nas_skeleton.spaces.order import nats_bench_order

CELLS = 15_625  # one of five operations on each of six edges
CLASSES = 5_234  # of cells that are the same function


class CellSpace:
    """All cells of NAS-Bench-201 in the index order of NATS-Bench (`order`).

    Creating one costs nothing; the order (0.1 s) and the classes (0.5 s) are made when first asked
    for. Every method that takes an index raises `InputError` if the space has no such index.
    """

    def __len__(self) -> int:
        return CELLS

    def cell(self, index: SupportsIndex) -> Cell:
        """The cell at `index`, 0 to 15,624."""
        return nats_bench_order()[self.check_index(index)]

    def arch_string(self, index: SupportsIndex) -> str:
        """The architecture string, `|op~0|+|op~0|op~1|+|op~0|op~1|op~2|`."""
        return arch_string(self.cell(index))

    def index(self, cell: str | Cell) -> int:
        """The index of a cell, given itself or its architecture string.

        Raises:
            InputError: not a cell of this space.
        """
        return self._indices[cell if isinstance(cell, Cell) else parse_arch(cell)]

    def matrix(self, index: SupportsIndex) -> list[list[int]]:
        """The cell as a 4x4 matrix of operation indices, see `cell.matrix`."""
        return matrix(self.cell(index))

    def neighbours(self, index: SupportsIndex) -> list[int]:
        """Indices of the 24 cells that differ in one edge, ordered by edge, then operation."""
        ops = self.cell(index).operations
        return [
            self._indices[Cell((*ops[:edge], op, *ops[edge + 1 :]))]
            for edge in range(len(EDGES))
            for op in range(len(OPERATIONS))
            if op != ops[edge]
        ]

    def nb201_key(self, index: SupportsIndex) -> str:
        """NAS-Bench-201's "unique string" of the cell, see `keys.nb201_key`."""
        return keys.nb201_key(self.cell(index))

    def functional_key(self, index: SupportsIndex) -> str:
        """The exact key: equal for cells that are the same function, see `keys.functional_key`."""
        return keys.functional_key(self.cell(index))

    def functional_classes(self) -> Mapping[str, tuple[int, ...]]:
        """Functional key -> ascending indices of its cells; classes by their lowest index."""
        return self._classes

    def representative(self, index: SupportsIndex) -> int:
        """The lowest index whose cell is the same function as the cell at `index`."""
        return self._classes[self.functional_key(index)][0]

    def check_index(self, index: SupportsIndex) -> int:
        """`index` as a plain int.

        Raises:
            InputError: not a whole number from 0 to 15,624.
        """
        return checked_index(index, len(self))

    @cached_property
    def _indices(self) -> dict[Cell, int]:
        return {cell: index for index, cell in enumerate(nats_bench_order())}

    @cached_property
    def _classes(self) -> Mapping[str, tuple[int, ...]]:
        members: dict[str, list[int]] = {}
        for index in range(len(self)):
            members.setdefault(self.functional_key(index), []).append(index)
        return MappingProxyType({key: tuple(indices) for key, indices in members.items()})


def checked_index(index: SupportsIndex, count: int) -> int:
    """`index` as a plain int.

    Raises:
        InputError: not a whole number from 0 to `count` - 1.
    """
    try:
        if isinstance(index, bool):
            raise TypeError
        number = operator.index(index)
    except TypeError:
        number = -1
    if not 0 <= number < count:
        raise InputError(
            f"no architecture {index!r:.60}: indices are whole numbers from 0 to {count - 1}"
        )
    return number

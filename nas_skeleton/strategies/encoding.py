"""All cells as arrays, so that strategies move among 15,625 indices without making `Cell` objects.

Made once per process, when first asked for, in a few hundredths of a second. The arrays are shared:
they cannot be written to. What a cell is, and its names, are `spaces`' business.
"""

from __future__ import annotations

import itertools
from functools import cache
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from nas_skeleton.spaces import CellSpace
from nas_skeleton.spaces.cell import EDGES, NONE, OPERATIONS

Number = TypeVar("Number", bound=np.generic)

CHOICES = len(OPERATIONS)
OTHERS = CHOICES - 1  # what an edge's operation can be changed to
# Positions in `EDGES` of the edges along each way from the cell's input to its output.
WAYS = ((3,), (0, 4), (1, 5), (0, 2, 5))
_PLACES = CHOICES ** np.arange(len(EDGES))[::-1]  # worth of each digit of a cell as a number


@cache
def operations() -> NDArray[np.intp]:
    """(15625, 6): `Cell.operations` of every index."""
    space = CellSpace()
    return _fixed(np.array([space.cell(index).operations for index in range(len(space))]))


def indices(cells: NDArray[np.intp]) -> NDArray[np.intp]:
    """(..., 6) operations -> (...) indices of the cells; the inverse of `operations`."""
    index: NDArray[np.intp] = _index_of_number()[cells @ _PLACES]
    return index


@cache
def neighbours() -> NDArray[np.intp]:
    """(15625, 24): `CellSpace.neighbours` of every index; edge e has columns 4e to 4e + 3."""
    columns = []
    for edge, step in itertools.product(range(len(EDGES)), range(OTHERS)):
        cells = operations().copy()
        cells[:, edge] = step + (cells[:, edge] <= step)  # leaves out the operation that is there
        columns.append(indices(cells))
    return _fixed(np.stack(columns, axis=1))


@cache
def paths() -> NDArray[np.float64]:
    """(15625, 100) of 0 and 1: the path encoding (White et al., BANANAS, AAAI 2021).

    A column is one of the 5 + 25 + 25 + 125 sequences of operations along the four `WAYS`; those
    with a "none" are no path and have no column, which leaves 4 + 16 + 16 + 64, each way's in
    lexicographic order. The published code has one column for equal sequences over nodes 1 and 2.
    """
    columns = [
        np.all(operations()[:, way] == sequence, axis=1)
        for way in WAYS
        for sequence in itertools.product(range(CHOICES), repeat=len(way))
        if NONE not in sequence
    ]
    return _fixed(np.stack(columns, axis=1).astype(np.float64))


@cache
def _index_of_number() -> NDArray[np.intp]:
    numbers = operations() @ _PLACES
    index = np.empty(len(numbers), dtype=np.intp)
    index[numbers] = np.arange(len(numbers))
    return _fixed(index)


def _fixed(array: NDArray[Number]) -> NDArray[Number]:
    array.setflags(write=False)
    return array

"""A space as named categorical choices, the way an optimiser of hyper-parameters sees it.

Not how a strategy of this package moves through the cells; those know indices and edges.
"""

from __future__ import annotations

from collections.abc import Mapping

from nas_skeleton.spaces.cell import EDGES, OPERATIONS, Cell
from nas_skeleton.spaces.load import SearchSpace, Space

# The names of the edges' modules in a candidate network.
EDGE_NAMES = tuple(f"edge_{source}_{target}" for source, target in EDGES)
MODEL = "model"


def choices(space: SearchSpace) -> dict[str, tuple[str, ...]]:
    """What there is to choose from: an operation for every edge, or one of the models."""
    if isinstance(space, Space):
        return dict.fromkeys(EDGE_NAMES, OPERATIONS)
    return {MODEL: tuple(space.arch_string(index) for index in range(len(space)))}


def chosen(space: SearchSpace, values: Mapping[str, str]) -> int:
    """The index of the architecture with these values, one for each of the `choices`."""
    if isinstance(space, Space):
        operations = tuple(OPERATIONS.index(values[name]) for name in EDGE_NAMES)
        return space.index(Cell(operations))
    return space.index(values[MODEL])


def values_of(space: SearchSpace, index: int) -> dict[str, str]:
    """The values that make up the architecture at `index`, the inverse of `chosen`."""
    if isinstance(space, Space):
        operations = space.cell(index).operations
        return dict(zip(EDGE_NAMES, (OPERATIONS[op] for op in operations), strict=True))
    return {MODEL: space.arch_string(index)}

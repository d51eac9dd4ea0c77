"""Cells as NNI calls them: the labels and operations of `NasBench201` in NNI's model hub.

Names only, so that NNI need not be there. Converted by name, never by position: NNI's hub lists the
edges of a cell in another order than some of its strategies.
"""

from __future__ import annotations

from collections.abc import Mapping

from nas_skeleton.errors import InputError
from nas_skeleton.spaces.cell import EDGES, OPERATIONS, Cell
from nas_skeleton.spaces.space import CellSpace

NNI_OPERATIONS = tuple(name.removeprefix("nor_") for name in OPERATIONS)
SCOPE = "cell"
EDGE_NAMES = tuple(f"{source}_{target}" for source, target in EDGES)
LABELS = tuple(f"{SCOPE}/{name}" for name in EDGE_NAMES)


def nni_sample(space: CellSpace, index: int) -> dict[str, str]:
    """The cell at `index` as a sample of NNI's: `{"cell/0_1": "conv_3x3", ...}`."""
    operations = space.cell(index).operations
    return {label: NNI_OPERATIONS[op] for label, op in zip(LABELS, operations, strict=True)}


def index_of_sample(space: CellSpace, sample: Mapping[str, object]) -> int:
    """The index of a sample of NNI's; the inverse of `nni_sample`.

    Raises:
        InputError: an edge is missing, or an operation unknown.
    """
    try:
        operations = tuple(NNI_OPERATIONS.index(str(sample[label])) for label in LABELS)
    except (KeyError, ValueError):
        raise InputError(
            f"{dict(sample)}: no cell of NNI's NasBench201; it has {', '.join(LABELS)}, each one "
            f"of {', '.join(NNI_OPERATIONS)}"
        ) from None
    return space.index(Cell(operations))


def nni_search_space() -> dict[str, dict[str, object]]:
    """All cells as a search space of NNI's experiments: a `choice` for each edge."""
    return {label: {"_type": "choice", "_value": list(NNI_OPERATIONS)} for label in LABELS}

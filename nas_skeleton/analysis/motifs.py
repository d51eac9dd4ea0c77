"""Small patterns of operations in a cell's function: in sequence, in parallel, and both.

A motif is about working operations, not about drawn edges: skips between them are wires. So all
cells of one functional class have the same motifs, and a test may count each class once.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations, product
from typing import SupportsIndex

import numpy as np
import pandas as pd

from nas_skeleton.analysis.topology import PREDICATES, SKIP_PATH, paths_to_nodes, spell
from nas_skeleton.spaces import Cell, CellSpace

_WORKING = ("1", "3", "p")
_SHORT = (SKIP_PATH, *_WORKING)  # paths with at most one operation
MOTIFS = (
    # two edges in sequence, two in parallel
    *(">".join(pair) for pair in product(_WORKING, repeat=2)),
    *("|".join(pair) for pair in combinations(_SHORT, 2)),
    *("1|1", "3|3"),
    # three edges: in sequence, in parallel, and two in sequence beside one
    *(">".join(three) for three in product(_WORKING, repeat=3)),
    *("|".join(three) for three in combinations(_SHORT, 3)),
    *(f"{a}>{b}|{c}" for a, b, c in product(_WORKING, _WORKING, _SHORT)),
)


def motifs(cell: Cell) -> set[str]:
    """Those of `MOTIFS` that a cell has; letters are those of `topology`.

    * `a>b` and `a>b>c`: some path from input to output has these operations one right after the
      other, but for skips.
    * `a|b` and `a|b|c`: each is a whole path from input to output, with no other operation; `3|3`
      takes two different convolutions, not one that is added twice.
    * `a>b|c`: `a>b` is a whole path, and `c` is one. `3>3|skip` is a residual block, whatever else
      the cell does. Both paths may share a convolution: a + conv(a) has `3>3|3`.
    """
    paths = set(paths_to_nodes(cell)[-1])
    words = {spell(cell, path) for path in paths}
    found = {
        ">".join(word[at : at + length])
        for word in words
        for length in (2, 3)
        for at in range(len(word) - length + 1)
    }
    short = [name for name in _SHORT if ("" if name == SKIP_PATH else name) in words]
    for number in (2, 3):
        found |= {"|".join(names) for names in combinations(short, number)}
    alone = [spell(cell, path) for path in paths if len(path) == 1]
    found |= {f"{conv}|{conv}" for conv in ("1", "3") if alone.count(conv) > 1}
    found |= {f"{'>'.join(word)}|{name}" for word in words if len(word) == 2 for name in short}
    return found


def motif_table(archs: Iterable[SupportsIndex] | None = None) -> pd.DataFrame:
    """Which architecture has which motif: a row each, by `arch_index`, true or false.

    Args:
        archs: indices; all 15,625 without.

    Raises:
        InputError: not an index of the space.
    """
    space = CellSpace()
    indices = [space.check_index(arch) for arch in (range(len(space)) if archs is None else archs)]
    column = {name: at for at, name in enumerate(MOTIFS)}
    there = np.zeros((len(indices), len(MOTIFS)), dtype=bool)
    for row, index in zip(there, indices, strict=True):
        row[[column[name] for name in motifs(space.cell(index))]] = True
    index_of_rows = pd.Index(indices, name="arch_index", dtype="int64")
    return pd.DataFrame(there, index=index_of_rows, columns=list(MOTIFS))


def pattern_table(classes: pd.DataFrame) -> pd.DataFrame:
    """All patterns to be tested: truths by `functional_key`, a column per pattern.

    Those of `topology.PREDICATES`, `arrangement_parallel` and its like, and `MOTIFS`.

    Args:
        classes: a `topology.class_table`.
    """
    arrangements = pd.get_dummies(classes["arrangement"], prefix="arrangement")
    small = motif_table(classes["arch_index"]).set_axis(classes.index)
    return pd.concat([classes[list(PREDICATES)], arrangements, small], axis=1).astype(bool)

"""What each edge of a cell contributes: nothing, a trainable constant, or real work.

A network may leave out dead edges and replace a bias edge by its batch norm's bias vector without
changing the function or its training. Which whole cells are the same function is told by `keys`.
"""

from __future__ import annotations

from enum import Enum

from nas_skeleton.spaces.cell import CONVOLUTIONS, EDGES, NODES, NONE, Cell


class Role(Enum):
    """What an edge contributes to the output of its cell."""

    DEAD = "dead"
    """Nothing: the operation is none, or a skip or pool of an exact zero, or its target cannot
    reach the output."""

    BIAS = "bias"
    """A convolution of an exact zero. ReLU-Conv-BN(0) is not 0: batch norm sees mean 0, variance 0
    and running mean 0, and adds its trainable bias, so the edge is that C-vector at every position,
    in training and in evaluation. Its convolution and its batch norm's scale get zero gradients."""

    LIVE = "live"
    """Everything else, also a convolution of a non-zero constant: zero padding makes the 3x3 one
    vary in space, and in evaluation running statistics keep the 1x1 one from being its bias."""


def roles(cell: Cell) -> tuple[Role, ...]:
    """The role of each edge, in the order of `EDGES`."""
    zero = [False] * NODES  # node 0, the input, is not an exact zero; others may turn out to be
    for target in range(1, NODES):
        zero[target] = all(
            op == NONE or (zero[source] and op not in CONVOLUTIONS)
            for (source, to), op in zip(EDGES, cell.operations, strict=True)
            if to == target
        )
    result = [Role.DEAD] * len(EDGES)
    useful = [False] * (NODES - 1) + [True]  # nodes with a contributing path to the output
    # In the order of EDGES sources come before targets, so backwards each target is settled first.
    for edge in reversed(range(len(EDGES))):
        (source, target), op = EDGES[edge], cell.operations[edge]
        if op == NONE or not useful[target]:
            continue
        if not zero[source]:
            result[edge] = Role.LIVE
            useful[source] = True
        elif op in CONVOLUTIONS:
            result[edge] = Role.BIAS
    return tuple(result)


def ignores_input(cell: Cell) -> bool:
    """Whether the output never depends on the input: no path from node 0 to node 3 avoids none.

    Such a cell gives an exact zero (all edges dead) or a trainable constant: nothing to learn from
    data, though networks made of it train without complaint.
    """
    sees_input = [True] + [False] * (NODES - 1)
    for (source, target), op in zip(EDGES, cell.operations, strict=True):
        sees_input[target] |= op != NONE and sees_input[source]
    return not sees_input[-1]

"""The NAS-Bench-201 cell: four nodes, six edges, five operations, and its usual notations.

Node 0 is the input; node i is the sum over all j < i of the edge's operation applied to node j;
node 3 is the output (Dong and Yang, NAS-Bench-201, ICLR 2020). This module holds the type and its
notations, not the order of the cells (`order`), nor what they compute (`liveness`, `keys`).
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

from nas_skeleton.errors import InputError

OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
NONE, SKIP, CONV_1X1, CONV_3X3, AVG_POOL = range(5)  # indices into OPERATIONS
CONVOLUTIONS = frozenset({CONV_1X1, CONV_3X3})

# (source, target) of every edge, in the order of the architecture string.
EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
NODES = 4

EXAMPLE = (
    "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|"
    "+|skip_connect~0|nor_conv_3x3~1|skip_connect~2|"
)


@dataclass(frozen=True, slots=True, order=True)
class Cell:
    """One cell: the index into `OPERATIONS` of each edge, in the order of `EDGES`.

    Raises:
        InputError: not six operation indices.
    """

    operations: tuple[int, ...]

    def __post_init__(self) -> None:
        if not (
            isinstance(self.operations, tuple)
            and len(self.operations) == len(EDGES)
            and all(type(op) is int and 0 <= op < len(OPERATIONS) for op in self.operations)
        ):
            raise InputError(
                f"not a cell: {_shown(self.operations)}: need a tuple of {len(EDGES)} operation "
                f"indices from 0 to {len(OPERATIONS) - 1}, such as (3, 3, 3, 1, 3, 1)"
            )

    def __str__(self) -> str:
        return arch_string(self)

    def named_edges(self) -> list[tuple[int, int, str]]:
        """(source, target, operation name) of every edge, in the order of `EDGES`."""
        return [
            (source, target, OPERATIONS[op])
            for (source, target), op in zip(EDGES, self.operations, strict=True)
        ]


def arch_string(cell: Cell) -> str:
    """`|op~0|+|op~0|op~1|+|op~0|op~1|op~2|`, where `op~j` is the operation on the edge from j."""
    a, b, c, d, e, f = (OPERATIONS[op] for op in cell.operations)
    return f"|{a}~0|+|{b}~0|{c}~1|+|{d}~0|{e}~1|{f}~2|"


def parse_arch(text: object) -> Cell:
    """The cell an architecture string names; the inverse of `arch_string`.

    Raises:
        InputError: the string is malformed; the message says where, and shows a well-formed one.
    """
    if not isinstance(text, str):
        _malformed(text, "it is not a string")
    nodes = text.split("+")
    if len(nodes) != NODES - 1:
        _malformed(text, f"it has {len(nodes)} node(s) joined by '+', need {NODES - 1}")
    operations = []
    for target, node in enumerate(nodes, start=1):
        entries = node[1:-1].split("|")
        if len(node) < 2 or node[0] != "|" or node[-1] != "|" or len(entries) != target:
            wanted = "|" + "".join(f"operation~{source}|" for source in range(target))
            _malformed(text, f"node {target} must look like {wanted}")
        for source, entry in enumerate(entries):
            name, tilde, number = entry.partition("~")
            if name not in OPERATIONS:
                _malformed(
                    text,
                    f"node {target} has an unknown operation {_shown(name)}; "
                    f"known are {', '.join(OPERATIONS)}",
                )
            if not tilde or number != str(source):
                _malformed(
                    text,
                    f"entry {_shown(entry)} of node {target} must end in '~{source}', the node "
                    "it comes from",
                )
            operations.append(OPERATIONS.index(name))
    return Cell(tuple(operations))


def matrix(cell: Cell) -> list[list[int]]:
    """The cell as a 4x4 matrix: row = target node, column = source node, entry = operation index.

    Everything on and above the diagonal is 0.
    """
    rows = [[0] * NODES for _ in range(NODES)]
    for (source, target), op in zip(EDGES, cell.operations, strict=True):
        rows[target][source] = op
    return rows


def cell_from_matrix(rows: Sequence[Sequence[float]]) -> Cell:
    """The inverse of `matrix`; whole floats, as NATS-Bench's `str2matrix` returns, are indices too.

    Raises:
        InputError: not 4x4, not an operation index, or an entry on or above the diagonal.
    """
    try:
        plain = [[_index(entry) for entry in row] for row in rows]
    except TypeError:
        plain = []
    if [len(row) for row in plain] != [NODES] * NODES:
        raise InputError(f"not a cell matrix: need {NODES} rows of {NODES} operation indices")
    if any(plain[i][j] != 0 for i in range(NODES) for j in range(i, NODES)):
        raise InputError("not a cell matrix: entries on and above the diagonal must be 0")
    return Cell(tuple(plain[target][source] for source, target in EDGES))


def _index(entry: float) -> int:
    """An integer of any library, or a whole float; TypeError otherwise."""
    if isinstance(entry, float) and entry.is_integer():
        return int(entry)
    return operator.index(entry)  # type: ignore[arg-type]


def lists(cell: Cell) -> list[list[tuple[str, int]]]:
    """NAS-Bench-201's list form: for nodes 1, 2, 3 the (operation name, source node) pairs."""
    nodes: list[list[tuple[str, int]]] = [[] for _ in range(1, NODES)]
    for source, target, name in cell.named_edges():
        nodes[target - 1].append((name, source))
    return nodes


def _malformed(text: object, why: str) -> NoReturn:
    raise InputError(f"malformed architecture string {_shown(text)}: {why}; example: {EXAMPLE}")


def _shown(value: object) -> str:
    """`value` on one line and short enough for a terminal, whatever it holds."""
    if isinstance(value, str):
        value = value[:200]
    text = ascii(value)
    return text if len(text) <= 120 else f"{text[:117]}..."

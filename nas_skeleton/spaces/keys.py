"""Canonical keys: which cells are the same architecture, by NAS-Bench-201's rule and exactly.

`nb201_key` is the rule the published tables use, for comparison with them. `functional_key` is
exact: cells share it only if they compute the same function and train identically. Keys are short
readable strings and part of published tables, so their text must not change.
"""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass
from functools import cache

from nas_skeleton.errors import InputError
from nas_skeleton.spaces.cell import (
    AVG_POOL,
    CONV_1X1,
    CONVOLUTIONS,
    EDGES,
    NODES,
    NONE,
    OPERATIONS,
    SKIP,
    Cell,
)

INPUT = -1  # the atom of the cell's input; other atoms are convolution edges, by index into EDGES

# A node's value: how often each (atom, number of average pools after it) occurs in the sum.
Sum = Counter[tuple[int, int]]


def nb201_key(cell: Cell) -> str:
    """NAS-Bench-201's "unique string" (`to_unique_str` with `consider_zero=True`), 6,466 classes.

    It treats zero terms only in part and writes two different convolutions of one node alike, so
    its classes both split equal functions and mix different ones. For comparison with published
    tables; to save trainings use `functional_key`.
    """
    nodes = ["0"]
    for target in range(1, NODES):
        terms = []
        for (source, to), op in zip(EDGES, cell.operations, strict=True):
            if to != target:
                continue
            if op == NONE or nodes[source] == "#":
                terms.append("#")
            elif op == SKIP:
                terms.append(nodes[source])
            else:
                terms.append(f"({nodes[source]})@{OPERATIONS[op]}")
        nodes.append("+".join(sorted(terms)))
    return nodes[-1]


def functional_key(cell: Cell) -> str:
    """An exact key: equal for two cells if and only if they are one expression up to weight names.

    The rule. Every node is written as a sum of terms with whole-number multiplicities. A term is an
    atom after zero or more average pools; atoms are the input x and one *named* weight set for each
    convolution edge (conv, BN scale and bias), whose argument is its source node's sum.

    1. none gives the empty sum; a skip copies the sum of its source, term by term.
    2. An average pool acts on each term. It is linear, and its divisor counts only positions inside
       the map (`count_include_pad=False`), so that it leaves terms constant in space unchanged.
       Those are biases (3.) and 1x1 convolutions of sums of such constants.
    3. A convolution of the empty sum is the bias of its batch norm, whatever its kernel size: mean
       and variance of zeros are 0, and so are the running mean and the gradients of its other
       weights. A convolution of any other sum is kept, also of a constant (`liveness.Role.LIVE`).
    4. Convolutions that do not reach the output are dropped.

    Two cells share a key iff a one-to-one renaming of weight sets that keeps kernel sizes (but for
    biases) turns one expression into the other. Each step is an identity of real-number functions
    for all weights, in training and evaluation mode, hence of gradients too; so with matching
    weights (`weight_matching`) the two train identically but for rounding, with weight decay and
    running statistics included. Weights dropped by 3. and 4. get zero gradients.

    What is *not* merged, since it is not exact: conv(x) + conv'(x) with two weight sets and
    2 conv(x) with one; two biases and one, or a bias next to a convolution's own (they train at
    other speeds); a convolution of S and of 2 S, which only the eps of batch norm tells apart; a
    1x1 convolution of a constant and its bias, which differ in evaluation, where the running mean
    lags behind the constant. That last one as a rule would save ten more classes.

    Returns:
        The definitions of the weight sets a, b, ..., then the output y, for instance
        `a=conv3x3(x); b=conv1x1(2a+x); y=a+b+pool(x)`. 5,234 distinct keys over all cells.
    """
    return _canonical(cell).key


def weight_matching(cell: Cell, other: Cell) -> dict[int, int]:
    """Which convolution edges of two cells with one functional key correspond.

    Returns:
        Edge of `cell` -> edge of `other`, both as index into `EDGES`. Copying convolution weights,
        batch-norm scale, bias and running statistics along it makes both compute the same function.
        Where the edge's role is a bias only the batch-norm bias matters (kernel sizes may differ).
        The weights of edges not listed are irrelevant.

    Raises:
        InputError: the cells have different functional keys.
    """
    mine, theirs = _canonical(cell), _canonical(other)
    if mine.key != theirs.key:
        raise InputError(f"no weight matching: {cell} and {other} have different functional keys")
    return dict(zip(mine.edges, theirs.edges, strict=True))


@dataclass(frozen=True, slots=True)
class _Canonical:
    key: str
    edges: tuple[int, ...]  # the edge behind each weight set of the key: a, b, ...


@cache
def _canonical(cell: Cell) -> _Canonical:
    """The key: the smallest text over all namings of the weight sets worth trying.

    A renaming of one expression into another maps each weight set to one whose *unfolded* text is
    the same (arguments written out, names left away). So weight sets are sorted by that text, and
    only those that tie are permuted: few namings, and exact nevertheless. Arguments unfold to
    shorter texts than what they are arguments of, so every name is defined before it is used.
    """
    output, arguments = _expression(cell)
    unfolded: dict[int, str] = {}
    # Edges are in topological order, so arguments are unfolded before what uses them.
    for edge in sorted(arguments):
        terms = sorted(
            f"{count}*{'pool ' * pools}{unfolded.get(atom, 'x')}"
            for (atom, pools), count in arguments[edge].items()
        )
        unfolded[edge] = f"{_head(cell, edge, arguments)}({'+'.join(terms)})"
    by_text = sorted(arguments, key=lambda edge: (len(unfolded[edge]), unfolded[edge]))
    ties = [list(group) for _, group in itertools.groupby(by_text, key=unfolded.__getitem__)]
    namings = itertools.product(*map(itertools.permutations, ties))
    candidates = (tuple(itertools.chain.from_iterable(naming)) for naming in namings)
    key, edges = min((_text(cell, output, arguments, edges), edges) for edges in candidates)
    return _Canonical(key, edges)


def _expression(cell: Cell) -> tuple[Sum, dict[int, Sum]]:
    """The output as a sum, and the argument of every convolution edge it depends on."""
    nodes: list[Sum] = [Counter({(INPUT, 0): 1})]
    arguments: dict[int, Sum] = {}
    constant: set[int] = set()  # convolution edges whose value does not vary in space
    for target in range(1, NODES):
        node: Sum = Counter()
        for edge, op in enumerate(cell.operations):
            source, to = EDGES[edge]
            if to != target or op == NONE:
                continue
            argument = nodes[source]
            if op == SKIP:
                node.update(argument)
            elif op == AVG_POOL:
                for (atom, pools), count in argument.items():
                    node[atom, pools if atom in constant else pools + 1] += count
            elif op in CONVOLUTIONS:
                arguments[edge] = argument
                node[edge, 0] += 1
                if not argument or (
                    op == CONV_1X1 and all(atom in constant for atom, _ in argument)
                ):
                    constant.add(edge)
        nodes.append(node)

    used: set[int] = set()
    waiting = [nodes[-1]]
    while waiting:
        new = {atom for atom, _ in waiting.pop()} - used - {INPUT}
        used |= new
        waiting += [arguments[edge] for edge in new]
    return nodes[-1], {edge: arguments[edge] for edge in used}


def _text(cell: Cell, output: Sum, arguments: dict[int, Sum], edges: tuple[int, ...]) -> str:
    """The expression in full, with the weight sets of `edges` named a, b, ... in that order."""
    names = {INPUT: "x"} | dict(zip(edges, "abcdef", strict=False))
    definitions = [
        f"{names[edge]}={_head(cell, edge, arguments)}"
        + (f"({_sum_text(arguments[edge], names)})" if arguments[edge] else "")
        for edge in edges
    ]
    return "; ".join([*definitions, f"y={_sum_text(output, names)}"])


def _head(cell: Cell, edge: int, arguments: dict[int, Sum]) -> str:
    if not arguments[edge]:
        return "bias"
    return "conv1x1" if cell.operations[edge] == CONV_1X1 else "conv3x3"


def _sum_text(terms: Sum, names: dict[int, str]) -> str:
    """`2a+pool(b)+x`; the empty sum is `0`."""
    written = [
        (names[atom], pools, f"{count if count > 1 else ''}{_pooled(names[atom], pools)}")
        for (atom, pools), count in terms.items()
    ]
    return "+".join(text for *_, text in sorted(written)) or "0"


def _pooled(name: str, pools: int) -> str:
    return "pool(" * pools + name + ")" * pools

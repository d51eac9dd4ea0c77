"""What a cell looks like: its paths from input to output, its convolutions, and how it is drawn.

Everything is told on the relevant edges: those on a path from input to output that no `none` cuts.
Of a cell's traits some belong to its function, so that all cells of one functional class agree in
them (`FunctionTraits`), and some only to the drawing (`DrawnTraits`): a skip more or less draws one
function in many ways. Statistics over classes may use the first only. What is good is not told here
(`effects`, `enrichment`), nor which operations stand beside each other (`motifs`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields
from typing import SupportsIndex

import pandas as pd

from nas_skeleton.spaces import Cell, CellSpace
from nas_skeleton.spaces.cell import (
    AVG_POOL,
    CONV_1X1,
    CONV_3X3,
    CONVOLUTIONS,
    EDGES,
    NODES,
    NONE,
    OPERATIONS,
    SKIP,
)
from nas_skeleton.spaces.liveness import Role, roles

LETTERS = {SKIP: "", CONV_1X1: "1", CONV_3X3: "3", AVG_POOL: "p"}
SKIP_PATH = "skip"  # how a path without any letter is written
ARRANGEMENTS = ("none", "single", "parallel", "sequential", "mixed")

Path = tuple[int, ...]  # the edges of a path that work, that is all but skips


@dataclass(frozen=True, slots=True)
class FunctionTraits:
    """Traits of a cell's function: equal for all cells with one `functional_key`.

    A path runs from input to output; two paths are different if they pass different edges. It is
    spelled by its operations in order, `1`, `3` and `p` for 1x1 and 3x3 convolution and average
    pool; skips are silent, and a path of skips only is called `skip`. A convolution counts if it is
    on a path; what computes a constant is no path and counts under `constants` only.

    Attributes:
        spelling: all paths, `skip|33` for x + conv(conv(x)); empty where the input is ignored.
        paths: how many.
        ignores_input: there is none.
        skip_path: one of skips only: the output is a sum with the input itself as a term.
        skip_paths: how many there are: how often the input itself is a term.
        repeated_skip: two or more.
        conv_path: one with a convolution.
        pool_path: one with an average pool.
        shortcut: a path of skips only and one with a convolution, the thesis' "shortcut
            connections and convolutions".
        skip_only: paths, and all of them of skips only: a multiple of the input.
        pool_only: paths, each with a pool, and none with a convolution.
        residual_block: exactly two 3x3 convolutions in sequence beside one path of skips, and
            nothing else, x + conv(conv(x)): the block of ResNet (He et al., CVPR 2016).
        convs_1x1, convs_3x3: convolutions of that kernel on a path.
        convs: of both.
        both_kernels: there is one of each.
        more_3x3: more 3x3 than 1x1 convolutions.
        convs_on_input: convolutions that read the input itself: it is a term of their argument, as
            it stands or through skips.
        parallel_on_input: two or more of them, whatever else they read.
        arrangement: of the convolutions. "none" and "single" where there are not two; "parallel":
            none reads what another made, all read the input or its pool; "sequential": one path
            passes all of them; "mixed": neither.
        conv_depth: convolutions on the path that has most.
        depth: operations, pools too, on the longest path.
        width: relevant edges side by side, where there are most: the largest number that leads from
            nodes before a cut to nodes behind it, nodes being in order. Skips count; nevertheless
            no drawing of a class is wider than another.
        constants: convolutions that reach the output but never see the input: trainable constants,
            such as the bias that a convolution of zero is.
    """

    spelling: str
    paths: int
    ignores_input: bool
    skip_path: bool
    skip_paths: int
    repeated_skip: bool
    conv_path: bool
    pool_path: bool
    shortcut: bool
    skip_only: bool
    pool_only: bool
    residual_block: bool
    convs_1x1: int
    convs_3x3: int
    convs: int
    both_kernels: bool
    more_3x3: bool
    convs_on_input: int
    parallel_on_input: bool
    arrangement: str
    conv_depth: int
    depth: int
    width: int
    constants: int


@dataclass(frozen=True, slots=True)
class DrawnTraits:
    """Traits of the drawing: cells of one functional class may differ in each of them.

    Attributes:
        relevant_edges: edges on a path from input to output.
        skips, pools: how many of them are.
        longest_path: edges on the longest path, skips too.
        operations: the operation of each edge, relevant or not, in the order of `EDGES`.
        relevant: whether each edge is.
    """

    relevant_edges: int
    skips: int
    pools: int
    longest_path: int
    operations: tuple[str, ...]
    relevant: tuple[bool, ...]


@dataclass(frozen=True, slots=True)
class Topology:
    """All traits of one cell."""

    function: FunctionTraits
    drawn: DrawnTraits


FUNCTION_COLUMNS = tuple(field.name for field in fields(FunctionTraits))
EDGE_COLUMNS = tuple(f"edge_{source}{target}" for source, target in EDGES)
RELEVANT_COLUMNS = tuple(f"relevant_{source}{target}" for source, target in EDGES)
DRAWN_COLUMNS = (
    *("relevant_edges", "skips", "pools", "longest_path"),
    *(*EDGE_COLUMNS, *RELEVANT_COLUMNS),
)
PREDICATES = (
    *("ignores_input", "skip_path", "repeated_skip", "conv_path", "pool_path", "shortcut"),
    *("skip_only", "pool_only", "residual_block", "both_kernels", "more_3x3", "parallel_on_input"),
)


def paths_to_nodes(cell: Cell) -> list[list[Path]]:
    """All paths from the input to each node, each by its edges that are no skips.

    Two that differ by skips only are both there.
    """
    paths: list[list[Path]] = [[()], *([] for _ in range(1, NODES))]
    for edge, ((source, target), op) in enumerate(zip(EDGES, cell.operations, strict=True)):
        if op != NONE:
            own = () if op == SKIP else (edge,)
            paths[target] += [path + own for path in paths[source]]
    return paths


def spell(cell: Cell, path: Path) -> str:
    """The operations of a path, one letter each."""
    return "".join(LETTERS[cell.operations[edge]] for edge in path)


def relevant(cell: Cell) -> tuple[bool, ...]:
    """Whether each edge is on a path from input to output that no `none` cuts."""
    return _relevant(paths_to_nodes(cell), roles(cell))


def topology(cell: Cell) -> Topology:
    """The traits of a cell."""
    paths, found = paths_to_nodes(cell), roles(cell)
    on_path = _relevant(paths, found)
    return Topology(_function(cell, paths, found, on_path), _drawn(cell, on_path))


def topology_table(archs: Iterable[SupportsIndex] | None = None) -> pd.DataFrame:
    """The traits of architectures, one row each, by `arch_index`; of all 15,625 without `archs`.

    Beside `functional_key` the columns are `FUNCTION_COLUMNS`, which are equal within a class, and
    `DRAWN_COLUMNS`, which are not, with `edge_01` for the operation from node 0 to node 1 and
    `relevant_01` for whether it is relevant. Names of operations and arrangements are categories.

    Raises:
        InputError: not an index of the space.
    """
    space = CellSpace()
    indices = [space.check_index(arch) for arch in (range(len(space)) if archs is None else archs)]
    rows = []
    for index in indices:
        traits = topology(space.cell(index))
        key = space.functional_key(index)
        *numbers, operations, on_path = astuple(traits.drawn)
        rows.append((key, *astuple(traits.function), *numbers, *operations, *on_path))
    table = pd.DataFrame(
        rows,
        index=pd.Index(indices, name="arch_index", dtype="int64"),
        columns=["functional_key", *FUNCTION_COLUMNS, *DRAWN_COLUMNS],
    )
    categories = dict.fromkeys(EDGE_COLUMNS, pd.CategoricalDtype(list(OPERATIONS)))
    return table.astype({**categories, "arrangement": pd.CategoricalDtype(list(ARRANGEMENTS))})


def class_table(table: pd.DataFrame) -> pd.DataFrame:
    """Of a `topology_table` what belongs to the function, one row per class, by `functional_key`.

    `cells` is how many rows of the table are of the class, `arch_index` the lowest of them.
    """
    grouped = table.reset_index().groupby("functional_key", sort=False)
    first = grouped[["arch_index", *FUNCTION_COLUMNS]].first()
    first.insert(0, "cells", grouped.size())
    first["arch_index"] = grouped["arch_index"].min()
    return first.sort_values("arch_index")


def _relevant(paths: list[list[Path]], found: tuple[Role, ...]) -> tuple[bool, ...]:
    """A live edge may carry a trainable constant only; one that also sees the input is relevant."""
    return tuple(
        role is Role.LIVE and bool(paths[source])
        for (source, _), role in zip(EDGES, found, strict=True)
    )


def _function(
    cell: Cell, paths: list[list[Path]], found: tuple[Role, ...], on_path: tuple[bool, ...]
) -> FunctionTraits:
    ops = cell.operations
    words = sorted((spell(cell, path) for path in paths[-1]), key=lambda word: (len(word), word))
    convs = [edge for edge, on in enumerate(on_path) if on and ops[edge] in CONVOLUTIONS]
    small = sum(ops[edge] == CONV_1X1 for edge in convs)
    large = len(convs) - small
    on_input = sum(() in paths[EDGES[edge][0]] for edge in convs)
    crossing = (
        sum(on and source < cut <= to for (source, to), on in zip(EDGES, on_path, strict=True))
        for cut in range(1, NODES)
    )
    constants = sum(
        op in CONVOLUTIONS and role is not Role.DEAD and not on
        for op, role, on in zip(ops, found, on_path, strict=True)
    )
    chain = max((len(word) - word.count("p") for word in words), default=0)
    skip_path, pool_path = "" in words, any("p" in word for word in words)
    return FunctionTraits(
        spelling="|".join(word or SKIP_PATH for word in words),
        paths=len(words),
        ignores_input=not words,
        skip_path=skip_path,
        skip_paths=words.count(""),
        repeated_skip=words.count("") > 1,
        conv_path=bool(convs),
        pool_path=pool_path,
        shortcut=skip_path and bool(convs),
        skip_only=skip_path and not convs and not pool_path,
        pool_only=pool_path and not convs and not skip_path,
        residual_block=words == ["", "33"] and not constants,
        convs_1x1=small,
        convs_3x3=large,
        convs=len(convs),
        both_kernels=bool(small and large),
        more_3x3=large > small,
        convs_on_input=on_input,
        parallel_on_input=on_input > 1,
        arrangement=_arrangement(len(convs), chain),
        conv_depth=chain,
        depth=len(words[-1]) if words else 0,
        width=max(crossing),
        constants=constants,
    )


def _arrangement(convs: int, chain: int) -> str:
    """`chain` is the number of convolutions on the path that has most."""
    if convs < 2:
        return "single" if convs else "none"
    if chain == 1:
        return "parallel"
    return "sequential" if chain == convs else "mixed"


def _drawn(cell: Cell, on_path: tuple[bool, ...]) -> DrawnTraits:
    edges = [edge for edge, on in enumerate(on_path) if on]
    reached = [0] * NODES  # edges on the longest path to a node
    for edge in edges:
        source, target = EDGES[edge]
        reached[target] = max(reached[target], reached[source] + 1)
    return DrawnTraits(
        relevant_edges=len(edges),
        skips=sum(cell.operations[edge] == SKIP for edge in edges),
        pools=sum(cell.operations[edge] == AVG_POOL for edge in edges),
        longest_path=reached[-1],
        operations=tuple(OPERATIONS[op] for op in cell.operations),
        relevant=on_path,
    )

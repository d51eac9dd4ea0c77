"""Traits of cells: hand-made cells of every kind, and what is a property of the function."""

from itertools import combinations, pairwise

import numpy as np
import pytest

from nas_skeleton.analysis.motifs import MOTIFS, motif_table, motifs, pattern_table
from nas_skeleton.analysis.topology import (
    DRAWN_COLUMNS,
    FUNCTION_COLUMNS,
    PREDICATES,
    class_table,
    relevant,
    topology,
    topology_table,
)
from nas_skeleton.errors import InputError
from nas_skeleton.spaces import Cell, CellSpace
from nas_skeleton.spaces.cell import EDGES, NONE

OPS = {".": 0, "s": 1, "1": 2, "3": 3, "p": 4}


def cell(drawn):
    """A cell from the letters of its edges 01, 02, 12, 03, 13, 23."""
    return Cell(tuple(OPS[letter] for letter in drawn.replace(" ", "")))


def traits(drawn):
    found = topology(cell(drawn)).function
    return {name: getattr(found, name) for name in FUNCTION_COLUMNS}


@pytest.fixture(scope="module")
def table():
    return topology_table()


NOTHING = {
    **dict.fromkeys(PREDICATES, False),
    **dict.fromkeys(("paths", "convs", "convs_1x1", "convs_3x3", "convs_on_input"), 0),
    **dict.fromkeys(("conv_depth", "depth", "width", "constants", "skip_paths"), 0),
    "arrangement": "none",
}
ONE_3X3 = {"convs": 1, "convs_3x3": 1, "conv_path": True, "more_3x3": True, "convs_on_input": 1}
TWO_3X3 = {"convs": 2, "convs_3x3": 2, "conv_path": True, "more_3x3": True}
KERNELS = {"convs": 2, "convs_3x3": 1, "convs_1x1": 1, "conv_path": True, "both_kernels": True}
SHORTCUT = {"skip_path": True, "shortcut": True}


# fmt: off
CELLS = [
    # nothing comes through
    (".. . ...", "", {"ignores_input": True}),
    ("3. . ...", "", {"ignores_input": True}),  # a dead end
    (".. . ..s", "", {"ignores_input": True}),
    (".. . .3.", "", {"ignores_input": True, "constants": 1}),  # a bias
    (".. 1 ..3", "", {"ignores_input": True, "constants": 2}),  # a convolution of a bias
    ("3. . ..1", "", {"ignores_input": True, "constants": 1}),
    # skips only
    (".. . s..", "skip", {"skip_path": True, "skip_only": True, "paths": 1, "width": 1}),
    ("s. s ..s", "skip", {"skip_path": True, "skip_only": True, "paths": 1, "width": 1}),
    ("ss . s s s", "skip|skip|skip",
     {"skip_path": True, "skip_only": True, "paths": 3, "width": 3}),
    (".. . s3.", "skip", {"skip_path": True, "skip_only": True, "paths": 1, "width": 1,
                          "constants": 1}),
    # pools only, and a pool beside a skip
    (".. . p..", "p", {"pool_path": True, "pool_only": True, "paths": 1, "width": 1, "depth": 1}),
    ("p. p ..p", "ppp", {"pool_path": True, "pool_only": True, "paths": 1, "width": 1, "depth": 3}),
    (".s . p.s", "skip|p", {"pool_path": True, "skip_path": True, "paths": 2, "width": 2,
                            "depth": 1}),
    # one convolution
    (".. . 3..", "3", {**ONE_3X3, "arrangement": "single", "paths": 1, "width": 1, "depth": 1,
                       "conv_depth": 1}),
    ("s. . 33.", "3|3", {"convs": 2, "convs_3x3": 2, "conv_path": True, "more_3x3": True,
                         "convs_on_input": 2, "parallel_on_input": True, "arrangement": "parallel",
                         "paths": 2, "width": 2, "depth": 1, "conv_depth": 1}),
    ("3. s .ss", "3|3", {**ONE_3X3, "arrangement": "single", "paths": 2, "width": 2, "depth": 1,
                         "conv_depth": 1}),  # the same one twice
    ("p. . .3.", "p3", {**ONE_3X3, "convs_on_input": 0, "pool_path": True, "arrangement": "single",
                        "paths": 1, "width": 1, "depth": 2, "conv_depth": 1}),
    (".. . 1..", "1", {"convs": 1, "convs_1x1": 1, "conv_path": True, "convs_on_input": 1,
                       "arrangement": "single", "paths": 1, "width": 1, "depth": 1,
                       "conv_depth": 1}),
    # a convolution whose other inputs are constants still sees the input
    ("s1 1 .3.", "3", {**ONE_3X3, "arrangement": "single", "paths": 1, "width": 1, "depth": 1,
                       "conv_depth": 1}),
    (".s 1 ..3", "3", {**ONE_3X3, "arrangement": "single", "paths": 1, "width": 1, "depth": 1,
                       "conv_depth": 1, "constants": 1}),
    # in parallel on the input
    ("1. . 3s.", "1|3", {**KERNELS, "convs_on_input": 2, "parallel_on_input": True,
                         "arrangement": "parallel", "paths": 2, "width": 2, "depth": 1,
                         "conv_depth": 1}),
    ("13 . sss", "skip|1|3", {**KERNELS, **SHORTCUT, "convs_on_input": 2,
                              "parallel_on_input": True, "arrangement": "parallel", "paths": 3,
                              "width": 3, "depth": 1, "conv_depth": 1}),
    ("p3 . .1s", "3|p1", {**KERNELS, "convs_on_input": 1, "pool_path": True,
                          "arrangement": "parallel", "paths": 2, "width": 2, "depth": 2,
                          "conv_depth": 1}),
    # in sequence
    ("3. . s3.", "skip|33", {**TWO_3X3, **SHORTCUT, "residual_block": True, "convs_on_input": 1,
                             "arrangement": "sequential", "paths": 2, "width": 2, "depth": 2,
                             "conv_depth": 2}),
    ("3. . s1.", "skip|31", {**KERNELS, **SHORTCUT, "convs_on_input": 1,
                             "arrangement": "sequential", "paths": 2, "width": 2, "depth": 2,
                             "conv_depth": 2}),
    ("3. . p3.", "p|33", {**TWO_3X3, "pool_path": True, "convs_on_input": 1,
                          "arrangement": "sequential", "paths": 2, "width": 2, "depth": 2,
                          "conv_depth": 2}),
    ("3s s ..3", "3|33", {**TWO_3X3, "convs_on_input": 2, "parallel_on_input": True,
                          "arrangement": "sequential", "paths": 2, "width": 2, "depth": 2,
                          "conv_depth": 2}),  # the second reads the input as well
    ("3. 1 ..3", "313", {"convs": 3, "convs_3x3": 2, "convs_1x1": 1, "conv_path": True,
                         "more_3x3": True, "both_kernels": True, "convs_on_input": 1,
                         "arrangement": "sequential", "paths": 1, "width": 1, "depth": 3,
                         "conv_depth": 3}),
    # both
    ("3. . 13.", "1|33", {"convs": 3, "convs_3x3": 2, "convs_1x1": 1, "conv_path": True,
                          "more_3x3": True, "both_kernels": True, "convs_on_input": 2,
                          "parallel_on_input": True, "arrangement": "mixed", "paths": 2,
                          "width": 2, "depth": 2, "conv_depth": 2}),
]
# fmt: on


@pytest.mark.parametrize(("drawn", "spelling", "expected"), CELLS)
def test_hand_made_cells_have_the_traits_one_sees_in_them(drawn, spelling, expected):
    skips = spelling.split("|").count("skip")
    told = {"spelling": spelling, "skip_paths": skips, "repeated_skip": skips > 1}
    assert traits(drawn) == {**NOTHING, **told, **expected}


def test_a_bias_beside_a_residual_block_makes_it_another_function():
    assert traits("3s . .3s")["residual_block"]
    assert not traits("3. 1 s3s")["residual_block"]
    with_bias = traits(".3 . s13")
    assert (with_bias["spelling"], with_bias["constants"]) == ("skip|33", 1)
    assert not with_bias["residual_block"]


@pytest.mark.parametrize("arch", [11472, 2528, 9950, 13755])
def test_what_the_thesis_calls_resnet_is_a_residual_block(arch):
    assert topology(CellSpace().cell(arch)).function.residual_block


def test_counts_over_the_space(table):
    assert len(table) == 15_625
    assert table["ignores_input"].sum() == 341
    residual = table.index[table["residual_block"]].tolist()
    same = CellSpace().functional_classes()["a=conv3x3(x); b=conv3x3(a); y=b+x"]
    assert residual == list(same)
    assert not (table["skip_only"] & table["conv_path"]).any()


def naive_paths(a_cell):
    """All chains of nodes from 0 to 3 without none, as edges."""
    ops = dict(zip(EDGES, a_cell.operations, strict=True))
    for size in (0, 1, 2):
        for between in combinations((1, 2), size):
            edges = list(pairwise((0, *between, 3)))
            if all(ops[edge] != NONE for edge in edges):
                yield edges


def test_relevant_edges_and_spelled_paths_are_those_of_all_chains_of_nodes(table):
    space, letters = CellSpace(), {1: "", 2: "1", 3: "3", 4: "p"}
    for index in range(0, len(space), 7):
        own = space.cell(index)
        ops = dict(zip(EDGES, own.operations, strict=True))
        chains = list(naive_paths(own))
        on_chain = {edge for chain in chains for edge in chain}
        assert relevant(own) == tuple(edge in on_chain for edge in EDGES)
        words = ["".join(letters[ops[edge]] for edge in chain) or "skip" for chain in chains]
        row = table.loc[index]
        assert sorted(filter(None, row["spelling"].split("|"))) == sorted(words)
        assert row["longest_path"] == max(map(len, chains), default=0)
        assert row["relevant_edges"] == len(on_chain)


def test_cells_of_one_class_agree_in_every_trait_of_the_function_and_every_motif(table):
    by_class = table.groupby("functional_key")
    assert (by_class[list(FUNCTION_COLUMNS)].nunique() == 1).all(axis=None)
    small = motif_table()
    assert (small.groupby(table["functional_key"]).nunique() == 1).all(axis=None)
    assert small.any().all()  # no motif that no cell can have
    # What is said to belong to the drawing does.
    differing = (by_class[list(DRAWN_COLUMNS)].nunique() > 1).any()
    assert differing.all()


def test_isomorphic_drawings_agree_in_all_but_names_of_edges(table):
    space = CellSpace()
    for index in range(0, len(space), 15):
        a, b, c, d, e, f = space.cell(index).operations
        if c != NONE:
            continue
        other = space.index(Cell((b, a, c, d, f, e)))  # nodes 1 and 2 change places
        counts = [*FUNCTION_COLUMNS, "relevant_edges", "skips", "pools", "longest_path"]
        assert table.loc[index, counts].equals(table.loc[other, counts])


def test_tables_of_some_architectures_and_of_classes(table):
    few = topology_table([6111, 0])
    assert few.index.tolist() == [6111, 0]
    assert few.equals(table.loc[[6111, 0]])
    classes = class_table(table)
    assert len(classes) == 5234
    assert classes["cells"].sum() == len(table)
    key = classes.index[17]
    members = CellSpace().functional_classes()[key]
    assert (classes.loc[key, "cells"], classes.loc[key, "arch_index"]) == (len(members), members[0])
    patterns = pattern_table(classes.head(50))
    assert patterns.shape == (50, len(PREDICATES) + 5 + len(MOTIFS))
    assert set(patterns.dtypes) == {np.dtype(bool)}
    with pytest.raises(InputError, match="no architecture 15625"):
        topology_table([15_625])


# fmt: off
CELLS_WITH_MOTIFS = [
    (".. . s..", set()),
    (".. . .3.", set()),  # a bias is on no path
    ("3. . s3.", {"3>3", "3>3|skip"}),
    ("3. s ..1", {"3>1"}),  # a skip is a wire
    ("3. 1 ..p", {"3>1", "1>p", "3>1>p"}),
    ("13 . sss", {"skip|1", "skip|3", "1|3", "skip|1|3"}),
    ("s. . 33.", {"3|3"}),
    ("3. s .ss", set()),  # one convolution added twice is no pair
    ("s. . pp.", set()),
    ("p. . 13.", {"p>3", "p>3|1"}),
    ("3s s ..3", {"3>3", "3>3|3"}),
    ("1p . 3ps", {"1>p", "3|p", "1>p|3", "1>p|p"}),
]
# fmt: on


@pytest.mark.parametrize(("drawn", "expected"), CELLS_WITH_MOTIFS)
def test_motifs_of_hand_made_cells(drawn, expected):
    assert motifs(cell(drawn)) == expected
    assert expected <= set(MOTIFS)

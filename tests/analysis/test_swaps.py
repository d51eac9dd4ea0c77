"""Cells that differ by one operation, held against a naive walk, and planted truths."""

from itertools import product

import numpy as np
import pandas as pd
import pytest

from nas_skeleton.analysis.swaps import (
    added_operations,
    dyadic_error,
    second_shortcuts,
    single_shortcuts,
    swap_effects,
    swaps,
)
from nas_skeleton.analysis.topology import topology, topology_table
from nas_skeleton.errors import InputError
from nas_skeleton.spaces import Cell, CellSpace
from nas_skeleton.spaces.cell import EDGES, OPERATIONS


@pytest.fixture(scope="module")
def pairs():
    return swaps(topology_table(), ["skip_paths", "conv_depth"])


def test_every_pair_is_there_once_per_edge_and_direction():
    space = CellSpace()
    archs = [space.index(Cell((*some, 0, 1, 3))) for some in product(range(5), repeat=3)]
    found = swaps(topology_table(archs))
    naive = set()
    for one, other in product(archs, repeat=2):
        ops, others = space.cell(one).operations, space.cell(other).operations
        differ = [at for at in range(6) if ops[at] != others[at]]
        keys = space.functional_key(one), space.functional_key(other)
        if len(differ) == 1 and keys[0] != keys[1]:
            source, target = EDGES[differ[0]]
            names = OPERATIONS[ops[differ[0]]], OPERATIONS[others[differ[0]]]
            naive.add((f"{source}→{target}", *names, *keys))
    columns = ["edge", "before", "after", "class_before", "class_after"]
    assert len(found) == len(naive)
    assert set(found[columns].itertuples(index=False, name=None)) == naive


def test_the_pair_that_is_named_is_such_a_pair(pairs):
    space = CellSpace()
    for row in pairs.sample(50, random_state=0).itertuples():
        assert row.arch_after in space.neighbours(row.arch_before)
        assert space.functional_key(row.arch_before) == row.class_before
        assert space.functional_key(row.arch_after) == row.class_after
        for arch, depth in (
            (row.arch_before, row.conv_depth_before),
            (row.arch_after, row.conv_depth_after),
        ):
            assert topology(space.cell(arch)).function.conv_depth == depth


def test_a_single_shortcut_is_added_where_there_was_none(pairs):
    found = single_shortcuts(pairs)
    assert len(found) > 1000
    assert (found["skip_paths_after"] == 1).all()
    assert (found["conv_depth_after"] == found["conv_depth_before"]).all()


def test_a_second_path_of_skips_and_one_more_operation_are_told_by_the_traits(pairs):
    second = second_shortcuts(pairs)
    assert set(second["before"] + ">" + second["after"]) == {"none>skip_connect"}
    spelled = topology_table()["spelling"].str.split("|").map(lambda words: words.count("skip"))
    assert (spelled.loc[second["arch_before"]] == 1).all()
    assert (spelled.loc[second["arch_after"]] == 2).all()
    with pytest.raises(InputError, match=r"swaps\(cells, \['paths', 'depth'\]\)"):
        added_operations(pairs)
    more = added_operations(swaps(topology_table(), ["paths", "depth"]))
    assert set(more["after"]) == {"nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3"}
    assert (more["paths_after"] - more["paths_before"] == 1).all()
    deeper = more["depth_after"] > more["depth_before"]
    assert (more["how"] == deeper.map({True: "in sequence", False: "beside"})).all()
    assert deeper.nunique() == 2


def accuracies(value, seeds=2, noise=0.0, seed=0):
    """Of every function `value(key)`, and noise."""
    keys = list(CellSpace().functional_classes())
    generator = np.random.default_rng(seed)
    values = np.array([value(key) for key in keys], np.float64)[:, None]
    values = values + noise * generator.standard_normal((len(keys), seeds))
    return pd.DataFrame(values, index=pd.Index(keys, name="functional_key"))


def test_effects_are_means_over_pairs_and_turn_with_their_direction(pairs):
    accuracy = accuracies(len)
    found = swap_effects(pairs, accuracy)
    assert len(found) == 20
    for row in found.itertuples():
        own = pairs[(pairs["before"] == row.before) & (pairs["after"] == row.after)]
        once = own.drop_duplicates(["class_before", "class_after"])
        change = once["class_after"].str.len() - once["class_before"].str.len()
        assert row.pairs == len(once)
        assert row.effect == pytest.approx(change.mean())
        back = found[(found["before"] == row.after) & (found["after"] == row.before)].iloc[0]
        turned = [back["effect"], back["high"], back["low"]]
        assert [-row.effect, -row.low, -row.high] == pytest.approx(turned)
    by_edge = swap_effects(pairs, accuracy, ["edge", "before", "after"])
    assert len(by_edge) == 120
    assert by_edge["pairs"].sum() == len(pairs)


def test_the_error_of_pairs_is_that_of_all_pairs_of_pairs():
    generator = np.random.default_rng(0)
    drawn = {tuple(sorted(pair)) for pair in generator.integers(0, 12, (30, 2)) if len({*pair}) > 1}
    one, other = (pd.Series(side) for side in zip(*drawn, strict=True))
    values = generator.standard_normal(12)[other] - generator.standard_normal(12)[one]
    errors = values - values.mean()
    naive = sum(
        errors[a] * errors[b]
        for a, b in product(range(len(drawn)), repeat=2)
        if {one[a], other[a]} & {one[b], other[b]}
    )
    alone = (errors**2).sum()
    assert dyadic_error(values, one, other) == pytest.approx(max(naive, alone) ** 0.5 / len(drawn))


@pytest.mark.parametrize("kind", ["shortcuts", "kernels"])  # few share a function, and many do
def test_intervals_are_as_wide_as_the_scatter_of_effects(pairs, kind):
    chosen = single_shortcuts(pairs)
    if kind == "kernels":
        chosen = pairs[(pairs["before"] == "nor_conv_1x1") & (pairs["after"] == "nor_conv_3x3")]
    chosen = chosen.drop_duplicates(["class_before", "class_after"])
    degree = (
        chosen["class_after"]
        .value_counts()
        .sub(chosen["class_before"].value_counts(), fill_value=0)
    )
    noise = 4.0 / np.sqrt(2)  # of the mean over two seeds
    exact = noise * np.sqrt((degree**2).sum()) / len(chosen)
    effects, widths, inside = [], [], 0
    for seed in range(60):
        accuracy = accuracies(lambda key: 3.0 * key.count("conv3x3"), noise=4.0, seed=seed)
        row = swap_effects(chosen, accuracy).iloc[0]
        effects.append(row["effect"])
        widths.append((row["high"] - row["low"]) / 2 / 1.96)
        inside += row["low"] <= (0 if kind == "shortcuts" else 3) <= row["high"]
    assert np.std(effects) == pytest.approx(exact, rel=0.3)
    assert np.mean(widths) == pytest.approx(exact, rel=0.15)
    assert inside >= 52  # 57 expected; that intervals are not too wide is seen above


def test_few_pairs_have_no_interval_and_pairs_without_accuracy_are_left_out(pairs):
    accuracy = accuracies(len)
    keys = pairs.loc[[0, 1], ["class_before", "class_after"]].to_numpy().ravel()
    few = swap_effects(pairs, accuracy.loc[pd.unique(keys)])
    assert 4 <= few["pairs"].sum() <= 6
    assert few[few["pairs"] < 3][["low", "high"]].isna().all(axis=None)
    with pytest.raises(InputError, match="no pair of functions has both"):
        swap_effects(pairs, accuracy.iloc[:0])
    with pytest.raises(InputError, match="the pairs have no column 'colour'"):
        swap_effects(pairs, accuracy, ["colour"])
    with pytest.raises(InputError, match="the cells have no column 'colour'"):
        swaps(topology_table([0, 1]), ["colour"])
    with pytest.raises(InputError, match=r"swaps\(cells, \['skip_paths'\]\)"):
        single_shortcuts(swaps(topology_table([0, 1])))
    with pytest.raises(InputError, match="a column per seed"):
        swap_effects(pairs, accuracy[0])


def test_directions_that_cancel_are_refused(pairs):
    with pytest.raises(InputError, match="both directions cancel"):
        swap_effects(pairs, accuracies(len), ["edge"])
    one_way = pairs[(pairs["before"] == "none") & (pairs["after"] == "avg_pool_3x3")]
    assert len(swap_effects(one_way, accuracies(len), ["edge"])) == 6

"""What traits are worth, held against naive ways to say the same, and against planted truths."""

import sys

import numpy as np
import pandas as pd
import pytest

from nas_skeleton.analysis import effects, variance
from nas_skeleton.analysis.classes import class_accuracies, first_of_classes, trained_classes
from nas_skeleton.analysis.effects import marginal_means, stratified_effect
from nas_skeleton.analysis.variance import anova, design, variance_explained
from nas_skeleton.errors import InputError
from nas_skeleton.spaces import CellSpace


def study(classes=60, seeds=3, seed=0, noise=0.05):
    """Cells, one to four per class, whose accuracy is 0.5 plus 0.2 with `good`, plus noise."""
    generator = np.random.default_rng(seed)
    keys = [f"class {at}" for at in range(classes)]
    traits = pd.DataFrame(
        {
            "functional_key": keys,
            "good": generator.random(classes) < 0.5,
            "size": generator.integers(0, 4, classes),
            "kind": pd.Categorical(generator.choice(["a", "b"], classes), ["a", "b", "c"]),
        }
    )
    true = 0.5 + 0.2 * traits["good"].to_numpy() + noise * generator.standard_normal(classes)
    values = true[:, None] + noise * generator.standard_normal((classes, seeds))
    accuracy = pd.DataFrame(values, index=pd.Index(keys, name="functional_key"))
    table = traits.loc[np.repeat(np.arange(classes), generator.integers(1, 5, classes))]
    table = table.assign(drawn=generator.choice(["s", "t"], len(table)))  # differs within classes
    return table.reset_index(drop=True), accuracy


# --- classes


def test_a_class_counts_its_own_trainings_once():
    trainings = pd.DataFrame(
        [
            ("a", 777, "done", 0.2),
            ("a", 777, "done", 0.4),
            ("a", 777, "copied", 0.9),
            ("a", 888, "done", 0.5),
            ("b", 777, "done", 0.6),
            ("b", 888, "diverged", np.nan),
        ],
        columns=["functional_key", "seed", "status", "final_valid_top1"],
    )
    found = class_accuracies(trainings)
    assert found.to_dict("index") == {"a": {777: pytest.approx(0.3), 888: 0.5}}
    every = class_accuracies(trainings, complete=False)
    assert every.loc["b", 777] == 0.6
    assert np.isnan(every.loc["b", 888])
    with pytest.raises(InputError, match="no column 'final_test_top1'"):
        class_accuracies(trainings, "final_test_top1")


def test_the_first_of_each_class_is_the_lowest_index_there():
    space = CellSpace()
    members = space.functional_classes()["a=conv3x3(x); b=conv3x3(a); y=b+x"]
    other = space.functional_classes()["y=x"]
    found = first_of_classes([members[3], other[0], members[1], members[2]])
    assert found.tolist() == sorted([members[1], other[0]])


# --- marginal means


def test_means_and_effects_are_those_of_the_rows():
    table, accuracy = study()
    found = marginal_means(table, accuracy, ["good", "kind", "drawn"])
    of_rows = accuracy.mean(axis=1).loc[table["functional_key"]].to_numpy()
    for row in found.itertuples():
        has = (table[row.factor] == row.level).to_numpy()
        assert row.cells == has.sum()
        assert row.classes == table.loc[has, "functional_key"].nunique()
        if has.any():
            assert row.mean == pytest.approx(of_rows[has].mean())
            assert row.effect == pytest.approx(of_rows[has].mean() - of_rows[~has].mean())
    empty = found[(found["factor"] == "kind") & (found["level"] == "c")].iloc[0]
    assert empty[["mean", "low", "high", "effect"]].isna().all()


def test_intervals_are_those_of_a_naive_draw_of_whole_classes_and_seeds(monkeypatch):
    monkeypatch.setattr(effects, "RESAMPLES", 100)
    table, accuracy = study(classes=40)
    found = marginal_means(table, accuracy, ["good"], seed=5).set_index("level")
    keys = list(pd.unique(table["functional_key"]))  # the order in which they are drawn
    generator = np.random.default_rng(5)
    drawn = generator.multinomial(40, np.full(40, 1 / 40), size=100)
    seeds = generator.multinomial(3, np.full(3, 1 / 3), size=100)
    rows = [table.loc[table["functional_key"] == key, "good"].tolist() for key in keys]
    naive = []
    for often, of_seeds in zip(drawn, seeds, strict=True):
        chosen = accuracy.to_numpy()[:, np.repeat(np.arange(3), of_seeds)].mean(axis=1)
        chosen = dict(zip(accuracy.index, chosen, strict=True))
        good, bad = [], []
        for key, own, times in zip(keys, rows, often, strict=True):
            for is_good in own:
                (good if is_good else bad).extend([chosen[key]] * times)
        naive.append((np.mean(good), np.mean(good) - np.mean(bad)))
    low, high = np.quantile(naive, (0.025, 0.975), axis=0)
    assert found.loc[True, ["low", "effect_low"]].tolist() == pytest.approx(low.tolist())
    assert found.loc[True, ["high", "effect_high"]].tolist() == pytest.approx(high.tolist())


@pytest.mark.parametrize("few", [True, False])
def test_a_handful_of_classes_on_either_side_has_no_interval(few):
    keys = pd.Index([f"key{n}" for n in range(60)], name="functional_key")
    for count, known in ((9, False), (10, True)):
        has = (np.arange(60) < count) == few
        classes = pd.DataFrame({"has": has, "alike": 0}, index=keys)
        accuracy = pd.DataFrame({777: np.random.default_rng(1).normal(size=60)}, index=keys)
        rows = marginal_means(classes, accuracy, ["has"]).set_index("level")
        assert np.isfinite(rows[["effect_low", "effect_high"]]).all(axis=None) == known
        assert np.isfinite(rows.loc[few, "low"]) == known
        assert np.isfinite(rows.loc[not few, "low"])
        found = stratified_effect(classes, accuracy, "has", ["alike"])
        assert np.isfinite([found.low, found.high]).all() == known
        assert np.isfinite(found.effect)


def test_copies_of_a_class_are_no_evidence():
    table, accuracy = study()
    once = table.drop_duplicates("functional_key")
    often = pd.concat([once] * 9, ignore_index=True)
    columns = ["mean", "low", "high", "effect_low", "effect_high"]
    few, many = (marginal_means(rows, accuracy, ["good"])[columns] for rows in (once, often))
    assert np.allclose(few, many)


def test_the_interval_of_an_effect_covers_it_as_often_as_it_says(monkeypatch):
    monkeypatch.setattr(effects, "RESAMPLES", 300)
    inside = 0
    for seed in range(40):
        table, accuracy = study(seed=seed)
        found = marginal_means(table.drop_duplicates("functional_key"), accuracy, ["good"])
        row = found[found["level"]].iloc[0]
        inside += row["effect_low"] <= 0.2 <= row["effect_high"]
    assert inside >= 34  # 38 expected


def test_a_level_of_one_class_has_no_interval():
    table, accuracy = study(classes=5)
    table["only"] = table["functional_key"] == "class 1"
    row = marginal_means(table, accuracy, ["only"]).set_index("level").loc[True]
    assert row["mean"] == pytest.approx(accuracy.loc["class 1"].mean())
    assert row[["low", "high", "effect_low", "effect_high"]].isna().all()


def test_rows_without_accuracy_are_left_out_and_wrong_columns_are_said():
    table, accuracy = study()
    some = marginal_means(table, accuracy.head(10), ["good"])
    assert some["classes"].sum() == 10
    with pytest.raises(InputError, match="no column 'better'"):
        marginal_means(table, accuracy, ["better"])
    with pytest.raises(InputError, match="no row"):
        marginal_means(table, accuracy.rename(index=str.upper), ["good"])
    with pytest.raises(InputError, match="no functional_key"):
        marginal_means(table.drop(columns="functional_key"), accuracy, ["good"])


# --- variance explained


def by_class(table):
    return table.drop_duplicates("functional_key").set_index("functional_key")


def test_r2_is_that_of_least_squares_on_classes_held_out():
    table, accuracy = study()
    classes = by_class(table)
    found = variance_explained(classes, accuracy, {"good": ["good"]}, seed=3)
    values = accuracy.mean(axis=1).loc[classes.index].to_numpy()
    folds = np.random.default_rng(3).permutation(60) % variance.FOLDS
    x, errors, baseline = classes["good"].to_numpy(float), 0.0, 0.0
    for fold in range(variance.FOLDS):
        out = folds == fold
        slope, intercept = np.polyfit(x[~out], values[~out], 1)
        errors += ((values[out] - intercept - slope * x[out]) ** 2).sum()
        baseline += ((values[out] - values[~out].mean()) ** 2).sum()
    assert found.set_index("group").loc["good", "alone"] == pytest.approx(1 - errors / baseline)


def test_groups_explain_what_was_planted_and_noise_explains_nothing():
    table, accuracy = study(classes=400)
    groups = {"good": ["good"], "noise": ["size", "kind"]}
    found = variance_explained(by_class(table), accuracy, groups).set_index("group")
    # Variances: 0.2^2 / 4 of the trait, 0.05^2 of classes, 0.05^2 / 3 of three seeds.
    share = 0.01 / (0.01 + 0.0025 + 0.0025 / 3)
    assert found.loc["good", "alone"] == pytest.approx(share, abs=0.05)
    assert found.loc["good", "unique"] == pytest.approx(share, abs=0.05)
    assert abs(found.loc["noise", "alone"]) < 0.03
    assert abs(found.loc["noise", "unique"]) < 0.03
    known = 0.0125 / (0.0125 + 0.0025 / 3)
    assert found.attrs["ceiling"] == pytest.approx(known, abs=0.03)


def test_products_find_an_interaction_that_no_column_shows():
    generator = np.random.default_rng(0)
    one, two = generator.integers(0, 2, (2, 300))
    index = pd.Index([str(at) for at in range(300)], name="functional_key")
    classes = pd.DataFrame({"one": one, "two": two}, index=index)
    accuracy = pd.DataFrame({777: 0.5 + 0.2 * (one ^ two)}, index=index)
    groups = {"both": ["one", "two"]}
    assert variance_explained(classes, accuracy, groups)["alone"].iloc[0] < 0.05
    second = variance_explained(classes, accuracy, groups, order=2)
    assert second["alone"].iloc[0] == pytest.approx(1)
    assert second.attrs["ceiling"] is None


def test_a_design_has_a_column_per_level_and_none_that_is_constant():
    columns = pd.DataFrame({"a": pd.Categorical(list("xyzx"), list("wxyz")), "b": [1, 1, 1, 1]})
    found = design(columns)
    assert found.shape == (4, 3)
    assert np.allclose(found.mean(axis=0), 0)
    assert np.allclose(found.std(axis=0), 1)


def test_what_cannot_be_fitted_is_said():
    table, accuracy = study()
    with pytest.raises(InputError, match="group 'x': no column 'y'"):
        variance_explained(by_class(table), accuracy, {"x": ["y"]})
    with pytest.raises(InputError, match="10 classes have traits and accuracies: need 20"):
        variance_explained(by_class(table), accuracy.head(10), {"good": ["good"]})


# --- ANOVA


def test_shares_are_what_a_term_adds_to_the_others():
    pytest.importorskip("statsmodels")
    table, accuracy = study()
    classes = by_class(table)
    found = anova(classes, accuracy, "good + size")
    values = accuracy.mean(axis=1).loc[classes.index].to_numpy()
    ones, good, size = np.ones(60), classes["good"].to_numpy(float), classes["size"].to_numpy(float)

    def left(*columns):
        fitted = np.column_stack(columns)
        return ((values - fitted @ np.linalg.lstsq(fitted, values)[0]) ** 2).sum()

    all_of_it = left(ones)
    share = (left(ones, size) - left(ones, good, size)) / all_of_it
    assert found.terms.loc["good", "share"] == pytest.approx(share)
    assert found.r2 == pytest.approx(1 - left(ones, good, size) / all_of_it)
    assert found.terms.loc["good", "p"] < 1e-6
    assert found.terms.loc["size", "p"] > 0.01
    assert (found.rows, found.classes) == (60, 60)


def test_rows_of_one_class_are_one_piece_of_evidence():
    pytest.importorskip("statsmodels")
    table, accuracy = study(noise=0.4)
    once = by_class(table)
    often = pd.concat([once] * 9).reset_index()
    few, many = (anova(rows, accuracy, "good * size") for rows in (once, often))
    assert many.rows == 9 * few.rows
    assert many.classes == few.classes
    # But for the correction of a cluster's small numbers.
    assert np.allclose(many.terms["F"].dropna(), few.terms["F"].dropna(), rtol=0.1)
    assert "good:size" in few.terms.index


def test_tests_do_not_depend_on_which_level_comes_first():
    pytest.importorskip("statsmodels")
    table, accuracy = study(classes=200)
    classes = by_class(table).assign(kind=lambda rows: rows["kind"].astype(str))
    turned = classes.assign(kind=classes["kind"].map({"a": "b", "b": "a"}))
    one, other = (anova(rows, accuracy, "kind * size + good").terms for rows in (classes, turned))
    for term in ("kind:size", "good"):
        assert one.loc[term, ["share", "F"]].tolist() == pytest.approx(
            other.loc[term, ["share", "F"]].tolist()
        )
    # That of a main effect would: 'size' is its slope where `kind` is the first level.
    assert one.loc[["kind", "size"], ["F", "p"]].isna().all(axis=None)
    assert one.loc["size", "share"] == pytest.approx(other.loc["size", "share"])


def test_a_wrong_formula_is_said_in_one_line():
    pytest.importorskip("statsmodels")
    with pytest.raises(InputError, match="formula 'nothing': ") as raised:
        anova(*study(), "nothing")
    assert "\n" not in str(raised.value)


def test_without_statsmodels_the_way_out_is_said(monkeypatch):
    table, accuracy = study()
    monkeypatch.setitem(sys.modules, "statsmodels.formula.api", None)
    with pytest.raises(InputError, match="needs statsmodels: python -m pip install"):
        anova(table, accuracy, "good")


# --- effects within strata


def test_an_effect_within_strata_is_the_weighted_mean_of_their_differences():
    table, accuracy = study(classes=80)
    classes = table.drop_duplicates("functional_key").set_index("functional_key")
    found = stratified_effect(classes, accuracy, "good", ["size", "kind"])
    means, total, weight = accuracy.mean(axis=1), 0.0, 0.0
    for _, own in classes.groupby(["size", "kind"], observed=True):
        has, lacks = own.index[own["good"]], own.index[~own["good"]]
        if len(has) and len(lacks):
            part = len(has) * len(lacks) / (len(has) + len(lacks))
            total += part * (means[has].mean() - means[lacks].mean())
            weight += part
    assert found.effect == pytest.approx(total / weight)
    assert found.low < 0.2 < found.high
    assert (found.strata, found.classes) == (8, 80)


def test_what_comes_with_a_trait_is_not_its_effect():
    table, accuracy = study(classes=400, noise=0.02)
    classes = table.drop_duplicates("functional_key").set_index("functional_key")
    generator = np.random.default_rng(3)  # `fellow` has no effect, but comes with `good`
    classes["fellow"] = classes["good"] ^ (generator.random(len(classes)) < 0.2)
    alone = marginal_means(classes, accuracy, ["fellow"]).set_index("level").loc[True]
    assert alone["effect_low"] > 0.05
    within = stratified_effect(classes, accuracy, "fellow", ["good"])
    assert within.low < 0 < within.high
    assert within.high < 0.02


def test_strata_without_both_sides_are_left_out_and_none_left_is_said():
    table, accuracy = study(classes=60)
    classes = table.drop_duplicates("functional_key").set_index("functional_key")
    classes["good"] = classes["size"] > 0  # of size 0 none has it, of the others all
    with pytest.raises(InputError, match="no classes with and without good are equal in size"):
        stratified_effect(classes, accuracy, "good", ["size"])
    with pytest.raises(InputError, match="no column 'colour'"):
        stratified_effect(classes, accuracy, "good", ["colour"])


# --- trained classes


def test_trained_classes_are_those_with_all_seeds_that_see_their_input():
    space = CellSpace()
    blind, copied = space.functional_classes()["y=0"][0], 6111
    rows = [
        (arch, seed, status, 0.01 * arch / 100, 0.5)
        for arch, seeds, status in (
            (7, (777, 888), "done"),
            (9, (777,), "done"),
            (copied, (777, 888), "copied"),
            (blind, (777, 888), "done"),
        )
        for seed in seeds
    ]
    names = ["arch_index", "seed", "status", "final_valid_top1", "final_test_top1"]
    trainings = pd.DataFrame(rows, columns=names)
    trainings["functional_key"] = trainings["arch_index"].map(space.functional_key)
    trainings["macs"] = 1000
    found = trained_classes(trainings, [777, 888])
    assert found.traits.index.tolist() == [space.functional_key(7)]
    assert len(found) == 1
    assert found.valid.to_numpy().ravel() == pytest.approx([0.07, 0.07])  # percent
    assert found.test.columns.tolist() == [777, 888]
    assert found.cells.index.tolist() == list(space.functional_classes()[space.functional_key(7)])
    both = trained_classes(trainings, [777])
    assert both.ranked.tolist() == [space.functional_key(9), space.functional_key(7)]
    equal = trained_classes(trainings.assign(final_valid_top1=0.5), [777])
    assert equal.ranked.tolist() == [space.functional_key(7), space.functional_key(9)]
    cheap = trainings.assign(
        final_valid_top1=0.5, macs=trainings["arch_index"].map({9: 1}).fillna(2)
    )
    found = trained_classes(cheap, [777])
    assert found.ranked.tolist() == [space.functional_key(9), space.functional_key(7)]
    assert found.traits.loc[found.ranked, "macs"].tolist() == [1, 2]
    assert len(trained_classes(trainings, [777], archs=[9])) == 1
    assert trained_classes(trainings, 777).valid.columns.tolist() == [777]
    with pytest.raises(InputError, match=r"no class .* seeds \[999\]; there are 777, 888"):
        trained_classes(trainings, [999])
    for seeds in ([], [777, 777]):
        with pytest.raises(InputError, match="give a list of different ones"):
            trained_classes(trainings, seeds)
    with pytest.raises(InputError, match="no column 'macs'"):
        trained_classes(trainings.drop(columns="macs"), [777])
    percent = trainings.assign(final_test_top1=50.0)
    with pytest.raises(InputError, match="final_test_top1 is above 1"):
        trained_classes(percent, [777])


def test_what_is_no_table_of_accuracies_or_no_trait_is_said():
    table, accuracy = study()
    classes = by_class(table)
    gap = accuracy.copy()
    gap.iloc[0, 0] = np.nan
    for wrong, said in ((accuracy[0], "a column per seed"), (gap, "1 classes lack an accuracy")):
        for call in (
            lambda values: marginal_means(table, values, ["good"]),
            lambda values: stratified_effect(classes, values, "good", ["size"]),
            lambda values: variance_explained(classes, values, {"good": ["good"]}),
        ):
            with pytest.raises(InputError, match=said):
                call(wrong)
    with pytest.raises(InputError, match="holds no truths"):
        stratified_effect(classes, accuracy, "size", ["good"])
    with pytest.raises(InputError, match=r"no column 'widht'; there are .*good"):
        marginal_means(table, accuracy, ["widht"])
    for factors in ([], "good"):
        with pytest.raises(InputError, match="give a list of columns"):
            marginal_means(table, accuracy, factors)

"""Agreement of tables and of epochs, and the ceiling that another seed sets."""

from itertools import permutations

import numpy as np
import pandas as pd
import pytest

from nas_skeleton.analysis import agreement, ranks
from nas_skeleton.analysis.agreement import kendall
from nas_skeleton.analysis.ranks import between_seeds, between_tables, fidelity, load_cifar
from nas_skeleton.errors import InputError
from nas_skeleton.spaces import CellSpace


@pytest.fixture(autouse=True)
def _fewer_resamples(monkeypatch):
    monkeypatch.setattr(agreement, "RESAMPLES", 50)
    monkeypatch.setattr(ranks, "RESAMPLES", 50)


def table(classes=60, seeds=3, noise=0.1, seed=0, first=0):
    generator = np.random.default_rng(seed)
    true = np.linspace(0, 1, classes)
    index = pd.Index([f"class {at + first}" for at in range(classes)], name="functional_key")
    return pd.DataFrame(true[:, None] + noise * generator.standard_normal((classes, seeds)), index)


def test_tables_are_compared_on_the_classes_both_have():
    one, other = table(), table(seed=1, first=20, seeds=2)
    alone = table(seed=2, seeds=1)
    found = between_tables({"one": one, "other": other, "alone": alone})
    assert found[["first", "second"]].to_numpy().tolist() == [
        ["one", "other"],
        ["one", "alone"],
        ["other", "alone"],
    ]
    first = found.iloc[0]
    shared = [f"class {at}" for at in range(20, 60)]
    means = [part.loc[shared].mean(axis=1).to_numpy() for part in (one, other)]
    assert first["classes"] == 40
    assert first["tau"] == pytest.approx(kendall(*means))
    assert first["low"] <= first["tau"] <= first["high"]
    every = [
        kendall(a, b) for a in one.loc[shared].to_numpy().T for b in other.loc[shared].to_numpy().T
    ]
    assert first["one_seed"] == pytest.approx(np.mean(every))
    seeds = other.loc[shared].to_numpy()
    assert first["second_ceiling"] == pytest.approx(kendall(seeds[:, 0], seeds[:, 1]))
    assert first["corrected"] > first["tau"]  # noise only hides
    assert np.isnan(found.iloc[1][["second_ceiling", "corrected"]].astype(float)).all()


def test_only_the_better_half_of_a_table_is_compared_when_asked():
    tables = {"one": table(), "other": table(seed=1)}
    half = between_tables(tables, best="one").iloc[0]
    kept = tables["one"].mean(axis=1).sort_values().index[-30:]
    means = [part.loc[kept].mean(axis=1).to_numpy() for part in tables.values()]
    assert half["classes"] == 30
    assert half["tau"] == pytest.approx(kendall(*means))
    with pytest.raises(InputError, match="no table 'two'"):
        between_tables(tables, best="two")
    assert between_tables({"one": table(), "far": table(first=100)}).empty


def test_each_two_seeds_are_compared():
    own = table(seeds=3)
    found = between_seeds(own)
    assert found[["first", "second"]].to_numpy().tolist() == [[0, 1], [0, 2], [1, 2]]
    assert found["tau"][1] == pytest.approx(kendall(own[0].to_numpy(), own[2].to_numpy()))


def curves(classes=60, seeds=3, seed=0):
    """Epochs come nearer to an end that is half the class and half the seed."""
    generator = np.random.default_rng(seed)
    end = np.linspace(0, 1, classes)[:, None] + 0.3 * generator.standard_normal((classes, seeds))
    noise = np.array([1.0, 0.3, 0.0]) * generator.standard_normal((classes, seeds, 3))
    return end[:, :, None] + noise


def test_early_epochs_are_held_against_the_same_and_another_seed():
    own = curves()
    found = fidelity(own, [5, 10, 15])
    for at in range(3):
        pairs = list(permutations(range(3), 2))
        other = np.mean([kendall(own[:, s, at], own[:, t, 2]) for s, t in pairs])
        same = np.mean([kendall(own[:, s, at], own[:, s, 2]) for s in range(3)])
        assert found["other_seed"][at] == pytest.approx(other)
        assert found["same_training"][at] == pytest.approx(same)
        assert found["of_ceiling"][at] == pytest.approx(other / found["other_seed"][2])
    assert found["same_training"].tolist() == sorted(found["same_training"])
    assert found["same_training"][2] == pytest.approx(1)
    assert found["other_seed"][2] < 0.8
    assert (found["other_low"] <= found["other_seed"]).all()
    assert (found["other_seed"] <= found["other_high"]).all()


def test_one_seed_has_no_ceiling_and_gaps_leave_classes_out():
    own = curves(seeds=1)
    own[4, 0, 1] = np.nan
    found = fidelity(own, [5, 10, 15])
    assert (found["classes"] == 59).all()
    assert found[["other_seed", "of_ceiling"]].isna().all(axis=None)
    with pytest.raises(InputError, match=r"shape \(60, 1, 3\) with 2 epochs"):
        fidelity(own, [5, 10])
    with pytest.raises(InputError, match="2 classes have all"):
        fidelity(own[:2], [5, 10, 15])


def test_cifar_accuracies_are_found_by_index(tmp_path):
    space, path = CellSpace(), tmp_path / "cifar.csv"
    names = [*ranks.CIFAR_COLUMNS.values(), "ArchitectureString"]
    rows = [(93.0, 70.0, 44.0, space.arch_string(7)), (86.0, 53.0, 27.0, space.arch_string(2))]
    pd.DataFrame(rows, columns=names).to_csv(path, index=False)
    found = load_cifar(path)
    assert found.index.tolist() == [2, 7]
    assert found.loc[7].tolist() == pytest.approx([0.93, 0.70, 0.44])
    with pytest.raises(InputError, match="cannot be read"):
        load_cifar(tmp_path / "none.csv")
    pd.DataFrame(rows, columns=names).drop(columns=names[1]).to_csv(path, index=False)
    with pytest.raises(InputError, match="no column CIFAR100"):
        load_cifar(path)

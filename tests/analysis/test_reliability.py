"""What accuracies are worth, against what they were made of and against naive oracles."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from nas_skeleton.analysis.observations import Observations
from nas_skeleton.analysis.recipes import compare_recipes
from nas_skeleton.analysis.reliability import (
    agree,
    spearman_brown,
    trainings_for,
    without_noise,
    worth,
)
from nas_skeleton.errors import InputError


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch):
    monkeypatch.setattr("nas_skeleton.analysis.agreement.RESAMPLES", 50)


def observations(valid, test, *, name="a", archs=None, classes=None, seconds=2.0):
    """From hits `(cells, seeds, clips)` of both splits."""
    cells, seeds, _ = test.shape
    return Observations(
        name=name,
        recipe=name,
        protocol="thesis",
        folds=1,
        seeds=tuple(range(seeds)),
        archs=np.arange(cells) if archs is None else np.array(archs),
        classes=np.array(classes or [f"class {cell}" for cell in range(cells)]),
        macs=np.ones(cells, dtype=np.int64),
        seconds=np.full((cells, seeds), seconds),
        work=np.ones(cells),
        hits={"valid": valid, "test": test},
    )


def drawn(rng, chance, clips):
    """Hits of clips that are alike, `(cells, seeds, clips)`, by the chance of each training."""
    return rng.random((*chance.shape, clips)) < chance[:, :, None]


@pytest.fixture(scope="module")
def made_up():
    rng = np.random.default_rng(3)
    chance = rng.uniform(0.4, 0.9, size=(40, 1)) + rng.normal(scale=0.05, size=(40, 3))
    return observations(drawn(rng, chance, 108), drawn(rng, chance, 430))


def test_numbers_of_spearman_and_brown():
    # The reliabilities of means of three that a thesis-like recipe gives: .81 and .43 of one.
    assert spearman_brown(0.81, 3) == pytest.approx(0.927, abs=5e-4)
    assert spearman_brown(0.43, 3) == pytest.approx(0.694, abs=5e-4)
    for single, wanted in itertools.product((0.1, 0.5, 0.95), (0.5, 0.9)):
        assert spearman_brown(single, trainings_for(single, wanted)) == pytest.approx(wanted)
    assert trainings_for(0.5, 0.9) == pytest.approx(9)
    assert trainings_for(0.0, 0.9) == trainings_for(-0.1, 0.9) == math.inf


def test_a_tau_without_noise_is_that_of_the_true_values():
    rng = np.random.default_rng(0)
    true = rng.multivariate_normal([0, 0], [[1, 0.6], [0.6, 1]], size=20_000)
    seen = true + rng.normal(scale=[0.5, 1.0], size=true.shape)
    tau = stats.kendalltau(*seen.T).statistic
    wanted = stats.kendalltau(*true.T).statistic
    assert tau < wanted - 0.1
    assert without_noise(tau, 1 / 1.25, 1 / 2) == pytest.approx(wanted, abs=0.02)
    assert without_noise(0.9, 0.3, 0.3) == 1
    assert without_noise(0.5, -0.1, 0.9) is None
    assert without_noise(0.37, 1, 1) == pytest.approx(0.37)


def test_taus_are_means_over_seeds_and_pairs_of_seeds(made_up):
    found = worth(made_up)
    valid, test = made_up.accuracy["valid"], made_up.accuracy["test"]

    def tau(one, two):
        return stats.kendalltau(one, two).statistic

    pairs = [tau(test[:, a], test[:, b]) for a, b in ((0, 1), (0, 2), (1, 2))]
    assert found.signals["test"].between_seeds.value == pytest.approx(np.mean(pairs))
    same = [tau(valid[:, seed], test[:, seed]) for seed in range(3)]
    assert found.valid_test.value == pytest.approx(np.mean(same))
    of_means = tau(valid.mean(axis=1), test.mean(axis=1))
    assert found.valid_test_of_means.value == pytest.approx(of_means)
    assert found.best_test == test[np.argmax(valid.mean(axis=1))].mean()
    for estimate in (found.valid_test, found.signals["test"].single):
        assert estimate.low < estimate.value < estimate.high


def test_noise_is_as_large_as_it_was_made(made_up):
    signal = worth(made_up).signals["test"]
    # Seeds: the chance of a training varies by 0.05, and 430 clips are drawn for each.
    assert signal.seed_sd == pytest.approx(math.hypot(0.05, signal.clip_error), abs=0.006)
    assert signal.clip_error == pytest.approx(math.sqrt(0.65 * 0.35 / 430), abs=0.002)
    assert signal.within_class is None
    assert signal.mean_of_seeds == pytest.approx(spearman_brown(signal.single.value, 3))


def test_members_of_a_class_are_compared_at_the_same_seed():
    accuracy = np.array([[0.2, 0.8], [0.4, 0.6], [0.1, 0.1], [0.3, 0.7]])
    hits = np.arange(10) < 10 * accuracy[:, :, None] - 1e-9
    found = worth(observations(hits, hits, classes=["a", "a", "b", "c"]))
    spread = found.signals["test"].within_class
    assert (spread.classes, spread.members) == (1, 2)
    assert spread.sd == pytest.approx(np.sqrt(0.2**2 / 2))  # var of two that are 0.2 apart


def test_one_seed_and_no_validation_clips_leave_gaps(made_up):
    one = made_up.hits["test"][:, :1]
    found = worth(observations(one[:, :, :0], one))
    assert list(found.signals) == ["test"]
    signal = found.signals["test"]
    assert signal.single is signal.between_seeds is signal.seed_sd is signal.trainings is None
    assert found.trainings is found.valid_test is found.best_test is None
    assert signal.clip_error > 0


def test_agreement_is_about_the_cells_both_have(made_up):
    same = observations(made_up.hits["valid"][5:], made_up.hits["test"][5:], archs=range(5, 40))
    found = agree(made_up, same, "test")
    assert (found.cells, found.tau.value, found.corrected) == (35, 1.0, 1.0)
    assert agree(made_up, same.of_cells({7, 8}), "test") is None


def test_the_recipe_that_takes_the_fewest_seconds_for_its_reliability_comes_first(made_up):
    rng = np.random.default_rng(5)
    chance = np.linspace(0.2, 0.9, 40)[:, None] + np.zeros((40, 3))
    sharp = observations(drawn(rng, chance, 108), drawn(rng, chance, 430), name="sharp")
    dear = observations(sharp.hits["valid"], sharp.hits["test"], name="dear", seconds=1e4)
    alike = np.full((40, 3), 0.5)
    noise = observations(drawn(rng, alike, 108), drawn(rng, alike, 430), name="noise")
    rows = compare_recipes([noise, dear, made_up, sharp], sharp)
    labels = [row.label for row in rows]
    assert labels[0] == "sharp"
    assert labels.index("a") < labels.index("dear")
    first = rows[0]
    needed = max(signal.trainings.value for signal in first.worth.signals.values())
    assert first.seconds_needed == pytest.approx(2 * needed)
    assert first.whole_seconds_needed == 2 * max(1, math.ceil(needed))
    assert first.agreed == {"valid": None, "test": None}  # with itself
    assert rows[labels.index("dear")].agreed["test"].tau.value == 1
    assert rows[labels.index("dear")].facts()["test_against_cells"] == 40


def test_recipes_are_compared_on_the_cells_all_have(made_up):
    few = made_up.of_cells({1, 2, 3, 4, 50})
    assert [row.worth.cells for row in compare_recipes([made_up, few])] == [4, 4]
    with pytest.raises(InputError, match="1 cells are finished in all of these runs"):
        compare_recipes([made_up, made_up.of_cells({3})])


def test_labels_tell_recipes_apart(made_up):
    from dataclasses import replace

    folds = replace(made_up, name="runs of loso-*", folds=8)
    labels = [row.label for row in compare_recipes([made_up, folds])]
    assert sorted(labels) == ["a, 8 folds", "a, thesis"]
    again = replace(made_up, name="another run")
    assert sorted(row.label for row in compare_recipes([made_up, again])) == ["a", "another run"]

"""Paired tests of the best against the others: their error rates, and what they must see."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from nas_skeleton.analysis.observations import Observations
from nas_skeleton.analysis.reliability import shared_variances
from nas_skeleton.analysis.top import both_p, clip_p, holm, top_tests


def trained(rng, *, cells=2, seeds=2, clips=400, seed_sd=0.0, gain=()):
    """Hits of equal cells but for `gain` in the first ones; some clips are harder than others."""
    ease = rng.normal(1.0, 1.5, size=clips)
    of_seed = seed_sd * rng.normal(size=(cells, seeds, 1)) if np.any(seed_sd) else 0
    skill = np.zeros((cells, 1, 1))
    skill[: len(gain), 0, 0] = gain
    return (ease + skill + of_seed + rng.logistic(size=(cells, seeds, clips)) > 0).astype(float)


def test_holm_steps_down():
    # By hand: sorted .01 .02 .03 .9 times 4 3 2 1, and never less than the one before.
    found = holm(np.array([0.03, 0.9, 0.01, 0.02]))
    assert found == pytest.approx([0.06, 0.9, 0.04, 0.06])
    assert holm(np.array([0.5, 0.6])) == pytest.approx([1.0, 1.0])


def test_with_one_seed_the_test_over_clips_is_mcnemars():
    rng = np.random.default_rng(0)
    for right, wrong in ((3, 12), (20, 26), (8, 8)):
        difference = rng.permutation([1.0] * right + [-1.0] * wrong + [0.0] * 300)
        exact = stats.binomtest(right, right + wrong).pvalue
        assert clip_p(difference[None])[0] == pytest.approx(exact, abs=0.012)


@pytest.mark.parametrize("seed_sd", [0.0, 0.5])
def test_equal_cells_are_rarely_told_apart_whatever_seeds_do(seed_sd):
    rng = np.random.default_rng(1)
    hits = [trained(rng, cells=30, seeds=3, seed_sd=seed_sd) for _ in range(20)]
    p = np.concatenate([both_p(h, shared_variances(h)) for h in hits])
    assert (p < 0.05).mean() < 0.09


def test_a_test_over_clips_alone_takes_luck_of_seeds_for_a_difference():
    rng = np.random.default_rng(2)
    found = []
    for _ in range(10):
        hits = trained(rng, cells=20, seeds=2, seed_sd=0.5)
        found.append(clip_p(hits[1:].mean(axis=1) - hits[0].mean(axis=0)) < 0.05)
    assert np.mean(found) > 0.2


@pytest.mark.parametrize("seeds", [1, 3])
def test_a_difference_that_is_called_detectable_is_found_every_second_time(seeds):
    rng = np.random.default_rng(6)

    def drawn(gain):
        right = np.array([0.5, 0.5 + gain])[:, None, None]
        return (rng.random((2, seeds, 200)) < right).astype(float)

    def tested(gain):
        found = top_tests(observations(drawn(gain)))
        return found.networks if seeds == 1 else found.cells

    size = np.mean([tested(0.0).detectable for _ in range(40)])
    found = [tested(size) for _ in range(120)]
    assert 0.36 < np.mean([one.better for one in found]) < 0.64  # s.d. 0.046
    assert np.mean([tested(2 * size).better for _ in range(20)]) > 0.7


def observations(test, valid=None):
    cells, seeds, _ = test.shape
    if valid is None:
        valid = np.zeros((cells, seeds, 100), dtype=bool)
        valid[:, :, :50] = True
        valid[0] = True  # the first cell is the best on validation
    return Observations(
        name="a",
        recipe="a",
        protocol="thesis",
        folds=1,
        seeds=tuple(range(seeds)),
        archs=np.arange(cells),
        classes=np.arange(cells).astype(str),
        macs=np.ones(cells, dtype=np.int64),
        seconds=np.ones((cells, seeds)),
        work=np.ones(cells),
        hits={"valid": valid.astype(bool), "test": test.astype(bool)},
    )


def test_cells_that_are_worse_and_better_on_test_clips_are_counted_apart():
    rng = np.random.default_rng(4)
    hits = trained(rng, cells=12, seeds=3, clips=800, gain=[0.0, 2.5, *[-2.5] * 4])
    found = top_tests(observations(hits))
    assert found.compared == 11
    assert (found.networks.chosen_with, found.networks.tested_with) == ((0, 1, 2), (0, 1, 2))
    assert (found.cells.chosen_with, found.cells.tested_with) == ((0,), (1, 2))
    assert (found.networks.worse, found.networks.better) == (4, 1)
    assert (found.cells.worse, found.cells.better) == (4, 1)
    assert top_tests(observations(hits), top=3).compared == 2


@pytest.mark.parametrize("seeds", [2, 3])
def test_a_seed_that_was_lucky_on_validation_and_test_makes_no_cell_better(seeds):
    # Equal cells; what a seed gives a network shows on both splits. Chosen and tested with the same
    # seeds some cell looks different in far more than 5 of 100 such tables.
    rng = np.random.default_rng(3)
    found = []
    for _ in range(100):
        clips = trained(rng, cells=40, seeds=seeds, clips=538, seed_sd=0.5)
        cells = top_tests(observations(clips[:, :, 108:], clips[:, :, :108])).cells
        found.append(cells.worse + cells.better > 0)
    assert np.mean(found) <= 0.1


def test_equal_cells_of_unequal_noise_are_rarely_told_apart():
    rng = np.random.default_rng(5)
    found = []
    for _ in range(100):
        seed_sd = 0.4 * np.exp(rng.normal(0, 0.6, size=(60, 1, 1)))
        clips = trained(rng, cells=60, seeds=3, clips=538, seed_sd=seed_sd)
        cells = top_tests(observations(clips[:, :, 108:], clips[:, :, :108])).cells
        found.append(cells.worse + cells.better > 0)
    assert np.mean(found) <= 0.12


def test_nothing_is_said_of_the_best_where_its_test_clips_chose_it_in_another_fold():
    hits = trained(np.random.default_rng(4), cells=4, seeds=2)
    assert top_tests(replace(observations(hits), folds=8)) is None


def test_with_one_seed_nothing_is_said_of_other_seeds():
    hits = trained(np.random.default_rng(4), cells=4, seeds=1)
    found = top_tests(observations(hits))
    assert found.cells is None
    assert (found.networks.worse, found.networks.better) == (0, 0)
    assert top_tests(observations(hits[:1])) is None


def test_the_same_predictions_do_not_differ_and_opposite_ones_do():
    hits = np.zeros((3, 2, 50))
    hits[2] = 1
    assert both_p(hits, shared_variances(hits)) == pytest.approx([1, 0])
    assert clip_p(hits[1:].mean(axis=1) - hits[0].mean(axis=0))[0] == 1

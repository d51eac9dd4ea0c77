"""Differences between seeds against others: what chance explains, and what must not pass."""

import numpy as np
import pandas as pd
import pytest

from nas_skeleton.results import seed_noise as module
from nas_skeleton.results.leaderboard import wilson_error
from nas_skeleton.results.seed_noise import LEVEL, TESTS, Noise, deviation, seed_noise

CLIPS, COUNT = 430, 20
PER_TEST = LEVEL / TESTS
UNKNOWN = Noise(np.empty(0), 0)


def rows(accuracies):
    """Trainings `(architectures, seeds)`; NaN is one that is not there."""
    found = [
        {"arch_index": arch, "seed": seed, "accuracy": value}
        for arch, of_arch in enumerate(accuracies)
        for seed, value in enumerate(of_arch)
        if not np.isnan(value)
    ]
    return pd.DataFrame(found)


def judged(differences, noise, rng=None, stored=0.7):
    before = np.full(len(differences), stored)
    after = before + differences
    rng = rng or np.random.default_rng(0)
    return deviation(before, after, clips=CLIPS, noise=noise, level=PER_TEST, rng=rng)


@pytest.fixture
def alike():
    """100 architectures with two seeds each and a standard deviation of .03."""
    rng = np.random.default_rng(1)
    return seed_noise(rows(0.7 + 0.03 * rng.standard_normal((100, 2))), "accuracy")


def test_the_noise_is_that_of_architectures_with_several_seeds():
    noise = seed_noise(
        rows([[0.5, 0.54, np.nan], [0.6, np.nan, np.nan], [0.7, 0.7, 0.76]]), "accuracy"
    )
    assert noise.sds == pytest.approx([0.04 / np.sqrt(2), 0.06 / np.sqrt(3)])
    assert noise.freedom == 1 + 2
    assert not noise.known


def test_numbers_are_those_of_the_differences(alike):
    found = judged(np.array([0.04, -0.02, 0.0, -0.06]), alike)
    assert found.mean == pytest.approx(-0.01)
    assert found.rms == pytest.approx(np.sqrt((4 + 16 + 36) * 1e-4 / 4))
    assert found.worst == pytest.approx(-0.06)
    assert found.expected == pytest.approx(np.sqrt(2 * (alike.sds**2).mean()))
    assert (found.judged, found.noise, found.architectures) == (4, "seeds", 100)


def test_p_values_of_alike_architectures_are_those_of_the_normal_distribution():
    from scipy.stats import chi2, norm

    noise = Noise(np.full(100, 0.03), 100)  # no scatter: nothing but the normal number is left
    differences = np.array([0.1, -0.02, 0.05, 0.0])
    found, sd = judged(differences, noise), 0.03 * np.sqrt(2)
    assert found.p_mean == pytest.approx(2 * norm.sf(0.0325 * 2 / sd), rel=0.05)
    assert found.p_size == pytest.approx(chi2.sf((differences**2).sum() / sd**2, 4), rel=0.1)
    one = 2 * norm.sf(0.1 / sd)
    assert found.p_worst == pytest.approx(1 - (1 - one) ** 4, rel=0.1)
    all_below = norm.isf((1 - (1 - PER_TEST) ** 0.25) / 2) * sd
    assert found.noticeable == pytest.approx(all_below, rel=0.1)


@pytest.mark.parametrize(
    ("change", "which"),
    [
        (lambda d: d - 0.05, "p_mean"),
        (lambda d: d * 2.5, "p_size"),
        (lambda d: np.where(np.arange(COUNT) == 7, 0.4, d), "p_worst"),
    ],
    ids=["all a little worse", "scattered", "one forged among twenty"],
)
def test_what_seeds_do_not_explain_is_found(alike, change, which):
    plain = 0.03 * np.sqrt(2) * np.random.default_rng(2).standard_normal(COUNT)
    assert judged(plain, alike).p > PER_TEST
    found = judged(change(plain), alike)
    assert getattr(found, which) == found.p < PER_TEST


@pytest.mark.parametrize(("scatter", "most"), [(0.0, 1), (0.6, 3)])
def test_false_alarms_are_rare_though_architectures_differ_in_their_noise(
    monkeypatch, scatter, most
):
    """One standard deviation for all fails up to 5 % of sound verifications here."""
    monkeypatch.setattr(module, "DRAWS", 6000)
    rng, alarms = np.random.default_rng(3), 0
    for _ in range(120):
        sds = 0.03 * np.exp(scatter * rng.standard_normal(100))
        noise = seed_noise(rows(0.7 + sds[:, None] * rng.standard_normal((100, 2))), "accuracy")
        own = sds[rng.choice(100, COUNT)]
        chance = np.round(np.sqrt(2) * own * rng.standard_normal(COUNT) * CLIPS) / CLIPS
        alarms += judged(chance, noise, rng).p < PER_TEST
    assert alarms <= most


def test_without_seed_pairs_the_noise_is_assumed_and_gross_errors_are_still_found():
    error = wilson_error(0.7, CLIPS)
    other_seeds = np.sqrt(2) * 3 * error * np.random.default_rng(4).standard_normal(COUNT)
    found = judged(other_seeds, UNKNOWN)
    assert found.noise == "assumed"
    assert found.expected == pytest.approx(np.sqrt(2) * module.ASSUMED * error)
    assert found.p > PER_TEST
    chance_level = np.where(np.arange(COUNT) == 3, 1 / 27 - 0.7, 0.0)
    assert judged(chance_level, UNKNOWN).p_worst < PER_TEST
    assert judged(np.full(COUNT, -0.12), UNKNOWN).p_mean < PER_TEST


def test_few_seed_pairs_and_such_without_any_noise_are_not_enough_to_know_it():
    few = Noise(np.full(10, 0.001), 10)
    frozen = Noise(np.zeros(500), 500)
    for noise in (few, frozen):
        assert judged(np.full(COUNT, 0.02), noise).noise == "assumed"


def test_the_same_generator_gives_the_same_judgement(alike):
    differences = np.linspace(-0.05, 0.05, COUNT)
    first, second = (judged(differences, alike, np.random.default_rng(5)) for _ in range(2))
    assert first == second

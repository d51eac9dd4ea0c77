"""Kendall's tau of orders of cells, its interval, and what it is held against."""

import numpy as np
import pandas as pd
import pytest

from nas_skeleton.analysis import agreement
from nas_skeleton.analysis.agreement import (
    agreements,
    between_columns,
    bootstrapped,
    format_agreements,
    kendall,
)


@pytest.fixture(autouse=True)
def _fewer_resamples(monkeypatch):
    monkeypatch.setattr(agreement, "RESAMPLES", 200)


def naive_tau_b(first, second):
    agree = disagree = only_first = only_second = 0
    for i in range(len(first)):
        for j in range(i):
            a, b = np.sign(first[i] - first[j]), np.sign(second[i] - second[j])
            agree += a * b > 0
            disagree += a * b < 0
            only_first += a == 0 and b != 0
            only_second += b == 0 and a != 0
    both = agree + disagree
    return (agree - disagree) / np.sqrt((both + only_first) * (both + only_second))


@pytest.mark.parametrize("cells", [40, agreement.BY_PAIRS + 1])
def test_tau_takes_ties_out(cells):
    generator = np.random.default_rng(0)
    first, second = generator.integers(6, size=(2, cells)).astype(float)
    assert kendall(first, second) == pytest.approx(naive_tau_b(first, second))
    assert np.isnan(kendall(np.ones(cells), np.arange(float(cells))))


def test_the_interval_covers_the_truth_as_often_as_it_says():
    # Of normal numbers with correlation r, tau is 2 / pi * arcsin(r).
    truth, inside, generator = 2 / np.pi * np.arcsin(0.6), 0, np.random.default_rng(1)
    covariance = [[1, 0.6], [0.6, 1]]
    for _ in range(6):
        pairs = generator.multivariate_normal([0, 0], covariance, size=40)
        found = bootstrapped(pairs, lambda t: kendall(t[:, 0], t[:, 1]))
        assert found.low <= found.tau <= found.high
        inside += found.low <= truth <= found.high
    assert inside >= 4


def study(cells, seeds=2, noise=0.1):
    generator = np.random.default_rng(2)
    index = pd.Index(range(100, 100 + cells), name="arch_index")
    true = pd.Series(np.linspace(0.2, 0.8, cells), index)
    trained = pd.DataFrame(
        {seed: true + noise * generator.standard_normal(cells) for seed in range(seeds)}
    )
    return true, trained


def test_scores_are_held_against_the_mean_over_seeds():
    true, trained = study(30)
    found = agreements({"truth": true, "worse is better": -true}, trained)
    means = trained.mean(axis=1)
    assert found["all", "truth"].tau == pytest.approx(naive_tau_b(list(true), list(means)))
    assert found["all", "worse is better"].tau == pytest.approx(-found["all", "truth"].tau)
    assert found["all", "truth"].cells == 30
    ceiling = found["all", "one seed, another seed"]
    assert ceiling.tau == pytest.approx(naive_tau_b(list(trained[0]), list(trained[1])))
    assert ceiling.tau < found["all", "truth"].tau


def test_the_ceiling_is_the_mean_of_all_pairs_of_seeds():
    table = np.random.default_rng(3).random((12, 3))
    pairs = [(0, 1), (0, 2), (1, 2)]
    expected = np.mean([naive_tau_b(table[:, a], table[:, b]) for a, b in pairs])
    assert between_columns(table) == pytest.approx(expected)


def test_the_top_part_is_told_where_it_has_cells_enough():
    true, trained = study(79)
    assert {part for part, _ in agreements({"truth": true}, trained)} == {"all"}
    true, trained = study(80)
    found = agreements({"truth": true}, trained)
    assert found["top", "truth"].cells == 20
    assert found["top", "truth"].tau < found["all", "truth"].tau
    best = trained.mean(axis=1).nlargest(20).index
    expected = naive_tau_b(list(true[best]), list(trained.mean(axis=1)[best]))
    assert found["top", "truth"].tau == pytest.approx(expected)


def test_cells_that_lack_a_score_or_a_seed_are_left_out():
    true, trained = study(12)
    trained.loc[100, 1] = np.nan
    found = agreements({"truth": true.drop(101)}, trained)
    assert found["all", "truth"].cells == 10
    assert agreements({"truth": true.head(3)}, trained) == {}


def test_one_seed_has_no_ceiling():
    true, trained = study(12, seeds=1)
    assert set(agreements({"truth": true}, trained)) == {("all", "truth")}


def test_it_is_said_what_part_is_missing_and_why():
    true, trained = study(80)
    text = format_agreements(agreements({"truth": true}, trained))
    assert "best 25 %  truth" in text
    assert "from 80 cells on" not in text
    few = format_agreements(agreements({"truth": true.head(10)}, trained))
    assert "from 80 cells on" in few
    assert "nothing to compare" in format_agreements({})

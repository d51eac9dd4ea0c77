"""Patterns among the best and worst, held against counting and the definitions of the tests."""

from math import comb

import numpy as np
import pandas as pd
import pytest

from nas_skeleton.analysis.enrichment import enrichment, extreme
from nas_skeleton.errors import InputError


def study(classes=60, seed=0):
    generator = np.random.default_rng(seed)
    index = pd.Index([f"class {at}" for at in range(classes)], name="functional_key")
    patterns = pd.DataFrame(generator.random((classes, 6)) < 0.4, index, list("abcdef"))
    noise = 0.1 * generator.standard_normal(classes)
    valid = pd.Series(0.5 + 0.2 * patterns["a"] - 0.2 * patterns["b"] + noise, index)
    return patterns, valid


def weights(inside, outside, having, ratio):
    """Probabilities of each count inside, all margins given (noncentral hypergeometric)."""
    counts = range(max(0, having - outside), min(having, inside) + 1)
    mass = np.array([comb(inside, n) * comb(outside, having - n) * ratio**n for n in counts])
    return np.array(counts), mass / mass.sum()


def test_counts_p_ratio_and_interval_are_those_of_the_definitions():
    patterns, valid = study()
    found = enrichment(patterns, valid, 20, "best")
    best = valid.sort_values().index[-20:]
    assert found["p"].is_monotonic_increasing
    for row in found.itertuples():
        own = patterns[row.pattern]
        assert (row.inside, row.outside) == (20, 40)
        assert row.with_inside == own[best].sum()
        assert row.with_outside == own.sum() - own[best].sum()
        counts, mass = weights(20, 40, int(own.sum()), 1.0)
        seen = mass[counts == row.with_inside]
        assert row.p == pytest.approx(mass[mass <= seen * (1 + 1e-9)].sum())
        # The estimate expects what was seen; the bounds leave 2.5 % at either side.
        counts, mass = weights(20, 40, int(own.sum()), row.odds_ratio)
        assert counts @ mass == pytest.approx(row.with_inside, abs=1e-4)
        _, mass = weights(20, 40, int(own.sum()), row.low)
        assert mass[counts >= row.with_inside].sum() == pytest.approx(0.025, abs=1e-4)
        _, mass = weights(20, 40, int(own.sum()), row.high)
        assert mass[counts <= row.with_inside].sum() == pytest.approx(0.025, abs=1e-4)


def test_corrections_are_those_of_the_papers():
    patterns, valid = study()
    found = enrichment(patterns, valid, 20, "worst")
    p, number = found["p"].to_numpy(), len(found)
    for at in range(number):
        step_down = max((number - i) * p[i] for i in range(at + 1))
        step_up = min(number / (i + 1) * p[i] for i in range(at, number))
        assert found["p_holm"][at] == pytest.approx(min(1, step_down))
        assert found["p_bh"][at] == pytest.approx(min(1, step_up))


def test_what_was_planted_is_found_at_the_right_end():
    patterns, valid = study(classes=200)
    best, worst = (
        enrichment(patterns, valid, 40, end).set_index("pattern") for end in ("best", "worst")
    )
    assert best.loc["a", "odds_ratio"] > 2 > 0.5 > best.loc["b", "odds_ratio"]
    assert worst.loc["b", "odds_ratio"] > 2 > 0.5 > worst.loc["a", "odds_ratio"]
    assert best.loc[list("cdef"), "p_holm"].min() > 0.05


def test_without_an_effect_few_p_values_are_small():
    small = total = 0
    for seed in range(20):
        patterns, valid = study(seed=seed)
        found = enrichment(patterns[list("cdef")], valid, 15, "best")
        small, total = small + (found["p"] <= 0.05).sum(), total + len(found)
    assert small <= 0.1 * total


def test_all_that_equal_the_last_one_are_chosen_whatever_their_order():
    valid = pd.Series([0.5, 0.7, 0.5, 0.9, 0.1 + 0.2, 0.3], list("abcdef"))
    for order in (valid, valid[::-1]):
        assert sorted(extreme(order, 3, "best")) == ["a", "b", "c", "d"]
        assert sorted(extreme(order, 1, "worst")) == ["e", "f"]


def test_patterns_of_all_or_none_are_left_out_and_wrong_arguments_are_said():
    patterns, valid = study()
    more = patterns.assign(all_have=True, none_has=False)
    assert set(enrichment(more, valid, 5, "best")["pattern"]) == set(patterns)
    assert (enrichment(more, valid.head(30), 5, "best")["outside"] == 25).all()
    with pytest.raises(InputError, match="no pattern"):
        enrichment(more[["all_have"]], valid, 5, "best")
    for k in (0, 60):
        with pytest.raises(InputError, match=f"k = {k} of 60 classes"):
            enrichment(patterns, valid, k, "best")
    valid.iloc[3] = np.nan
    with pytest.raises(InputError, match="1 classes have no validation accuracy"):
        enrichment(patterns, valid, 5, "best")


def test_other_ends_numbers_as_patterns_and_several_accuracies_are_refused():
    patterns, valid = study()
    for end in ("top", "Best"):
        with pytest.raises(InputError, match=f"end '{end}': best or worst"):
            enrichment(patterns, valid, 20, end)
    with pytest.raises(InputError, match="pattern 'count' holds no truths"):
        enrichment(patterns.assign(count=2), valid, 20, "best")
    for wrong in (valid.to_frame(), valid.iloc[:0]):
        with pytest.raises(InputError, match="a column of at least two classes"):
            enrichment(patterns, wrong, 20, "best")
    with pytest.raises(InputError, match=r"k = 0\.1 of 60"):
        enrichment(patterns, valid, 0.1, "best")

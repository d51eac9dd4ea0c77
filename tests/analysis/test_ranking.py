"""Statistics of strategies: regret, its course, ranks, and tests, on examples done by hand."""

import numpy as np
import pytest

from nas_skeleton.analysis.ranking import (
    Ranking,
    Standing,
    cliques,
    courses,
    critical_difference,
    final_regrets,
    rank,
)
from nas_skeleton.analysis.replay import Trace
from nas_skeleton.analysis.strategy_figures import save_courses, save_critical_differences
from nas_skeleton.errors import InputError


def trace(*incumbents, spent=None):
    count = len(incumbents)
    spent = np.arange(1.0, count + 1) if spent is None else np.array(spent)
    return Trace(spent, 10 * spent, np.array(incumbents), np.zeros(count))


def best_first(table):
    return np.argsort(-table.mean_test)


def test_regret_is_against_the_best_mean_test_accuracy(table):
    best, *_, worst = best_first(table)
    regrets = final_regrets(table, [trace(worst, best), trace(best, worst)])
    assert regrets == pytest.approx([0, table.mean_test[best] - table.mean_test[worst]])


def test_a_course_is_a_staircase_that_begins_with_the_first_result(table):
    best, second, *_ = best_first(table)
    lost = table.mean_test[best] - table.mean_test[second]
    found = courses(table, [trace(second, best, spent=[2, 3])], "spent", np.arange(1.0, 5))
    assert found[0] == pytest.approx([np.nan, lost, 0, 0], nan_ok=True)
    found = courses(table, [trace(second, best, spent=[2, 3])], "seconds", np.array([25.0, 30.0]))
    assert found[0] == pytest.approx([lost, 0])


def test_costs_that_are_sums_of_fractions_reach_whole_numbers(table):
    best, second, *_ = best_first(table)
    thirds = np.cumsum([1 / 3] * 3 * 7)
    found = courses(table, [trace(*[second] * 20, best, spent=thirds)], "spent", np.array([7.0]))
    assert found[0] == pytest.approx([0])


# Demsar, JMLR 7 (2006), table 5(a): q / sqrt(2) at 5 % for 2 to 10 classifiers.
DEMSAR = [1.960, 2.343, 2.569, 2.728, 2.850, 2.949, 3.031, 3.102, 3.164]


@pytest.mark.parametrize(("strategies", "q"), enumerate(DEMSAR, start=2))
def test_critical_differences_are_those_of_demsars_table(strategies, q):
    scale = (strategies * (strategies + 1) / (6 * 14)) ** 0.5
    assert critical_difference(strategies, 14) / scale == pytest.approx(q, abs=1e-3)


def test_the_critical_difference_of_demsars_example():
    assert critical_difference(4, 14) == pytest.approx(1.25, abs=5e-3)  # section 3.2.4


def test_ranks_wins_and_tests_of_a_small_example(table):
    order = best_first(table)
    found = rank(
        table,
        {
            "random": [trace(order[5]), trace(order[6]), trace(order[7]), trace(order[8])],
            "good": [trace(order[0]), trace(order[1]), trace(order[7]), trace(order[3])],
            "bad": [trace(order[90]), trace(order[91]), trace(order[92]), trace(order[2])],
        },
    )
    assert [one.strategy for one in found.standings] == ["good", "random", "bad"]
    good, random, bad = found.standings
    assert (good.rank, random.rank, bad.rank) == pytest.approx((5.5 / 4, 8.5 / 4, 2.5))
    assert (good.wins, good.ties, good.losses) == (3, 1, 0)
    assert good.p == pytest.approx(0.25)  # three of three
    assert random.p is None
    assert (bad.wins, bad.losses) == (1, 3)
    assert found.repeats == 4
    assert 0 < found.friedman_p < 1
    assert good.low <= good.median <= good.high
    assert good.mean_low <= good.mean <= good.mean_high


def test_strategies_that_find_the_same_do_not_differ(table):
    same = [trace(3), trace(4)]
    found = rank(table, {"random": same, "a": same, "b": same})
    assert found.friedman_p == 1
    assert [one.rank for one in found.standings] == [2, 2, 2]
    assert found.standings[1].p == 1


def test_two_strategies_have_a_sign_test_only(table):
    found = rank(table, {"random": [trace(3)] * 2, "a": [trace(4)] * 2})
    assert found.friedman_p is None
    assert found.critical_difference is None


def test_the_interval_of_the_mean_covers_it_as_often_as_it_says(table):
    rng = np.random.default_rng(0)
    values = table.mean_test.max() - table.mean_test
    chosen = rng.integers(len(table), size=(60, 200))
    inside = [
        one.mean_low <= values.mean() <= one.mean_high
        for row in chosen
        for one in rank(table, {"x": [trace(arch) for arch in row]}).standings
    ]
    assert 51 <= sum(inside) <= 60  # 57 expected


def test_cliques_are_the_largest_runs_within_the_difference():
    assert cliques([1.0, 1.5, 2.4, 4.0], 1.0) == [(0, 1), (1, 2)]
    assert cliques([1.0, 1.2, 1.4], 1.0) == [(0, 2)]
    assert cliques([1.0, 3.0], 1.0) == []


def standing(name, mean_rank):
    return Standing(name, 0, 0, 0, 0, 0, 0, mean_rank, 0, 0, 0, None)


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_figures_are_drawn(tmp_path, suffix):
    grid = np.arange(1.0, 5)
    regrets = {name: np.array([[np.nan, 0.02, 0.01, 0]] * 3) for name in "ab"}
    save_courses(regrets, grid, tmp_path / f"c{suffix}", axis="evaluations", title="made up")
    ranking = Ranking([standing(n, r) for n, r in zip("abc", (1, 2, 2.5), strict=True)], 9, 0.1, 1)
    save_critical_differences(ranking, tmp_path / f"r{suffix}", "made up")
    assert all((tmp_path / f"{name}{suffix}").stat().st_size > 5000 for name in "cr")


def test_another_type_of_file_is_refused(tmp_path):
    with pytest.raises(InputError, match="gif"):
        save_courses({}, np.ones(1), tmp_path / "c.gif", axis="x", title="")

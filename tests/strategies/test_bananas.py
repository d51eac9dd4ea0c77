import numpy as np
import pytest

from nas_skeleton.spaces import load_space
from nas_skeleton.strategies import Result
from nas_skeleton.strategies.bananas import Bananas, ranks, ridge
from nas_skeleton.strategies.encoding import operations

SPACE = load_space("nb201")


def test_ridge_is_the_minimum_of_its_penalised_squares():
    rng = np.random.default_rng(0)
    known, asked = rng.integers(2, size=(30, 8)) * 1.0, rng.integers(2, size=(5, 8)) * 1.0
    targets, weights = rng.random(30), rng.integers(4, size=30)
    rows = np.repeat(np.arange(30), weights)  # the bootstrap sample itself
    mean = targets[rows].mean()
    stacked = np.vstack([known[rows], np.eye(8)])  # the penalty as further observations
    wanted = np.concatenate([targets[rows] - mean, np.zeros(8)])
    coefficients = np.linalg.lstsq(stacked, wanted, rcond=None)[0]
    predicted = ridge(known, targets, weights, asked)
    np.testing.assert_allclose(predicted, mean + asked @ coefficients, rtol=0, atol=1e-12)


def test_ranks_share_ties_and_ignore_distances():
    assert ranks(np.array([0.1, 0.9, 0.5, 0.5])).tolist() == [0, 1, 0.5, 0.5]
    assert ranks(np.array([-9.0, 0.6, 0.5])).tolist() == [0, 1, 0.5]
    assert ranks(np.array([0.3])).tolist() == [0]


def tell(strategy, trials, value):
    for trial in trials:
        strategy.tell(trial, Result(value(trial.arch_index)))


def share_of_convolutions(arch):
    return float((operations()[arch] == 3).mean())


def test_after_ten_random_cells_it_proposes_neighbours_of_the_best():
    strategy = Bananas(0)
    tell(strategy, [strategy.ask() for _ in range(10)], share_of_convolutions)
    # 100 candidates are the neighbourhoods of no more than five cells.
    order = np.argsort([-value for value in strategy._values], kind="stable")
    near = {n for place in order[:5] for n in SPACE.neighbours(strategy._told[place])}
    batch = [strategy.ask().arch_index for _ in range(10)]
    assert set(batch) <= near


def test_it_prefers_candidates_that_have_what_the_told_cells_were_good_for():
    strategy = Bananas(1)
    first = [strategy.ask() for _ in range(10)]
    for _ in range(6):
        tell(strategy, first, share_of_convolutions)
        first = [strategy.ask() for _ in range(10)]
    assert np.mean([share_of_convolutions(trial.arch_index) for trial in first]) > 0.65


def test_it_samples_from_what_the_ensemble_disagrees_about(monkeypatch):
    def sure_of_the_first_ten(targets, candidates):
        predictions = np.tile([[0.2], [0.6]], len(candidates))  # 0.4 +- 0.2
        predictions[:, :10] = 0.5
        return predictions

    strategy = Bananas(4)
    tell(strategy, [strategy.ask() for _ in range(10)], share_of_convolutions)
    monkeypatch.setattr(strategy, "_predictions", sure_of_the_first_ten)
    best_first = np.argsort([-value for value in strategy._values], kind="stable")
    sure = set(strategy._candidates(best_first)[:10].tolist())
    proposed = {strategy.ask().arch_index for _ in range(10)}
    # Of 90 with mean 0.4 and standard deviation 0.2, some 28 are drawn above 0.5.
    assert len(proposed & sure) <= 2


def test_no_cell_is_proposed_twice_and_it_ends_with_the_space():
    strategy = Bananas(2)
    strategy._known[20:] = True
    proposed = []
    while (trial := strategy.ask()) is not None:
        proposed.append(trial.arch_index)
        tell(strategy, [trial], share_of_convolutions)
    assert sorted(proposed) == list(range(20))


@pytest.mark.parametrize("pending", [1, 12])
def test_it_does_not_wait_for_results_under_way(pending):
    strategy = Bananas(3)
    trials = [strategy.ask() for _ in range(9 + pending)]
    tell(strategy, trials[:9], share_of_convolutions)
    assert strategy.ask() is not None
    tell(strategy, trials[9:], share_of_convolutions)
    assert len({strategy.ask().arch_index for _ in range(25)}) == 25

import itertools

import numpy as np
import pytest

from nas_skeleton.spaces import Cell, load_space
from nas_skeleton.strategies import Result
from nas_skeleton.strategies.bohb import Bohb, GoodAndBad, Kernels
from nas_skeleton.strategies.encoding import operations
from nas_skeleton.strategies.rungs import hyperband_brackets

SPACE = load_space("nb201")
BRACKETS = hyperband_brackets((1, 3, 9), 15625)
ALL = np.array(list(itertools.product(range(5), repeat=6)))


def some_cells(count, seed=0):
    return np.random.default_rng(seed).integers(5, size=(count, 6))


def test_density_is_the_mean_of_products_of_kernels():
    data, cells = some_cells(9), some_cells(4, seed=1)
    kernels = Kernels(data)
    for cell, density in zip(cells, kernels.density(cells), strict=True):
        products = []
        for row in data:
            product = 1.0
            for edge in range(6):
                width = kernels.bandwidths[edge]
                product *= 1 - width if row[edge] == cell[edge] else width / 4
            products.append(product)
        assert density == pytest.approx(np.mean(products), rel=1e-12)


def test_density_sums_to_one():
    assert Kernels(some_cells(12)).density(ALL).sum() == pytest.approx(1, abs=1e-9)


def test_bandwidths_grow_with_the_spread_of_operations():
    cells = np.zeros((10, 6), dtype=int)
    cells[:, 1] = np.repeat([0, 4], 5)  # two halves
    cells[:, 2] = np.tile(range(5), 2)
    half = 1.06 * np.sqrt(0.5) * 10**-0.1
    fifths = 1.06 * np.sqrt(0.8) * 10**-0.1
    assert Kernels(cells).bandwidths == pytest.approx([0.3, half, fifths, 0.3, 0.3, 0.3])
    assert Kernels(np.tile(range(5), (6, 1)).T).bandwidths.max() <= 0.8


def test_what_good_cells_have_is_preferred():
    best_first = some_cells(60)
    best_first[:9] = [3, 3, 3, 1, 3, 2]  # the good 15 %
    model = GoodAndBad(best_first)
    assert model.ratio(np.array([3, 3, 3, 1, 3, 2])) > 100 * model.ratio(np.array([0] * 6))
    drawn = model.sample(400, np.random.default_rng(0))
    assert ((drawn == [3, 3, 3, 1, 3, 2]).mean(axis=0) > 0.6).all()


def test_of_four_samples_the_most_telling_is_taken():
    best_first = some_cells(60)
    model = GoodAndBad(best_first)
    taken = model.ratio(model.sample(300, np.random.default_rng(0))).mean()
    plain = model.ratio(model._good.sample((300,), np.random.default_rng(0))).mean()
    assert taken > 1.2 * plain


def told(strategy, count, value):
    trials = []
    for _ in range(count):
        trial = strategy.ask()
        strategy.tell(trial, Result(value(trial)))
        trials.append(trial)
    return trials


def test_learns_from_the_highest_rung_with_enough_cells():
    strategy = Bohb(BRACKETS, seed=0)
    told(strategy, 9, lambda trial: trial.arch_index / 15625)
    assert strategy._modelled == 0  # nine are not enough
    told(strategy, 100, lambda trial: trial.arch_index / 15625)
    counts = {epochs: len(values) for epochs, values in strategy._values.items()}
    assert counts[9] >= 14
    assert strategy._modelled == 9


def test_proposes_better_cells_the_more_it_knows():
    def convolutions(trial):
        return float((operations()[trial.arch_index] == 3).mean())

    strategy = Bohb(BRACKETS, seed=1)
    first = [convolutions(trial) for trial in told(strategy, 9, convolutions)]
    told(strategy, 400, convolutions)
    last = [convolutions(trial) for trial in told(strategy, 60, convolutions)]
    assert np.mean(first) < 0.4
    assert np.mean(last) > 0.6


def test_finds_the_only_good_operation():
    target = SPACE.index(Cell((3, 3, 3, 3, 3, 3)))
    strategy = Bohb(BRACKETS, seed=2)

    def value(trial):
        return float((operations()[trial.arch_index] == 3).mean())

    assert target in {trial.arch_index for trial in told(strategy, 700, value)}

"""On a made-up table with a known optimum, what learns finds better cells than what does not."""

import functools
import statistics

import pytest

REPEATS = 5
EVALUATIONS = 500
LEARNING = [
    "regularized-evolution",
    "regularized-evolution-nats",
    "reinforce",
    "local-search",
    "bananas",
    "successive-halving",
    "hyperband",
    "asha",
    "bohb",
]


@pytest.fixture(scope="module")
def median_incumbent(search, landscape):
    """Of a strategy: the median over repeats of the best cell that was trained to the end."""

    @functools.cache
    def median(name):
        return statistics.median(
            max(
                float(landscape.full[found.arch_index])
                for found in search(name, landscape, seed=seed, trials=EVALUATIONS)
                if found.epochs == 27
            )
            for seed in range(REPEATS)
        )

    return median


@pytest.mark.parametrize("name", LEARNING)
def test_finds_better_cells_than_random_search(name, median_incumbent):
    assert median_incumbent("random") < median_incumbent(name) <= 1


@pytest.mark.parametrize("name", ["regularized-evolution", "local-search", "bananas", "bohb"])
def test_finds_nearly_the_optimum(name, median_incumbent):
    assert median_incumbent(name) > 0.99

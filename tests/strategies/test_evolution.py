import random

import numpy as np
import pytest

from nas_skeleton.strategies import Result
from nas_skeleton.strategies.encoding import operations
from nas_skeleton.strategies.evolution import (
    RegularizedEvolution,
    edge_of_uniform_node,
    uniform_edge,
)

DRAWS = 6000


def told(strategy, values):
    """The strategy's first proposals, answered with these values."""
    trials = [strategy.ask() for _ in values]
    for trial, value in zip(trials, values, strict=True):
        strategy.tell(trial, Result(value))
    return [trial.arch_index for trial in trials]


def differences(a, b):
    return np.flatnonzero(operations()[a] != operations()[b]).tolist()


@pytest.mark.parametrize(
    ("choose", "probabilities"),
    [
        (uniform_edge, [1 / 6] * 6),
        (edge_of_uniform_node, [1 / 3, 1 / 6, 1 / 6, 1 / 9, 1 / 9, 1 / 9]),  # NATS-Bench
    ],
)
def test_edges_are_mutated_with_the_published_probabilities(choose, probabilities):
    strategy = RegularizedEvolution(0, choose)
    parents = told(strategy, [1.0] + [0.0] * 9)
    edges, changed_to = [], []
    while len(edges) < DRAWS:
        child = strategy.ask().arch_index
        changed = differences(parents[0], child)
        if len(changed) == 1:  # else the child of another parent
            edges += changed
            changed_to.append(int(operations()[child, changed[0]]))
    expected = DRAWS * np.array(probabilities)
    chi_square = (((np.bincount(edges, minlength=6) - expected) ** 2) / expected).sum()
    assert chi_square < 20.5  # 5 degrees of freedom: exceeded once in a thousand


def test_every_other_operation_is_equally_likely():
    strategy = RegularizedEvolution(3)
    parents = told(strategy, [0.5] * 10)
    strategy._population.clear()
    strategy._population.extend([(0.5, parents[0])] * 10)
    children = operations()[[strategy.ask().arch_index for _ in range(DRAWS)]]
    own = operations()[parents[0]]
    for edge in range(6):
        counts = np.bincount(children[:, edge], minlength=5)
        others = np.delete(counts, own[edge])
        assert counts.sum() - counts[own[edge]] == pytest.approx(DRAWS / 6, abs=150)
        assert others == pytest.approx(np.full(4, DRAWS / 24), abs=80)


def test_the_parent_is_the_best_of_three_drawn_with_replacement():
    strategy = RegularizedEvolution(1)
    told(strategy, [i / 10 for i in range(10)])
    # Members by rank; with replacement the best wins unless it is missed three times.
    wins = 0
    for _ in range(4000):
        drawn = strategy.ask().arch_index
        best = strategy._population[-1][1]
        wins += len(differences(best, drawn)) == 1
    assert wins / 4000 == pytest.approx(1 - 0.9**3, abs=0.03)


def test_the_oldest_dies_however_good_it_is():
    strategy = RegularizedEvolution(0)
    champion, *_ = told(strategy, [1.0] + [0.1] * 9)
    newcomers = told(strategy, [0.2] * 10)
    assert [arch for _, arch in strategy._population] == newcomers
    assert champion not in newcomers


def test_while_fewer_than_ten_are_told_proposals_are_random():
    strategy = RegularizedEvolution(0)
    first = [strategy.ask().arch_index for _ in range(14)]
    assert len(set(first)) == 14
    rng = random.Random("regularized evolution 0")
    assert first == [rng.randrange(15625) for _ in range(14)]

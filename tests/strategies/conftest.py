"""A made-up table of all cells with a known optimum, and searches on it."""

import random

import numpy as np
import pytest

from nas_skeleton.spaces import load_space
from nas_skeleton.strategies import Result, Search, Setting, build_strategy
from nas_skeleton.strategies.named import SEVERAL_SEEDS

SPACE = load_space("nb201")
EPOCHS = (1, 3, 9, 27)


class Landscape:
    """Accuracies of all cells: what edges are worth, a little more for some pairs, and noise."""

    def __init__(self, seed=0):
        rng = np.random.default_rng(seed)
        cells = np.array([SPACE.cell(index).operations for index in range(len(SPACE))])
        alone, pairs = rng.normal(size=(6, 5)), 0.3 * rng.normal(size=(6, 6, 5, 5))
        values = sum(alone[edge, cells[:, edge]] for edge in range(6))
        values += sum(
            pairs[a, b, cells[:, a], cells[:, b]] for a in range(6) for b in range(a + 1, 6)
        )
        values += 0.2 * rng.normal(size=len(cells))
        self.full = (values - values.min()) / (values.max() - values.min())
        early = 0.1 * rng.normal(size=len(cells))  # what is not known yet after one epoch
        self.curves = {
            epochs: (1 - 0.5 / epochs) * (self.full + (1 - epochs / EPOCHS[-1]) * early)
            for epochs in EPOCHS
        }

    def __call__(self, asked):
        return Result(float(self.curves[asked.epochs][asked.arch_index]), 10**6, 1.0)


@pytest.fixture(scope="session")
def landscape():
    return Landscape()


def setting(name, seed=0, *, space=SPACE, epochs=EPOCHS, trials=20):
    """With as many training seeds as the strategy needs."""
    seeds = 3 if name in SEVERAL_SEEDS else 1
    return Setting(space, seed, epochs=epochs, seeds=seeds, trials=trials)


def search(name, answer, *, seed=0, trials=20, parallel=1, draw=None, proposals=None):
    """All that a search proposes, in order; `answer` gives results, `draw` the order they come in.

    Stops after `proposals`, whatever is still under way.
    """
    made_in = setting(name, seed, trials=trials)
    running = Search(build_strategy(name, made_in), made_in, parallel=parallel)
    asked, under_way = [], []
    while True:
        while (found := running.next()) is not None:
            asked.append(found)
            under_way.append(found)
            if len(asked) == proposals:
                return asked
        if not under_way:
            return asked
        done = under_way.pop(draw.randrange(len(under_way)) if draw else 0)
        running.finish(done, answer(done))


@pytest.fixture(name="setting")
def setting_fixture():
    return setting


@pytest.fixture(name="search", scope="session")
def search_fixture():
    return search


@pytest.fixture(scope="session")
def orders():
    """Generators that make results come in different orders."""
    return [None, random.Random(1), random.Random(2)]

"""A table of all cells that somebody made up, with a known optimum."""

import numpy as np
import pytest

from nas_skeleton.results.table import SearchTable
from nas_skeleton.spaces import load_space
from nas_skeleton.strategies.encoding import operations

EPOCHS = (1, 3, 9, 27)
SEEDS = (777, 888)


@pytest.fixture(scope="session")
def table():
    """Every operation on every edge adds something; shorter trainings and seeds add noise."""
    rng = np.random.default_rng(1)
    worth = rng.random((6, 5))
    value = worth[np.arange(6), operations()].sum(axis=1)
    value = 0.3 + 0.6 * (value - value.min()) / (value.max() - value.min())
    count = len(value)
    noise = rng.normal(size=(count, 2, 4)) * np.array([0.1, 0.05, 0.02, 0.01])
    learnt = np.array([0.3, 0.6, 0.85, 1.0])
    return SearchTable(
        title="made up",
        space=load_space("nb201"),
        seeds=SEEDS,
        epochs=EPOCHS,
        valid=np.clip(value[:, None, None] * learnt + noise, 0, 1),
        test=np.clip(value[:, None] + rng.normal(scale=0.01, size=(count, 2)), 0, 1),
        seconds=rng.uniform(10, 50, size=(count, 2)),
        macs=rng.integers(10**6, 10**8, size=count),
        latency_ms=rng.uniform(1, 5, size=count),
    )

"""How much of a table is signal: does an accuracy belong to the architecture or to the seed?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

RESAMPLES = 1000


@dataclass(frozen=True)
class Reliability:
    """Of one column of accuracies, over `architectures` with the same `seeds` finished for each.

    `single` is the intraclass correlation ICC(1) of one training, `mean` that of the mean over all
    seeds. One: the seed does not matter; zero: nothing but the seed does. Small samples can make
    both negative. `low` and `high` bound `single` with 95 % confidence, by the percentile bootstrap
    over architectures: neither they nor their noise are normally distributed, as the F interval
    would have it, which is too narrow for them. A value over all kinds of cells says little about
    the order among the best few.
    """

    single: float
    low: float
    high: float
    mean: float
    architectures: int
    seeds: int


def reliability(rows: pd.DataFrame, column: str) -> Reliability | None:
    """Reliability of `column`, or None with fewer than three architectures or two seeds."""
    values = rows.pivot(index="arch_index", columns="seed", values=column).dropna()
    return reliability_of(values.to_numpy(float))


def reliability_of(values: NDArray[np.float64]) -> Reliability | None:
    """Reliability of accuracies `(architectures, seeds)`; None as `reliability`.

    One-way random effects (Shrout and Fleiss, Psychological Bulletin 86, 1979): with the mean
    squares between (B) and within (W) architectures and k seeds, ICC(1) = (B - W) / (B + (k-1) W)
    and ICC(k) = (B - W) / B.
    """
    architectures, seeds = values.shape
    if architectures < 3 or seeds < 2:
        return None
    between = seeds * float(values.mean(axis=1).var(ddof=1))
    within = variance_over_seeds(values)
    if between == 0 or within == 0:
        return None
    low, high = _interval(values)
    return Reliability(
        single=(between - within) / (between + (seeds - 1) * within),
        low=low,
        high=high,
        mean=(between - within) / between,
        architectures=architectures,
        seeds=seeds,
    )


def variance_over_seeds(values: NDArray[np.float64]) -> float:
    """Variance of one training's accuracy over seeds, the mean over the rows of `values`."""
    return float(values.var(axis=1, ddof=1).mean())


def _interval(values: NDArray[np.float64]) -> tuple[float, float]:
    """The middle 95 % of ICC(1) of as many architectures, drawn with replacement."""
    architectures, seeds = values.shape
    means, variances = values.mean(axis=1), values.var(axis=1, ddof=1)
    generator = np.random.default_rng(0)
    found = np.empty(RESAMPLES)
    for at in range(RESAMPLES):
        drawn = generator.integers(architectures, size=architectures)
        between, within = seeds * means[drawn].var(ddof=1), variances[drawn].mean()
        total = between + (seeds - 1) * within
        found[at] = (between - within) / total if total else np.nan
    low, high = np.nanquantile(found, (0.025, 0.975))
    return float(low), float(high)

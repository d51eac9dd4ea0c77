"""Which search strategy is better, and whether that is more than luck.

What replays on a table found is judged by test accuracy here, after the fact: regret, its course,
and tests over repeats. One table says nothing about another.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nas_skeleton.analysis.replay import Trace
from nas_skeleton.results.table import SearchTable

BASELINE = "random"
RESAMPLES = 10_000
Axis = Literal["spent", "seconds"]


@dataclass(frozen=True)
class Standing:
    """How one strategy did over all repeats.

    Regrets are shares in [0, 1]: the best mean test accuracy of the table minus that of what the
    search would hand its user, the mean over the table's seeds in both.

    Attributes:
        strategy: its name.
        median: of the final regrets; `low` and `high` are their quartiles.
        mean: of the final regrets, between `mean_low` and `mean_high` with 95 % confidence
            (percentile bootstrap over repeats).
        rank: mean rank within a repeat, 1 the least regret.
        wins, ties, losses: repeats in which its regret was less, equal, more than random search's.
        p: of the two-sided sign test of wins against losses; None of random search itself, and
            where that was not among the strategies.
    """

    strategy: str
    median: float
    low: float
    high: float
    mean: float
    mean_low: float
    mean_high: float
    rank: float
    wins: int
    ties: int
    losses: int
    p: float | None


@dataclass(frozen=True)
class Ranking:
    """Strategies, the lowest mean rank first, and whether ranks differ at all.

    Attributes:
        standings: one per strategy.
        repeats: searches of each.
        friedman_p: of the Friedman test; None with fewer than three strategies.
        critical_difference: of mean ranks by Nemenyi's test at 5 %: strategies nearer to each other
            cannot be told apart. None likewise.
    """

    standings: list[Standing]
    repeats: int
    friedman_p: float | None
    critical_difference: float | None


def final_regrets(table: SearchTable, traces: Sequence[Trace]) -> NDArray[np.float64]:
    """The regret of each search when its budget was spent."""
    best = table.mean_test.max()
    chosen = [trace.incumbent[-1] for trace in traces]
    regrets: NDArray[np.float64] = best - table.mean_test[chosen]
    return regrets


def courses(
    table: SearchTable, traces: Sequence[Trace], axis: Axis, grid: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The regret of each search at each point of `grid` on an axis; NaN before there is one.

    Returns:
        `(searches, points)`, shares in [0, 1].
    """
    best = table.mean_test.max()
    found = np.full((len(traces), len(grid)), np.nan)
    for row, trace in zip(found, traces, strict=True):
        # A hair more: costs are sums of fractions.
        last = np.searchsorted(getattr(trace, axis), grid * (1 + 1e-9), side="right") - 1
        known = last >= 0
        row[known] = best - table.mean_test[trace.incumbent[last[known]]]
    return found


def rank(table: SearchTable, traces: Mapping[str, Sequence[Trace]]) -> Ranking:
    """Rank strategies by what they found, repeat by repeat.

    Args:
        table: which they searched on.
        traces: by strategy, as many of each, in the order of repeats.
    """
    from scipy.stats import friedmanchisquare, rankdata

    names = list(traces)
    # Accuracies are shares of clips, so equal ones are equal but for rounding.
    regrets = np.round([final_regrets(table, traces[name]) for name in names], 12)
    ranks = rankdata(regrets, axis=0).mean(axis=1)
    repeats = regrets.shape[1]
    friedman_p = difference = None
    if len(names) >= 3:
        same = bool((regrets == regrets[0]).all())  # then the statistic is 0 / 0
        friedman_p = 1.0 if same else float(friedmanchisquare(*regrets).pvalue)
        difference = critical_difference(len(names), repeats)
    baseline = regrets[names.index(BASELINE)] if BASELINE in names else None
    standings = [
        _standing(name, regrets[at], float(ranks[at]), baseline) for at, name in enumerate(names)
    ]
    standings.sort(key=lambda standing: standing.rank)
    return Ranking(standings, repeats, friedman_p, difference)


def critical_difference(strategies: int, blocks: int, alpha: float = 0.05) -> float:
    """Nemenyi's critical difference of mean ranks.

    Demsar, "Statistical Comparisons of Classifiers over Multiple Data Sets", JMLR 7, 2006, section
    3.2.2: q / sqrt(2) * sqrt(k (k + 1) / (6 N)), q of the studentised range.
    """
    from scipy.stats import studentized_range

    q = float(studentized_range.ppf(1 - alpha, strategies, np.inf))
    return q / math.sqrt(2) * math.sqrt(strategies * (strategies + 1) / (6 * blocks))


def cliques(ranks: Sequence[float], difference: float) -> list[tuple[int, int]]:
    """First and last of each largest run of ascending `ranks` that cannot be told apart."""
    found: list[tuple[int, int]] = []
    for first in range(len(ranks)):
        last = max(at for at in range(len(ranks)) if ranks[at] - ranks[first] <= difference)
        if last > first and (not found or last > found[-1][1]):
            found.append((first, last))
    return found


def _standing(
    name: str, regrets: NDArray[np.float64], mean_rank: float, baseline: NDArray[np.float64] | None
) -> Standing:
    from scipy.stats import binomtest

    low, median, high = np.quantile(regrets, [0.25, 0.5, 0.75]).tolist()
    mean_low, mean_high = _interval_of_mean(regrets)
    wins = ties = losses = 0
    p = None
    if baseline is not None and name != BASELINE:
        wins = int((regrets < baseline).sum())
        losses = int((regrets > baseline).sum())
        ties = len(regrets) - wins - losses
        p = float(binomtest(wins, wins + losses).pvalue) if wins + losses else 1.0
    mean = float(regrets.mean())
    return Standing(
        name, median, low, high, mean, mean_low, mean_high, mean_rank, wins, ties, losses, p
    )


def _interval_of_mean(values: NDArray[np.float64]) -> tuple[float, float]:
    """95 % percentile bootstrap; its draws are fixed: the same values give the same bounds."""
    rng = np.random.default_rng(0)
    count = len(values)
    means = [
        values[rng.integers(count, size=(RESAMPLES // 10, count))].mean(axis=1) for _ in range(10)
    ]
    low, high = np.quantile(np.concatenate(means), [0.025, 0.975]).tolist()
    return low, high

"""Do two ways of scoring cells order them alike? Kendall's tau with an interval, and its baselines.

Nothing here trains or scores anything.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

RESAMPLES = 1000
FEWEST = 20  # cells in the top part, for a tau that says anything
TOP = 0.25  # the share of cells in it
LEAST_CELLS = 3
BY_PAIRS = 150  # cells up to which all pairs are compared at once

Statistic = Callable[[NDArray[np.float64]], float]


@dataclass(frozen=True)
class Agreement:
    """Kendall's tau-b of two orders of `cells` cells, with its 95 % interval.

    The interval is the percentile bootstrap over cells. NaN where one of the orders is all ties.
    """

    tau: float
    low: float
    high: float
    cells: int


def kendall(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Tau-b, which takes ties out (Kendall, Biometrika 33, 1945); NaN where one is all ties."""
    if len(first) <= BY_PAIRS:  # a bootstrap takes thousands, and scipy's start is slow
        one, two = (np.sign(np.subtract.outer(values, values)) for values in (first, second))
        untied = float((one**2).sum() * (two**2).sum())
        return float((one * two).sum()) / math.sqrt(untied) if untied else math.nan
    from scipy.stats import kendalltau

    return float(kendalltau(first, second, variant="b").statistic)


@dataclass(frozen=True)
class RankCorrelations:
    """How two columns rank cells; NaN for fewer than two, or where one is all ties."""

    spearman: float
    kendall: float
    cells: int


def rank_correlations(table: pd.DataFrame, first: str, second: str) -> RankCorrelations:
    """Of two columns of `table`, over the rows that have both."""
    from scipy.stats import spearmanr

    both = table[[first, second]].dropna()
    if not (both.nunique() > 1).all():
        return RankCorrelations(np.nan, np.nan, len(both))
    one, other = both[first].to_numpy(float), both[second].to_numpy(float)
    return RankCorrelations(float(spearmanr(one, other).statistic), kendall(one, other), len(both))


def bootstrapped(
    table: NDArray[np.float64], statistic: Statistic, seed: int = 0, resamples: int | None = None
) -> Agreement:
    """A statistic of the rows of `table` `(cells, columns)`, and its interval."""
    cells = len(table)
    generator = np.random.default_rng(seed)
    drawn = generator.integers(cells, size=(resamples or RESAMPLES, cells))
    values = np.array([statistic(table[rows]) for rows in drawn])
    values = values[np.isfinite(values)]  # a resample may be all ties
    low, high = np.quantile(values, (0.025, 0.975)) if len(values) else (np.nan, np.nan)
    return Agreement(statistic(table), float(low), float(high), cells)


def agreements(
    scores: dict[str, pd.Series], trained: pd.DataFrame
) -> dict[tuple[str, str], Agreement]:
    """How scores of cells agree with their accuracies after training.

    Args:
        scores: named columns of numbers by arch_index, more is better.
        trained: accuracies by arch_index, a column per seed; cells without all seeds are left out.

    Returns:
        By part and name: part "all" has all cells with all scores, part "top" the best quarter of
        them by mean accuracy, absent where that is fewer than 20 cells. Each score is held against
        the mean over seeds. "one seed, another seed" is the mean tau of all pairs of seeds: what a
        repetition of one training reaches. Empty with fewer than three cells.
    """
    trained = trained.dropna()
    together = pd.concat([*scores.values(), trained], axis=1, join="inner").dropna()
    if len(together) < LEAST_CELLS:
        return {}
    together = together.astype(float)
    accuracies = together.to_numpy()[:, len(scores) :]
    order = np.argsort(-accuracies.mean(axis=1), kind="stable")
    parts = {"all": np.sort(order)}
    if (few := int(TOP * len(order))) >= FEWEST:
        parts["top"] = np.sort(order[:few])
    found = {}
    for part, rows in parts.items():
        means = accuracies[rows].mean(axis=1)
        for at, name in enumerate(scores):
            pairs = np.column_stack([together.to_numpy()[rows, at], means])
            found[part, name] = bootstrapped(pairs, lambda t: kendall(t[:, 0], t[:, 1]))
        if accuracies.shape[1] > 1:
            found[part, "one seed, another seed"] = bootstrapped(accuracies[rows], between_columns)
    return found


def between_columns(table: NDArray[np.float64]) -> float:
    """Mean tau of all pairs of columns."""
    pairs = combinations(range(table.shape[1]), 2)
    return float(np.mean([kendall(table[:, a], table[:, b]) for a, b in pairs]))


def format_agreements(found: dict[tuple[str, str], Agreement]) -> str:
    """What `agreements` found as a table, and what is missing."""
    from tabulate import tabulate

    if not found:
        return f"fewer than {LEAST_CELLS} cells have all they need: nothing to compare"
    body = [
        [
            "all" if part == "all" else f"best {100 * TOP:.0f} %",
            name,
            value.cells,
            f"{value.tau:+.2f} [{value.low:+.2f}, {value.high:+.2f}]",
        ]
        for (part, name), value in found.items()
    ]
    header = ["cells", "order by", "number", "Kendall's tau-b [95 % interval over cells]"]
    lines = [tabulate(body, header, colalign=("left", "left", "right", "left"))]
    if any(part == "top" for part, _ in found):
        lines.append(
            "The best are chosen by the same mean over seeds, whose luck makes everything agree "
            "less among them: compare lines of one part with each other only."
        )
    if all(part == "all" for part, _ in found):
        few = round(FEWEST / TOP)
        lines.append(f"The best {100 * TOP:.0f} % are told apart from {few} cells on.")
    return "\n".join(lines)

"""BANANAS-like search: an ensemble learns what paths are worth, and guesses which cells are good.

After White, Neiswanger and Savani, AAAI 2021.
"""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from nas_skeleton.strategies.base import Result, Strategy, Trial
from nas_skeleton.strategies.encoding import neighbours, paths

STARTS = 10  # random cells before the first prediction
BATCH = 10  # cells proposed per ensemble
ENSEMBLE = 5
CANDIDATES = 100  # cells that are predicted
PENALTY = 1.0  # of the ridge regressions


class Bananas(Strategy):
    """Proposes the most promising of 100 neighbours of the best cells, as an ensemble judges them.

    It judges by independent Thompson sampling: for each candidate a number is drawn from a normal
    distribution with the mean and the standard deviation of the ensemble's predictions, and those
    with the 10 highest are proposed. It learns from what it was told only, and proposes no cell
    twice. As published: path encoding, 10 random cells first, ensembles of 5, batches of 10,
    Thompson sampling, candidates one edge from the best. Different, and why:

    * the predictors are ridge regressions on bootstrap samples, not neural networks with random
      initialisations: solved at once, a search of 200 cells takes a few hundredths of a second;
    * they learn ranks, scaled to [0, 1], instead of errors under a loss that stresses the best: a
      few cells that learn nothing would otherwise decide what a path is worth;
    * the candidates are all unknown neighbours of the best cell, then of the next best, until there
      are 100, instead of 100 random mutations, most of which would be known cells here.
    """

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(list(f"bananas {seed}".encode()))
        self._known = np.zeros(len(paths()), dtype=bool)  # proposed cells
        self._told: list[int] = []
        self._values: list[float] = []
        self._batch: deque[int] = deque()

    def ask(self) -> Trial | None:
        if not self._batch and len(self._told) >= STARTS:
            self._batch.extend(self._promising())
        arch = self._batch.popleft() if self._batch else self._random()
        if arch is None:
            return None
        self._known[arch] = True
        return Trial(arch)

    def tell(self, trial: Trial, result: Result) -> None:
        self._told.append(trial.arch_index)
        self._values.append(result.valid_top1)

    def _random(self) -> int | None:
        unknown = np.flatnonzero(~self._known)
        return int(self._rng.choice(unknown)) if len(unknown) else None

    def _promising(self) -> list[int]:
        values = np.array(self._values)
        candidates = self._candidates(np.argsort(-values, kind="stable"))
        predictions = self._predictions(ranks(values), candidates)
        drawn = self._rng.normal(predictions.mean(axis=0), predictions.std(axis=0))
        best: list[int] = candidates[np.argsort(-drawn, kind="stable")[:BATCH]].tolist()
        return best

    def _candidates(self, best_first: NDArray[np.intp]) -> NDArray[np.intp]:
        """Up to 100 unknown neighbours of the told cells, of the best first."""
        around = neighbours()[np.array(self._told)[best_first]].ravel()
        unknown = around[~self._known[around]]
        _, first = np.unique(unknown, return_index=True)
        candidates: NDArray[np.intp] = unknown[np.sort(first)[:CANDIDATES]]
        return candidates

    def _predictions(
        self, targets: NDArray[np.float64], candidates: NDArray[np.intp]
    ) -> NDArray[np.float64]:
        """(ensemble, candidates): what regressions on bootstrap samples of the told cells say."""
        count = len(targets)
        known, asked = paths()[self._told], paths()[candidates]
        weights = self._rng.multinomial(count, np.full(count, 1 / count), size=ENSEMBLE)
        return np.stack([ridge(known, targets, weight, asked) for weight in weights])


def ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks scaled to [0, 1], the highest value 1; equals share the mean of their ranks."""
    ordered = np.sort(values)
    below = np.searchsorted(ordered, values, side="left")
    not_above = np.searchsorted(ordered, values, side="right")
    return (below + not_above - 1) / (2 * max(len(values) - 1, 1))


def ridge(
    known: NDArray[np.float64],
    targets: NDArray[np.float64],
    weights: NDArray[np.intp],
    asked: NDArray[np.float64],
) -> NDArray[np.float64]:
    """(asked,): what a weighted ridge regression on (known, features) rows predicts for others.

    The mean is subtracted from targets and not from features: the penalty pulls towards it.
    """
    mean = float(weights @ targets) / float(weights.sum())
    weighted = known.T * weights
    covariance = weighted @ known
    covariance.flat[:: len(covariance) + 1] += PENALTY
    return mean + asked @ np.linalg.solve(covariance, weighted @ (targets - mean))

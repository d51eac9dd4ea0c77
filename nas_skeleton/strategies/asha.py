"""ASHA: successive halving that never waits for a rung to be complete.

Li et al., "A System for Massively Parallel Hyperparameter Tuning", MLSys 2020, Algorithm 2: the
promotion type, with the lowest rung as the only start.
"""

from __future__ import annotations

import bisect
import heapq

from nas_skeleton.strategies.base import Result, Strategy, Trial
from nas_skeleton.strategies.random import Random
from nas_skeleton.strategies.rungs import ETA

Standing = tuple[float, int, int]  # minus the value, when it was told, the architecture


class Rung:
    """The trainings that were told at one number of epochs, the best first; of equals the first."""

    def __init__(self) -> None:
        self._told = 0
        self._waiting: list[Standing] = []  # a heap of those that were not promoted
        self._promoted: list[Standing] = []  # sorted

    def add(self, arch: int, value: float) -> None:
        """One more training."""
        heapq.heappush(self._waiting, (-value, self._told, arch))
        self._told += 1

    def promote(self) -> int | None:
        """The best that was not promoted, if it is among the best 1/ETA; it is promoted now."""
        if not self._waiting:
            return None
        best = self._waiting[0]
        # Whoever is better than the best of those that wait was promoted.
        if bisect.bisect(self._promoted, best) >= self._told // ETA:
            return None
        bisect.insort(self._promoted, heapq.heappop(self._waiting))
        return best[2]


class Asha(Strategy):
    """Promotes what is among the best third of its rung, the highest rung first, or begins anew.

    Rungs count the trainings that were told. Architectures are drawn without replacement, so that
    in a small space it ends: when all were tried and none is left to promote.

    Args:
        epochs: of the rungs, ascending.
        architectures: how many there are.
        seed: of all draws.
    """

    def __init__(self, epochs: tuple[int, ...], architectures: int, seed: int) -> None:
        self.looks = epochs[:-1]
        self._epochs = epochs
        self._rungs = {epoch: Rung() for epoch in epochs}
        self._new = Random(architectures, seed)

    def ask(self) -> Trial | None:
        for lower, epochs in reversed(list(zip(self._epochs, self._epochs[1:], strict=False))):
            arch = self._rungs[lower].promote()
            if arch is not None:
                return Trial(arch, epochs)
        new = self._new.ask()
        return None if new is None else Trial(new.arch_index, self._epochs[0])

    def tell(self, trial: Trial, result: Result) -> None:
        assert trial.epochs is not None  # as it was asked for
        self._rungs[trial.epochs].add(trial.arch_index, result.valid_top1)

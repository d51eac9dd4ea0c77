"""Local search: from the best cell to the best of its neighbours, until none is better.

White, Nolen and Savani, "Exploring the Loss Landscape in Neural Architecture Search", UAI 2021, as
NASLib has it: the whole neighbourhood is looked at before the search moves on.
"""

from __future__ import annotations

import math
import random
from collections import deque

from nas_skeleton.strategies.base import Result, Strategy, Trial
from nas_skeleton.strategies.encoding import neighbours

STARTS = 10  # random cells before the first climb
NOWHERE = (-math.inf, -1)


class LocalSearch(Strategy):
    """Climbs from the best of 10 random cells, then from a new random cell whenever it is at a top.

    All 24 cells that differ in one edge from the best of the climb are proposed, in random order;
    if one is better, the climb goes on from the best of them. With several proposals under way it
    does not wait for the last neighbours: it goes on from the best it knows of, or, if that is
    where it stands, with a random cell, which starts a climb unless a neighbour proves better.
    """

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(f"local search {seed}")
        self._starts = 0  # random cells proposed
        self._untold: deque[bool] = deque()  # of proposals under way, whether they were random
        self._best = NOWHERE  # value and index of the climb's best
        self._stands_at = NOWHERE[0]  # value of the cell whose neighbours are being proposed
        self._rest: list[int] = []  # of its neighbours

    def ask(self) -> Trial:
        if not self._rest and self._starts >= STARTS and self._best[0] > self._stands_at:
            self._stands_at = self._best[0]
            self._rest = neighbours()[self._best[1]].tolist()
            self._rng.shuffle(self._rest)
        start = not self._rest
        self._starts += start
        self._untold.append(start)
        return Trial(self._rng.randrange(len(neighbours())) if start else self._rest.pop())

    def tell(self, trial: Trial, result: Result) -> None:
        at_a_top = not self._rest and self._best[0] <= self._stands_at
        start = self._untold.popleft()
        if start and at_a_top:
            self._best, self._stands_at = NOWHERE, NOWHERE[0]
        if result.valid_top1 > self._best[0]:
            self._best = result.valid_top1, trial.arch_index

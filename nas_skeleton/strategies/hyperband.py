"""Successive halving and Hyperband: many short trainings, of which the best are continued.

Successive halving: Jamieson and Talwalkar, AISTATS 2016. Hyperband, which repeats it with fewer but
longer first trainings: Li et al., JMLR 2018.
"""

from __future__ import annotations

import itertools
import random
from collections import deque
from collections.abc import Callable, Sequence

from nas_skeleton.strategies.base import Result, Strategy, Trial
from nas_skeleton.strategies.rungs import Bracket

ATTEMPTS = 20  # to draw an architecture that a bracket does not have, before any other will do


class Halving:
    """Successive halving once: the best of a rung, when all of it is told, make up the next.

    Args:
        bracket: trainings and epochs of each rung.
        draw: gives an architecture that is not among those it is given.
    """

    def __init__(self, bracket: Bracket, draw: Callable[[set[int]], int]) -> None:
        self._rungs = iter(bracket)
        self._size, self._epochs = next(self._rungs)
        self._draw = draw
        self._members: set[int] = set()
        self._promoted: list[int] | None = None  # None on the lowest rung, which is drawn
        self._asked = 0  # on this rung, as is
        self._told: list[tuple[float, int]] = []
        self.over = False

    def ask(self) -> Trial | None:
        """The next training; None until the whole rung is told."""
        if self._asked == self._size:
            return None
        if self._promoted is None:
            arch = self._draw(self._members)
            self._members.add(arch)
        else:
            arch = self._promoted[self._asked]
        self._asked += 1
        return Trial(arch, self._epochs)

    def tell(self, arch: int, value: float) -> None:
        """Hear of a training; of equals the one proposed first is the better."""
        self._told.append((value, arch))
        if len(self._told) < self._size:
            return
        following = next(self._rungs, None)
        if following is None:
            self.over = True
            return
        self._size, self._epochs = following
        self._told.sort(key=lambda told: -told[0])
        self._promoted = [arch for _, arch in self._told[: self._size]]
        self._asked, self._told = 0, []


class Hyperband(Strategy):
    """Goes through its brackets again and again; with one bracket, this is successive halving.

    While a bracket waits for the last results of a rung, the next one is begun. No architecture is
    twice in a bracket; in a later one it may be, where what it was trained before costs nothing.

    Args:
        brackets: in their order, see `rungs.hyperband_brackets`; none with more trainings than
            there are architectures.
        architectures: how many there are.
        seed: of all draws.
    """

    def __init__(self, brackets: Sequence[Bracket], architectures: int, seed: int) -> None:
        self.looks = tuple(sorted({epochs for bracket in brackets for _, epochs in bracket})[:-1])
        self._architectures = architectures
        self._rng = random.Random(f"hyperband {seed}")
        self._brackets = itertools.cycle(brackets)
        self._open: list[Halving] = []
        self._untold: deque[Halving] = deque()  # whose trainings are under way

    def ask(self) -> Trial:
        for halving in self._open:
            trial = halving.ask()
            if trial is not None:
                self._untold.append(halving)
                return trial
        self._open.append(Halving(next(self._brackets), self._new))
        return self.ask()

    def tell(self, trial: Trial, result: Result) -> None:
        halving = self._untold.popleft()
        halving.tell(trial.arch_index, result.valid_top1)
        if halving.over:
            self._open.remove(halving)

    def _draw(self) -> int:
        """An architecture worth a try."""
        return self._uniform()

    def _uniform(self) -> int:
        return self._rng.randrange(self._architectures)

    def _new(self, members: set[int]) -> int:
        """As `_draw`, but none of `members`."""
        for _ in range(ATTEMPTS):
            arch = self._draw()
            if arch not in members:
                return arch
        while (arch := self._uniform()) in members:
            pass
        return arch

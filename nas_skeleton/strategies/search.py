"""A search: a strategy, its budget, and its proposals in order.

Trainings end in whatever order workers finish them; a strategy is nevertheless told in the order of
its proposals, and at fixed moments: proposal n is made when the first n - `parallel` + 1 results
are told, and as many more as it takes until the strategy proposes something. So a search depends on
its arguments and on results only, not on how many workers there are or how fast they happen to be,
and one that was stopped is continued by making it again and answering from the store.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from nas_skeleton.errors import InputError
from nas_skeleton.strategies.base import Result, Setting, Strategy, Trial

PARALLEL = 8  # proposals under way, where nothing else is asked for
CONVERGED = 1000  # proposals in a row that ask for nothing new: there will be none


@dataclass(frozen=True)
class Asked:
    """A proposal on its way.

    Attributes:
        number: of the proposal, from 0.
        trial: as the strategy made it.
        arch_index: what is trained: the trial's, or one that stands for it.
        epochs: of the training, never None.
        seeds: positions of the training seeds.
        cost: what it adds to the search, in trainings of all epochs with all seeds; 0 if it asks
            for nothing that was not asked for before.
    """

    number: int
    trial: Trial
    arch_index: int
    epochs: int
    seeds: tuple[int, ...]
    cost: float


class Search:
    """Asks a strategy until its budget is spent, and tells it results in order.

    Args:
        strategy: what proposes.
        setting: what it was built with; its `trials` are the budget.
        parallel: how many proposals may be without a result that the strategy knows.
        stands_for: gives the architecture that is trained instead of a proposed one, for searches
            that take architectures of one functional class for the same; None: itself.

    Attributes:
        spent: what the proposals so far cost, in trainings of all epochs with all seeds.
    """

    def __init__(
        self,
        strategy: Strategy,
        setting: Setting,
        *,
        parallel: int = 1,
        stands_for: Callable[[int], int] | None = None,
    ) -> None:
        if parallel < 1:
            raise InputError(f"parallel is {parallel}: at least one proposal is under way")
        self.spent = 0.0
        self._strategy = strategy
        self._setting = setting
        self._parallel = parallel
        self._stands_for = stands_for
        self._every_seed = tuple(range(setting.seeds))
        self._untold: deque[Asked] = deque()
        self._results: dict[int, Result] = {}  # by number, until they are told
        self._trained: dict[tuple[int, int], int] = {}  # architecture, seed -> epochs asked for
        self._asked = 0
        self._free_in_a_row = 0
        self._wants_to_hear = False
        self._over = False

    @property
    def over(self) -> bool:
        """Whether there is nothing more to propose; results may still be on their way."""
        return self._over

    def next(self) -> Asked | None:
        """The next proposal; None if that takes a result that is on its way, or if it is `over`."""
        while not self._over:
            if self._wants_to_hear or len(self._untold) >= self._parallel:
                if not self._tell():
                    return None
                self._wants_to_hear = False
            if self._free_in_a_row >= CONVERGED or self._budget_is_spent():
                self._over = True
                break
            trial = self._strategy.ask()
            if trial is not None:
                return self._take(trial)
            self._wants_to_hear = True
            self._over = not self._untold
        self._tell_the_rest()
        return None

    def finish(self, asked: Asked, result: Result) -> None:
        """Say what became of a proposal; the strategy hears of it when its turn comes.

        When there is nothing more to propose, it hears of the rest as it comes.
        """
        self._results[asked.number] = result
        if self._over:
            self._tell_the_rest()

    def _take(self, trial: Trial) -> Asked:
        arch = self._stands_for(trial.arch_index) if self._stands_for else trial.arch_index
        full = self._setting.epochs[-1]
        epochs = trial.epochs or full
        seeds = self._every_seed if trial.seed is None else (trial.seed,)
        added = 0
        for seed in seeds:
            before = self._trained.get((arch, seed), 0)
            if epochs > before:
                added += epochs - before
                self._trained[arch, seed] = epochs
        cost = added / (full * self._setting.seeds)
        self.spent += cost
        self._free_in_a_row = 0 if added else self._free_in_a_row + 1
        asked = Asked(self._asked, trial, arch, epochs, seeds, cost)
        self._asked += 1
        self._untold.append(asked)
        return asked

    def _tell_the_rest(self) -> None:
        while self._tell():
            pass

    def _tell(self) -> bool:
        """Tell the strategy the oldest result it does not know, if it is there."""
        result = self._results.pop(self._untold[0].number, None) if self._untold else None
        if result is None:
            return False
        self._strategy.tell(self._untold.popleft().trial, result)
        return True

    def _budget_is_spent(self) -> bool:
        trials = self._setting.trials
        # A hair less: costs are fractions, whose sum may miss a whole number by rounding.
        return trials is not None and self.spent >= trials - 1e-9

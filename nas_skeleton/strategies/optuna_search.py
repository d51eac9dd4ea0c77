"""A study of Optuna as a strategy: its sampler proposes, and hears what became of its proposals.

The study is in memory, in the process that searches, and nobody else touches it: trainings and
results are not Optuna's business. A search that continues makes its study anew by answering from
stored results. Which samplers there are is in `optuna_samplers`.
"""

from __future__ import annotations

import random
import warnings
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.pruners import BasePruner, NopPruner, WilcoxonPruner
from optuna.samplers import BaseSampler
from optuna.storages import InMemoryStorage, RDBStorage
from optuna.trial import TrialState
from sqlalchemy.exc import SQLAlchemyError

from nas_skeleton.errors import InputError
from nas_skeleton.spaces import SearchSpace
from nas_skeleton.spaces.choices import choices, chosen, values_of
from nas_skeleton.strategies.base import Result, Strategy, Trial

STUDY = "nas_skeleton"  # its name while it is in memory
# Both of the first two seeds worse than the best architecture's: p = 1/4 by chance alone.
P_THRESHOLD = 0.3

Cost = Literal["macs", "latency_ms"]


@contextmanager
def quiet() -> Iterator[None]:
    """Without Optuna's notes on its progress, and on which of its parts may change one day."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(verbosity)


class OptunaSearch(Strategy):
    """Proposes what a sampler suggests: an operation for each edge `edge_0_1` ... `edge_2_3`.

    Of a space of models it suggests the `model`. Samplers repeat themselves, which costs nothing;
    the search ends early when all of the space is proposed.

    Args:
        space: the architectures.
        sampler: with a seed, if the search is to be reproducible.
        against: what a proposal costs in a search for the best trade-offs with accuracy; None: the
            best accuracy, at any cost.
        fresh: for samplers that repeat themselves often and slowly: the proposal after a repeated
            one is a new architecture drawn by this generator.

    Attributes:
        study: its values are the validation accuracy in [0, 1] and, if there is one, the cost; the
            user attributes of a trial are `arch_index` and `arch_str`.
    """

    def __init__(
        self,
        space: SearchSpace,
        sampler: BaseSampler,
        *,
        against: Cost | None = None,
        fresh: random.Random | None = None,
        pruner: BasePruner | None = None,
    ) -> None:
        self._space = space
        self._against = against
        self._fresh = fresh
        self._distributions: dict[str, BaseDistribution] = {
            name: CategoricalDistribution(values) for name, values in choices(space).items()
        }
        self._proposed: set[int] = set()
        self._untold: deque[optuna.Trial] = deque()
        self.storage = InMemoryStorage()
        with quiet():
            self.study = optuna.create_study(
                storage=self.storage,
                sampler=sampler,
                pruner=pruner or NopPruner(),
                study_name=STUDY,
                directions=["maximize", "minimize"] if against else ["maximize"],
            )
            self.study.set_metric_names(["valid_top1", against] if against else ["valid_top1"])
        self.study.set_user_attr("space", space.name)

    def ask(self) -> Trial | None:
        suggested = self._suggest()
        if suggested is None:
            return None
        self._untold.append(suggested)
        return Trial(_arch(suggested))

    def tell(self, trial: Trial, result: Result) -> None:
        suggested = self._untold.popleft()
        cost = result.macs if self._against == "macs" else result.latency_ms
        failed = self._against is not None and cost is None and result.valid_top1 == 0
        with quiet():
            if failed:  # nobody knows what it costs
                self.study.tell(suggested, state=TrialState.FAIL)
            else:
                self.study.tell(suggested, self._values(trial, result))

    def _suggest(self) -> optuna.Trial | None:
        """A new trial of the study; None if it has proposed all architectures."""
        if len(self._proposed) == len(self._space):
            return None
        with quiet():
            suggested = self.study.ask(self._distributions)
        arch = chosen(self._space, suggested.params)
        suggested.set_user_attr("arch_index", arch)
        suggested.set_user_attr("arch_str", self._space.arch_string(arch))
        if self._fresh and arch in self._proposed:
            rest = [other for other in range(len(self._space)) if other not in self._proposed]
            with quiet():
                self.study.enqueue_trial(values_of(self._space, self._fresh.choice(rest)))
        self._proposed.add(arch)
        return suggested

    def _values(self, trial: Trial, result: Result) -> list[float]:
        if self._against is None:
            return [result.valid_top1]
        cost = result.macs if self._against == "macs" else result.latency_ms
        if cost is None:
            raise InputError(
                f"the search weighs accuracy against {self._against}, and nobody knows that of "
                f"architecture {trial.arch_index}: choose a --strategy that looks at accuracy "
                "alone, such as tpe"
            )
        return [result.valid_top1, cost]


def _arch(suggested: optuna.Trial) -> int:
    return int(suggested.user_attrs["arch_index"])


@dataclass
class _Repeats:
    """A trial of the study on its way through the seeds: its accuracies with the first of them."""

    suggested: optuna.Trial
    accuracies: list[float] = field(default_factory=list)


class WilcoxonSearch(OptunaSearch):
    """Trains architectures with one seed after the other, and drops those that are likely worse.

    After each seed but the first, Optuna's Wilcoxon pruner compares the accuracies with those of
    the best architecture with the same seeds; a pruned one counts with its mean so far.

    How sure it can be: all of n seeds worse is p = 2^-n by chance. At the usual p < 0.1 nothing is
    dropped before the fourth seed, so nothing at all with three or four. Hence 0.3: two worse seeds
    are enough, and one of four architectures as good as the best is lost there. On a made-up table
    with noise, it dropped three of four architectures. For the price of 60 with all seeds it tried
    85 of 3 seeds, 134 of 5 and 260 of 10; it found better ones with 5 and 10, not with 3.
    """

    def __init__(self, space: SearchSpace, sampler: BaseSampler, seeds: int) -> None:
        with quiet():
            pruner = WilcoxonPruner(p_threshold=P_THRESHOLD)
        super().__init__(space, sampler, pruner=pruner)
        self._seeds = seeds
        self._asked: deque[_Repeats] = deque()  # not told yet
        self._promising: deque[_Repeats] = deque()  # told, and worth a further seed

    def ask(self) -> Trial | None:
        if self._promising:
            repeats = self._promising.popleft()
        else:
            suggested = self._suggest()
            if suggested is None:
                return None
            repeats = _Repeats(suggested)
        self._asked.append(repeats)
        return Trial(_arch(repeats.suggested), seed=len(repeats.accuracies))

    def tell(self, trial: Trial, result: Result) -> None:
        repeats = self._asked.popleft()
        assert trial.seed is not None  # as it was asked for
        repeats.suggested.report(result.valid_top1, step=trial.seed)
        repeats.accuracies.append(result.valid_top1)
        told = len(repeats.accuracies)
        if told < self._seeds and not repeats.suggested.should_prune():
            self._promising.append(repeats)
            return
        repeats.suggested.set_user_attr("pruned", told < self._seeds)
        # As a finished trial with the mean so far, not as a pruned one, whose value would be the
        # accuracy with its last seed: see the note in Optuna's documentation of WilcoxonPruner.
        with quiet():
            self.study.tell(repeats.suggested, sum(repeats.accuracies) / told)


def export_study(strategy: Strategy, path: Path, name: str) -> int:
    """Copy the study of a strategy into a database, for `optuna-dashboard sqlite:///PATH`.

    Args:
        strategy: one of Optuna's.
        path: of an SQLite file, made if there is none. Other studies in it stay.
        name: of the study there; an earlier one of that name is replaced.

    Returns:
        Number of trials. Those without a result are there as running.

    Raises:
        InputError: the strategy has no study, or the file is something else or not writable.
    """
    if not isinstance(strategy, OptunaSearch):
        raise InputError(
            "there is no study of Optuna to export: choose a --strategy such as tpe, nsga2 or gp"
        )
    if "?" in str(path):
        raise InputError(f"cannot write a study to {path}: a '?' ends the name in sqlite:///NAME")
    try:
        with quiet():
            storage = RDBStorage(f"sqlite:///{path}")
            if name in optuna.get_all_study_names(storage):
                optuna.delete_study(study_name=name, storage=storage)
            optuna.copy_study(
                from_study_name=STUDY,
                from_storage=strategy.storage,
                to_storage=storage,
                to_study_name=name,
            )
            storage.engine.dispose()
    except (SQLAlchemyError, StorageInternalError) as error:
        reason = str(error.__cause__ or error).splitlines()[0]
        raise InputError(f"cannot write a study to {path}: {reason}") from None
    return len(strategy.study.get_trials(deepcopy=False))

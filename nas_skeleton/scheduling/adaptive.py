"""Searches whose next training depends on results: from a strategy's proposals to jobs and back.

What is trained is looked up in the run's store, so that a search which is made again goes the same
way without training anything twice (`strategies.search`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Any

import pandas as pd

from nas_skeleton.errors import InputError
from nas_skeleton.results import schema, store
from nas_skeleton.results.run import Arguments, Run
from nas_skeleton.scheduling.outcome import Outcome
from nas_skeleton.scheduling.plan import job_of, planned_pairs
from nas_skeleton.spaces import SearchSpace, Space
from nas_skeleton.strategies import (
    Asked,
    Result,
    Search,
    Setting,
    Strategy,
    build_strategy,
    learns,
)
from nas_skeleton.training.job import Job

_COLUMNS = ("key", "status", "macs", "latency_ms")


@dataclass(frozen=True)
class Known:
    """What the store knows of a training: validation top-1 by epoch, and what became of it.

    `lost`: it diverged or failed.
    """

    valid: dict[int, float] = field(default_factory=dict)
    macs: int | None = None
    latency_ms: float | None = None
    complete: bool = False
    lost: bool = False


class AdaptiveSearch:
    """A search over a run, as the source of what its workers train (`feed.Source`).

    Args:
        run: the run, whose arguments name a strategy that learns.
        space: what it searches in.
        together: how many jobs of one length a worker may be given at a time.

    Attributes:
        jobs: what was asked for so far, by key, each as far as it was.
        expected_s: seconds that the rest of each may take, as far as `expect` knows.

    Raises:
        InputError: the strategy cannot work here, or the store is damaged.
    """

    def __init__(self, run: Run, space: SearchSpace, together: int = 1) -> None:
        self.jobs: dict[str, Job] = {}
        self.expected_s: dict[str, float] = {}
        self._seconds_of: Callable[[int], float] | None = None
        self.together = together
        self.epochs = space.card.recipe(run.arguments.recipe).epochs
        self.strategy = strategy_of(run.arguments, space)
        self.search = _search(run.arguments, space, self.strategy)
        self._run = run
        self._open: list[Asked] = []
        self._ready: deque[Job] = deque()
        self._under_way: set[str] = set()
        self._known = _stored(run)
        self._propose()

    def expect(self, seconds_of: Callable[[int], float]) -> None:
        """Say how many seconds a whole training of an architecture takes."""
        self._seconds_of = seconds_of
        self.expected_s |= {job.key: seconds_of(job.arch_index) for job in self._ready}

    def trained_epochs(self, key: str) -> int:
        """How far a training is, as far as the store tells; what diverged has come to its end."""
        known = self._known.get(key, Known())
        return self.epochs if known.complete or known.lost else max(known.valid, default=0)

    def missing(self) -> list[Job]:
        """What was asked for and is not trained as far as that."""
        return [job for job in self.jobs.values() if not self._answers(job)]

    def next(self) -> Sequence[Job] | None:
        self._propose()
        if not self._ready:
            return None
        group = [self._ready.popleft()]
        while self._ready and len(group) < self.together and self._ready[0].until == group[0].until:
            group.append(self._ready.popleft())
        return group

    def exhausted(self) -> bool:
        return self.search.over and not self._ready

    def hear(self, outcome: Outcome) -> None:
        key = outcome.job.key
        self._under_way.discard(key)
        if outcome.status == schema.FAILED:
            self._known[key] = replace(self._known.get(key, Known()), lost=True)
        else:
            self._known.update(_stored(self._run, key))
        self._settle()

    def _propose(self) -> None:
        """Ask for all that can be asked for now."""
        while (asked := self.search.next()) is not None:
            for job in self._jobs_of(asked):
                before = self.jobs.setdefault(job.key, job)
                if before.until is not None and (job.until is None or job.until > before.until):
                    self.jobs[job.key] = job
            self._open.append(asked)
            self._settle()

    def _settle(self) -> None:
        """Finish proposals whose trainings are known; have the others trained."""
        still_open = []
        for asked in self._open:
            jobs = self._jobs_of(asked)
            left = [job for job in jobs if not self._answers(job)]
            if not left:
                self.search.finish(asked, self._result(asked, jobs))
                continue
            still_open.append(asked)
            for job in left:
                if job.key not in self._under_way:  # a longer one waits for a shorter one to end
                    self._under_way.add(job.key)
                    self._ready.append(job)
                    if self._seconds_of is not None:
                        self.expected_s[job.key] = self._seconds_of(job.arch_index)
        self._open = still_open

    def _jobs_of(self, asked: Asked) -> list[Job]:
        arguments = self._run.arguments
        until = asked.epochs if asked.epochs < self.epochs else None
        return [
            replace(job_of(arguments, asked.arch_index, arguments.seeds[seed]), until=until)
            for seed in asked.seeds
        ]

    def _answers(self, job: Job) -> bool:
        known = self._known.get(job.key)
        return known is not None and (
            known.lost or known.complete or (job.until or self.epochs) in known.valid
        )

    def _result(self, asked: Asked, jobs: list[Job]) -> Result:
        every = [self._known[job.key] for job in jobs]
        latencies = [known.latency_ms for known in every if known.latency_ms is not None]
        macs = next((known.macs for known in every if known.macs is not None), None)
        latency = fmean(latencies) if latencies else None
        # Of what came to nothing later, what was seen before stays as it was told.
        told = [known.valid.get(asked.epochs, 0.0 if known.lost else None) for known in every]
        valid = [value for value in told if value is not None]
        if len(valid) < len(told):
            raise InputError(
                f"run {self._run.name!r}: #{asked.arch_index} was not evaluated after epoch "
                f"{asked.epochs}: the strategy must name that epoch in `looks`"
            )
        return Result(fmean(valid), macs, latency)


def decides_by_results(arguments: Arguments) -> bool:
    """Whether the trainings of a run with these arguments depend on results."""
    return arguments.archs is None and learns(arguments.strategy)


def search_of(run: Run, space: SearchSpace) -> AdaptiveSearch | None:
    """The search that a run is, if its strategy decides by results; it is made from the beginning.

    Raises:
        InputError: the strategy cannot work here, or the store is damaged.
    """
    return AdaptiveSearch(run, space) if decides_by_results(run.arguments) else None


def missing_pairs(
    run: Run,
    space: SearchSpace,
    search: AdaptiveSearch | None,
    settled: Collection[tuple[int, int]],
) -> list[tuple[int, int]]:
    """Architecture and seed of what a run was asked to train and is not trained.

    Of a search that decides by results: what it asks for by now.

    Args:
        run: the run.
        space: what it searches in.
        search: `search_of(run, space)`.
        settled: pairs that need not be trained again.
    """
    if search is not None:
        return [(job.arch_index, job.seed) for job in search.missing()]
    return [pair for pair in planned_pairs(run.arguments, space) if pair not in settled]


def budget_left(run: Run, space: SearchSpace, rows: pd.DataFrame) -> int:
    """What is left of the budget of a search that decides by results, in whole trainings.

    Told by the rows alone, with `status` and `epochs`: to make the search again, so as to know what
    it asks for by now, takes minutes with some strategies. One that has nothing new to propose may
    leave a part of its budget for good.
    """
    arguments = run.arguments
    whole = space.card.recipe(arguments.recipe).epochs
    kept = rows[rows["status"] != schema.FAILED]
    trained = int(kept["epochs"].where(kept["status"] == schema.PAUSED, whole).sum())
    budget = (arguments.trials or len(space)) * len(arguments.seeds)
    return max(0, budget - trained // whole)


def strategy_of(arguments: Arguments, space: SearchSpace) -> Strategy:
    """The strategy of a run, in its setting.

    Raises:
        InputError: it is unknown, or cannot work here.
    """
    return build_strategy(arguments.strategy, _setting(arguments, space))


def _setting(arguments: Arguments, space: SearchSpace) -> Setting:
    epochs = space.card.recipe(arguments.recipe).epochs
    return Setting(
        space,
        seed=arguments.seeds[0],
        epochs=tuple(range(1, epochs + 1)),
        seeds=len(arguments.seeds),
        trials=arguments.trials,
    )


def _search(arguments: Arguments, space: SearchSpace, strategy: Strategy) -> Search:
    stands_for = None
    if arguments.share_classes and isinstance(space, Space):
        stands_for = space.representative
    setting = _setting(arguments, space)
    return Search(strategy, setting, parallel=arguments.parallel, stands_for=stands_for)


def _stored(run: Run, key: str | None = None) -> dict[str, Known]:
    """What the store knows of the run's trainings, or of one of them; nothing of failed ones."""
    arguments = run.arguments
    only = {"fingerprint": arguments.fingerprint, "recipe_hash": arguments.recipe_hash}
    if key is not None:
        only["key"] = key
    # Every row: of a training that diverged, those of its pauses tell what was seen before.
    rows = store.read_rows(run.results_folder, _COLUMNS, only=only, every=True, blobs=True)
    found: dict[str, Known] = {}
    for row in rows.to_dict("records"):
        if row["status"] != schema.FAILED:
            found[row["key"]] = _joined(found.get(row["key"], Known()), _known(row))
    return found


def _joined(first: Known, second: Known) -> Known:
    """What two rows of one training tell."""
    return Known(
        valid=first.valid | second.valid,
        macs=second.macs,
        latency_ms=first.latency_ms if second.latency_ms is None else second.latency_ms,
        complete=first.complete or second.complete,
        lost=first.lost or second.lost,
    )


def _known(row: dict[Any, Any]) -> Known:
    latency = row["latency_ms"]
    return Known(
        valid=schema.valid_by_epoch(row["curve"]),
        macs=int(row["macs"]),
        latency_ms=latency if latency == latency else None,  # NaN where it was not measured
        complete=row["status"] == schema.DONE,
        lost=row["status"] == schema.DIVERGED,
    )

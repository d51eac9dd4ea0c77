"""A campaign: a run, its jobs, and the means to train those that are left."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING

from nas_skeleton.errors import InputError
from nas_skeleton.results import schema
from nas_skeleton.results.leaderboard import Leaderboard, run_leaderboard
from nas_skeleton.results.run import Run
from nas_skeleton.results.store import ResultWriter
from nas_skeleton.scheduling.adaptive import AdaptiveSearch, search_of
from nas_skeleton.scheduling.effort import efforts
from nas_skeleton.scheduling.feed import Executor, Feed, Listener, Planned, Source
from nas_skeleton.scheduling.lock import Locked, locked
from nas_skeleton.scheduling.means import Means
from nas_skeleton.scheduling.outcome import ELSEWHERE, Outcome, Settled
from nas_skeleton.scheduling.plan import in_groups, job_of, missing_jobs, planned_jobs
from nas_skeleton.scheduling.presence import (
    LEASE_S,
    Presence,
    age,
    forget_lost,
    look_around,
    new_tag,
    worker_name,
)
from nas_skeleton.scheduling.shards import Shard, remember_count, shards_of
from nas_skeleton.scheduling.signals import Signals
from nas_skeleton.scheduling.worker import Assignment, Worker, Workplace, row_of
from nas_skeleton.skeletons.store import Dataset
from nas_skeleton.spaces import SearchSpace
from nas_skeleton.training.job import Job
from nas_skeleton.training.result import ANALYTIC, EpochRecord

if TYPE_CHECKING:
    from nas_skeleton.scheduling.forecast import Forecast


class Campaign:
    """The trainings of one run: which there are, which are left, and their training.

    Args:
        run: the run.
        space: what it searches in.
        dataset: what it trains on.
        means: what to train with.
        shard: the part of the run that is this command's, None for all of it.
        keep_scores: whether class scores of trainings that finish from now on are kept.
        keep_weights: whether their weights are.
    """

    def __init__(
        self,
        run: Run,
        space: SearchSpace,
        dataset: Dataset,
        means: Means,
        shard: Shard | None = None,
        *,
        keep_scores: bool = False,
        keep_weights: bool = False,
    ) -> None:
        self.run = run
        self.space = space
        self.dataset = dataset
        self.means = means
        self.shard = shard
        self.keep_scores = keep_scores
        self.keep_weights = keep_weights

    @cached_property
    def adaptive(self) -> AdaptiveSearch | None:
        """The search, if its strategy decides by results what is trained next.

        Raises:
            InputError: the strategy cannot work here.
        """
        return search_of(self.run, self.space)

    @property
    def jobs(self) -> list[Job]:
        """All jobs that were asked for, in the order of training; by a search: so far."""
        return self._planned if self.adaptive is None else list(self.adaptive.jobs.values())

    @cached_property
    def _planned(self) -> list[Job]:
        return list(planned_jobs(self.run.arguments, self.space))

    @property
    def own_jobs(self) -> list[Job]:
        """Those of them in this command's shard: a function of the plan, not of what is done."""
        return self.jobs if self.shard is None else self._of_shard

    def remaining(self) -> list[Job]:
        """This command's jobs without a settled row; those that failed are among them.

        Of a search that decides by results: what it asks for by now.
        """
        if self.adaptive is not None:
            return self.adaptive.missing()
        return missing_jobs(self.run, self.own_jobs)

    @cached_property
    def _of_shard(self) -> list[Job]:
        assert self.shard is not None
        parts = shards_of(efforts(self.space, self.run, self.jobs), self.shard.count)
        pairs = zip(self.jobs, parts, strict=True)
        return [job for job, part in pairs if part == self.shard.index]

    def company(self) -> str:
        """A line that says so if other commands are at the run at this moment, else empty."""
        living = [seen.presence for seen in look_around(self.run.folder) if seen.lives]
        if not living:
            return ""
        commands = Counter((presence.host, presence.command) for presence in living)
        (host, command), _ = commands.most_common(1)[0]
        who = f"process {command} on {host}"
        if len(commands) > 1:
            who = f"{len(commands)} other commands, {who} is one,"
        count = sum(not presence.through for presence in living)
        workers = f"{count} worker{'s' * (count != 1)}"
        return (
            f"run {self.run.name!r} is also being trained by {who} with {workers}: the work is "
            "shared, nothing is trained twice"
        )

    def trained_by_others(self) -> str:
        """A line that says so if some of the run is finished by other engines than it has now."""
        rows = self.run.rows(["status", "engine"])
        engines = rows.loc[rows["status"] == schema.DONE, "engine"]
        others = engines[~engines.isin((self.means.engine, ANALYTIC))].value_counts()
        if others.empty:
            return ""
        counts = ", ".join(f"{count} by {engine}" for engine, count in others.items())
        return (
            f"finished already, and not trained again with {self.means.engine}: {counts}; to "
            "compare engines, give each a --run of its own"
        )

    def forecast(self, jobs: list[Job], check: Callable[[], None] = lambda: None) -> Forecast:
        """What each job takes of one worker, from a calibration.

        That takes seconds for cells, and for each reference model of its own. `check` is called
        now and then; what it raises ends the calibration.
        """
        from nas_skeleton.scheduling.forecast import forecast
        from nas_skeleton.training.threads import one_thread

        means = self.means
        with one_thread():  # as in a worker
            return forecast(self._workplace, jobs, means.engine, means.side_by_side, check)

    def forecast_search(self, check: Callable[[], None] = lambda: None) -> Forecast:
        """What every architecture of the space takes of one worker, in the order of indices.

        Of a search with nothing left to train: an empty forecast.
        """
        from nas_skeleton.scheduling.forecast import Forecast

        if not self.remaining():
            return Forecast([], self.means.side_by_side)
        arguments = self.run.arguments
        seed = arguments.seeds[0]
        every = [job_of(arguments, arch, seed) for arch in range(len(self.space))]
        return self.forecast(every, check)

    def execute(
        self,
        jobs: list[Job],
        signals: Signals,
        on_outcome: Callable[[Outcome], None],
        on_remark: Callable[[str], None] = lambda _: None,
        *,
        side_by_side: int | None = None,
        forecast_s: Mapping[str, float] | None = None,
    ) -> None:
        """Train `jobs` with worker processes.

        Args:
            jobs: what to train.
            signals: asks to stop.
            on_outcome: hears of every job as it ends, here or in another command.
            on_remark: hears what a person should know meanwhile.
            side_by_side: candidates per worker, where fewer fit than `means` allows.
            forecast_s: seconds of each training by its job's key, to tell which one hangs.

        Raises:
            StoppedEarly: on a signal; finished trainings are stored, others have a checkpoint.
            InputError: the data changed, or the disk is full.
        """
        together = side_by_side or self.means.side_by_side
        groups = in_groups(jobs, self.means.workers, together)
        self._feed(
            Planned(groups), len(groups), together, forecast_s, signals, on_outcome, on_remark
        )

    def pursue(
        self,
        signals: Signals,
        on_outcome: Callable[[Outcome], None],
        on_remark: Callable[[str], None] = lambda _: None,
        *,
        side_by_side: int | None = None,
    ) -> None:
        """Train what the run's strategy asks for, result by result, until its budget is spent.

        As `execute`, but for a strategy that decides by results; what its `adaptive` expects a
        training to take tells which one hangs.
        """
        assert self.adaptive is not None
        together = side_by_side or self.means.side_by_side
        # Candidates side by side are for GPUs; what is under way is shared among all workers.
        at_once = self.run.arguments.parallel * len(self.run.arguments.seeds)
        self.adaptive.together = max(1, min(together, at_once // self.means.workers))
        expected = self.adaptive.expected_s
        self._feed(
            self.adaptive, at_once, together, expected or None, signals, on_outcome, on_remark
        )

    def _feed(
        self,
        source: Source,
        most_groups: int,
        together: int,
        forecast_s: Mapping[str, float] | None,
        signals: Signals,
        on_outcome: Callable[[Outcome], None],
        on_remark: Callable[[str], None],
    ) -> None:
        self.write()
        executor = self._executor(together, most_groups, on_remark)
        listener = Listener(self._recording(on_outcome), on_remark)
        settled = Settled(self.run).outcomes
        try:
            Feed(executor, source, signals, listener, settled, forecast_s).run()
        finally:
            executor.close(at_once=signals.at_once)
        signals.check()
        self._clear_up()

    def execute_here(
        self, job: Job, signals: Signals, on_epoch: Callable[[EpochRecord], None]
    ) -> Outcome:
        """Train one job in this process, which hears of every evaluated epoch.

        Raises:
            StoppedEarly: on a signal; there is a checkpoint.
            InputError: another command is at it, or the disk is full.
        """
        self.write()
        name = worker_name(os.getpid(), new_tag())
        presence = Presence.of_this_process(name, os.getpid())
        worker = Worker(self._assignment(1), presence, self._workplace)
        try:
            [outcome] = worker.work([job], should_stop=lambda: signals.received, on_epoch=on_epoch)
        finally:
            worker.close()
        signals.check()
        if outcome.status == ELSEWHERE:
            raise InputError(
                f"#{job.arch_index} seed {job.seed} of run {self.run.name!r} is being trained by "
                f"another command (worker {outcome.holder}): wait for it, stop it, or choose "
                "another --run"
            )
        return outcome

    def write(self) -> None:
        """Write down what the run is; commands that do so at a time wait for each other.

        Raises:
            InputError: the run cannot be locked.
            OSError: the disk is full or read-only.
        """
        self.run.folder.mkdir(parents=True, exist_ok=True)
        try:
            with locked(self.run.folder / ".lock"):
                self.run.write()
                forget_lost(self.run.folder)
                if self.shard is not None:
                    remember_count(self.run.folder, self.shard.count)
        except Locked as error:
            raise InputError(
                f"{error}: see that none hangs, then run the same command again"
            ) from None

    def _clear_up(self) -> None:
        """Remove what workers that died or were taken for dead left of trainings that are done."""
        left = [*self.run.folder.glob("checkpoints/*"), *self.run.folder.glob("claims/[!.]*")]
        settled = self.run.settled_keys() if left else set()
        for path in left:
            in_the_making = path.suffix == ".tmp" and age(self.run.folder, path) < LEASE_S
            if path.name.partition(".")[0] in settled and not in_the_making:
                path.unlink(missing_ok=True)

    def latency(self, arch: int, clips: int) -> float:
        """Seconds of one forward pass of `clips` clips, on one thread (`training.latency`)."""
        from nas_skeleton.training.candidates import Problem
        from nas_skeleton.training.latency import latency
        from nas_skeleton.training.threads import one_thread

        recipe = self.space.card.recipe(self.run.arguments.recipe)
        problem = Problem(self.space.card, recipe, self._workplace.task)
        with one_thread():  # as in a worker
            return latency(problem, self.space.architecture(arch), clips)

    @cached_property
    def _workplace(self) -> Workplace:
        from nas_skeleton.scheduling.worker import open_workplace

        return open_workplace(self.run, self.space, self.dataset, self.means.device)

    def _assignment(self, side_by_side: int) -> Assignment:
        means = self.means
        return Assignment(
            self.run.name,
            means.engine,
            side_by_side,
            means.device,
            means.checkpoint_every_s,
            str(self.shard or ""),
            means.train,
            self.keep_scores,
            self.keep_weights,
            self.adaptive.strategy.looks if self.adaptive else (),
        )

    def _executor(
        self, side_by_side: int, groups: int, on_remark: Callable[[str], None]
    ) -> Executor:
        assignment, workers = self._assignment(side_by_side), self.means.workers
        if self.means.executor == "ray":
            from nas_skeleton.scheduling.ray_pool import RayExecutor

            return RayExecutor(assignment, self.run, max(1, min(workers, groups)), on_remark)
        from nas_skeleton.scheduling.local import LocalExecutor

        return LocalExecutor(assignment, self.run, workers, on_remark)

    def _recording(self, on_outcome: Callable[[Outcome], None]) -> Callable[[Outcome], None]:
        """`on_outcome`, but rows of dead workers are written first: they could not do it."""
        writer = ResultWriter(self.run.results_folder, worker_name(os.getpid(), new_tag()))
        layout = self.dataset.layout

        def record(outcome: Outcome) -> None:
            if outcome.unstored:
                writer.append(row_of(outcome, self.run, self.space, layout, self.means.engine))
            on_outcome(outcome)

        return record

    def leaderboard(self) -> Leaderboard:
        """The run's architectures, ranked on validation."""
        return run_leaderboard(self.run)

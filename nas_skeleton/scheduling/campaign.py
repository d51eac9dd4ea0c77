"""A campaign: a run, its jobs, and the means to train those that are left."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import filelock

from nas_skeleton.errors import InputError, StoppedEarly
from nas_skeleton.results.leaderboard import Leaderboard, run_leaderboard
from nas_skeleton.results.run import Arguments, Clips, DataFacts, Run, start_run
from nas_skeleton.scheduling.plan import missing_jobs, planned_jobs
from nas_skeleton.scheduling.worker import Assignment, Outcome
from nas_skeleton.skeletons.store import Dataset
from nas_skeleton.spaces import Space
from nas_skeleton.training.engine import EngineName
from nas_skeleton.training.job import Job
from nas_skeleton.training.result import EpochRecord

Device = Literal["auto", "cpu", "cuda"]


@dataclass(frozen=True)
class Means:
    """What to train with: processes, device, engine, and seconds between checkpoints."""

    workers: int
    device: Literal["cpu", "cuda"]
    engine: EngineName
    checkpoint_every_s: float


def choose_means(
    device: Device, workers: str, engine: EngineName = "fast", checkpoint_every_s: float = 20.0
) -> Means:
    """Turn "auto" into what this machine has: the GPU if there is one, else a worker per core.

    Raises:
        InputError: "cuda" on a machine without a usable GPU, or not a number of workers.
    """
    import torch

    has_gpu = torch.cuda.is_available()
    if device == "cuda" and not has_gpu:
        raise InputError("--device cuda: torch finds no usable GPU here; use --device cpu or auto")
    chosen: Literal["cpu", "cuda"] = "cuda" if device != "cpu" and has_gpu else "cpu"
    if workers == "auto":
        count = 1 if chosen == "cuda" else usable_cores()
    elif workers.isdecimal() and int(workers) > 0:
        count = int(workers)
    else:
        raise InputError(f"--workers {workers!r}: give a number of at least 1, or auto")
    return Means(count, chosen, engine, checkpoint_every_s)


def usable_cores() -> int:
    """Cores this process may run on, which a cluster's job may restrict."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Campaign:
    """The trainings of one run: which there are, which are left, and their training."""

    def __init__(self, run: Run, space: Space, dataset: Dataset, means: Means) -> None:
        self.run = run
        self.space = space
        self.dataset = dataset
        self.means = means

    @cached_property
    def jobs(self) -> list[Job]:
        """All jobs of the run, in the order of training."""
        return list(planned_jobs(self.run.arguments, self.space))

    def remaining(self) -> list[Job]:
        """The jobs without a settled row; those that failed are among them."""
        return missing_jobs(self.run, self.jobs)

    @property
    def assignment(self) -> Assignment:
        """What workers are told once."""
        return Assignment(
            self.run.name, self.means.engine, self.means.device, self.means.checkpoint_every_s
        )

    def forecast(self, jobs: list[Job]) -> list[float]:
        """Predicted seconds of each job on one worker, from a calibration of a few seconds."""
        import torch

        from nas_skeleton.scheduling.forecast import forecast
        from nas_skeleton.scheduling.worker import open_workplace

        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # as in a worker
        try:
            return forecast(open_workplace(self.assignment), jobs, self.means.engine)
        finally:
            torch.set_num_threads(threads)

    def execute(self, jobs: list[Job], on_outcome: Callable[[Outcome], None]) -> None:
        """Train `jobs` with worker processes.

        Raises:
            StoppedEarly: on a signal; everything is saved.
            InputError: another process works on this run, or the disk is full.
        """
        from nas_skeleton.results import schema
        from nas_skeleton.scheduling.local import run_jobs
        from nas_skeleton.scheduling.worker import open_workplace

        def record(outcome: Outcome) -> None:
            if outcome.status == schema.FAILED:  # its worker is dead and could not write the row
                place = open_workplace(self.assignment)
                row = schema.identity_columns(outcome.job, self.space, place.cost(outcome.job))
                place.writer.append({**row, "status": outcome.status, "error": outcome.error})
            on_outcome(outcome)

        with self.locked():
            run_jobs(self.assignment, jobs, self.means.workers, record)

    def execute_here(self, job: Job, on_epoch: Callable[[EpochRecord], None]) -> Outcome:
        """Train one job in this process, which hears of every evaluated epoch.

        Raises:
            StoppedEarly: on a signal; everything is saved.
            InputError: another process works on this run, or the disk is full.
        """
        import torch

        from nas_skeleton.scheduling import worker
        from nas_skeleton.scheduling.local import STOPPED_MESSAGE, Signals

        torch.set_num_threads(1)
        with self.locked(), Signals().handled() as signals:
            outcome = worker.train(
                self.assignment, job, on_epoch, should_stop=lambda: signals.received > 0
            )
        if outcome.status == worker.STOPPED:
            raise StoppedEarly(STOPPED_MESSAGE)
        return outcome

    @contextmanager
    def locked(self) -> Iterator[None]:
        """While inside, no other process of this machine trains the same run.

        Raises:
            InputError: another process does.
        """
        try:
            with filelock.FileLock(self.run.folder / ".lock", blocking=False):
                yield
        except filelock.Timeout:
            raise InputError(
                f"run {self.run.name!r} is being trained by another process: wait for it, stop it, "
                "or choose another --run"
            ) from None

    def leaderboard(self) -> Leaderboard:
        """The run's architectures, ranked on validation."""
        return run_leaderboard(self.run, self.space)


def start_campaign(
    space: Space,
    dataset: Dataset,
    means: Means,
    *,
    recipe: str | None = None,
    protocol: str | None = None,
    strategy: str = "random",
    seeds: list[int],
    trials: int | None = None,
    one_per_class: bool = False,
    archs: list[int] | None = None,
    name: str | None = None,
) -> Campaign:
    """Start a run, or continue it where the same arguments started one before.

    Args:
        space: what to search in.
        dataset: what to train on.
        means: workers, device, engine.
        recipe: None for the space's default.
        protocol: None for the data set's default.
        strategy: "random" or "exhaustive"; not used when `archs` lists the architectures.
        seeds: every architecture is trained with each; the first one steers the strategy.
        trials: number of architectures, None for all.
        one_per_class: with "exhaustive", train one architecture per functional class.
        archs: the architectures themselves, instead of a strategy.
        name: of the folder under runs/; None names it after the arguments.

    Raises:
        InputError: an unknown name, a protocol without training clips, a run folder that belongs to
            other arguments, or one that cannot be written.
    """
    recipe = recipe or space.card.default_recipe
    protocol = protocol or dataset.card.default_protocol
    arguments = Arguments(
        space=space.name,
        dataset=dataset.name,
        fingerprint=dataset.split_fingerprint(protocol),
        protocol=protocol,
        recipe=recipe,
        recipe_hash=space.card.recipe_hash(recipe),
        strategy=strategy,
        seeds=seeds,
        trials=trials,
        one_per_class=one_per_class,
        archs=archs,
    )
    run = start_run(name or default_name(arguments), arguments, data_facts(dataset, protocol))
    return Campaign(run, space, dataset, means)


def data_facts(dataset: Dataset, protocol: str) -> DataFacts:
    """What a run keeps of its data: names and labels of clips, no coordinates."""
    return DataFacts(
        classes=list(dataset.classes),
        joints=len(dataset.layout.joints),
        bodies=dataset.bodies,
        splits={
            part: Clips([dataset.ids[i] for i in clips], dataset.labels[clips].tolist())
            for part, clips in dataset.split(protocol).items()
        },
    )


def default_name(arguments: Arguments) -> str:
    """A run's name from its arguments, without the number of trials, which may grow."""
    if arguments.archs is None:
        what = arguments.strategy + ("-one-per-class" if arguments.one_per_class else "")
    else:
        what = "train-" + "-".join(map(str, arguments.archs))
    parts = (
        arguments.space,
        arguments.dataset,
        arguments.protocol,
        arguments.recipe,
        what,
        "-".join(map(str, arguments.seeds)),
    )
    return "_".join(parts)

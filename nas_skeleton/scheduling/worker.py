"""A worker: a process that trains one group of jobs after the other and writes each row itself.

Data set, space and store are opened once per process, at its first group, so that a mistake in them
reaches the parent as an ordinary error. A worker whose parent is gone stops at the next batch.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from nas_skeleton.scheduling import signals
from nas_skeleton.training.job import Job

if TYPE_CHECKING:
    from nas_skeleton.results.run import Run
    from nas_skeleton.results.store import ResultWriter
    from nas_skeleton.skeletons.store import Dataset
    from nas_skeleton.spaces import Cost, Space
    from nas_skeleton.training.engines import EngineName
    from nas_skeleton.training.result import EpochRecord, Measured
    from nas_skeleton.training.task import Task


@dataclass(frozen=True)
class Assignment:
    """What all jobs of a run have in common; `side_by_side` of them at most make a group."""

    run: str
    engine: EngineName
    side_by_side: int
    device: Literal["cpu", "cuda"]
    checkpoint_every_s: float


@dataclass(frozen=True)
class Outcome:
    """What the parent hears about a job; the row is already in the store, unless its worker died.

    `valid_top1` is in [0, 1], None where there is no validation set or no finished training.
    `fallback` says why the training left the engine it was meant for, if it did.
    """

    job: Job
    status: str
    valid_top1: float | None = None
    train_time_s: float = 0.0
    error: str = ""
    fallback: str = ""
    worker_died: bool = False


STOPPED = "stopped"  # an outcome that is no row: the checkpoint goes on another time

_stop: Event | None = None
_parent = 0
_place: Workplace | None = None


def initialise(stop: Event, parent: int) -> None:
    """Set up this process as a worker; signals are left to the parent."""
    global _stop, _parent
    _stop, _parent = stop, parent
    signals.ignore()


def asked_to_stop() -> bool:
    """Whether this process was asked to stop, or its parent is gone."""
    return _stop is not None and (_stop.is_set() or os.getppid() != _parent)


@dataclass(frozen=True)
class Workplace:
    """All a process needs to train any job of one run."""

    run: Run
    space: Space
    dataset: Dataset
    task: Task
    writer: ResultWriter

    def row(self, outcome: Outcome, engine: EngineName) -> dict[str, Any]:
        """The columns of an outcome's row that need no measuring; `engine` was asked for."""
        from nas_skeleton.results import schema

        return {
            **schema.identity_columns(outcome.job, self.space, self.cost(outcome.job)),
            "status": outcome.status,
            "engine": engine,
            "error": outcome.error or None,
        }

    def cost(self, job: Job) -> Cost:
        """Parameters and MACs of the job's network."""
        recipe = self.space.card.recipe(job.recipe)
        *_, joints, bodies = self.task.inputs.shape
        return self.space.cost(
            job.arch_index, recipe, classes=self.task.classes, joints=joints, bodies=bodies
        )


def open_workplace(
    run: Run, space: Space, dataset: Dataset, device: Literal["cpu", "cuda"]
) -> Workplace:
    """Encode the data for a run, on the device.

    Raises:
        InputError: the data or a card is not what the run was started with.
    """
    import torch

    from nas_skeleton.errors import InputError
    from nas_skeleton.results.store import ResultWriter
    from nas_skeleton.training.task import build_task

    arguments = run.arguments
    if dataset.split_fingerprint(arguments.protocol) != arguments.fingerprint:
        raise InputError(f"data set {arguments.dataset!r} is not the one of run {run.name!r}")
    if space.card.recipe_hash(arguments.recipe) != arguments.recipe_hash:
        raise InputError(f"the card of {arguments.space!r} is not the one of run {run.name!r}")
    recipe = space.card.recipe(arguments.recipe)
    task = build_task(space.card, recipe, dataset, arguments.protocol)
    return Workplace(
        run, space, dataset, task.to(torch.device(device)), ResultWriter(run.results_folder)
    )


def work(assignment: Assignment, jobs: Sequence[Job]) -> list[Outcome]:
    """Train a group of jobs in this worker, which opens its workplace at the first one.

    A group that comes up after the worker was asked to stop is left alone.

    Raises:
        InputError: the data or a card changed, or the disk is full or read-only.
    """
    global _place
    if asked_to_stop():
        return [Outcome(job, STOPPED) for job in jobs]
    if _place is None:
        from nas_skeleton.results.run import open_run
        from nas_skeleton.skeletons.store import load_dataset
        from nas_skeleton.spaces import load_space

        run = open_run(assignment.run)
        space = load_space(run.arguments.space)
        dataset = load_dataset(run.arguments.dataset)
        _place = open_workplace(run, space, dataset, assignment.device)
    return list(train(_place, assignment, jobs, should_stop=asked_to_stop))


def train(
    place: Workplace,
    assignment: Assignment,
    jobs: Sequence[Job],
    *,
    should_stop: Callable[[], bool],
    on_epoch: Callable[[EpochRecord], None] = lambda _: None,
) -> Iterator[Outcome]:
    """Train a group of jobs and store each row as it comes, in a worker or in any other process.

    An error in the training itself becomes a failed row with the place it came from: other jobs go
    on.

    Yields:
        What became of each job, after its row is stored.

    Raises:
        InputError: a checkpoint cannot be used, or the disk is full or read-only.
        OSError: the same, where the system says it.
    """
    from nas_skeleton.results import schema
    from nas_skeleton.training.loop import Stopped
    from nas_skeleton.training.train import train_jobs

    left = {job.key: job for job in jobs}
    try:
        for job, result in train_jobs(
            jobs,
            place.space,
            place.task,
            engine=assignment.engine,
            checkpoint_path=lambda job: place.run.checkpoint_path(job.key),
            checkpoint_every_s=assignment.checkpoint_every_s,
            should_stop=should_stop,
            on_epoch=lambda _, record: on_epoch(record),
        ):
            outcome = _outcome(job, result)
            row = place.row(outcome, assignment.engine)
            if isinstance(result, Exception):
                place.writer.append(row)
            else:
                place.writer.append(
                    {**row, **schema.measured_columns(result)},
                    schema.curve_json(result.curve),
                    result.predictions,
                )
            place.run.checkpoint_path(job.key).unlink(missing_ok=True)
            left.pop(job.key, None)
            yield outcome
    except Stopped:
        for job in left.values():
            yield Outcome(job, STOPPED)


def _outcome(job: Job, result: Measured | Exception) -> Outcome:
    """What to tell the parent of a training that ended, finished or not."""
    from nas_skeleton.results import schema
    from nas_skeleton.training.loop import Diverged

    if isinstance(result, Diverged):
        return Outcome(job, schema.DIVERGED, error=str(result))
    if isinstance(result, Exception):
        where = traceback.extract_tb(result.__traceback__)[-1]
        text = f"{type(result).__name__}: {result} ({Path(where.filename).name}:{where.lineno})"
        return Outcome(job, schema.FAILED, error=" ".join(text.split()))
    valid = result.final.accuracy.get("valid")
    return Outcome(
        job,
        schema.DONE,
        valid.top1 if valid else None,
        result.train_time_s,
        fallback=result.fallback,
    )

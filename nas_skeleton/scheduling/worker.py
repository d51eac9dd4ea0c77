"""A worker: a process that trains one job after the other and writes each row itself.

Data set, space and store are opened once per process, at its first job, so that a mistake in them
reaches the parent as an ordinary error. A worker whose parent is gone stops at the next batch.
"""

from __future__ import annotations

import functools
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.synchronize import Event
from typing import TYPE_CHECKING, Literal

from nas_skeleton.training.job import Job

if TYPE_CHECKING:
    import torch

    from nas_skeleton.results.run import Run
    from nas_skeleton.results.store import ResultWriter
    from nas_skeleton.skeletons.store import Dataset
    from nas_skeleton.spaces import Cost, Space
    from nas_skeleton.training.engine import EngineName
    from nas_skeleton.training.result import EpochRecord
    from nas_skeleton.training.task import Task


@dataclass(frozen=True)
class Assignment:
    """What all jobs of a run have in common."""

    run: str
    engine: EngineName
    device: Literal["cpu", "cuda"]
    checkpoint_every_s: float


@dataclass(frozen=True)
class Outcome:
    """What the parent hears about a job; the row itself is already in the store.

    `valid_top1` is in [0, 1], None where there is no validation set or no finished training.
    """

    job: Job
    status: str
    valid_top1: float | None = None
    train_time_s: float = 0.0
    error: str = ""


STOPPED = "stopped"  # an outcome that is no row: the checkpoint goes on another time

_stop: Event | None = None
_parent = 0


def initialise(stop: Event, parent: int) -> None:
    """Set up this process as a worker: one thread, signals left to the parent."""
    import torch

    global _stop, _parent
    _stop, _parent = stop, parent
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)


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

    def cost(self, job: Job) -> Cost:
        """Parameters and MACs of the job's network."""
        recipe = self.space.card.recipe(job.recipe)
        *_, joints, bodies = self.task.inputs.shape
        return self.space.cost(
            job.arch_index, recipe, classes=self.task.classes, joints=joints, bodies=bodies
        )


@functools.lru_cache(maxsize=1)
def open_workplace(assignment: Assignment) -> Workplace:
    """Load space and data of a run, once per process.

    Raises:
        InputError: the data or a card changed since the run was started.
    """
    import torch

    from nas_skeleton.errors import InputError
    from nas_skeleton.results.run import open_run
    from nas_skeleton.results.store import ResultWriter
    from nas_skeleton.skeletons.store import load_dataset
    from nas_skeleton.spaces import load_space
    from nas_skeleton.training.task import build_task

    run = open_run(assignment.run)
    arguments = run.arguments
    space = load_space(arguments.space)
    dataset = load_dataset(arguments.dataset)
    recipe = space.card.recipe(arguments.recipe)
    if dataset.split_fingerprint(arguments.protocol) != arguments.fingerprint:
        raise InputError(f"data set {arguments.dataset!r} changed while run {run.name!r} was going")
    if space.card.recipe_hash(arguments.recipe) != arguments.recipe_hash:
        raise InputError(f"the card of {arguments.space!r} changed while {run.name!r} was going")
    task = build_task(space.card, recipe, dataset, arguments.protocol)
    device: torch.device = torch.device(assignment.device)
    return Workplace(run, space, dataset, task.to(device), ResultWriter(run.results_folder))


def train(
    assignment: Assignment,
    job: Job,
    on_epoch: Callable[[EpochRecord], None] = lambda _: None,
    should_stop: Callable[[], bool] = asked_to_stop,
) -> Outcome:
    """Train one job and store its row, in a worker or in any other process.

    Raises:
        InputError: the data changed, or the disk is full or read-only.
    """
    from nas_skeleton.results import schema
    from nas_skeleton.training.engine import train_job
    from nas_skeleton.training.loop import Diverged, Stopped

    place = open_workplace(assignment)
    checkpoint_path = place.run.checkpoint_path(job.key)
    row = schema.identity_columns(job, place.space, place.cost(job))
    try:
        measured = train_job(
            job,
            place.space,
            place.task,
            engine=assignment.engine,
            checkpoint_path=checkpoint_path,
            checkpoint_every_s=assignment.checkpoint_every_s,
            should_stop=should_stop,
            on_epoch=on_epoch,
        )
    except Stopped:
        return Outcome(job, STOPPED)
    except Diverged as error:
        place.writer.append({**row, "status": schema.DIVERGED, "error": str(error)})
        checkpoint_path.unlink(missing_ok=True)
        return Outcome(job, schema.DIVERGED, error=str(error))
    place.writer.append(
        {**row, **schema.measured_columns(measured)},
        schema.curve_json(measured.curve),
        measured.predictions,
    )
    checkpoint_path.unlink(missing_ok=True)
    valid = measured.final.accuracy.get("valid")
    return Outcome(job, schema.DONE, valid.top1 if valid else None, measured.train_time_s)

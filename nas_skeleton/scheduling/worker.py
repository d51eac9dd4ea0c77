"""A worker: a process that trains one job after the other and writes each row itself.

Data set, space and store are opened once per process, at its first job, so that a mistake in them
reaches the parent as an ordinary error. A worker whose parent is gone stops at the next batch.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable
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
    """What the parent hears about a job; the row is already in the store, unless its worker died.

    `valid_top1` is in [0, 1], None where there is no validation set or no finished training.
    """

    job: Job
    status: str
    valid_top1: float | None = None
    train_time_s: float = 0.0
    error: str = ""
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

    def row(self, outcome: Outcome) -> dict[str, Any]:
        """The columns of an outcome's row that need no measuring."""
        from nas_skeleton.results import schema

        identity = schema.identity_columns(outcome.job, self.space, self.cost(outcome.job))
        return {**identity, "status": outcome.status, "error": outcome.error or None}

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


def work(assignment: Assignment, job: Job) -> Outcome:
    """Train one job in this worker, which opens its workplace at the first one.

    Raises:
        InputError: the data or a card changed, or the disk is full or read-only.
    """
    from nas_skeleton.results.run import open_run
    from nas_skeleton.skeletons.store import load_dataset
    from nas_skeleton.spaces import load_space

    global _place
    if _place is None:
        run = open_run(assignment.run)
        space = load_space(run.arguments.space)
        dataset = load_dataset(run.arguments.dataset)
        _place = open_workplace(run, space, dataset, assignment.device)
    return train(_place, assignment, job, should_stop=asked_to_stop)


def train(
    place: Workplace,
    assignment: Assignment,
    job: Job,
    *,
    should_stop: Callable[[], bool],
    on_epoch: Callable[[EpochRecord], None] = lambda _: None,
) -> Outcome:
    """Train one job and store its row, in a worker or in any other process.

    An error in the training itself becomes a failed row with the place it came from: other jobs go
    on.

    Raises:
        InputError: a checkpoint cannot be used, or the disk is full or read-only.
        OSError: the same, where the system says it.
    """
    from nas_skeleton.errors import InputError
    from nas_skeleton.results import schema
    from nas_skeleton.training.engine import train_job
    from nas_skeleton.training.loop import Diverged, Stopped

    checkpoint_path = place.run.checkpoint_path(job.key)
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
        outcome = Outcome(job, schema.DIVERGED, error=str(error))
    except (InputError, OSError):
        raise
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        text = f"{type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno})"
        outcome = Outcome(job, schema.FAILED, error=" ".join(text.split()))
    else:
        valid = measured.final.accuracy.get("valid")
        outcome = Outcome(job, schema.DONE, valid.top1 if valid else None, measured.train_time_s)
        place.writer.append(
            {**place.row(outcome), **schema.measured_columns(measured)},
            schema.curve_json(measured.curve),
            measured.predictions,
        )
    if outcome.status != schema.DONE:
        place.writer.append(place.row(outcome))
    checkpoint_path.unlink(missing_ok=True)
    return outcome

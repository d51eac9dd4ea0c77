"""What the scheduler costs by itself: a real campaign of trainings that do nothing.

Scheduler, worker processes, claims and store are the real ones, and rows, curves and predictions
are as large as those of real trainings; only `training.train.train_jobs` is replaced. It runs in
the working folder, where runs lie: what is stored is synced to that disk, row by row.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas_skeleton.benchmarks.bookkeeping import Watch, scratch_campaign, scratch_folder
from nas_skeleton.benchmarks.settings import Setting
from nas_skeleton.errors import InputError
from nas_skeleton.scheduling.means import Means
from nas_skeleton.scheduling.outcome import Outcome
from nas_skeleton.scheduling.signals import Signals
from nas_skeleton.spaces import Space
from nas_skeleton.training.job import Job
from nas_skeleton.training.result import SPLITS, Accuracy, EpochRecord, Measured
from nas_skeleton.training.task import Task

EVALUATIONS = 3  # epochs in a learning curve


@dataclass(frozen=True)
class NoOp:
    """What trainings cost that do nothing.

    Attributes:
        trainings: how many there were.
        workers: in how many processes.
        ms_per_training: of one worker: its time over its trainings, from the first result on.
        per_second: trainings per second of all workers together.
        startup_s: seconds from the start to the first result, mostly loading PyTorch.
        ending_s: seconds from the last result to the end.
        planning_s: seconds to find out what is missing: nothing, after the run.
    """

    trainings: int
    workers: int
    ms_per_training: float
    per_second: float
    startup_s: float
    ending_s: float
    planning_s: float


def measure_no_op(
    space: Space, dataset: str, setting: Setting, means: Means, trainings: int, watch: Watch
) -> NoOp:
    """Run so many trainings, at least two, that do nothing.

    Raises:
        InputError: one of them failed, or is missing or there twice in the end.
        StoppedEarly: a signal came.
    """
    means = replace(means, side_by_side=1, train=train_nothing)
    with scratch_folder(), Signals().handled() as signals:
        campaign = scratch_campaign(space, dataset, setting, means, trainings, "no-op")
        advance = watch(trainings)
        ended: list[float] = []

        def on_outcome(outcome: Outcome) -> None:
            if outcome.error:
                raise InputError(f"no-op: a training failed: {outcome.error}")
            ended.append(time.perf_counter())
            advance()

        started = time.perf_counter()
        campaign.execute(campaign.jobs, signals, on_outcome)
        finished = time.perf_counter()
        rows = campaign.run.rows(["key"])["key"]
        if len(ended) != trainings or sorted(rows) != sorted(job.key for job in campaign.jobs):
            raise InputError(f"no-op: {len(rows)} rows of {trainings} trainings: a bug")
        looked = time.perf_counter()
        campaign.remaining()
        planning_s = time.perf_counter() - looked
    per_second = (trainings - 1) / (ended[-1] - ended[0])
    return NoOp(
        trainings=trainings,
        workers=means.workers,
        ms_per_training=1e3 * means.workers / per_second,
        per_second=per_second,
        startup_s=ended[0] - started,
        ending_s=finished - ended[-1],
        planning_s=planning_s,
    )


def train_nothing(
    jobs: Sequence[Job], _space: Space, task: Task, **_: Any
) -> Iterator[tuple[Job, Measured | Exception]]:
    """In place of `training.train.train_jobs`: results of the usual size, without a step."""
    accuracy = Accuracy(1 / 3, 2 / 3, 1 / 3)
    record = EpochRecord(
        1, 0.01, 1 / 3, {split: accuracy for split in SPLITS if split in task.splits}
    )
    predictions: dict[str, NDArray[np.int16]] = {
        split: np.zeros(len(task.splits[split]), dtype=np.int16)
        for split in ("valid", "test")
        if split in task.splits
    }
    for job in jobs:
        yield (
            job,
            Measured(
                curve=[replace(record, epoch=epoch + 1) for epoch in range(EVALUATIONS)],
                predictions=predictions,
                train_time_s=0.0,
                latency_s=0.0,
                peak_memory_bytes=0,
                engine="none",
                fallback="",
                device="cpu",
                precision="float32",
            ),
        )

"""Stored trainings that are done once more, to see whether they come out as stored.

In this process, one group after the other, and nothing of it is written anywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

from nas_skeleton.errors import InputError, StoppedEarly
from nas_skeleton.results.finished import Finished
from nas_skeleton.results.repetition import Repetition, compared
from nas_skeleton.scheduling.means import Device, EngineChoice, Means, choose_means
from nas_skeleton.scheduling.plan import in_groups, job_of
from nas_skeleton.scheduling.worker import open_task
from nas_skeleton.skeletons.store import Dataset
from nas_skeleton.spaces import SearchSpace, Space
from nas_skeleton.training.result import ANALYTIC, Measured

if TYPE_CHECKING:
    from nas_skeleton.training.task import Task


def means_of(
    row: Mapping[Any, Any], space: SearchSpace, device: Device | None, engine: EngineChoice | None
) -> Means:
    """What to repeat a stored training with: what trained it, where this machine can; else "auto".

    Args:
        row: with the columns `engine` and `device`, as every finished training has them.
        space: of the trainings.
        device: to take instead of the stored one.
        engine: likewise.

    Raises:
        InputError: a device or an engine that was asked for cannot be used here.
    """
    cells = isinstance(space, Space)
    on: Device = device or ("cpu" if row["device"] == "cpu" else "auto")
    if engine is not None:
        return choose_means(on, "1", engine, cells=cells)
    try:
        return choose_means(on, "1", row["engine"].partition("+")[0], cells=cells)
    except InputError:
        return choose_means(on, "1", "auto", cells=cells)


def repetitions(
    finished: Finished,
    dataset: Dataset,
    rows: pd.DataFrame,
    *,
    device: Device | None = None,
    engine: EngineChoice | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[Repetition]:
    """Train some finished rows again, by the recipe they were trained with.

    Yields:
        Each as it ends, in no particular order.

    Raises:
        InputError: the data or the card is no longer what the rows were trained with.
        StoppedEarly: `should_stop` said so.
    """
    from nas_skeleton.training.loop import Stopped
    from nas_skeleton.training.train import train_jobs

    kept = dict(zip(rows["key"], finished.read(rows), strict=True))
    groups: dict[Means, dict[str, Mapping[Any, Any]]] = {}
    filled_in = []
    for row in rows.to_dict("records"):
        if row["engine"] == ANALYTIC:
            filled_in.append(row)
        else:
            groups.setdefault(means_of(row, finished.space, device, engine), {})[row["key"]] = row
    if filled_in:
        task = _task(finished, dataset, "cpu")
        for row in filled_in:
            yield compared(row, kept[row["key"]], _filled(row, finished, task))
    for means, own in groups.items():
        task = _task(finished, dataset, means.device)
        jobs = [job_of(finished.arguments, row["arch_index"], row["seed"]) for row in own.values()]
        for group in in_groups(jobs, 1, means.side_by_side):
            try:
                for job, result in train_jobs(
                    group, finished.space, task, engine=means.engine, should_stop=should_stop
                ):
                    yield compared(own[job.key], kept[job.key], result)  # type: ignore[arg-type]
            except Stopped:
                raise StoppedEarly(
                    "stopped by a signal: nothing is kept of a verification; run the same command "
                    "again, or ask for a smaller --sample"
                ) from None


def _task(finished: Finished, dataset: Dataset, device: Literal["cpu", "cuda"]) -> Task:
    return open_task(finished.title, finished.arguments, finished.space, dataset, device)


def _filled(row: Mapping[Any, Any], finished: Finished, task: Task) -> Measured:
    """What a row comes to that was filled in without training."""
    from nas_skeleton.training.candidates import Problem
    from nas_skeleton.training.constant import constant_result

    space = finished.space
    problem = Problem(space.card, space.card.recipe(finished.arguments.recipe), task)
    job = job_of(finished.arguments, row["arch_index"], row["seed"])
    result = constant_result(job, space.architecture(job.arch_index), problem)
    assert isinstance(result, Measured)  # the job is a whole one
    return result

"""Trainings of a run that are done once more, to see whether they come out as stored.

In this process, one group after the other, and nothing of it is written anywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pandas as pd

from nas_skeleton.errors import InputError, StoppedEarly
from nas_skeleton.results.run import Run
from nas_skeleton.results.verification import Repetition, compared
from nas_skeleton.scheduling.means import Device, EngineChoice, Means, choose_means
from nas_skeleton.scheduling.plan import in_groups, job_of
from nas_skeleton.scheduling.worker import open_workplace
from nas_skeleton.skeletons.store import Dataset
from nas_skeleton.spaces import SearchSpace, Space
from nas_skeleton.training.result import ANALYTIC, Measured


def means_of(
    row: Mapping[Any, Any], space: SearchSpace, device: Device | None, engine: EngineChoice | None
) -> Means:
    """What to repeat a stored training with: what trained it, where this machine can; else "auto".

    Args:
        row: with the columns `engine` and `device`.
        space: of its run.
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
    run: Run,
    space: SearchSpace,
    dataset: Dataset,
    rows: pd.DataFrame,
    *,
    device: Device | None = None,
    engine: EngineChoice | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[Repetition]:
    """Train rows of `drawn_rows` again, by the recipe they were trained with.

    Yields:
        Each as it ends, in no particular order.

    Raises:
        InputError: the data or the card is no longer what the run was trained with.
        StoppedEarly: `should_stop` said so.
    """
    from nas_skeleton.training.loop import Stopped
    from nas_skeleton.training.train import train_jobs

    groups: dict[Means, dict[str, Mapping[Any, Any]]] = {}
    for row in rows.to_dict("records"):
        if row["engine"] == ANALYTIC:
            yield compared(row, _filled(row, run, space, dataset))
            continue
        means = means_of(row, space, device, engine)
        groups.setdefault(means, {})[row["key"]] = row
    for means, own in groups.items():
        place = open_workplace(run, space, dataset, means.device)
        jobs = [job_of(run.arguments, row["arch_index"], row["seed"]) for row in own.values()]
        for group in in_groups(jobs, 1, means.side_by_side):
            try:
                for job, result in train_jobs(
                    group, space, place.task, engine=means.engine, should_stop=should_stop
                ):
                    yield compared(own[job.key], result)  # type: ignore[arg-type]
            except Stopped:
                raise StoppedEarly(
                    "stopped by a signal: nothing is kept of a verification; run the same command "
                    "again, or ask for a smaller --sample"
                ) from None


def _filled(row: Mapping[Any, Any], run: Run, space: SearchSpace, dataset: Dataset) -> Measured:
    """What a row comes to that was filled in without training."""
    from nas_skeleton.training.candidates import Problem
    from nas_skeleton.training.constant import constant_result

    place = open_workplace(run, space, dataset, "cpu")
    problem = Problem(space.card, space.card.recipe(run.arguments.recipe), place.task)
    job = job_of(run.arguments, row["arch_index"], row["seed"])
    result = constant_result(job, space.architecture(job.arch_index), problem)
    assert isinstance(result, Measured)  # the job is a whole one
    return result

"""A worker: trains one group of jobs after the other and stores each row itself.

It works in a process of its own (`local`, `ray`) or in the command's (`train`). Data set, space and
store are opened once, at the first group, so that a mistake in them reaches the parent as an
ordinary error.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from nas_skeleton.results import schema
from nas_skeleton.results.run import Arguments, Run, open_run
from nas_skeleton.results.scores import write_scores
from nas_skeleton.results.store import ResultWriter
from nas_skeleton.scheduling.claims import Claims
from nas_skeleton.scheduling.outcome import ELSEWHERE, STOPPED, Outcome, Settled
from nas_skeleton.scheduling.presence import Beat, Presence
from nas_skeleton.spaces import Cell, Space
from nas_skeleton.spaces.liveness import ignores_input
from nas_skeleton.training.job import Job

if TYPE_CHECKING:
    from nas_skeleton.skeletons.layouts import Layout
    from nas_skeleton.skeletons.store import Dataset
    from nas_skeleton.spaces import Cost, SearchSpace
    from nas_skeleton.training.engines import EngineName
    from nas_skeleton.training.result import EpochRecord, Measured, Paused
    from nas_skeleton.training.task import Task


Train = Callable[..., Iterator[tuple[Job, "Measured | Paused | Exception"]]]
"""What trains a group of jobs: `training.train.train_jobs`, or what stands in for it."""


@dataclass(frozen=True)
class Assignment:
    """What all jobs of a command have in common; `side_by_side` of them at most make a group.

    `shard` is for people who look at the workers of a run; empty if the command has all of it.
    `looks` are epochs after which trainings are evaluated, besides those of the recipe.
    `train` is None for `training.train.train_jobs`. `keep_scores`: whether class scores of finished
    trainings are kept; `keep_weights`: whether weights are, but for cells that are not trained.
    """

    run: str
    engine: EngineName
    side_by_side: int
    device: Literal["cpu", "cuda"]
    checkpoint_every_s: float
    shard: str = ""
    train: Train | None = None
    keep_scores: bool = False
    keep_weights: bool = False
    looks: tuple[int, ...] = ()


@dataclass(frozen=True)
class Workplace:
    """What a process needs to train any job of one run."""

    run: Run
    space: SearchSpace
    task: Task

    def cost(self, job: Job) -> Cost:
        """Parameters and MACs of the job's network."""
        return cost_of(job, self.run, self.space, self.task.layout)


def open_workplace(
    run: Run,
    space: SearchSpace,
    dataset: Dataset,
    device: Literal["cpu", "cuda"],
    *,
    verify: bool = True,
) -> Workplace:
    """Encode the data for a run, on the device.

    Inputs that cannot be kept on the disk are said on standard error: a command shows that to its
    user, a worker process writes it into its log. `verify` compares kept inputs with their checksum
    however large they are; a command does so once for all its workers.

    Raises:
        InputError: the data or a card is not what the run was started with.
    """
    task = open_task(f"run {run.name!r}", run.arguments, space, dataset, device, verify=verify)
    return Workplace(run, space, task)


def open_task(
    title: str,
    arguments: Arguments,
    space: SearchSpace,
    dataset: Dataset,
    device: Literal["cpu", "cuda"],
    *,
    verify: bool = True,
) -> Task:
    """Encode the data as trainings with these arguments saw it, on the device.

    `title` is what an error calls those trainings; all else is as in `open_workplace`.

    Raises:
        InputError: the data or the card is not what they were trained with.
    """
    import torch

    from nas_skeleton.errors import InputError
    from nas_skeleton.training.aim import clips_fingerprint
    from nas_skeleton.training.task import build_task

    if clips_fingerprint(dataset, space.card, arguments.protocol) != arguments.fingerprint:
        raise InputError(
            f"data set {arguments.dataset!r} is not the one of {title}: its clips, or who "
            f"is in which part of protocol {arguments.protocol!r}, changed"
            + (
                ", or its A-links did: copy the folder `links` beside its prepared store"
                if space.card.aim
                else ""
            )
        )
    if space.card.recipe_hash(arguments.recipe) != arguments.recipe_hash:
        raise InputError(
            f"the card of {arguments.space!r} is not the one of {title}: its input, stem, "
            f"macro skeleton or recipe {arguments.recipe!r} changed since"
        )
    recipe = space.card.recipe(arguments.recipe)
    task = build_task(space.card, recipe, dataset, arguments.protocol, _say, verify=verify)
    return task.to(torch.device(device))


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def cost_of(job: Job, run: Run, space: SearchSpace, layout: Layout) -> Cost:
    """Parameters and MACs of a job's network: a cell's on paper, dead edges included."""
    data = run.data
    if not isinstance(space, Space):
        from nas_skeleton.training.costs import model_cost

        return model_cost(
            space.card,
            job.recipe,
            space.architecture(job.arch_index),
            classes=len(data.classes),
            layout=layout,
            bodies=data.bodies,
            channels=data.channels,
        )
    return space.cost(
        job.arch_index,
        space.card.recipe(job.recipe),
        classes=len(data.classes),
        joints=data.joints,
        bodies=data.bodies,
        channels=data.channels,
    )


def row_of(
    outcome: Outcome, run: Run, space: SearchSpace, layout: Layout, engine: EngineName
) -> dict[str, Any]:
    """The columns of an outcome's row that need no measuring; `engine` was asked for."""
    cost = cost_of(outcome.job, run, space, layout)
    return {
        **schema.identity_columns(outcome.job, space, cost),
        "status": outcome.status,
        "engine": engine,
        "error": outcome.error or None,
    }


class Worker:
    """Claims, trains and stores, until it is closed.

    Args:
        assignment: what to do it with.
        presence: how it introduces itself.
        place: where to train; None to open it at the first group.
        parent: the process that this one must not outlive for long, if there is one.
    """

    def __init__(
        self,
        assignment: Assignment,
        presence: Presence,
        place: Workplace | None = None,
        parent: int | None = None,
    ) -> None:
        self.assignment = assignment
        self._run = place.run if place else open_run(assignment.run)
        self._place = place
        self._beat = Beat(self._run.folder, presence, parent)
        self._claims = Claims(self._run.folder, presence.worker)
        self._settled = Settled(self._run)
        self._writer = ResultWriter(self._run.results_folder, presence.worker)

    def close(self) -> None:
        """Take leave."""
        self._beat.close()

    def work(
        self,
        jobs: Sequence[Job],
        *,
        should_stop: Callable[[], bool],
        on_epoch: Callable[[EpochRecord], None] = lambda _: None,
        on_begun: Callable[[], None] = lambda: None,
    ) -> Iterator[Outcome]:
        """Train those of a group of jobs that nobody else is at and that are not done by now.

        A group that comes up after the worker was asked to stop is left alone. `on_begun` is told
        when PyTorch and the data are loaded and the training itself begins.

        Yields:
            What became of each job, after its row is stored.

        Raises:
            InputError: the data or a card changed, a checkpoint cannot be used, or the disk is full
                or read-only.
            OSError: the same, where the system says it.
            torch.AcceleratorError: this process cannot use its GPU any more.
        """
        if should_stop():
            yield from (Outcome(job, STOPPED) for job in jobs)
            return
        left: dict[str, Job] = {}
        try:
            for job in jobs:
                holder = self._claims.take(job.key)
                if holder is None:
                    left[job.key] = job
                else:
                    yield Outcome(job, ELSEWHERE, holder=holder)
            # Looked up after the claims: what was stored before they were free is seen now.
            for outcome in self._settled.outcomes(list(left.values())):
                self._claims.release(left.pop(outcome.job.key).key)
                yield outcome
            if left:
                self._opened()
                on_begun()
                yield from self._train(left, should_stop, on_epoch)
        finally:
            self._beat.say(jobs=[], epoch=0)
            for key in left:
                self._claims.release(key)

    def _train(
        self,
        left: dict[str, Job],
        should_stop: Callable[[], bool],
        on_epoch: Callable[[EpochRecord], None],
    ) -> Iterator[Outcome]:
        """Train the claimed jobs of `left`, which they leave as they end.

        An error in the training itself becomes a failed row with the place it came from: other jobs
        go on.
        """
        from nas_skeleton.training.loop import Stopped

        place = self._opened()
        epochs = place.space.card.recipe(place.run.arguments.recipe).epochs
        epochs = max(job.until or epochs for job in left.values())
        pairs = [(job.arch_index, job.seed) for job in left.values()]
        self._beat.say_now(jobs=pairs, epoch=0, epochs=epochs)

        def hear(_: Job, record: EpochRecord) -> None:
            self._beat.say(epoch=record.epoch)
            on_epoch(record)

        try:
            for job, result in self._results(list(left.values()), place, should_stop, hear):
                outcome = self._store(job, result)
                self._claims.release(job.key)
                left.pop(job.key, None)
                yield outcome
        except Stopped:
            for job in left.values():
                yield Outcome(job, STOPPED)

    def _results(
        self,
        jobs: Sequence[Job],
        place: Workplace,
        should_stop: Callable[[], bool],
        on_epoch: Callable[[Job, EpochRecord], None],
    ) -> Iterator[tuple[Job, Measured | Paused | Exception]]:
        """What the jobs come to; cells that ignore their input are filled in, never trained.

        Not for their weights either, which are therefore not kept: one training has one result.

        Raises:
            Stopped: as `train_jobs`.
        """
        from nas_skeleton.training.candidates import Problem
        from nas_skeleton.training.constant import constant_result
        from nas_skeleton.training.train import train_jobs

        space, arguments = place.space, self.assignment
        problem = Problem(space.card, space.card.recipe(place.run.arguments.recipe), place.task)
        to_train = []
        for job in jobs:
            arch = space.architecture(job.arch_index)
            if isinstance(arch, Cell) and ignores_input(arch):
                yield job, constant_result(job, arch, problem, arguments.looks)
            else:
                to_train.append(job)
        if not to_train:
            return
        yield from (arguments.train or train_jobs)(
            to_train,
            space,
            place.task,
            engine=arguments.engine,
            checkpoint_path=lambda job: place.run.checkpoint_path(job.key),
            checkpoint_every_s=arguments.checkpoint_every_s,
            **self._further(place.run),
            should_stop=should_stop,
            on_epoch=on_epoch,
        )

    def _further(self, run: Run) -> dict[str, Any]:
        """What `train_jobs` is told of weights to keep and epochs to look at, if there are any."""
        further: dict[str, Any] = {}
        if self.assignment.keep_weights:
            further["weights_path"] = lambda job, which: run.weights_path(job.key, which)
        if self.assignment.looks:
            further["looks"] = self.assignment.looks
        return further

    def _store(self, job: Job, result: Measured | Paused | Exception) -> Outcome:
        """Store what became of a job, unless somebody took it over meanwhile."""
        if not self._claims.held(job.key):
            return Outcome(job, ELSEWHERE)
        from nas_skeleton.training.result import Paused

        place = self._opened()
        outcome = _outcome(job, result)
        row = row_of(outcome, place.run, place.space, place.task.layout, self.assignment.engine)
        if isinstance(result, Exception):
            self._writer.append(row)
        elif isinstance(result, Paused):
            paused = {**row, **schema.paused_columns(result)}
            self._writer.append(paused, schema.curve_json(result.curve))
            return outcome  # its checkpoint stays
        else:
            if self.assignment.keep_scores:
                write_scores(place.run.scores_path(job.key), result.scores)
            self._writer.append(
                {**row, **schema.measured_columns(result)},
                schema.curve_json(result.curve),
                result.predictions,
            )
        place.run.checkpoint_path(job.key).unlink(missing_ok=True)
        presence, bad = self._beat.presence, outcome.status != schema.DONE
        self._beat.say(done=presence.done + (not bad), failed=presence.failed + bad)
        return outcome

    def _opened(self) -> Workplace:
        if self._place is None:
            from nas_skeleton.skeletons.store import load_dataset
            from nas_skeleton.spaces import load_any_space

            arguments = self._run.arguments
            self._place = open_workplace(
                self._run,
                load_any_space(arguments.space, arguments.modality),
                load_dataset(arguments.dataset),
                self.assignment.device,
                verify=False,
            )
        return self._place


def _outcome(job: Job, result: Measured | Paused | Exception) -> Outcome:
    """What to tell the parent of a training that ended, finished or not."""
    from nas_skeleton.training.loop import Diverged
    from nas_skeleton.training.result import Paused

    if isinstance(result, Diverged):
        return Outcome(job, schema.DIVERGED, error=str(result))
    if isinstance(result, Exception):
        where = traceback.extract_tb(result.__traceback__)[-1]
        text = f"{type(result).__name__}: {result} ({Path(where.filename).name}:{where.lineno})"
        return Outcome(job, schema.FAILED, error=" ".join(text.split()))
    if isinstance(result, Paused):
        return Outcome(
            job, schema.PAUSED, train_time_s=result.train_time_s, fallback=result.fallback
        )
    valid = result.final.accuracy.get("valid")
    return Outcome(
        job,
        schema.DONE,
        valid.top1 if valid else None,
        result.train_time_s,
        fallback=result.fallback,
    )

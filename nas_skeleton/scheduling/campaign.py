"""A campaign: a run, its jobs, and the means to train those that are left."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import filelock

from nas_skeleton.errors import InputError
from nas_skeleton.results import schema
from nas_skeleton.results.leaderboard import Leaderboard, run_leaderboard
from nas_skeleton.results.run import Arguments, Clips, DataFacts, Run, plan_run
from nas_skeleton.scheduling.plan import missing_jobs, planned_jobs
from nas_skeleton.scheduling.signals import Signals
from nas_skeleton.scheduling.worker import Assignment, Outcome, Workplace
from nas_skeleton.skeletons.store import Dataset
from nas_skeleton.spaces import Space
from nas_skeleton.spaces.card import Recipe
from nas_skeleton.training.engines import SIDE_BY_SIDE, EngineName
from nas_skeleton.training.job import Job
from nas_skeleton.training.result import EpochRecord

Device = Literal["auto", "cpu", "cuda"]
EngineChoice = EngineName | Literal["auto"]
UNPROVEN = "engine cuda-graph is tested on CPUs only so far; --engine fast is plain PyTorch"


@dataclass(frozen=True)
class Means:
    """What to train with.

    `side_by_side` is how many candidates a worker advances together, `remark` a line for the user
    where the choice is not what they would expect, else empty.
    """

    workers: int
    device: Literal["cpu", "cuda"]
    engine: EngineName
    side_by_side: int
    checkpoint_every_s: float
    remark: str = ""


def choose_means(
    device: Device, workers: str, engine: EngineChoice = "auto", checkpoint_every_s: float = 20.0
) -> Means:
    """Turn "auto" into what this machine has: the GPU if there is one, else a worker per core.

    Raises:
        InputError: "cuda" on a machine without a usable GPU, an engine that cannot run here, or not
            a number of workers.
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
    trainer, remark = choose_engine(engine, chosen)
    side_by_side = SIDE_BY_SIDE.get(trainer, 1)
    return Means(count, chosen, trainer, side_by_side, checkpoint_every_s, remark)


def choose_engine(engine: EngineChoice, device: Literal["cpu", "cuda"]) -> tuple[EngineName, str]:
    """The engine, and a remark for the user where "auto" chose one to know something of.

    Raises:
        InputError: the engine cannot run on this device.
    """
    if device == "cuda" and engine == "native":
        raise InputError("--engine native trains on a CPU: add --device cpu")
    if device == "cpu" and engine == "cuda-graph":
        raise InputError("--engine cuda-graph needs a GPU: use --engine auto")
    if engine != "auto" and engine != "native":
        return engine, ""
    if device == "cuda":
        return "cuda-graph", UNPROVEN
    from nas_skeleton.training.engines.native import available

    why_not = available()
    if not why_not:
        return "native", ""
    if engine == "native":
        raise InputError(f"--engine native cannot run here: {why_not}; use --engine fast")
    return "fast", f"engine fast, for native cannot run here: {why_not}"


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
        """All jobs that were asked for, in the order of training."""
        return list(planned_jobs(self.run.arguments, self.space))

    def remaining(self) -> list[Job]:
        """The jobs without a settled row; those that failed are among them."""
        return missing_jobs(self.run, self.jobs)

    def trained_by_others(self) -> str:
        """A line that says so if some of the run is finished by other engines than it has now."""
        rows = self.run.rows()
        engines = rows.loc[rows["status"] == schema.DONE, "engine"]
        others = engines[engines != self.means.engine].value_counts()
        if others.empty:
            return ""
        counts = ", ".join(f"{count} by {engine}" for engine, count in others.items())
        return (
            f"finished already, and not trained again with {self.means.engine}: {counts}; to "
            "compare engines, give each a --run of its own"
        )

    def forecast(self, jobs: list[Job]) -> list[float]:
        """Predicted seconds of each job on one worker, from a calibration of a few seconds."""
        import torch

        from nas_skeleton.scheduling.forecast import forecast

        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # as in a worker
        try:
            return forecast(self._workplace(), jobs, self.means.engine, self.means.side_by_side)
        finally:
            torch.set_num_threads(threads)

    def execute(
        self, jobs: list[Job], signals: Signals, on_outcome: Callable[[Outcome], None]
    ) -> None:
        """Train `jobs` with worker processes.

        Raises:
            StoppedEarly: on a signal; finished trainings are stored, others have a checkpoint.
            InputError: another process works on this run, or the disk is full.
        """
        from nas_skeleton.scheduling.local import run_jobs

        with self._begun():
            run_jobs(
                self._assignment,
                jobs,
                self.means.workers,
                signals,
                self._recording(on_outcome),
                self._stored,
            )

    def execute_here(
        self, job: Job, signals: Signals, on_epoch: Callable[[EpochRecord], None]
    ) -> Outcome:
        """Train one job in this process, which hears of every evaluated epoch.

        Raises:
            StoppedEarly: on a signal; there is a checkpoint.
            InputError: another process works on this run, or the disk is full.
        """
        from nas_skeleton.scheduling.worker import train

        with self._begun():
            [outcome] = train(
                self._workplace(),
                self._assignment,
                [job],
                should_stop=lambda: signals.received > 0,
                on_epoch=on_epoch,
            )
        signals.check()
        return outcome

    def _workplace(self) -> Workplace:
        from nas_skeleton.scheduling.worker import open_workplace

        return open_workplace(self.run, self.space, self.dataset, self.means.device)

    @property
    def _assignment(self) -> Assignment:
        means = self.means
        return Assignment(
            self.run.name, means.engine, means.side_by_side, means.device, means.checkpoint_every_s
        )

    def _recording(self, on_outcome: Callable[[Outcome], None]) -> Callable[[Outcome], None]:
        """`on_outcome`, but rows of dead workers are written first: they could not do it."""

        def record(outcome: Outcome) -> None:
            if outcome.worker_died:
                place = self._workplace()
                place.writer.append(place.row(outcome, self.means.engine))
            on_outcome(outcome)

        return record

    def _stored(self, jobs: Sequence[Job]) -> list[Outcome]:
        """Outcomes of those of `jobs` that have a settled row in the store."""
        rows = self.run.rows()
        settled = rows[rows["status"] != schema.FAILED].astype(object)
        found = settled.where(settled.notna(), None).set_index("key").to_dict("index")
        return [
            Outcome(
                job,
                row["status"],
                row["final_valid_top1"],
                row["train_time_s"] or 0.0,
                row["error"] or "",
                row["fallback"] or "",
            )
            for job in jobs
            if (row := found.get(job.key))
        ]

    @contextmanager
    def _begun(self) -> Iterator[None]:
        """The run is written down, and no other process of this machine trains it meanwhile.

        Raises:
            InputError: another process does, or the run cannot be written.
        """
        self.run.folder.mkdir(parents=True, exist_ok=True)
        try:
            with filelock.FileLock(self.run.folder / ".lock", blocking=False):
                self.run.write()
                yield
        except filelock.Timeout:
            raise InputError(
                f"run {self.run.name!r} is being trained by another process: wait for it, stop it, "
                "or choose another --run"
            ) from None

    def leaderboard(self) -> Leaderboard:
        """The run's architectures, ranked on validation."""
        return run_leaderboard(self.run)


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
    """Plan a run, or continue the one that the same arguments started; nothing is written yet.

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
        InputError: an unknown name, changed data, a protocol without training clips, a precision
            that the device lacks, or a run folder that belongs to other arguments.
    """
    recipe = recipe or space.card.default_recipe
    check_precision(recipe, space.card.recipe(recipe), means.device)
    dataset.verify()
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
    data = data_facts(dataset, protocol, space)
    return Campaign(
        plan_run(name or default_name(arguments), arguments, data), space, dataset, means
    )


def check_precision(name: str, recipe: Recipe, device: Literal["cpu", "cuda"]) -> None:
    """Nothing, if the device has the precision that the recipe called `name` asks for.

    Raises:
        InputError: it has not.
    """
    if recipe.precision != "float32" and device == "cpu":
        raise InputError(
            f"recipe {name!r} asks for precision {recipe.precision!r}, which needs a GPU"
        )


def data_facts(dataset: Dataset, protocol: str, space: Space) -> DataFacts:
    """What a run keeps of its data: names and labels of clips, no coordinates."""
    return DataFacts(
        classes=list(dataset.classes),
        joints=len(dataset.layout.joints),
        bodies=1 if space.card.input.encoding == "image" else dataset.bodies,
        splits={
            part: Clips([dataset.ids[i] for i in clips], dataset.labels[clips].tolist())
            for part, clips in dataset.split(protocol).items()
        },
    )


def default_name(arguments: Arguments) -> str:
    """A run's name from its arguments, without what may grow: trials, and seeds after the first."""
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
        str(arguments.seeds[0]),
    )
    return "_".join(parts)

"""From jobs to results: trains a group of jobs on an engine, through checkpoints and fallbacks.

Jobs of a group differ in architecture and seed only. They are advanced side by side where the
engine gains by it, and what becomes of one is no concern of the others.
"""

from __future__ import annotations

import copy
import traceback
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nas_skeleton.errors import InputError
from nas_skeleton.network.initialise import derive_seed
from nas_skeleton.spaces import Architecture, SearchSpace
from nas_skeleton.training import checkpoint
from nas_skeleton.training.candidates import Candidates, Problem, State, Unsupported
from nas_skeleton.training.engines import FALLBACK, EngineName, candidates_of
from nas_skeleton.training.job import Job
from nas_skeleton.training.latency import latency
from nas_skeleton.training.loop import Diverged, Loop, Member, Progress, Stopped
from nas_skeleton.training.memory import PeakMemory, is_out_of_memory
from nas_skeleton.training.result import Accuracy, EpochRecord, Measured, Paused, best_on_valid
from nas_skeleton.training.task import Task
from nas_skeleton.training.threads import one_thread

Which = Literal["last", "best"]

LEAST_LOG = -60_000.0  # near the least number of half precision


def train_jobs(
    jobs: Sequence[Job],
    space: SearchSpace,
    task: Task,
    *,
    engine: EngineName = "fast",
    checkpoint_path: Callable[[Job], Path] | None = None,
    checkpoint_every_s: float = 20.0,
    should_stop: Callable[[], bool] = lambda: False,
    on_epoch: Callable[[Job, EpochRecord], None] = lambda _, __: None,
    weights_path: Callable[[Job, Which], Path] | None = None,
    looks: Collection[int] = (),
) -> Iterator[tuple[Job, Measured | Paused | Exception]]:
    """Train `jobs`, all of one recipe, to the end, each from its checkpoint if it has one.

    `task` lies on the device to train on; its precision is the precision of the training. Runs with
    one thread, because the number of threads changes how sums are rounded.

    A job that the engine cannot train goes to the next one of `FALLBACK`, alone; one whose loss is
    not finite is trained again by the plain network, alone, before it counts as diverged. Both are
    said in `Measured.fallback`.

    A job with `until` pauses there, with a checkpoint, which there must be a path for; `looks` are
    epochs after which every training is evaluated, besides those that its recipe names. Neither
    changes what a training comes to.

    Where there is a `weights_path`, weights are written there after the last epoch ("last"), and
    after every evaluated epoch that is the best so far on validation clips ("best"):
    `read_weights` reads them.

    Yields:
        Each job as it ends, with what was measured, `Paused` if it is to go on another time, or the
        exception that ended it: `loop.Diverged` or an error.

    Raises:
        Stopped: `should_stop` said so; what is not finished has its checkpoint.
        InputError: a checkpoint does not fit.
        OSError: a checkpoint cannot be written.
        torch.AcceleratorError: this process cannot use its GPU any more; another one can go on.
    """
    with one_thread():
        recipe = space.card.recipe(jobs[0].recipe)
        group = _Group(
            Problem(space.card, recipe, task),
            checkpoint_path,
            checkpoint_every_s,
            should_stop,
            on_epoch,
            weights_path,
            looks,
        )
        trainings = [group.begin(job, space.architecture(job.arch_index)) for job in jobs]
        for equals in _equally_far(trainings, engine):
            yield from group.train(equals, equals[0].engine(engine))


def train_job(job: Job, space: SearchSpace, task: Task, **options: Any) -> Measured:
    """Train one job as `train_jobs` does, to the end.

    Raises:
        Stopped: as `train_jobs`.
        Diverged: the loss is not finite.
    """
    [(_, outcome)] = train_jobs([job], space, task, **options)
    if isinstance(outcome, Exception):
        raise outcome
    assert isinstance(outcome, Measured)
    return outcome


def read_weights(path: Path, key: str) -> tuple[dict[str, Tensor], int]:
    """What `train_jobs` wrote of the training `key`: weights by name, and after how many epochs.

    Raises:
        InputError: there are none, or the file is damaged.
    """
    saved = checkpoint.load(path, key)
    if saved is None:
        raise InputError(f"{path}: no weights of this training; `train` keeps them")
    return saved["weights"], saved["epoch"]


def training_seed(job: Job) -> int:
    """The seed all randomness of a training comes from: its identity, so no two share a stream."""
    return derive_seed(job.key)


@dataclass
class _Training:
    """A job under way."""

    job: Job
    arch: Architecture
    state: State
    progress: Progress
    average: dict[str, Tensor] = field(default_factory=dict)

    def engine(self, wanted: EngineName) -> EngineName:
        """The engine to go on with: once a training fell back, it stays where it went."""
        if self.progress.fallback:
            return self.progress.engines[-1]  # type: ignore[return-value]
        return wanted


def _equally_far(trainings: Sequence[_Training], engine: EngineName) -> list[list[_Training]]:
    """The trainings in groups that have done the same number of steps and go on alike."""
    groups: dict[tuple[int, int, int | None, EngineName], list[_Training]] = {}
    for training in trainings:
        progress = training.progress
        until = training.job.until
        place = (progress.epoch, progress.step, until, training.engine(engine))
        groups.setdefault(place, []).append(training)
    return list(groups.values())


@dataclass
class _Group:
    """Trains jobs of one problem; its fields are what `train_jobs` was told about all of them."""

    problem: Problem
    checkpoint_path: Callable[[Job], Path] | None
    checkpoint_every_s: float
    should_stop: Callable[[], bool]
    on_epoch: Callable[[Job, EpochRecord], None]
    weights_path: Callable[[Job, Which], Path] | None
    looks: Collection[int]

    def begin(self, job: Job, arch: Architecture) -> _Training:
        """The job as its checkpoint left it, or at its beginning."""
        fresh = self._initial_state(job, arch)
        path = self.checkpoint_path(job) if self.checkpoint_path else None
        saved = checkpoint.load(path, job.key) if path else None
        if path is None or saved is None:
            return _Training(job, arch, fresh, Progress())
        try:
            return _Training(job, arch, *_unpack(saved, like=fresh))
        except (RuntimeError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(
                f"{path}: its contents do not fit this training ({type(error).__name__}): remove "
                "it and run the same command again"
            ) from None

    def train(
        self, trainings: Sequence[_Training], engine: EngineName
    ) -> Iterator[tuple[Job, Measured | Paused | Exception]]:
        """Train as far as they go what is equally far, together if the engine can."""
        error: Exception
        try:
            finished = self._train(trainings, engine)
        except (Stopped, InputError, OSError):
            raise
        except Exception as caught:
            if isinstance(caught, torch.AcceleratorError) and not is_out_of_memory(caught):
                raise  # CUDA is of no use to this process any more
            error = caught
            traceback.clear_frames(error.__traceback__)  # they hold what filled the memory
        else:
            diverged: list[_Training] = []
            for training, outcome in zip(trainings, finished, strict=True):
                if not isinstance(outcome, Diverged):
                    yield training.job, outcome
                elif engine == "reference":
                    yield training.job, Diverged(_reasons(training, engine, outcome))
                else:
                    diverged.append(self.begin_again(training, engine, outcome))
            for training in diverged:  # after the others' results are out of this function's hands
                yield from self.train([training], "reference")
            return
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if len(trainings) > 1:  # find out which of them it was; the others go on together
            half = len(trainings) // 2
            for part in (trainings[:half], trainings[half:]):
                later = [self.begin(training.job, training.arch) for training in part]
                for equals in _equally_far(later, engine):
                    yield from self.train(equals, engine)
        elif (isinstance(error, Unsupported) or is_out_of_memory(error)) and engine in FALLBACK:
            [training] = trainings
            fallen = replace(training.progress, fallback=_reasons(training, engine, error))
            yield from self.train([replace(training, progress=fallen)], FALLBACK[engine])
        else:
            yield trainings[0].job, error

    def begin_again(self, training: _Training, engine: EngineName, error: Exception) -> _Training:
        """The training from its beginning, whatever its checkpoint says, because `engine` failed.

        The time it took so far is forgotten with it.
        """
        progress = Progress(fallback=_reasons(training, engine, error))
        fresh = self._initial_state(training.job, training.arch)
        return _Training(training.job, training.arch, fresh, progress)

    def _train(
        self, trainings: Sequence[_Training], engine: EngineName
    ) -> list[Measured | Paused | Diverged]:
        """Train together on `engine`; `trainings` stay as they were."""
        task = self.problem.task
        peak = PeakMemory(task.device)
        candidates = candidates_of(
            engine, self.problem, [t.arch for t in trainings], [t.state for t in trainings]
        )
        members = []
        for training in trainings:
            progress = copy.deepcopy(training.progress)
            if progress.engines[-1:] != [engine]:
                progress.engines.append(engine)
            members.append(Member(training_seed(training.job), progress, training.average))

        def save(index: int, state: State) -> None:
            assert self.checkpoint_path is not None
            job = trainings[index].job
            checkpoint.save(self.checkpoint_path(job), job.key, _pack(state, members[index]))

        def heard(index: int, record: EpochRecord) -> None:
            if self.weights_path:
                curve = members[index].progress.curve
                self._write_weights(trainings[index].job, curve, candidates, index)
            self.on_epoch(trainings[index].job, record)

        Loop(
            candidates,
            members,
            task,
            self.problem.recipe,
            until=trainings[0].job.until,
            looks=self.looks,
            save=save if self.checkpoint_path else None,
            save_every_s=self.checkpoint_every_s,
            should_stop=self.should_stop,
            on_epoch=heard,
        ).run()
        return [
            Diverged(member.diverged)
            if member.diverged
            else self._paused(member)
            if member.progress.epoch < self.problem.recipe.epochs
            else self._measured(training.arch, member, peak.read())
            for training, member in zip(trainings, members, strict=True)
        ]

    def _write_weights(
        self, job: Job, curve: list[EpochRecord], candidates: Candidates, member: int
    ) -> None:
        """Keep the weights of the epoch at the end of `curve`, if they are the last or the best."""
        assert self.weights_path is not None
        record = curve[-1]
        kinds: list[Which] = ["last"] if record.epoch == self.problem.recipe.epochs else []
        if best_on_valid(curve, self.problem.recipe.evaluate_every) is record:
            kinds.append("best")
        if not kinds:
            return
        state = {"epoch": record.epoch, "weights": candidates.state(member).weights}
        for which in kinds:
            checkpoint.save(self.weights_path(job, which), job.key, state)

    def _paused(self, member: Member) -> Paused:
        progress = member.progress
        return Paused(
            curve=progress.curve,
            train_time_s=progress.train_time_s,
            engine="+".join(progress.engines),
            fallback=progress.fallback,
            device=device_name(self.problem.task.device),
            precision=self._precision(),
        )

    def _measured(self, arch: Architecture, member: Member, peak_memory_bytes: int) -> Measured:
        progress = member.progress
        held_out = {
            split: member.scores[split] for split in ("valid", "test") if split in member.scores
        }
        return Measured(
            curve=progress.curve,
            predictions={
                split: scores.argmax(dim=1).cpu().numpy().astype(np.int16)
                for split, scores in held_out.items()
            },
            train_time_s=progress.train_time_s,
            latency_s=latency(self.problem, arch),
            peak_memory_bytes=peak_memory_bytes,
            engine="+".join(progress.engines),
            fallback=progress.fallback,
            device=device_name(self.problem.task.device),
            precision=self._precision(),
            scores={split: log_probabilities(scores) for split, scores in held_out.items()},
            evaluate_every=self.problem.recipe.evaluate_every,
        )

    def _precision(self) -> str:
        """The recipe's, or that of the clips where a task in float64 asks for more."""
        dtype = self.problem.task.dtype
        if dtype == torch.float32:
            return self.problem.recipe.precision
        return str(dtype).removeprefix("torch.")

    def _initial_state(self, job: Job, arch: Architecture) -> State:
        return self.problem.initial_state(arch, derive_seed(training_seed(job), "weights"))


def _reasons(training: _Training, engine: EngineName, error: Exception) -> str:
    """Why the training left its engines, the last one included."""
    reasons = [training.progress.fallback, f"{engine}: {' '.join(str(error).split())}"]
    return "; ".join(filter(None, reasons))


def _pack(state: State, member: Member) -> dict[str, Any]:
    """Plain values and tensors for a checkpoint."""
    tensors = {"weights": state.weights, "momentum": state.momentum}
    if member.average:
        tensors["average"] = member.average
    return {**tensors, **asdict(member.progress)}


def _unpack(saved: dict[str, Any], like: State) -> tuple[State, Progress, dict[str, Tensor]]:
    """State, progress and average of a checkpoint, if names and shapes are those of `like`."""
    values = {name: saved[name] for name in asdict(Progress())}
    values["curve"] = [
        EpochRecord(
            **{
                **record,
                "accuracy": {
                    split: Accuracy(**accuracy) for split, accuracy in record["accuracy"].items()
                },
            }
        )
        for record in values["curve"]
    ]
    state = State(saved["weights"], saved["momentum"])
    average = saved.get("average", {})
    pairs = [(state.weights, like.weights), (state.momentum, like.momentum)]
    if average:
        pairs.append((average, like.weights))
    for kept, expected in pairs:
        if {k: v.shape for k, v in kept.items()} != {k: v.shape for k, v in expected.items()}:
            raise ValueError("other weights")
    return state, Progress(**values), average


def log_probabilities(scores: torch.Tensor) -> NDArray[np.float16]:
    """Logarithms of the softmax of `(clips, classes)` scores, as they are kept.

    Half precision is 0.1 % of a probability near certainty, and some per cent of one near 1e-7.
    """
    values = torch.log_softmax(scores.double(), dim=1)
    return values.clamp(min=LEAST_LOG).cpu().numpy().astype(np.float16)


def device_name(device: torch.device) -> str:
    """What the training ran on, as people call it: "cpu" or the GPU's product name."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"

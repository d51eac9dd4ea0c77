"""The training loop: SGD, resumable after any batch, for candidates side by side.

Everything random comes from generators derived from a training's own seed and the epoch, so a
training repeats whatever ran before it or beside it, and a resumed one ends as an undisturbed one.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from nas_skeleton.network.initialise import derive_seed
from nas_skeleton.spaces.recipe import TrainingRecipe
from nas_skeleton.training.averaging import (
    ESTIMATION_STEPS,
    averaged,
    averages_after,
    with_statistics,
    without_statistics,
)
from nas_skeleton.training.candidates import Candidates, State, scores_of_clips
from nas_skeleton.training.result import Accuracy, EpochRecord
from nas_skeleton.training.task import Task


class Stopped(Exception):
    """The training was asked to stop; its checkpoint is written."""


class Diverged(Exception):
    """The loss, or a score, is no longer a finite number; the message says in which epoch."""


@dataclass
class Progress:
    """How far one training is, beside its weights.

    `epoch` counts complete epochs, `step` the batches done of the running one, `loss_sum` the
    loss over the clips of those batches. `engines` lists what trained it so far.
    `fallback` says why it left the engine it was meant for, and is empty if it did not.
    """

    epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    train_time_s: float = 0.0
    curve: list[EpochRecord] = field(default_factory=list)
    engines: list[str] = field(default_factory=list)
    fallback: str = ""


@dataclass
class Member:
    """One training of a group.

    `seed` decides the order of clips in every epoch, and what is drawn at random for each.
    `average` are the averaged weights where the recipe has come to that (`averaging`). After the
    loop `scores` holds the class scores of every split after the last epoch, or `diverged` says
    where the loss ceased to be finite.
    """

    seed: int
    progress: Progress
    average: dict[str, Tensor] = field(default_factory=dict)
    scores: dict[str, Tensor] = field(default_factory=dict)
    diverged: str = ""


class Loop:
    """Trains the members of a group in step; all are equally far when it begins.

    Args:
        candidates: the members' networks on some engine.
        members: in the candidates' order.
        task: clips, labels and splits.
        recipe: epochs, batch size, learning rate and how often to evaluate.
        until: epochs to train now, None for the recipe's; the learning rate is that of the whole.
        looks: epochs after which to evaluate, besides those of the recipe.
        save: called with a member's index and state when a checkpoint is due.
        save_every_s: seconds between two checkpoints.
        should_stop: asked after every batch; True saves and raises `Stopped`.
        on_epoch: called with a member's index and every `EpochRecord`.
    """

    def __init__(
        self,
        candidates: Candidates,
        members: Sequence[Member],
        task: Task,
        recipe: TrainingRecipe,
        *,
        until: int | None = None,
        looks: Collection[int] = (),
        save: Callable[[int, State], None] | None = None,
        save_every_s: float = 20.0,
        should_stop: Callable[[], bool] = lambda: False,
        on_epoch: Callable[[int, EpochRecord], None] = lambda _, __: None,
    ) -> None:
        self.candidates = candidates
        self.members = members
        self.task = task
        self.recipe = recipe
        self.until = recipe.epochs if until is None else until
        self.looks = {*looks, self.until}
        self.save = save
        self.save_every_s = save_every_s
        self.should_stop = should_stop
        self.on_epoch = on_epoch
        self._checked = 0.0

    def run(self) -> None:
        """Train to the last epoch asked for; what came of it is in the members.

        Where that is not the recipe's last, the states are saved.

        Raises:
            Stopped: `should_stop` said so; the next run goes on with the next batch.
        """
        self._checked = time.perf_counter()
        clips = clips_per_epoch(self.recipe, len(self.task.splits["train"]))
        sums = [member.progress.loss_sum for member in self.members]
        self.candidates.loss_sums.copy_(torch.tensor(sums, dtype=torch.float64))
        first = self.members[0].progress
        while first.epoch < self.until and not all(m.diverged for m in self.members):
            rate = learning_rate(self.recipe, first.epoch)
            self.candidates.set_learning_rate(rate)
            batches = self._batches(first.epoch, clips)
            for step in range(first.step, len(batches)):
                self._step(batches[step], first.epoch, step)
                for member in self.members:
                    member.progress.step += 1
                self._save_or_stop()
            self._finish_epoch(rate, clips)
        if self.save and self.until < self.recipe.epochs:
            self._save(self.save)
        self._clock()

    def _step(self, ids: Tensor, epoch: int, step: int) -> None:
        """One step of all members on the clips `ids`, `(members, batch)`."""
        seeds = [clips_seed(member.seed, epoch, step) for member in self.members]
        inputs, labels = self.task.training_batch(ids, seeds)
        self.candidates.step(inputs, labels, seeds)

    def _batches(self, epoch: int, clips: int) -> Sequence[Tensor]:
        """The epoch's batches, each `(members, batch)` clip ids on the task's device."""
        train = self.task.splits["train"].cpu()
        orders = [epoch_order(len(train), member.seed, epoch)[:clips] for member in self.members]
        ids = torch.stack([train[order] for order in orders]).to(self.task.device)
        return torch.split(ids, self.recipe.batch_size, dim=1)

    def _finish_epoch(self, rate: float, clips: int) -> None:
        losses = (self.candidates.loss_sums / clips).tolist()
        self.candidates.loss_sums.zero_()
        for member, loss in zip(self.members, losses, strict=True):
            progress = member.progress
            progress.epoch, progress.step, progress.loss_sum = progress.epoch + 1, 0, 0.0
            if not math.isfinite(loss) and not member.diverged:
                member.diverged = f"loss is {loss} in epoch {progress.epoch}"
        epoch = self.members[0].progress.epoch
        last = epoch == self.recipe.epochs
        if averages_after(self.recipe, epoch):
            for member, state in zip(self.members, self.candidates.states(), strict=True):
                member.average = averaged(self.recipe, epoch, member.average, state.weights)
        if epoch % self.recipe.evaluate_every and not last and epoch not in self.looks:
            return
        with self._averages(epoch, clips):
            self._evaluate(epoch, rate, losses)

    @contextmanager
    def _averages(self, epoch: int, clips: int) -> Iterator[None]:
        """While this lasts, the candidates have the averages after `epoch`, if there are any."""
        if not averages_after(self.recipe, epoch):
            yield
            return
        own = self.candidates.states()
        averages = [member.average for member in self.members]
        self._load(own, map(without_statistics, averages))
        self.candidates.set_learning_rate(0.0)
        batches = self._batches(epoch - 1, clips)[:ESTIMATION_STEPS]
        for step, ids in enumerate(batches):
            self._step(ids, epoch - 1, step)
        self.candidates.loss_sums.zero_()
        estimated = [state.weights for state in self.candidates.states()]
        self._load(
            own,
            (
                with_statistics(*pair, len(batches))
                for pair in zip(averages, estimated, strict=True)
            ),
        )
        yield
        self.candidates.load(own)

    def _load(self, states: Sequence[State], weights: Iterable[dict[str, Tensor]]) -> None:
        """Let the candidates have other weights than those of their states."""
        pairs = zip(states, weights, strict=True)
        self.candidates.load([replace(state, weights=values) for state, values in pairs])

    def _evaluate(self, epoch: int, rate: float, losses: list[float]) -> None:
        scores = {
            split: scores_of_clips(self.candidates, self.task, ids)
            for split, ids in self.task.splits.items()
        }
        for index, member in enumerate(self.members):
            if not all(values[index].isfinite().all() for values in scores.values()):
                member.diverged = member.diverged or f"scores are not finite in epoch {epoch}"
            if member.diverged:
                continue
            accuracy = {
                split: measure(values[index], self.task.labels_of(split))
                for split, values in scores.items()
            }
            record = EpochRecord(epoch, rate, losses[index], accuracy)
            member.progress.curve.append(record)
            self.on_epoch(index, record)
            if epoch == self.recipe.epochs:
                member.scores = {split: values[index] for split, values in scores.items()}

    def _clock(self) -> None:
        """Share the time since the last call among the members."""
        now = time.perf_counter()
        for member in self.members:
            member.progress.train_time_s += (now - self._checked) / len(self.members)
        self._checked = now

    def _save_or_stop(self) -> None:
        stop = self.should_stop()
        due = time.perf_counter() - self._checked >= self.save_every_s
        if self.save and (stop or due):
            self._save(self.save)
        if stop:
            raise Stopped

    def _save(self, save: Callable[[int, State], None]) -> None:
        sums = self.candidates.loss_sums.tolist()
        self._clock()
        for index, (member, loss_sum) in enumerate(zip(self.members, sums, strict=True)):
            member.progress.loss_sum = loss_sum
            if not member.diverged:
                save(index, self.candidates.state(index))


def learning_rate(recipe: TrainingRecipe, epoch: int) -> float:
    """The learning rate of all steps of `epoch` (0-based), from the recipe's peak lr.

    Warm-up: `lr * (epoch + 1) / warmup_epochs`. Else "cosine", Loshchilov and Hutter (ICLR 2017)
    without restarts: `lr / 2 * (1 + cos(pi * epoch / epochs))`; or "step": `lr * decay ** n`, n of
    the milestones being passed.
    """
    peak = recipe.peak_learning_rate
    if epoch < recipe.warmup_epochs:
        return peak * (epoch + 1) / recipe.warmup_epochs
    if recipe.schedule == "step":
        return peak * recipe.decay ** sum(epoch >= milestone for milestone in recipe.milestones)
    return peak / 2 * (1 + math.cos(math.pi * epoch / recipe.epochs))


def clips_per_epoch(recipe: TrainingRecipe, clips: int) -> int:
    """How many of `clips` training clips an epoch uses: all, or as many as fill whole batches."""
    whole = clips // recipe.batch_size * recipe.batch_size
    return whole if recipe.drop_last and whole else clips


def epoch_order(clips: int, seed: int, epoch: int) -> Tensor:
    """The order of `clips` training clips in `epoch`, from the training's seed alone."""
    generator = torch.Generator().manual_seed(derive_seed(seed, "order", epoch))
    return torch.randperm(clips, generator=generator)


def clips_seed(seed: int, epoch: int, step: int) -> int:
    """The seed of what a training with `seed` draws for the clips of one batch."""
    return derive_seed(seed, "clips", epoch, step)


def measure(class_scores: Tensor, labels: Tensor) -> Accuracy:
    """Top-1, top-5 and mean per-class top-1 of `(clips, classes)` scores, in [0, 1].

    Classes without a clip in `labels` do not count in the mean. Top-5 of fewer than five classes is
    one.
    """
    top5 = class_scores.topk(min(5, class_scores.shape[1]), dim=1).indices
    hit = top5[:, 0] == labels
    counts = torch.bincount(labels)
    hits = torch.bincount(labels[hit], minlength=len(counts))
    present = counts > 0
    return Accuracy(
        top1=hit.double().mean().item(),
        top5=(top5 == labels[:, None]).any(dim=1).double().mean().item(),
        mean_class=(hits[present].double() / counts[present]).mean().item(),
    )

"""The training loop: one network, one recipe, SGD on a cosine, resumable after any batch.

Everything random comes from generators derived from the training's own seed and the epoch, so a
training repeats whatever ran before it, and a resumed one ends as an undisturbed one.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nas_skeleton.errors import InputError
from nas_skeleton.network.initialise import derive_seed
from nas_skeleton.spaces.card import Recipe
from nas_skeleton.training import checkpoint
from nas_skeleton.training.result import Accuracy, EpochRecord
from nas_skeleton.training.task import Task

EVALUATION_BATCH = 256


class Stopped(Exception):
    """The training was asked to stop; its checkpoint is written."""


class Diverged(Exception):
    """The loss is no longer a finite number; the message says in which epoch."""


class Trainer:
    """Trains `network` on `task`, batch by batch.

    Args:
        network: with its initial weights, on the task's device.
        task: inputs, labels and splits.
        recipe: epochs, batch size, learning rate and how often to evaluate.
        seed: of this training alone; decides the order of clips in every epoch.
        key: the training's key, so that a checkpoint is never taken for another's.
        checkpoint_path: None trains without checkpoints.
        checkpoint_every_s: seconds between two checkpoints.
        should_stop: asked after every batch; True saves a checkpoint and raises `Stopped`.
        on_epoch: called with every `EpochRecord`.
    """

    def __init__(
        self,
        network: nn.Module,
        task: Task,
        recipe: Recipe,
        *,
        seed: int,
        key: str = "",
        checkpoint_path: Path | None = None,
        checkpoint_every_s: float = 20.0,
        should_stop: Callable[[], bool] = lambda: False,
        on_epoch: Callable[[EpochRecord], None] = lambda _: None,
    ) -> None:
        self.network = network
        self.task = task
        self.recipe = recipe
        self.seed = seed
        self.key = key
        self.checkpoint_path = checkpoint_path
        self.checkpoint_every_s = checkpoint_every_s
        self.should_stop = should_stop
        self.on_epoch = on_epoch
        self.optimizer = torch.optim.SGD(
            network.parameters(),
            lr=recipe.learning_rate,
            momentum=recipe.momentum,
            nesterov=recipe.nesterov,
            weight_decay=recipe.weight_decay,
        )
        self.curve: list[EpochRecord] = []
        self.epoch = 0  # epochs that are complete
        self.step = 0  # batches of the running epoch that are done
        self.loss_sum = 0.0  # over the clips of those batches
        self.train_time_s = 0.0
        self._checked = time.perf_counter()

    def run(self) -> list[EpochRecord]:
        """Train to the last epoch, from the checkpoint if there is one, and return the curve.

        Raises:
            Stopped: `should_stop` said so; the next run goes on with the next batch.
            Diverged: the loss is not finite.
        """
        self._resume()
        self._checked = time.perf_counter()
        inputs, labels = self.task.part("train")
        clips = clips_per_epoch(self.recipe, len(labels))
        while self.epoch < self.recipe.epochs:
            rate = learning_rate(self.recipe, self.epoch)
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            self.network.train()
            order = epoch_order(len(labels), self.seed, self.epoch)
            batches = torch.split(order[:clips], self.recipe.batch_size)
            for batch in batches[self.step :]:
                ids = batch.to(labels.device)
                self.update(inputs[ids], labels[ids])
                self._save_or_stop()
            self._finish_epoch(rate, self.loss_sum / clips)
        self._clock()
        return self.curve

    def update(self, inputs: Tensor, labels: Tensor) -> None:
        """One step of SGD on a batch `(N, C, T, V, M)` with labels `(N,)`.

        Raises:
            Diverged: the loss is not finite; the weights are left as they were.
        """
        self.optimizer.zero_grad(set_to_none=True)
        loss = nn.functional.cross_entropy(self.network(inputs), labels)
        value = loss.item()
        if not math.isfinite(value):
            raise Diverged(f"loss is {value} in epoch {self.epoch + 1}")
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.loss_sum += value * len(labels)
        self.step += 1

    def _finish_epoch(self, rate: float, train_loss: float) -> None:
        self.epoch, self.step, self.loss_sum = self.epoch + 1, 0, 0.0
        if self.epoch % self.recipe.evaluate_every and self.epoch != self.recipe.epochs:
            return
        accuracy = {
            split: measure(scores(self.network, self.task, split), self.task.labels_of(split))
            for split in self.task.splits
        }
        record = EpochRecord(self.epoch, rate, train_loss, accuracy)
        self.curve.append(record)
        self.on_epoch(record)

    def _clock(self) -> None:
        now = time.perf_counter()
        self.train_time_s += now - self._checked
        self._checked = now

    def _save_or_stop(self) -> None:
        stop = self.should_stop()
        due = time.perf_counter() - self._checked >= self.checkpoint_every_s
        if self.checkpoint_path and (stop or due):
            self._clock()
            checkpoint.save(self.checkpoint_path, self.key, self._state())
        if stop:
            raise Stopped

    def _state(self) -> dict[str, Any]:
        return {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "epoch": self.epoch,
            "step": self.step,
            "loss_sum": self.loss_sum,
            "train_time_s": self.train_time_s,
            "curve": [asdict(record) for record in self.curve],
        }

    def _resume(self) -> None:
        state = checkpoint.load(self.checkpoint_path, self.key) if self.checkpoint_path else None
        if state is None:
            return
        try:
            self.network.load_state_dict(state["network"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.epoch, self.step = state["epoch"], state["step"]
            self.loss_sum, self.train_time_s = state["loss_sum"], state["train_time_s"]
            for record in state["curve"]:
                parts = record["accuracy"].items()
                accuracy = {split: Accuracy(**values) for split, values in parts}
                self.curve.append(EpochRecord(**{**record, "accuracy": accuracy}))
        except (RuntimeError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(
                f"{self.checkpoint_path}: its contents do not fit this training "
                f"({type(error).__name__}): remove it and run the same command again"
            ) from None


def learning_rate(recipe: Recipe, epoch: int) -> float:
    """Cosine to 0, constant within `epoch` (0-based): `lr / 2 * (1 + cos(pi * epoch / epochs))`."""
    return recipe.learning_rate / 2 * (1 + math.cos(math.pi * epoch / recipe.epochs))


def clips_per_epoch(recipe: Recipe, clips: int) -> int:
    """How many of `clips` training clips an epoch uses: all, or as many as fill whole batches."""
    whole = clips // recipe.batch_size * recipe.batch_size
    return whole if recipe.drop_last and whole else clips


def epoch_order(clips: int, seed: int, epoch: int) -> Tensor:
    """The order of `clips` training clips in `epoch`, from the training's seed alone."""
    generator = torch.Generator().manual_seed(derive_seed(seed, "order", epoch))
    return torch.randperm(clips, generator=generator)


@torch.inference_mode()
def scores(network: nn.Module, task: Task, split: str) -> Tensor:
    """Class scores `(clips, classes)` of a split, with batch norm's running statistics."""
    network.eval()
    inputs, _ = task.part(split)
    return torch.cat([network(batch) for batch in torch.split(inputs, EVALUATION_BATCH)])


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

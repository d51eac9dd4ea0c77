"""The training of a supernet: SGD by a card's recipe, resumable after any batch, bit for bit.

Everything random comes from generators derived from the training's identity and the epoch. Only
training clips are seen, whatever else the task holds.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from nas_skeleton.errors import InputError
from nas_skeleton.network.initialise import derive_seed, initialise
from nas_skeleton.oneshot.methods import MethodName, method_of
from nas_skeleton.oneshot.supernet import Supernet, build_supernet
from nas_skeleton.spaces.card import SpaceCard
from nas_skeleton.spaces.cell import Cell
from nas_skeleton.spaces.recipe import Recipe
from nas_skeleton.training import checkpoint
from nas_skeleton.training.candidates import Problem
from nas_skeleton.training.engines.precision import Arithmetic
from nas_skeleton.training.loop import (
    Stopped,
    clips_per_epoch,
    clips_seed,
    epoch_order,
    learning_rate,
)
from nas_skeleton.training.threads import one_thread

CALIBRATION_STEPS = 2, 6  # before the clock starts, and by the clock


@dataclass
class Progress:
    """How far a training is, beside weights: complete epochs, and batches of the running one.

    `loss_sum` is that of the running epoch's clips, `losses` the mean of each complete epoch.
    """

    epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    train_time_s: float = 0.0
    losses: list[float] = field(default_factory=list)


class Training:
    """One supernet under training.

    Args:
        problem: a space of cells, a recipe whose `epochs` are those of the supernet, and the task.
        method: how it is trained.
        key: names the training; all its randomness is derived from it.

    Attributes:
        supernet: as it is after the last step.
        method: likewise.
        progress: how far it is.
    """

    def __init__(self, problem: Problem, method: MethodName, key: str) -> None:
        card, recipe, _ = problem.of_cells([])
        task = problem.task
        self.recipe, self.task, self.key = recipe, task, key
        self.seed = derive_seed(key)
        self.arithmetic = Arithmetic(problem)
        self.supernet = _initial_supernet(problem, card, recipe, derive_seed(self.seed, "weights"))
        self.method = method_of(method, self.supernet, self.seed)
        learnt = [p for p in self.supernet.parameters() if p.requires_grad]
        self.optimizer = torch.optim.SGD(
            learnt,
            lr=recipe.learning_rate,
            momentum=recipe.momentum,
            nesterov=recipe.nesterov,
            weight_decay=recipe.weight_decay,
        )
        train = task.splits["train"].cpu()
        self.parts = [train]
        if self.method.learns:
            labels = task.labels.cpu()[train]
            self.parts = [train[half] for half in halves(labels, derive_seed(self.seed, "halves"))]
        self.progress = Progress()

    @property
    def finished(self) -> bool:
        """Whether the last epoch is done."""
        return self.progress.epoch >= self.recipe.epochs

    @property
    def steps(self) -> int:
        """Steps of SGD in an epoch."""
        return len(self._batches(0)[0])

    def derived(self) -> Cell | None:
        """The cell that the method has come to, if it is one that comes to a cell."""
        return self.method.derived()

    def run(
        self,
        path: Path | None = None,
        *,
        save_every_s: float = 20.0,
        should_stop: Callable[[], bool] = lambda: False,
        on_epoch: Callable[[Training], None] = lambda _: None,
    ) -> None:
        """Train to the last epoch, from the checkpoint at `path` if there is one.

        It is written every so many seconds, when asked to stop, and at the end.

        Raises:
            Stopped: `should_stop`, asked after every batch, said so.
            InputError: the loss is not finite.
            OSError: the checkpoint cannot be written.
        """
        if path:
            self.resume(path)
        with one_thread():
            clock = time.perf_counter()

            def save() -> None:
                nonlocal clock
                now = time.perf_counter()
                self.progress.train_time_s += now - clock
                clock = now
                if path:
                    checkpoint.save(path, self.key, self.state())

            while self.progress.epoch < self.recipe.epochs:
                for _ in self._epoch():
                    stop = should_stop()
                    if stop or time.perf_counter() - clock >= save_every_s:
                        save()
                    if stop:
                        raise Stopped
                on_epoch(self)
            save()

    def resume(self, path: Path) -> None:
        """Go on from the checkpoint of this very training, if there is one."""
        saved = checkpoint.load(path, self.key)
        if saved is None:
            return
        self.supernet.load_state_dict(saved["weights"])
        self.optimizer.load_state_dict(saved["momentum"])
        self.method.load(saved["method"])
        self.progress = Progress(**saved["progress"])

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds: tensors and plain values."""
        return {
            "weights": self.supernet.state_dict(),
            "momentum": self.optimizer.state_dict(),
            "method": self.method.state(),
            "progress": asdict(self.progress),
        }

    def step(self, batches: list[Tensor], epoch: int, step: int) -> Tensor:
        """One step on `batches`, clip ids for the weights, and for the alphas if there are any.

        Returns:
            The loss of the weights' batch.
        """
        seeds = [derive_seed(clips_seed(self.seed, epoch, step), turn) for turn in (0, 1)]
        inputs, labels = self._batch(batches[0], seeds[0])
        self.supernet.train()
        self.optimizer.zero_grad(set_to_none=True)
        with self.arithmetic.flags():
            with self.arithmetic.forward():
                loss = nn.functional.cross_entropy(self.method.scores(inputs, step), labels)
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()
            if self.method.learns:
                with self.arithmetic.forward():
                    self.method.learn(*self._batch(batches[1], seeds[1]), step)
        return loss.detach()

    def _epoch(self) -> Iterator[None]:
        """The rest of the running epoch, step by step."""
        progress = self.progress
        batches = self._batches(progress.epoch)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.recipe, progress.epoch)
        self.method.begin(progress.epoch, self.recipe.epochs, len(batches[0]))
        for step, now in enumerate(zip(*batches, strict=True)):
            if step < progress.step:
                continue
            loss = self.step(list(now), progress.epoch, step)
            progress.loss_sum += loss.item() * len(now[0])
            progress.step += 1
            if progress.step == len(batches[0]):
                self._finish_epoch(sum(map(len, batches[0])))
            yield

    def _finish_epoch(self, clips: int) -> None:
        progress = self.progress
        mean = progress.loss_sum / clips
        progress.epoch, progress.step, progress.loss_sum = progress.epoch + 1, 0, 0.0
        progress.losses.append(mean)
        if not math.isfinite(mean):
            raise InputError(
                f"the supernet's loss is {mean} in epoch {progress.epoch}: choose a --recipe with "
                "a lower learning_rate"
            )

    def _batches(self, epoch: int) -> list[list[Tensor]]:
        """For the weights, and the alphas if there are any, as many batches of clip ids each."""
        every = []
        for turn, part in enumerate(self.parts):
            order = epoch_order(len(part), derive_seed(self.seed, turn), epoch)
            ids = part[order[: clips_per_epoch(self.recipe, len(part))]]
            every.append(list(torch.split(ids, self.recipe.batch_size)))
        count = min(map(len, every))
        return [batches[:count] for batches in every]

    def _batch(self, ids: Tensor, seed: int) -> tuple[Tensor, Tensor]:
        inputs, labels = self.task.training_batch(ids[None], [seed])
        return inputs[0], labels[0]


def seconds_per_epoch(problem: Problem, method: MethodName) -> float:
    """What an epoch takes on this machine, from a few steps of a supernet that is thrown away."""
    training = Training(problem, method, "calibration")
    batches = training._batches(0)
    before, timed = CALIBRATION_STEPS
    training.method.begin(0, training.recipe.epochs, before + timed)
    with one_thread():
        started = 0.0
        for step in range(before + timed):
            if step == before:
                started = time.perf_counter()
            at = step % training.steps
            training.step([part[at] for part in batches], 0, step)
        if training.task.device.type == "cuda":
            torch.cuda.synchronize()
        return (time.perf_counter() - started) / timed * training.steps


def with_epochs(recipe: Recipe, epochs: int) -> Recipe:
    """The recipe, made longer or shorter, and without averaging, which supernets have not.

    Raises:
        InputError: its warm-up or its milestones do not fit.
    """
    try:
        single = recipe.model_dump(exclude={"averaging", "average_from", "average_decay"})
        return Recipe.model_validate({**single, "epochs": epochs})
    except ValidationError as error:
        fault = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise InputError(f"--epochs {epochs} does not go with the recipe: {fault}") from None


def halves(labels: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """Places of two halves of clips with these labels, drawn at random, classes divided evenly."""
    order = epoch_order(len(labels), seed, 0)
    by_class = order[labels[order].argsort(stable=True)]
    return by_class[::2].sort().values, by_class[1::2].sort().values


def _initial_supernet(problem: Problem, card: SpaceCard, recipe: Recipe, seed: int) -> Supernet:
    task = problem.task
    supernet = build_supernet(
        card, recipe, classes=task.classes, layout=task.layout, in_channels=task.channels
    )
    initialise(supernet.network, seed)
    supernet.to(task.device, task.dtype)
    # Convolution weights decide the layout of every map behind them.
    return supernet.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]

"""Recipes: how networks are trained, as pure data. `training` gives them meaning."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from nas_skeleton.cards import Card

Positive = Annotated[int, Field(gt=0)]
Precision = Literal["float32", "tf32", "bfloat16"]
Schedule = Literal["cosine", "step"]
Averaging = Literal["swa", "ema"]


class TrainingRecipe(Card):
    """How any network is trained. Frozen: its hash is part of a training's identity.

    `frames` is the length clips are resampled to. `drop_last` leaves out the last batch of an epoch
    where it is smaller than the others: other clips are left out every epoch. Accuracies are
    measured every `evaluate_every` epochs and always after the last.

    The learning rate is constant within an epoch. `schedule` "cosine" takes it to 0 on a cosine;
    "step" multiplies it by `decay` after each number of epochs in `milestones`. In the first
    `warmup_epochs` it rises linearly instead. Where `learning_rate_for_batch` is given,
    `learning_rate` is meant for batches of that many clips and scaled linearly to `batch_size`
    (Goyal et al., arXiv 1706.02677).

    `precision` is that of the arithmetic; weights and their updates stay float32. "float32": IEEE
    single precision on every device. Only on a GPU: "tf32", inputs of convolutions and matrix
    products are rounded to TensorFloat-32 (10 bits of mantissa); "bfloat16", forward and backward
    passes run under PyTorch's autocast to bfloat16 (7 bits), evaluation as well.

    Training clips may be changed at random, each anew in every epoch (`training.augmentation`):
    `mirror` is the probability of exchanging left and right, `rotation` the largest angle about
    each axis in radians, `scaling` the largest relative change of size.

    With `averaging`, networks are evaluated and kept with an average of their weights after epoch
    `average_from` and every later one (`training.averaging`): "swa" takes the plain mean, "ema"
    gives the average of an epoch earlier the weight `average_decay`. Supernets are not averaged.
    """

    frames: Annotated[int, Field(ge=4)]
    epochs: Positive
    batch_size: Annotated[int, Field(ge=2)]
    drop_last: bool
    learning_rate: Annotated[float, Field(gt=0)]
    learning_rate_for_batch: Positive | None = None
    schedule: Schedule = "cosine"
    milestones: Annotated[tuple[Positive, ...], Field(strict=False)] = ()
    decay: Annotated[float, Field(gt=0, lt=1)] = 0.1
    warmup_epochs: Annotated[int, Field(ge=0)] = 0
    momentum: Annotated[float, Field(ge=0, lt=1)]
    nesterov: bool
    weight_decay: Annotated[float, Field(ge=0)]
    evaluate_every: Positive
    precision: Precision = "float32"
    mirror: Annotated[float, Field(ge=0, le=1)] = 0.0
    rotation: Annotated[float, Field(ge=0, le=3.2)] = 0.0
    scaling: Annotated[float, Field(ge=0, lt=1)] = 0.0
    averaging: Averaging | None = None
    average_from: Positive | None = None
    average_decay: Annotated[float, Field(gt=0, lt=1)] | None = None

    @model_validator(mode="after")
    def _holds_together(self) -> TrainingRecipe:
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov needs a momentum above 0")
        if (self.schedule == "step") != bool(self.milestones):
            raise ValueError("milestones go with schedule 'step', and it needs them")
        if list(self.milestones) != sorted(set(self.milestones)):
            raise ValueError("milestones must rise")
        if self.milestones and self.milestones[-1] >= self.epochs:
            raise ValueError("milestones must lie before the last epoch")
        if self.warmup_epochs >= self.epochs:
            raise ValueError("warmup_epochs must be fewer than epochs")
        if (self.averaging is None) != (self.average_from is None):
            raise ValueError("averaging goes with average_from, the first epoch averaged")
        if (self.averaging == "ema") != (self.average_decay is not None):
            raise ValueError("average_decay goes with averaging 'ema', and it needs it")
        if self.average_from is not None and self.average_from >= self.epochs:
            raise ValueError("average_from must lie before the last epoch")
        return self

    @property
    def augments(self) -> bool:
        """Whether training clips are changed at random."""
        return bool(self.mirror or self.rotation or self.scaling)

    @property
    def peak_learning_rate(self) -> float:
        """The learning rate for batches of `batch_size`, before any schedule."""
        return (
            self.learning_rate * self.batch_size / (self.learning_rate_for_batch or self.batch_size)
        )


class Recipe(TrainingRecipe):
    """How one candidate is built and trained.

    `channels` is the width of the first stage, `cells_per_stage` NAS-Bench-201's N.
    """

    channels: Positive
    cells_per_stage: Positive


class ModelRecipe(TrainingRecipe):
    """How a reference model is trained.

    `dropout` is the share of values left out at the end of each temporal convolution, where the
    model's paper has that.
    """

    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0


class AIMRecipe(Card):
    """How AS-GCN's A-link inference module is pre-trained (`training.aim`).

    Defaults are those of Li et al., CVPR 2019, and their code: Adam, batches of 32, 10 epochs.
    `frames` is the length clips are resampled to for it, `hidden` the width of its layers.
    """

    frames: Annotated[int, Field(ge=2)] = 50
    hidden: Positive = 128
    epochs: Positive = 10
    batch_size: Annotated[int, Field(ge=2)] = 32
    learning_rate: Annotated[float, Field(gt=0)] = 5e-4
    seed: Annotated[int, Field(ge=0)] = 777

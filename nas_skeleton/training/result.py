"""What a training gives. No torch in this module: stores and tables read it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

SPLITS = ("train", "valid", "test")
ANALYTIC = "analytic"  # the engine of results that needed no training (`training.constant`)


@dataclass(frozen=True)
class Accuracy:
    """Shares of clips in [0, 1]: `top1`, `top5`, and `mean_class`, the mean of top-1 per class."""

    top1: float
    top5: float
    mean_class: float


@dataclass(frozen=True)
class EpochRecord:
    """What was measured after `epoch` epochs (1-based); a split without clips is absent.

    `train_loss` is the mean loss of the epoch's batches as they were trained on: the cross-entropy,
    to which AS-GCN adds its error of predicted poses.
    """

    epoch: int
    learning_rate: float
    train_loss: float
    accuracy: dict[str, Accuracy]


@dataclass(frozen=True)
class Paused:
    """A training that was to pause, and did; its checkpoint goes on.

    `curve` is as of `Measured`, its last record being of the epoch it paused after; `train_time_s`
    are the seconds so far.
    """

    curve: list[EpochRecord]
    train_time_s: float
    engine: str
    fallback: str
    device: str
    precision: str


@dataclass(frozen=True)
class Measured:
    """A finished training.

    `predictions` holds, per split "valid" and "test", the class predicted for every clip after the
    last epoch, in the order of the data set's split. Times in seconds, memory in bytes.
    `train_time_s` is wall time, shared equally among trainings advanced together, and
    `peak_memory_bytes` that of all of them together. `engine` names
    all engines that trained it, joined by "+"; `fallback` says why it left the one it was meant
    for, and is empty if it did not. `scores` are natural logarithms of class probabilities
    `(clips, classes)` behind the predictions. The recipe has the training evaluated
    after every `evaluate_every` epochs.
    """

    curve: list[EpochRecord]
    predictions: dict[str, NDArray[np.int16]]
    train_time_s: float
    latency_s: float
    peak_memory_bytes: int
    engine: str
    fallback: str
    device: str
    precision: str
    scores: dict[str, NDArray[np.float16]] = field(default_factory=dict)
    evaluate_every: int = 1

    @property
    def final(self) -> EpochRecord:
        """The record of the last epoch."""
        return self.curve[-1]

    @property
    def best_on_valid(self) -> EpochRecord | None:
        """The evaluated epoch with the highest validation top-1, the first of equals.

        Of those that the recipe names: where else somebody looked changes nothing. None where the
        protocol has no validation set: then there is nothing to choose an epoch by.
        """
        return best_on_valid(self.curve, self.evaluate_every)


def best_on_valid(curve: Sequence[EpochRecord], evaluate_every: int) -> EpochRecord | None:
    """See `Measured.best_on_valid`; the last record counts as named by the recipe."""
    if "valid" not in curve[-1].accuracy:
        return None
    named = [record for record in curve[:-1] if record.epoch % evaluate_every == 0]
    return max([*named, curve[-1]], key=lambda record: record.accuracy["valid"].top1)

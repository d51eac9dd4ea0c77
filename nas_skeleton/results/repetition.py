"""Trainings that were done once more against their stored rows, and what they say together.

Who does them again is `scheduling.repeating`'s business; nothing here is stored.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nas_skeleton.results import schema
from nas_skeleton.results.finished import Fault, Finished, Kept
from nas_skeleton.results.schema import HELD_OUT
from nas_skeleton.results.seed_noise import LEVEL, TESTS, Deviation, deviation, seed_noise
from nas_skeleton.training.result import ANALYTIC, Measured

_ORIGIN = ("engine", "device", "version", "host")


@dataclass(frozen=True)
class Repetition:
    """A stored training and how it came out this time.

    Attributes:
        arch_index, seed: which.
        origin: what trained the stored one: engine, device, version, machine.
        stored, again: top-1 by split "valid" and "test", in [0, 1]; a split without clips is
            absent, and `again` is empty where the repetition failed.
        differing: by split, clips that were classified differently.
        identical: whether all predictions, accuracies and losses are the same, bit for bit.
        engine: what trained it this time.
        error: why it failed, else empty.
    """

    arch_index: int
    seed: int
    origin: tuple[str, ...]
    stored: dict[str, float]
    again: dict[str, float]
    differing: dict[str, int]
    identical: bool
    engine: str
    error: str = ""


@dataclass(frozen=True)
class Verification:
    """What a verification found.

    Attributes:
        finished: how many trainings there are to draw from.
        faults: rows that are not what their own predictions and curve say, of all there are.
        repetitions: trainings that were done again.
        deviations: by split how far those are off that are not identical; absent without any.
    """

    finished: int
    faults: list[Fault]
    repetitions: list[Repetition]
    deviations: dict[str, Deviation]

    @property
    def identical(self) -> int:
        """How many repetitions gave the same bits."""
        return sum(one.identical for one in self.repetitions)

    @property
    def failed(self) -> int:
        """How many ended in an error."""
        return sum(bool(one.error) for one in self.repetitions)

    @property
    def unexplained(self) -> list[Repetition]:
        """Those that differ although others of the same origin came out identical.

        Same engine, device, version and machine: rounding does not tell them apart.
        """
        repeating = {one.origin for one in self.repetitions if one.identical}
        differing = [one for one in self.repetitions if not one.identical and not one.error]
        return [one for one in differing if one.origin in repeating]

    @property
    def beyond_noise(self) -> list[str]:
        """The splits on which repetitions are further off than seeds explain.

        Bonferroni's correction: `LEVEL` is shared by all tests on all splits.
        """
        level = _level(len(self.deviations))
        return [split for split, found in self.deviations.items() if found.p < level]

    @property
    def passed(self) -> bool:
        """Whether all rows are sound, all repetitions ended, and none is beyond noise."""
        return not (self.faults or self.failed or self.beyond_noise)


def compared(row: Mapping[Any, Any], kept: Kept, result: Measured | Exception) -> Repetition:
    """A stored training against what its repetition measured, or what ended it."""
    stored = {
        split: row[f"final_{split}_top1"]
        for split in HELD_OUT
        if not math.isnan(row[f"final_{split}_top1"])
    }
    identity = {
        "arch_index": row["arch_index"],
        "seed": row["seed"],
        "origin": tuple(str(row[name]) for name in _ORIGIN),
        "stored": stored,
    }
    if isinstance(result, Exception):
        text = " ".join(f"{type(result).__name__}: {result}".split())
        return Repetition(
            **identity, again={}, differing={}, identical=False, engine="", error=text
        )
    differing = {
        split: int((kept.predictions[split] != predicted).sum())
        for split, predicted in result.predictions.items()
    }
    # The stored one may have been looked at after further epochs.
    again = json.loads(schema.curve_json(result.curve))
    same_curve = all(kept.curve.get(record["epoch"]) == record for record in again)
    accuracies = {split: result.final.accuracy[split].top1 for split in stored}
    return Repetition(
        **identity,
        again=accuracies,
        differing=differing,
        identical=same_curve and accuracies == stored and not any(differing.values()),
        engine=result.engine,
    )


def verification(
    finished: Finished, repetitions: Sequence[Repetition], rng: np.random.Generator
) -> Verification:
    """What repetitions say together; `rng` draws what chance would do."""
    differing = [one for one in repetitions if not one.identical and not one.error]
    splits = [split for split in finished.labels if differing]
    # Rows that were filled in without training have no noise, unsound ones may have any.
    trained = finished.sound[finished.sound["engine"] != ANALYTIC]
    deviations = {
        split: deviation(
            np.array([one.stored[split] for one in differing]),
            np.array([one.again[split] for one in differing]),
            clips=len(finished.labels[split]),
            noise=seed_noise(trained, f"final_{split}_top1"),
            level=_level(len(splits)),
            rng=rng,
        )
        for split in splits
    }
    return Verification(len(finished.rows), finished.faults, list(repetitions), deviations)


def _level(splits: int) -> float:
    """Of each test."""
    return LEVEL / (TESTS * max(1, splits))

"""Trainings that were repeated, against their stored rows and the noise of seeds.

Who repeats them is `scheduling.verification`'s business; nothing here is stored.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from nas_skeleton.errors import InputError
from nas_skeleton.results import schema, store
from nas_skeleton.results.leaderboard import wilson_error
from nas_skeleton.results.reliability import variance_over_seeds
from nas_skeleton.results.run import Run
from nas_skeleton.training.result import Measured

HELD_OUT = ("valid", "test")
LEVEL = 0.001  # of the two tests together
NEEDED = ("key", "arch_index", "seed", "status", "engine", "device", "version")
_ACCURACIES = tuple(f"final_{split}_top1" for split in HELD_OUT)


@dataclass(frozen=True)
class Repetition:
    """A stored training and how it came out this time.

    Attributes:
        arch_index, seed: which.
        stored, again: top-1 by split "valid" and "test", in [0, 1]; a split without clips is
            absent, and `again` is empty where the repetition failed.
        differing: by split, clips that were classified differently.
        identical: whether all predictions, accuracies and losses are the same, bit for bit.
        engine: what trained it this time.
        error: why it failed, else empty.
    """

    arch_index: int
    seed: int
    stored: dict[str, float]
    again: dict[str, float]
    differing: dict[str, int]
    identical: bool
    engine: str
    error: str = ""


@dataclass(frozen=True)
class Deviation:
    """How far repetitions are from stored rows on one split, against what noise alone would give.

    Attributes:
        mean: of again minus stored, in [-1, 1].
        rms: root mean square of it.
        expected: what `rms` would be between trainings with two seeds: sqrt(2) times the noise.
        noise: "seeds": standard deviation over the run's seeds; "clips": binomial standard error,
            where the run has one seed. That is less than the noise of seeds.
        p_size: how often noise alone gives differences so large (chi-squared test of squares).
        p_mean: how often it gives a mean so far from zero, on either side (normal test).
    """

    mean: float
    rms: float
    expected: float
    noise: Literal["seeds", "clips"]
    p_size: float
    p_mean: float

    @property
    def beyond_noise(self) -> bool:
        """Whether it is more than seeds do; never so where their noise is not known."""
        return self.noise == "seeds" and min(self.p_size, self.p_mean) < LEVEL / 2


@dataclass(frozen=True)
class Verification:
    """Repetitions, and what they say together; `deviations` by split, absent where none ended."""

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
    def passed(self) -> bool:
        """Whether all ended and none of the deviations is beyond noise."""
        return not self.failed and not any(d.beyond_noise for d in self.deviations.values())


def drawn_rows(run: Run, sample: int, seed: int) -> pd.DataFrame:
    """Random finished rows of a run with their curves and predictions, by index and seed.

    The same `seed` draws the same rows as long as the run has the same ones.

    Raises:
        InputError: the run has no finished training.
    """
    rows = run.rows([*NEEDED, *_ACCURACIES, store.FILE, store.ROW])
    done = rows[rows["status"] == schema.DONE]
    if done.empty:
        raise InputError(
            f"run {run.name!r} has no finished training in {run.results_folder}: there is nothing "
            "to verify"
        )
    count = min(sample, len(done))
    chosen = np.sort(np.random.default_rng(seed).choice(len(done), size=count, replace=False))
    drawn = done.iloc[chosen].reset_index(drop=True)
    details = [
        found for _, batch in store.read_details(run.results_folder, drawn) for found in batch
    ]
    names = ("curve", "valid_predictions", "test_predictions")
    return drawn.assign(**{name: [found[i] for found in details] for i, name in enumerate(names)})


def compared(row: Mapping[Any, Any], result: Measured | Exception) -> Repetition:
    """A row of `drawn_rows` against what its repetition measured, or what ended it."""
    stored = {
        split: row[f"final_{split}_top1"]
        for split in HELD_OUT
        if not math.isnan(row[f"final_{split}_top1"])
    }
    identity = {"arch_index": row["arch_index"], "seed": row["seed"], "stored": stored}
    if isinstance(result, Exception):
        text = " ".join(f"{type(result).__name__}: {result}".split())
        return Repetition(
            **identity, again={}, differing={}, identical=False, engine="", error=text
        )
    differing = {
        split: int((store.unpack_predictions(row[f"{split}_predictions"]) != predicted).sum())
        for split, predicted in result.predictions.items()
    }
    # The stored one may have been looked at after further epochs.
    known = {record["epoch"]: record for record in json.loads(row["curve"])}
    again = json.loads(schema.curve_json(result.curve))
    same_curve = all(known.get(record["epoch"]) == record for record in again)
    accuracies = {split: result.final.accuracy[split].top1 for split in stored}
    return Repetition(
        **identity,
        again=accuracies,
        differing=differing,
        identical=same_curve and accuracies == stored and not any(differing.values()),
        engine=result.engine,
    )


def verification(run: Run, repetitions: Sequence[Repetition]) -> Verification:
    """What repetitions say together."""
    noise = _seed_noise(run)
    ended = [one for one in repetitions if not one.error]
    deviations = {}
    for split in HELD_OUT:
        pairs = np.array(
            [[one.stored[split], one.again[split]] for one in ended if split in one.stored]
        )
        if len(pairs):
            clips = len(run.data.splits[split].ids)
            deviations[split] = _deviation(pairs, clips, noise.get(split))
    return Verification(list(repetitions), deviations)


def _deviation(pairs: Any, clips: int, seed_sd: float | None) -> Deviation:
    """Of pairs `(trainings, 2)` of accuracies, stored and again."""
    from scipy.special import chdtrc, ndtr  # scipy.stats takes a second to import

    differences = pairs[:, 1] - pairs[:, 0]
    if seed_sd is None:
        errors = np.array([wilson_error(share, clips) for share in pairs[:, 0].tolist()])
    else:
        errors = np.full(len(pairs), seed_sd)
    variance = 2 * errors**2
    return Deviation(
        mean=float(differences.mean()),
        rms=float(np.sqrt((differences**2).mean())),
        expected=float(np.sqrt(variance.mean())),
        noise="clips" if seed_sd is None else "seeds",
        p_size=float(chdtrc(len(pairs), (differences**2 / variance).sum())),
        p_mean=float(2 * ndtr(-abs(differences.sum()) / math.sqrt(variance.sum()))),
    )


def _seed_noise(run: Run) -> dict[str, float]:
    """Standard deviation over seeds by split, of the architectures that have all seeds.

    A split is absent with one seed, and where all seeds agree to the bit: then nothing was trained
    that could tell.
    """
    rows = run.rows(["arch_index", "seed", "status", *_ACCURACIES])
    done = rows[rows["status"] == schema.DONE]
    found = {}
    for split, column in zip(HELD_OUT, _ACCURACIES, strict=True):
        values = done.pivot(index="arch_index", columns="seed", values=column).dropna().to_numpy()
        if len(values) and values.shape[1] > 1:
            found[split] = math.sqrt(variance_over_seeds(values))
    return {split: sd for split, sd in found.items() if sd > 0}

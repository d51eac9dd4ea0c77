"""Finished trainings, of a run or of a published table alike: rows, curves, predictions, labels.

What `runs verify` reads. A row is sound if its accuracies are those of its own predictions and
curve; whether a training repeats is `repetition`'s question.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nas_skeleton.errors import InputError
from nas_skeleton.results import schema, store
from nas_skeleton.results.run import Arguments, DataFacts, Run
from nas_skeleton.results.schema import HELD_OUT
from nas_skeleton.spaces import SearchSpace

Labels = Mapping[str, NDArray[np.int64]]
COLUMNS = (
    *("key", "arch_index", "seed", "status", "engine", "device", "host", "version"),
    *("epochs", "best_epoch", *schema.ACCURACIES),
)
_ROUNDING = 1e-9  # of sums in another order: far less than a clip


@dataclass(frozen=True)
class Kept:
    """What is kept of a training beside its row.

    Attributes:
        curve: by evaluated epoch what was measured, as `schema.curve_json` names it.
        predictions: by split of `HELD_OUT` the class predicted for each clip.
    """

    curve: dict[int, dict[str, float]]
    predictions: dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Fault:
    """A row that is not what its own predictions and curve say; `what` is for people."""

    arch_index: int
    seed: int
    what: str


@dataclass(frozen=True)
class Finished:
    """Finished trainings, none of them a copy, and what they were trained with.

    Attributes:
        kind, name: whose they are.
        space: with the card that they were trained with.
        arguments: data, recipe and identity; strategy and trials say nothing.
        labels: by split that has clips.
        rows: of all trainings, with `COLUMNS`, by architecture and seed.
        faults: of all rows that are not sound.
        read: curves and predictions of some of the rows, in their order.
    """

    kind: Literal["run", "table"]
    name: str
    space: SearchSpace
    arguments: Arguments
    labels: Labels
    rows: pd.DataFrame
    faults: list[Fault]
    read: Callable[[pd.DataFrame], list[Kept]]

    @property
    def title(self) -> str:
        """What to call them in a message."""
        return f"{self.kind} {self.name!r}"

    @property
    def sound(self) -> pd.DataFrame:
        """The rows without faults."""
        pairs = [(fault.arch_index, fault.seed) for fault in self.faults]
        index = pd.MultiIndex.from_frame(self.rows[["arch_index", "seed"]])
        return self.rows[~index.isin(pairs)] if pairs else self.rows


def finished_of_run(run: Run, space: SearchSpace) -> Finished:
    """The finished trainings of a run; all of them are held against their own predictions.

    Raises:
        InputError: there is none, or the store is damaged.
    """
    rows = run.rows([*COLUMNS, store.FILE, store.ROW])
    rows = rows[rows["status"] == schema.DONE].reset_index(drop=True)
    if rows.empty:
        raise InputError(
            f"run {run.name!r} has no finished training in {run.results_folder}: there is nothing "
            "to verify"
        )

    def kept(some: pd.DataFrame) -> Iterator[Kept]:
        for _, batch in store.read_details(run.results_folder, some):
            yield from (_unpacked(*details) for details in batch)

    labels = labels_of(run.data)
    return Finished(
        kind="run",
        name=run.name,
        space=space,
        arguments=run.arguments,
        labels=labels,
        rows=rows,
        faults=faults_of(rows, kept(rows), labels),
        read=lambda some: list(kept(some)),
    )


def labels_of(data: DataFacts) -> Labels:
    """The labels `(clips,)` of those of `HELD_OUT` that have clips."""
    return {
        split: np.array(data.splits[split].labels, np.int64)
        for split in HELD_OUT
        if data.splits[split].labels
    }


def faults_of(rows: pd.DataFrame, kept: Iterator[Kept], labels: Labels) -> list[Fault]:
    """The rows that are not what is kept of them says; `kept` is of each, in their order."""
    found = []
    for row, own in zip(rows.to_dict("records"), kept, strict=True):
        if what := _fault(row, own, labels):
            found.append(Fault(row["arch_index"], row["seed"], what))
    return found


def drawn(finished: Finished, sample: int, seed: int) -> pd.DataFrame:
    """Random sound rows, by architecture and seed.

    The same `seed` draws the same rows as long as there are the same ones.
    """
    rows = finished.sound
    count = min(sample, len(rows))
    chosen = np.random.default_rng(seed).choice(len(rows), size=count, replace=False)
    return rows.iloc[np.sort(chosen)].reset_index(drop=True)


def _unpacked(curve: str, valid: bytes, test: bytes) -> Kept:
    predictions = zip(HELD_OUT, map(store.unpack_predictions, (valid, test)), strict=True)
    return Kept(
        {record["epoch"]: record for record in json.loads(curve)},
        {split: classes for split, classes in predictions if len(classes)},
    )


def _fault(row: Mapping[Any, Any], kept: Kept, labels: Labels) -> str:
    """What is wrong with a row first, empty if nothing is."""
    for split in HELD_OUT:
        stored = {metric: row[f"final_{split}_{metric}"] for metric in ("top1", "mean_class")}
        predicted = kept.predictions.get(split, np.empty(0))
        if len(predicted) != len(labels.get(split, ())):
            return f"{len(predicted)} predictions for {len(labels.get(split, ()))} {split} clips"
        if split not in labels:
            if not all(math.isnan(value) for value in stored.values()):
                return f"{split} accuracy without {split} clips"
            continue
        for metric, value in _accuracies(predicted, labels[split]).items():
            if not abs(stored[metric] - value) < _ROUNDING:  # not so with NaN
                return (
                    f"{split} {metric} is stored as {100 * stored[metric]:.2f} %, its predictions "
                    f"have {100 * value:.2f} %"
                )
    for when, epoch in (("final", row["epochs"]), ("best", row["best_epoch"])):
        if pd.isna(epoch):
            continue  # no validation clips to be best on
        record = kept.curve.get(int(epoch), {})
        for name in (name for name in schema.ACCURACIES if name.startswith(when)):
            point = record.get(name.removeprefix(f"{when}_"), math.nan)
            if row[name] != point and not (math.isnan(row[name]) and math.isnan(point)):
                return f"{name} is {row[name]:.6f}, its curve has {point:.6f}"
    return ""


def _accuracies(predicted: NDArray[Any], labels: NDArray[np.int64]) -> dict[str, float]:
    """As `training.loop.measure`."""
    hit = predicted == labels
    counts = np.bincount(labels)
    hits = np.bincount(labels[hit], minlength=len(counts))
    present = counts > 0
    return {
        "top1": float(hit.mean()),
        "mean_class": float((hits[present] / counts[present]).mean()),
    }

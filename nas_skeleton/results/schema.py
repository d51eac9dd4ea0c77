"""The columns of the table: one row per training.

Accuracies are shares in [0, 1]; times, sizes and counts are in the unit the name says. MACs are
multiply-accumulates of one clip (convolutions, graph sums and the classifier). `epochs` are those
of the recipe, but for a paused training, which has been through so many. `modality` is what the
network saw of a clip, several joined by "+". `engine` names what trained a finished row, and what
was asked for where there is no result; `fallback` says why a training left the engine it was meant
for.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import socket
from typing import Any

import nas_skeleton
from nas_skeleton.spaces import Cost, SearchSpace
from nas_skeleton.training.job import Job
from nas_skeleton.training.result import SPLITS, Accuracy, EpochRecord, Measured, Paused

# 1: curves and predictions, not compressed, among the columns. 2: in a table of their own.
# A further column, empty in older files, does not raise it; it goes behind all others.
SCHEMA = 2

DONE = "done"
DIVERGED = "diverged"  # the loss became infinite: a result, not repeated
FAILED = "failed"  # a crash: tried again when the command is repeated
PAUSED = "paused"  # trained for `epochs` of its epochs so far, as a search asked for
COPIED = "copied"  # taken over from `source_index`, which computes the same function

UNSETTLED = (FAILED, PAUSED)  # what goes on when it is asked for again

HELD_OUT = ("valid", "test")  # splits that are never trained on: those with predictions

METRICS = tuple(field.name for field in dataclasses.fields(Accuracy))
ACCURACIES = tuple(
    f"{when}_{split}_{metric}"
    for when in ("final", "best")
    for split in SPLITS
    for metric in METRICS
)

# Column -> SQLite type. The order is the order in files.
COLUMNS: dict[str, str] = {
    "key": "TEXT",
    "space": "TEXT",
    "arch_index": "INTEGER",
    "arch_str": "TEXT",
    "nb201_key": "TEXT",
    "functional_key": "TEXT",
    "dataset": "TEXT",
    "fingerprint": "TEXT",
    "protocol": "TEXT",
    "recipe": "TEXT",
    "recipe_hash": "TEXT",
    "modality": "TEXT",
    "seed": "INTEGER",
    "status": "TEXT",
    "source_index": "INTEGER",
    "engine": "TEXT",
    "fallback": "TEXT",
    "precision": "TEXT",
    "device": "TEXT",
    "epochs": "INTEGER",
    "params": "INTEGER",
    "macs": "INTEGER",
    "train_time_s": "REAL",
    "latency_ms": "REAL",
    "peak_memory_mb": "REAL",
    "best_epoch": "INTEGER",
    **dict.fromkeys(ACCURACIES, "REAL"),
    "error": "TEXT",
    "host": "TEXT",
    "version": "TEXT",
    "finished_at": "TEXT",
}


def identity_columns(job: Job, space: SearchSpace, cost: Cost) -> dict[str, Any]:
    """The columns that need no measuring; to be called when the training has ended."""
    recipe = space.card.recipe(job.recipe)
    return {
        "key": job.key,
        "space": job.space,
        "arch_index": job.arch_index,
        "arch_str": space.arch_string(job.arch_index),
        "nb201_key": space.nb201_key(job.arch_index),
        "functional_key": space.functional_key(job.arch_index),
        "dataset": job.dataset,
        "fingerprint": job.fingerprint,
        "protocol": job.protocol,
        "recipe": job.recipe,
        "recipe_hash": job.recipe_hash,
        "modality": "+".join(space.card.input.modalities),
        "seed": job.seed,
        "precision": recipe.precision,
        "epochs": recipe.epochs,
        "params": cost.params,
        "macs": cost.macs,
        "host": socket.gethostname(),
        "version": nas_skeleton.__version__,
        "finished_at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def measured_columns(measured: Measured) -> dict[str, Any]:
    """The columns a finished training fills."""
    best = measured.best_on_valid
    return {
        "status": DONE,
        "engine": measured.engine,
        "fallback": measured.fallback or None,
        "device": measured.device,
        "train_time_s": measured.train_time_s,
        "latency_ms": measured.latency_s * 1e3,
        "peak_memory_mb": measured.peak_memory_bytes / 2**20,
        "best_epoch": best.epoch if best else None,
        **_accuracy_columns("final", measured.final),
        **(_accuracy_columns("best", best) if best else {}),
    }


def paused_columns(paused: Paused) -> dict[str, Any]:
    """The columns of a training that pauses: its accuracies so far are in its curve only."""
    return {
        "status": PAUSED,
        "engine": paused.engine,
        "fallback": paused.fallback or None,
        "device": paused.device,
        "epochs": paused.curve[-1].epoch,
        "train_time_s": paused.train_time_s,
    }


def curve_json(curve: list[EpochRecord]) -> str:
    """The learning curve as one JSON list, an object per evaluated epoch."""
    return json.dumps(
        [
            {
                "epoch": record.epoch,
                "learning_rate": record.learning_rate,
                "train_loss": record.train_loss,
                **_accuracy_columns("", record),
            }
            for record in curve
        ]
    )


def valid_by_epoch(curve: str) -> dict[int, float]:
    """Validation top-1 by evaluated epoch, from what `curve_json` wrote."""
    return {
        record["epoch"]: record["valid_top1"]
        for record in json.loads(curve)
        if "valid_top1" in record
    }


def _accuracy_columns(when: str, record: EpochRecord) -> dict[str, float]:
    prefix = f"{when}_" if when else ""
    return {
        f"{prefix}{split}_{metric}": getattr(accuracy, metric)
        for split, accuracy in record.accuracy.items()
        for metric in METRICS
    }

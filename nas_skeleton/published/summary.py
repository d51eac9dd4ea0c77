"""What people open in a spreadsheet: one row per architecture, and one row per clip."""

from __future__ import annotations

import csv
from pathlib import Path

import pandas as pd

from nas_skeleton.results import schema
from nas_skeleton.results.run import DataFacts

DIGITS = 6  # of accuracies and seconds in the summary
_MEASURED = {
    "valid_top1": "final_valid_top1",
    "test_top1": "final_test_top1",
    "train_time_s": "train_time_s",
    "latency_ms": "latency_ms",
}


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """One row per architecture of a published table.

    `seeds` is how many finished; `copied` of them are those of another architecture that is the
    same function, and `diverged` more have no accuracy. Accuracies are top-1 after the last epoch,
    in [0, 1], means over the finished seeds; `_sd` is the standard deviation over them, empty where
    there is one. `params` and `macs` are the architecture's own.
    """
    finished = table["status"] != schema.DIVERGED
    by_arch = table.assign(
        **{name: table[column].where(finished) for name, column in _MEASURED.items()},
        finished=finished,
        is_copy=table["status"] == schema.COPIED,
    ).groupby("arch_index")
    found = by_arch.agg(
        arch_str=("arch_str", "first"),
        seeds=("finished", "sum"),
        copied=("is_copy", "sum"),
        rows=("finished", "size"),
        valid_top1=("valid_top1", "mean"),
        valid_top1_sd=("valid_top1", "std"),
        test_top1=("test_top1", "mean"),
        test_top1_sd=("test_top1", "std"),
        params=("params", "first"),
        macs=("macs", "first"),
        train_time_s=("train_time_s", "mean"),
        latency_ms=("latency_ms", "mean"),
    ).reset_index()
    found.insert(4, "diverged", found.pop("rows") - found["seeds"])
    return found


def write_summary(table: pd.DataFrame, path: Path) -> None:
    """The summary as CSV, numbers to six digits behind the point."""
    summary(table).round(DIGITS).to_csv(path, index=False)


def write_clips(data: DataFacts, path: Path) -> None:
    """The clips of all splits as CSV: split, position in its predictions, id, label, class name."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["split", "position", "id", "label", "class"])
        for split, clips in data.splits.items():
            for at, (clip, label) in enumerate(zip(clips.ids, clips.labels, strict=True)):
                writer.writerow([split, at, clip, label, data.classes[label]])

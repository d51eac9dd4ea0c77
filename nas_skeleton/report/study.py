"""What a report is about: the finished trainings of a run or of a published table, read alike."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from numpy.typing import NDArray

from nas_skeleton.errors import InputError
from nas_skeleton.published import files
from nas_skeleton.published.check import check_table, space_of
from nas_skeleton.published.find import find_run_or_table
from nas_skeleton.published.opening import matrix
from nas_skeleton.results import collect, schema, store
from nas_skeleton.results.copies import with_copies_of_run
from nas_skeleton.results.leaderboard import FURTHER
from nas_skeleton.results.run import Clips, Run
from nas_skeleton.results.schema import HELD_OUT
from nas_skeleton.spaces import SearchSpace, load_any_space
from nas_skeleton.training.result import SPLITS

TRAINING = ("arch_index", "seed")  # what names a training within a study
MEASURED = ("train_loss", *(f"{split}_top1" for split in SPLITS))  # of every evaluated epoch
COLUMNS = (
    *("key", "arch_index", "arch_str", "nb201_key", "functional_key", "recipe", "seed", "status"),
    *("source_index", "engine", "epochs", "params", "macs", "train_time_s", "latency_ms"),
    *("final_valid_top1", "final_test_top1", *FURTHER.values()),
)
_FINISHED = (schema.DONE, schema.DIVERGED)


@dataclass(frozen=True)
class Study:
    """Finished trainings of one kind.

    Attributes:
        kind, name: whose they are.
        space: what the architectures are indices of, with the card that they were trained with.
        asked: data set, protocol, recipe and modality.
        rows: with `COLUMNS`, by architecture and seed: trainings that finished or diverged, and
            copies of them ("copied", or "diverged" with a source) for others of their functional
            class.
        curves: an evaluated epoch per row: `TRAINING`, epoch, `MEASURED` as far as it is known.
        predicted: which training each row of `predictions` is of, with `TRAINING`.
        predictions: by split that has clips, `(n, clips)` classes.
        classes: their names.
        clips: by split, ids and labels in the order of predictions.
    """

    kind: Literal["run", "published table"]
    name: str
    space: SearchSpace
    asked: Mapping[str, str]
    rows: pd.DataFrame
    curves: pd.DataFrame
    predicted: pd.DataFrame
    predictions: Mapping[str, NDArray[Any]]
    classes: tuple[str, ...]
    clips: Mapping[str, Clips]

    @property
    def seeds(self) -> list[int]:
        """All there are, ascending."""
        return sorted(self.rows["seed"].unique().tolist())

    @property
    def whole_seeds(self) -> list[int]:
        """Those that every architecture was trained with; all, if there is no such seed.

        Only means over the same seeds are a fair comparison.
        """
        counts = self.rows["seed"].value_counts()
        architectures = self.rows["arch_index"].nunique()
        return [seed for seed in self.seeds if counts[seed] == architectures] or self.seeds


def find_study(name: str) -> Study:
    """The run of that name in the working folder, else the published table: its name, or a folder.

    Raises:
        InputError: neither is there, or it is damaged, or no training in it is finished.
    """
    found = find_run_or_table(name)
    return study_of_run(found) if isinstance(found, Run) else study_of_table(found)


def study_of_run(run: Run) -> Study:
    """The finished trainings of a run, and copies where it trains one of each functional class.

    Raises:
        InputError: none is finished, or the store is damaged.
    """
    asked = run.arguments
    space = load_any_space(asked.space, asked.modality)
    rows = run.rows([*COLUMNS, store.FILE, store.ROW])
    rows = rows[rows["status"].isin(_FINISHED)]
    if not (rows["status"] == schema.DONE).any():
        raise InputError(
            f"run {run.name!r}: nothing to report, no training is finished: search on, or "
            "name another run"
        )
    done = rows[rows["status"] == schema.DONE].reset_index(drop=True)
    columns = collect.curve_columns(run)
    lengths = {split: len(run.data.splits[split].ids) for split in HELD_OUT}
    predictions = {
        split: np.zeros((len(done), length), np.int16)
        for split, length in lengths.items()
        if length
    }
    curves, start = [], 0
    for part, details in store.read_details(run.results_folder, done):
        of_part = collect.curves_of(part, [curve for curve, *_ in details], columns)
        curves.append(_measured(of_part.to_pandas()))
        for at, (_, *packed) in enumerate(details, start):
            for split, blob in zip(HELD_OUT, packed, strict=True):
                if split in predictions:
                    predictions[split][at] = _unpacked(run, split, blob)
        start += len(details)
    return Study(
        kind="run",
        name=run.name,
        space=space,
        asked={
            "data set": asked.dataset,
            "protocol": asked.protocol,
            "recipe": asked.recipe,
            "modality": "+".join(space.card.input.modalities),
        },
        rows=with_copies_of_run(rows[list(COLUMNS)], run, space),
        curves=pd.concat(curves, ignore_index=True),
        predicted=done[list(TRAINING)],
        predictions=predictions,
        classes=tuple(run.data.classes),
        clips=run.data.splits,
    )


def study_of_table(folder: Path) -> Study:
    """All of the published table in `folder`, which is checked first.

    Raises:
        InputError: it is not sound.
    """
    manifest = check_table(folder)
    file = pq.ParquetFile(folder / files.PREDICTIONS)
    curve_names = pq.read_schema(folder / files.CURVES).names
    return Study(
        kind="published table",
        name=manifest.name,
        space=space_of(folder, manifest),
        asked={
            "data set": manifest.dataset,
            "protocol": manifest.protocol,
            "recipe": manifest.recipe,
            "modality": manifest.modality,
            "content": manifest.content,
        },
        rows=pd.read_parquet(folder / files.TABLE, columns=list(COLUMNS)),
        curves=pd.read_parquet(
            folder / files.CURVES,
            columns=[name for name in (*TRAINING, "epoch", *MEASURED) if name in curve_names],
        ),
        predicted=file.read(list(TRAINING)).to_pandas(),
        predictions={
            split: matrix(folder / files.PREDICTIONS, file, split)
            for split in HELD_OUT
            if split in file.schema_arrow.names
        },
        classes=tuple(manifest.classes),
        clips=dict(_clips(folder)),
    )


def _clips(folder: Path) -> Iterator[tuple[str, Clips]]:
    table = pd.read_csv(folder / files.CLIPS, dtype={"id": str}, keep_default_na=False)
    for split in SPLITS:
        own = table[table["split"] == split]
        yield split, Clips(own["id"].tolist(), own["label"].tolist())


def _measured(curves: pd.DataFrame) -> pd.DataFrame:
    return curves[[name for name in (*TRAINING, "epoch", *MEASURED) if name in curves]]


def _unpacked(run: Run, split: str, blob: bytes | None) -> NDArray[np.int16]:
    """Predictions on all clips of a split.

    Raises:
        InputError: there are others than the split's, or classes that do not exist.
    """
    classes = store.unpack_predictions(blob)
    known = len(run.data.classes)
    if (
        len(classes) != len(run.data.splits[split].ids)
        or not ((classes >= 0) & (classes < known)).all()
    ):
        raise InputError(
            f"run {run.name!r}: predictions on {split} clips are not those of data.json: "
            f"`python -m nas_skeleton.runs verify {run.name}` says of which trainings"
        )
    return classes

"""The trainings of a published table, as `runs verify` wants them: not its copied rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from nas_skeleton.errors import InputError
from nas_skeleton.published import files
from nas_skeleton.published.check import check_table, space_of
from nas_skeleton.published.files import Manifest
from nas_skeleton.published.opening import curve_columns
from nas_skeleton.results import schema
from nas_skeleton.results.finished import COLUMNS, Finished, Kept
from nas_skeleton.results.run import Arguments
from nas_skeleton.results.schema import HELD_OUT

_IDENTITY = ("key", "arch_index", "seed")


def finished_of_table(folder: Path) -> Finished:
    """The trainings of the table in `folder` that finished, with the card that lies there.

    None of them has a fault: the table is checked first.

    Raises:
        InputError: the table is not sound, or none of its trainings finished.
    """
    manifest = check_table(folder)
    table = pd.read_parquet(folder / files.TABLE, columns=[*COLUMNS, "source_index"])
    own = table[(table["status"] == schema.DONE) & table["source_index"].isna()]
    if own.empty:
        raise InputError(f"{folder}: no finished training is in it: there is nothing to verify")
    clips = pd.read_csv(folder / files.CLIPS, usecols=["split", "label"])
    return Finished(
        kind="table",
        name=manifest.name,
        space=space_of(folder, manifest),
        arguments=_arguments(manifest),
        labels={
            split: clips.loc[clips["split"] == split, "label"].to_numpy(np.int64)
            for split in HELD_OUT
            if manifest.clips.get(split)
        },
        rows=own[list(COLUMNS)].reset_index(drop=True),
        faults=[],
        read=lambda rows: _kept(folder, manifest, rows),
    )


def _arguments(manifest: Manifest) -> Arguments:
    return Arguments(
        space=manifest.space,
        dataset=manifest.dataset,
        protocol=manifest.protocol,
        recipe=manifest.recipe,
        strategy="",
        seeds=manifest.seeds,
        fingerprint=manifest.fingerprint,
        recipe_hash=manifest.recipe_hash,
        modality=manifest.modality,
    )


def _kept(folder: Path, manifest: Manifest, rows: pd.DataFrame) -> list[Kept]:
    """Curves and predictions of some trainings, in the order of `rows`."""
    among = [("key", "in", rows["key"].tolist())]
    curves: dict[str, dict[int, dict[str, float]]] = {}
    path, columns = folder / files.CURVES, curve_columns(manifest).names
    for record in pq.read_table(path, columns=columns, filters=among).to_pylist():
        key = record["key"]
        point = {name: value for name, value in record.items() if name not in _IDENTITY}
        curves.setdefault(key, {})[point["epoch"]] = point
    path, splits = folder / files.PREDICTIONS, [s for s in HELD_OUT if manifest.clips[s]]
    predictions = {
        record["key"]: {split: np.array(record[split], np.int16) for split in splits}
        for record in pq.read_table(path, columns=["key", *splits], filters=among).to_pylist()
    }
    return [Kept(curves[key], predictions[key]) for key in rows["key"]]

"""Whether a published table is sound: its files are those of the manifest, and agree.

What is looked at: size and SHA-256 of every file; every row there once; predictions, labels and
stored accuracies say the same; curves end in the final accuracies; the summary is that of the
table. Whether a training repeats is another question.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from nas_skeleton.errors import InputError
from nas_skeleton.published import files
from nas_skeleton.published.files import Manifest, checked_file, read_manifest
from nas_skeleton.published.summary import DIGITS, summary
from nas_skeleton.results import schema
from nas_skeleton.spaces import CellSpace

_SPLITS = ("train", "valid", "test")


def check_table(folder: Path) -> Manifest:
    """The manifest of the table in `folder`, if all of it is sound.

    Raises:
        InputError: it is not; the message names the file and the first thing that is wrong.
    """
    manifest = read_manifest(folder)
    for name in (*files.DATA, files.DATASHEET, files.CROISSANT):
        checked_file(folder, manifest, name)
    try:
        _check_agreement(folder, manifest)
    except (KeyError, ValueError, pa.ArrowException) as error:
        raise InputError(
            f"{folder}: not a table of schema {files.SCHEMA}: {str(error).splitlines()[0]}"
        ) from None
    return manifest


def _check_agreement(folder: Path, manifest: Manifest) -> None:
    table = pd.read_parquet(folder / files.TABLE)
    _require(list(table.columns) == list(schema.COLUMNS), folder / files.TABLE, "other columns")
    pairs = table.duplicated(["arch_index", "seed"]) | table.duplicated("key")
    _require(not pairs.any(), folder / files.TABLE, "a training is in it twice")
    own = table[table["source_index"].isna()]
    for status, count in ((schema.DONE, manifest.trained), (schema.DIVERGED, manifest.diverged)):
        found = int((own["status"] == status).sum())
        _require(
            found == count,
            folder / files.TABLE,
            f"{found} rows {status}, the manifest says {count}",
        )
    _check_names(table, folder / files.TABLE)
    _check_sources(table, folder / files.TABLE)
    _check_curves(folder, own)
    _check_predictions(folder, manifest, own[own["status"] == schema.DONE])
    _check_summary(folder / files.SUMMARY, table)


def _check_names(table: pd.DataFrame, path: Path) -> None:
    """Architectures are called what this package calls them."""
    space = CellSpace()
    for column, name in (
        ("arch_str", space.arch_string),
        ("functional_key", space.functional_key),
    ):
        names = {arch: name(arch) for arch in table["arch_index"].unique().tolist()}
        same = table["arch_index"].map(names) == table[column]
        _require(same.all(), path, f"a row has the {column} of another architecture")


def _check_sources(table: pd.DataFrame, path: Path) -> None:
    """Copied rows are those of a trained architecture that is the same function."""
    columns = ["functional_key", "seed", *schema.ACCURACIES]
    copies = table[table["source_index"].notna()]
    sources = table[table["source_index"].isna()].set_index(["arch_index", "seed"])
    origin = pd.MultiIndex.from_arrays([copies["source_index"].astype("int64"), copies["seed"]])
    _require(origin.isin(sources.index).all(), path, "a row is copied from one that is not there")
    theirs = sources.assign(seed=sources.index.get_level_values("seed")).loc[origin, columns]
    same = theirs.reset_index(drop=True).equals(copies[columns].reset_index(drop=True))
    _require(same, path, "a copied row differs from the one it is copied from")


def _check_curves(folder: Path, own: pd.DataFrame) -> None:
    path = folder / files.CURVES
    curves = pd.read_parquet(path)
    _require(not curves.duplicated(["key", "epoch"]).any(), path, "an epoch is in it twice")
    done = own[own["status"] == schema.DONE].set_index("key")
    last = curves.drop_duplicates("key", keep="last").set_index("key")
    _require(last.index.isin(own["key"]).all(), path, "the curve of a training that is not there")
    _require(done.index.isin(last.index).all(), path, "a training has no curve")
    for split in _SPLITS:
        if f"{split}_top1" in curves:
            final = done[f"final_{split}_top1"].to_numpy()
            ends = last.loc[done.index, f"{split}_top1"].to_numpy()
            same = np.array_equal(ends, final, equal_nan=True)
            _require(same, path, f"a curve does not end in its final {split} accuracy")


def _check_predictions(folder: Path, manifest: Manifest, done: pd.DataFrame) -> None:
    path = folder / files.PREDICTIONS
    predictions = pq.ParquetFile(path)
    same = predictions.read(["key"])["key"].to_pylist() == done["key"].tolist()
    _require(same, path, "not those of the table's trainings")
    clips = pd.read_csv(folder / files.CLIPS, dtype={"id": str})
    for split in _SPLITS:
        labels = clips.loc[clips["split"] == split, "label"].to_numpy()
        count = manifest.clips.get(split, 0)
        _require(len(labels) == count, folder / files.CLIPS, f"not {count} {split} clips")
        if split in files.PREDICTED and count:
            classes = files.matrix(predictions, split)
            shares = (classes == labels).mean(axis=1)
            stored = done[f"final_{split}_top1"].to_numpy()
            wrong = ~np.isclose(shares, stored, rtol=0, atol=1e-9)
            _require(
                not wrong.any(), path, f"{int(wrong.sum())} {split} accuracies are not the stored"
            )


def _check_summary(path: Path, table: pd.DataFrame) -> None:
    stored, expected = pd.read_csv(path), summary(table)
    _require(list(stored.columns) == list(expected.columns), path, "other columns")
    for name in expected.columns:
        found, wanted = stored[name], expected[name]
        if name == "arch_str":
            same = found.tolist() == wanted.tolist()
        else:
            same = len(found) == len(wanted) and np.allclose(
                found.to_numpy(np.float64, na_value=np.nan),
                wanted.to_numpy(np.float64, na_value=np.nan),
                rtol=1e-6,
                atol=10.0**-DIGITS,
                equal_nan=True,
            )
        _require(same, path, f"column {name} is not that of the table")


def _require(holds: bool | np.bool, path: Path, what: str) -> None:
    if not holds:
        raise InputError(f"{path}: {what}: fetch it again, or publish it again from sound runs")

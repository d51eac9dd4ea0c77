"""Whether the files of a published table agree: rows with the space, with each other, with clips.

Which of this a table needs is `check`'s business.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nas_skeleton.published.files import Manifest
from nas_skeleton.published.opening import require
from nas_skeleton.published.summary import DIGITS, summary
from nas_skeleton.published.table import PublishedTable
from nas_skeleton.results import schema
from nas_skeleton.results.schema import HELD_OUT
from nas_skeleton.spaces import Space
from nas_skeleton.spaces.liveness import ignores_input
from nas_skeleton.training.engines import ENGINES
from nas_skeleton.training.job import Job
from nas_skeleton.training.result import ANALYTIC, SPLITS

_ROUNDING = 1e-9  # of sums in another order: far less than a clip


def check_rows(path: Path, table: pd.DataFrame, manifest: Manifest, space: Space) -> None:
    """Rows are those of the architectures and trainings they say, and can be."""
    _check_engines(path, table, space)
    _check_architectures(path, table, manifest, space)
    _check_keys(path, table)
    _check_accuracies(path, table, manifest)
    done = table[table["status"] == schema.DONE]
    for name in ("train_time_s", "latency_ms", "peak_memory_mb"):
        known = np.isfinite(done[name]) & (done[name] >= 0)
        require(known.all(), path, f"a finished training has no {name}")


def _check_engines(path: Path, table: pd.DataFrame, space: Space) -> None:
    """Finished rows say what trained them; only cells that ignore their input needed nothing.

    `runs verify` repeats rows on the engine they name, and leaves analytic ones out of the noise.
    """
    for name in ("key", "version", "finished_at"):
        require(table[name].notna().all(), path, f"a row without {name}")
    done = table[table["status"] != schema.DIVERGED]
    for name in ("engine", "device"):
        require(done[name].notna().all(), path, f"a finished row without {name}")
    for name in done["engine"].unique().tolist():
        known = name == ANALYTIC or set(name.split("+")) <= set(ENGINES)
        require(known, path, f"engine {name!r:.60} is none of {', '.join((ANALYTIC, *ENGINES))}")
    untrained = done.loc[done["engine"] == ANALYTIC, "arch_index"].unique().tolist()
    blind = all(ignores_input(space.cell(arch)) for arch in untrained)
    require(blind, path, f"engine {ANALYTIC!r} of a cell that does not ignore its input")


def _check_architectures(path: Path, table: pd.DataFrame, manifest: Manifest, space: Space) -> None:
    """Architectures are called what this package calls them, and cost what they cost."""
    recipe = space.card.recipe(manifest.recipe)
    costs = {
        arch: space.cost(
            arch,
            recipe,
            classes=len(manifest.classes),
            joints=manifest.joints,
            bodies=manifest.bodies,
            channels=manifest.channels,
        )
        for arch in table["arch_index"].unique().tolist()
    }
    for column, value in (
        ("arch_str", space.arch_string),
        ("nb201_key", space.nb201_key),
        ("functional_key", space.functional_key),
        ("params", lambda arch: costs[arch].params),
        ("macs", lambda arch: costs[arch].macs),
    ):
        values = {arch: value(arch) for arch in costs}
        same = table["arch_index"].map(values) == table[column]
        require(same.all(), path, f"a row has the {column} of another architecture")


def _check_keys(path: Path, table: pd.DataFrame) -> None:
    """Keys are those of the trainings; a copy's is that of its source and its own index."""
    trained = table["source_index"].fillna(table["arch_index"]).astype("int64")
    identity = ("dataset", "fingerprint", "protocol", "recipe", "recipe_hash", "seed")
    jobs = zip(table["space"], trained, *(table[name] for name in identity), strict=True)
    suffixes = np.where(table["source_index"].notna(), ":" + table["arch_index"].astype(str), "")
    keys = [f"{Job(*job).key}{suffix}" for job, suffix in zip(jobs, suffixes, strict=True)]
    require(table["key"].tolist() == keys, path, "a key is not that of its training")


def _check_accuracies(path: Path, table: pd.DataFrame, manifest: Manifest) -> None:
    """Shares in [0, 1] where something was measured, and nothing where it was not."""
    finished = table["status"] != schema.DIVERGED
    splits = [split for split in SPLITS if manifest.clips.get(split)]
    for when in ("final", "best"):
        for split in SPLITS:
            columns = [f"{when}_{split}_{metric}" for metric in schema.METRICS]
            measured = split in splits and (when == "final" or "valid" in splits)
            values = table.loc[finished, columns].to_numpy(np.float64)
            if measured:
                require(_are_shares(values), path, f"{when} {split} accuracies outside [0, 1]")
                ordered = (values[:, 0] <= values[:, 1]).all()
                require(ordered, path, f"a {when} {split} top-1 above its top-5")
            else:
                require(np.isnan(values).all(), path, f"{when} {split} accuracies of no clips")
    none = table.loc[~finished, list(schema.ACCURACIES)].isna().all(axis=None)
    require(bool(none), path, "a diverged training has an accuracy")


def check_sources(path: Path, table: pd.DataFrame) -> None:
    """Copied rows are those of a trained architecture that is the same function."""
    columns = ["functional_key", "seed", *schema.ACCURACIES]
    copies = table[table["source_index"].notna()]
    sources = table[table["source_index"].isna()].set_index(["arch_index", "seed"])
    origin = pd.MultiIndex.from_arrays([copies["source_index"].astype("int64"), copies["seed"]])
    require(origin.isin(sources.index).all(), path, "a row is copied from one that is not there")
    theirs = sources.assign(seed=sources.index.get_level_values("seed")).loc[origin, columns]
    same = theirs.reset_index(drop=True).equals(copies[columns].reset_index(drop=True))
    require(same, path, "a copied row differs from the one it is copied from")


def check_curves(path: Path, curves: pd.DataFrame, own: pd.DataFrame, manifest: Manifest) -> None:
    """Curves are those of the trainings `own`, and go through their stored accuracies."""
    require(not curves.duplicated(["key", "epoch"]).any(), path, "an epoch is in it twice")
    identity = own[["key", "arch_index", "seed"]]
    theirs = curves[["key", "arch_index", "seed"]].drop_duplicates()
    same = len(theirs.merge(identity)) == len(theirs)
    require(same, path, "a curve has the key of another training")
    done = own[own["status"] == schema.DONE].set_index("key")
    last = curves.drop_duplicates("key", keep="last").set_index("key")
    require(last.index.isin(own["key"]).all(), path, "the curve of a training that is not there")
    require(done.index.isin(last.index).all(), path, "a training has no curve")
    require(len(last) == len(done), path, "the curve of a training that diverged")
    ends = last.loc[done.index, "epoch"]
    require((ends == done["epochs"]).all(), path, "a curve does not end with the last epoch")
    measured = [
        name for name in curves.columns if name.rpartition("_")[2] in ("top1", "top5", "class")
    ]
    require(_are_shares(curves[measured].to_numpy(np.float64)), path, "accuracies outside [0, 1]")
    points = curves.set_index(["key", "epoch"])
    for when, epochs in (("final", done["epochs"]), ("best", done["best_epoch"].dropna())):
        at = pd.MultiIndex.from_arrays([epochs.index, epochs.astype("int64")])
        require(at.isin(points.index).all(), path, f"a curve lacks its {when} epoch")
        for split in SPLITS:
            if manifest.clips.get(split):
                names = [f"{split}_{metric}" for metric in schema.METRICS]
                stored = done.loc[epochs.index, [f"{when}_{name}" for name in names]].to_numpy()
                same = np.array_equal(points.loc[at, names].to_numpy(), stored)
                where = "end in" if when == "final" else "go through"
                require(same, path, f"a curve does not {where} its {when} {split} accuracy")


def check_predictions(path: Path, table: PublishedTable, done: pd.DataFrame) -> None:
    """Predictions are those of the trainings `done`, and as often right as is stored."""
    keys = pd.read_parquet(path, columns=["key"])["key"]
    require(keys.tolist() == done["key"].tolist(), path, "not those of the table's trainings")
    for split in HELD_OUT:
        if not table.manifest.clips[split]:
            continue
        labels, classes = table.clips(split).labels, table.predictions(split)
        hits = classes == labels
        of_classes = [hits[:, labels == label].mean(axis=1) for label in np.unique(labels)]
        for metric, shares in (
            ("top1", hits.mean(axis=1)),
            ("mean_class", np.mean(of_classes, axis=0)),
        ):
            stored = done[f"final_{split}_{metric}"].to_numpy()
            wrong = int((~np.isclose(shares, stored, rtol=0, atol=_ROUNDING)).sum())
            require(not wrong, path, f"{wrong} {split} accuracies ({metric}) are not the stored")


def check_summary(path: Path, table: pd.DataFrame) -> None:
    """The summary is that of the table."""
    stored, expected = pd.read_csv(path), summary(table)
    require(list(stored.columns) == list(expected.columns), path, "other columns")
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
        require(same, path, f"column {name} is not that of the table")


def _are_shares(values: NDArray[Any]) -> bool:
    return bool(((values >= 0) & (values <= 1)).all())  # not so with NaN

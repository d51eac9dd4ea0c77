"""The columns of `table.parquet`, read and looked through: which rows there are, and what can be.

What the rows say is `table`'s business; whether it is true is `check`'s.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from nas_skeleton.published import files
from nas_skeleton.published.files import Manifest
from nas_skeleton.published.opening import (
    are_shares,
    numbers,
    open_parquet,
    read_columns,
    reading,
    require,
    texts_of,
    whole,
)
from nas_skeleton.results import arrow, schema
from nas_skeleton.spaces.space import CELLS

MISSING = -1  # no row, no source
_FIRST = "finished_at"  # columns behind it came later: older tables lack them
_FILLED = ("key", "arch_str", "functional_key")  # texts that every row has
_COSTS = ("train_time_s", "latency_ms", "peak_memory_mb")
_KNOWN = (schema.DONE, schema.COPIED, schema.DIVERGED)


@dataclass(frozen=True)
class Columns:
    """The rows of a table.

    Attributes:
        path: of their file.
        table: all columns of `results.schema`; texts as dictionaries.
        rows: `(architectures, seeds)` which row there is, `MISSING` where there is none.
        arch: `(rows,)` index of the architecture.
        source: `(rows,)` of the one it is copied from, `MISSING` of a training of its own.
        done: `(rows,)` whether it is a training that finished.
    """

    path: Path
    table: pa.Table
    rows: NDArray[np.int32]
    arch: NDArray[np.int64]
    source: NDArray[np.int64]
    done: NDArray[np.bool_]

    def column(self, name: str, missing: float | None = None) -> NDArray[Any]:
        """A column of numbers, `missing` where it has no value."""
        return numbers(self.table[name], missing)


def read_table(folder: Path, manifest: Manifest) -> Columns:
    """The rows of the table in `folder`, each of which can be.

    Raises:
        InputError: the file is damaged, or a row cannot be.
    """
    path, most = folder / files.TABLE, CELLS * len(manifest.seeds)
    file = open_parquet(folder, manifest, files.TABLE, arrow.TABLE, most, _FIRST)
    require(file.metadata.num_rows > 0, path, "no rows")
    present = [name for name in arrow.TABLE.names if name in file.schema_arrow.names]
    table = read_columns(path, file, present)
    for later in list(arrow.TABLE)[len(present) :]:
        table = table.append_column(later, pa.nulls(len(table), later.type))
    with reading(path):
        rows, arch = _places(path, table, manifest)
        source = numbers(table["source_index"], MISSING).astype(np.int64)
        codes, texts = texts_of(table["status"])
        status = np.array([*texts, None], object)[codes]
        _check_sources(path, rows, source, status)
        _check_counts(path, manifest, rows, source, status)
        _check_values(path, table, manifest)
    return Columns(path, table, rows, arch, source, status == schema.DONE)


def _places(
    path: Path, table: pa.Table, manifest: Manifest
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Which row an architecture and a seed have, and the architecture of each row."""
    arch, seed = whole(path, table, "arch_index"), whole(path, table, "seed")
    require(arch.min() >= 0 and arch.max() < CELLS, path, "an arch_index that is no architecture")
    require(np.isin(seed, manifest.seeds).all(), path, "a seed that the manifest lacks")
    at = np.searchsorted(manifest.seeds, seed)
    rows = np.full((CELLS, len(manifest.seeds)), MISSING, np.int32)
    rows[arch, at] = np.arange(len(arch))
    once = np.array_equal(rows[arch, at], np.arange(len(arch)))
    require(once, path, "a training is in it twice")
    return rows, arch


def _check_sources(
    path: Path, rows: NDArray[np.int32], source: NDArray[np.int64], status: NDArray[np.object_]
) -> None:
    """Statuses are known, and rows are copied from trainings that ended as they say."""
    require(np.isin(status, _KNOWN).all(), path, f"a status that is none of {', '.join(_KNOWN)}")
    copied = source != MISSING
    require(not (copied & (status == schema.DONE)).any(), path, "a training with a source_index")
    sourced = copied[status == schema.COPIED].all()
    require(sourced, path, "a copied row without source_index")
    known = (source >= MISSING) & (source < CELLS)
    require(known.all(), path, "a source_index that is no architecture")
    seeds = np.zeros(len(source), np.int64)
    _, at = np.nonzero(rows != MISSING)
    seeds[rows[rows != MISSING]] = at
    origin = rows[source[copied], seeds[copied]]
    there = (origin != MISSING) & ~copied[origin]
    require(there.all(), path, "a row is copied from one that is not there")
    ended = np.where(status[copied] == schema.COPIED, schema.DONE, schema.DIVERGED)
    require((status[origin] == ended).all(), path, "a copied row differs from its source")


def _check_counts(
    path: Path,
    manifest: Manifest,
    rows: NDArray[np.int32],
    source: NDArray[np.int64],
    status: NDArray[np.object_],
) -> None:
    """The manifest counts what there is."""
    there = rows != MISSING
    require(there.any(axis=0).all(), path, "a seed of the manifest has no row")
    for name, count in (
        ("architectures", there.any(axis=1).sum()),
        ("trained", (status == schema.DONE).sum()),
        ("copied", (status == schema.COPIED).sum()),
        ("diverged", ((status == schema.DIVERGED) & (source == MISSING)).sum()),
    ):
        stated = getattr(manifest, name)
        what = f"{name} is {stated!r:.60}, the files have {count}"
        require(stated == count, path.with_name(files.MANIFEST), what)


def _check_values(path: Path, table: pa.Table, manifest: Manifest) -> None:
    """Numbers are of the kind they are of; where nothing was measured there is none."""
    for name in _FILLED:
        require(not table[name].null_count, path, f"a row without {name}")
    last = manifest.recipe_values["epochs"]
    same = (whole(path, table, "epochs") == last).all()
    require(same, path, f"a training has not {last} epochs")
    best = numbers(table["best_epoch"], last)
    require(((best >= 1) & (best <= last)).all(), path, "a best_epoch that is none")
    for name in ("params", "macs"):
        require((whole(path, table, name) >= 0).all(), path, f"{name} below 0")
    for name in _COSTS:
        costs = numbers(table[name], np.nan)
        require(not ((costs < 0) | np.isinf(costs)).any(), path, f"{name} that cannot be")
    for name in schema.ACCURACIES:
        require(are_shares(numbers(table[name], np.nan)), path, f"{name} outside [0, 1]")

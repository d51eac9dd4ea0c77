"""What a table knows of its trainings beside their rows: curves, predictions, clips.

Each is read and looked through when it is first asked for.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from nas_skeleton.published import files
from nas_skeleton.published.columns import MISSING, Columns
from nas_skeleton.published.files import Manifest
from nas_skeleton.published.opening import (
    Clips,
    are_shares,
    curve_columns,
    matrix,
    numbers,
    open_parquet,
    prediction_columns,
    read_clips,
    read_columns,
    reading,
    require,
    whole,
)
from nas_skeleton.results.schema import HELD_OUT
from nas_skeleton.spaces.space import CELLS

_IDENTITY = ("key", "arch_index", "seed", "epoch")
_UNBOUNDED = ("learning_rate", "train_loss")  # measures that are no shares


class Details:
    """The other files of a table.

    Args:
        folder: of the table.
        manifest: its.
        columns: its rows.
    """

    def __init__(self, folder: Path, manifest: Manifest, columns: Columns) -> None:
        self._folder = folder
        self._manifest = manifest
        self._columns = columns
        self._kinds = curve_columns(manifest)
        self.measures = [name for name in self._kinds.names if name not in _IDENTITY]

    def curve(self, measure: str) -> NDArray[np.float64]:
        """`(rows, epochs)` of one of `measures`, NaN where it was not evaluated, and of copies.

        Raises:
            InputError: the file is damaged.
        """
        rows, at = self._curve_places
        path = self._folder / files.CURVES
        lines = read_columns(path, self._curve_file, [measure])
        values = numbers(lines[measure], np.nan)
        require(measure in _UNBOUNDED or are_shares(values), path, f"{measure} outside [0, 1]")
        found = np.full((len(self._columns.arch), len(self._manifest.epochs)), np.nan)
        found[rows, at] = values
        return found

    def curve_lines(self) -> pa.Table:
        """All columns of the curves that are known here, as they are in the file.

        Raises:
            InputError: the file is damaged.
        """
        return read_columns(self._folder / files.CURVES, self._curve_file, self._kinds.names)

    @cached_property
    def predictions(self) -> dict[str, NDArray[np.signedinteger]]:
        """By split `(trainings, clips)` the classes predicted, in the order of finished rows.

        Raises:
            InputError: the file is damaged.
        """
        path, manifest, rows = self._folder / files.PREDICTIONS, self._manifest, self._columns
        classes = len(manifest.classes)
        kinds = prediction_columns(manifest, pa.int8() if classes <= 127 else pa.int16())
        clips = self.clips  # so many there are: arrays are not as large as is claimed
        trained = int(rows.done.sum())
        file = open_parquet(self._folder, manifest, files.PREDICTIONS, kinds, trained)
        identity = read_columns(path, file, ["key", "arch_index", "seed"])
        for name in ("arch_index", "seed"):
            own, expected = whole(path, identity, name), rows.column(name)[rows.done]
            require(np.array_equal(own, expected), path, "not those of the table's trainings")
        found = {}
        for split in HELD_OUT:
            if split in clips:
                found[split] = own = matrix(path, file, split)
                known = own.size == 0 or 0 <= own.min() <= own.max() < classes
                require(known, path, f"a {split} prediction is no class")
        return found

    @cached_property
    def clips(self) -> Clips:
        """Ids and labels of the clips of each split that has some.

        Raises:
            InputError: the file is damaged.
        """
        return read_clips(self._folder, self._manifest)

    @cached_property
    def _curve_file(self) -> pq.ParquetFile:
        trainings = int((self._columns.source == MISSING).sum())
        most = trainings * len(self._manifest.epochs)
        return open_parquet(self._folder, self._manifest, files.CURVES, self._kinds, most)

    @cached_property
    def _curve_places(self) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Row and place of the epoch of every line of the curves."""
        path, manifest, columns = self._folder / files.CURVES, self._manifest, self._columns
        lines = read_columns(path, self._curve_file, ["arch_index", "seed", "epoch"])
        with reading(path):
            arch, seed, epoch = (whole(path, lines, name) for name in lines.column_names)
            known = (arch >= 0) & (arch < CELLS) & np.isin(seed, manifest.seeds)
            require(known.all(), path, "the curve of a training that is not there")
            require(np.isin(epoch, manifest.epochs).all(), path, "an epoch the manifest lacks")
            rows = columns.rows[arch, np.searchsorted(manifest.seeds, seed)]
            own = (rows != MISSING) & (columns.source[rows] == MISSING)
            require(own.all(), path, "the curve of a training that is not there")
            at = np.searchsorted(manifest.epochs, epoch)
            lines_of = rows.astype(np.int64) * len(manifest.epochs) + at
            require(len(np.unique(lines_of)) == len(rows), path, "an epoch is in it twice")
        return rows, at

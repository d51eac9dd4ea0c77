"""One published table in memory: which row an architecture and a seed have, and what is in it.

Read with the first question and checked against the manifest: the table at once, curves and
predictions when they are asked for. Choosing by validation and comparing is `benchmark`'s business.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from nas_skeleton.published import files
from nas_skeleton.published.columns import MISSING, read_table
from nas_skeleton.published.details import Details
from nas_skeleton.published.opening import reading, texts_of
from nas_skeleton.published.rows import (
    Aggregate,
    AggregateRow,
    Clips,
    Epoch,
    NotInTable,
    Row,
    listed,
)
from nas_skeleton.published.seeds import OVER, Which, check_seed, deviation
from nas_skeleton.results import schema
from nas_skeleton.spaces import CellSpace
from nas_skeleton.training.result import ANALYTIC, SPLITS

Floats = NDArray[np.float64]

_MEASURES = [f"{split}_{metric}" for split in SPLITS for metric in schema.METRICS]
_COSTS = ("train_time_s", "latency_ms", "peak_memory_mb")
_MEASURED = 1 + len(_COSTS) + len(_MEASURES)  # columns of an aggregate, the epoch first
_VALID_TOP1, _TEST_TOP1 = (
    1 + len(_COSTS) + _MEASURES.index(f"{s}_top1") for s in ("valid", "test")
)


class PublishedTable:
    """The table in one folder.

    Args:
        folder: with a manifest.

    Raises:
        InputError: the manifest or the table is damaged or of another schema.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.manifest = files.read_manifest(folder)
        self.name = self.manifest.name
        self.seeds = tuple(self.manifest.seeds)
        self.epochs = tuple(self.manifest.epochs)
        self.space = CellSpace()
        self._columns = read_table(folder, self.manifest)
        self._details = Details(folder, self.manifest, self._columns)
        self._seed_at = {seed: at for at, seed in enumerate(self.seeds)}
        self._rows, self._arch = self._columns.rows, self._columns.arch
        self._source = self._columns.source
        seed_at = np.searchsorted(self.seeds, self._column("seed"))
        # Which row is that of the training itself.
        trained = np.where(self._source == MISSING, self._arch, self._source)
        self._trained_row = self._rows[trained, seed_at]
        self._status, self._statuses = texts_of(self._columns.table["status"])
        self._key, self._keys = texts_of(self._columns.table["functional_key"])
        self._name, self._names = texts_of(self._columns.table["arch_str"])
        self._params, self._macs = self._column("params"), self._column("macs")
        self._costs = self._stacked(_COSTS)
        self._lasts = self._column("epochs").astype(np.int64)
        self._best_epochs = self._column("best_epoch", MISSING).astype(np.int64)
        self._final = self._stacked([f"final_{name}" for name in _MEASURES])
        self._best = self._stacked([f"best_{name}" for name in _MEASURES])
        self._curves: dict[str, Floats] = {}

    def row(self, arch: int, seed: int, epoch: Epoch = "last") -> Row:
        """The row of an architecture and a seed.

        Raises:
            NotInTable: there is none, or the training was not evaluated after that epoch.
        """
        at = self._row_of(arch, seed)
        after, costs, accuracies = self._measured(at, epoch)
        source = self._source.item(at)
        values: list[Any] = [
            *self._described(arch, at, after),
            *costs,
            *accuracies,
            self.seeds[self._seed_at[seed]],  # a plain number
            self._statuses[self._status.item(at)],
            None if source == MISSING else source,
        ]
        return Row(*values)

    def aggregate(
        self, arch: int, how: Aggregate, epoch: Epoch = "last", seeds: Sequence[int] | None = None
    ) -> AggregateRow:
        """The mean or median over the `seeds` of an architecture that finished, or all it has.

        Raises:
            NotInTable: it has no such row, or was not evaluated after that epoch.
        """
        finished, copied, diverged = [], [], []
        measured = []
        for seed in self.seeds_of(arch) if seeds is None else seeds:
            at = self._row_of(arch, seed)
            if self._statuses[self._status.item(at)] == schema.DIVERGED:
                diverged.append(seed)
                continue
            finished.append(seed)
            if self._source.item(at) != MISSING:
                copied.append(seed)
            after, costs, accuracies = self._measured(at, epoch)
            measured.append((after, *costs, *accuracies))
        columns = list(zip(*measured, strict=True)) or [(np.nan,)] * _MEASURED
        over = OVER[how]
        values: list[Any] = [
            *self._described(arch, at, max(columns[0]) if measured else self.epochs[-1]),
            *map(over, columns[1:]),
            how,
            tuple(finished),
            tuple(copied),
            tuple(diverged),
            deviation(columns[_VALID_TOP1]),
            deviation(columns[_TEST_TOP1]),
        ]
        return AggregateRow(*values)

    def answer(self, arch: int, which: Which, epoch: Epoch = "last") -> Row | AggregateRow:
        """The row or aggregate that a question means.

        Raises:
            NotInTable: see `row` and `aggregate`.
        """
        if which.how is not None:
            return self.aggregate(arch, which.how, epoch, which.seeds)
        assert which.seeds is not None
        return self.row(arch, which.seeds[0], epoch)

    def has_row(self) -> NDArray[np.bool_]:
        """`(architectures, seeds)` whether there is a row."""
        there: NDArray[np.bool_] = self._rows != MISSING
        return there

    def trained(self) -> NDArray[np.bool_]:
        """`(architectures, seeds)` whether it was trained to the end: no copy, none filled in."""
        engine, engines = texts_of(self._columns.table["engine"])
        filled_in = np.array([name == ANALYTIC for name in engines], np.bool_)
        own = self._columns.done & ~filled_in[engine]
        found: NDArray[np.bool_] = self.has_row() & own[self._rows]
        return found

    def functions(self, archs: NDArray[np.signedinteger[Any]]) -> int:
        """How many different functions these architectures are, which all have a row."""
        return len(np.unique(self._key[self._rows[archs].max(axis=1)]))

    def seeds_of(self, arch: int) -> list[int]:
        """The seeds an architecture has a row for.

        Raises:
            NotInTable: none.
        """
        seeds = [
            s for s, row in zip(self.seeds, self._rows[arch].tolist(), strict=True) if row >= 0
        ]
        if not seeds:
            raise NotInTable(
                f"table {self.name!r} has no row for architecture {arch}: it has "
                f"{self.manifest.architectures:,} of {len(self.space):,}, such as "
                f"{listed(np.unique(self._arch)[:3].tolist())}"
            )
        return seeds

    def array(self, column: str) -> Floats:
        """`(architectures, seeds)` of a column of numbers, NaN where there is no row.

        Raises:
            NotInTable: no such column.
        """
        numbers = [name for name, kind in schema.COLUMNS.items() if kind != "TEXT"]
        if column not in numbers:
            own = f"{column} of a row is final_{column}, or best_{column}; "
            hint = own if f"final_{column}" in numbers else ""
            raise NotInTable(
                f"no column of numbers {column!r}: {hint}there are {', '.join(numbers)}"
            )
        values = self._column(column, np.nan).astype(np.float64)
        return np.where(self._rows == MISSING, np.nan, values[self._rows])

    def curve_columns(self) -> list[str]:
        """Names of what is known per epoch."""
        return list(self._details.measures)

    def curves(self, column: str) -> Floats:
        """`(architectures, seeds, epochs)` of a measure, NaN where it was not evaluated.

        Raises:
            NotInTable: no such measure.
        """
        of_rows = self._curve(column)
        return np.where((self._rows == MISSING)[..., None], np.nan, of_rows[self._rows])

    def losses(self, arch: int, epoch: int) -> dict[int, float]:
        """Training loss in an epoch by seed; NaN where it is not known."""
        rows = {seed: self._row_of(arch, seed) for seed in self.seeds_of(arch)}
        at = self._epoch_at(epoch)
        return {seed: self._curve("train_loss").item(row, at) for seed, row in rows.items()}

    def predictions(self, split: str) -> NDArray[np.signedinteger[Any]]:
        """`(trainings, clips)` the classes predicted after the last epoch, see `prediction_rows`.

        Raises:
            NotInTable: no predictions on such a split.
        """
        known = self._details.predictions
        if split not in known:
            raise NotInTable(
                f"no predictions on {split!r} clips: there are those on {listed(known)}"
            )
        return known[split]

    @cached_property
    def prediction_rows(self) -> NDArray[np.int32]:
        """`(architectures, seeds)` row in `predictions` of a training, -1 where there is none."""
        rows = np.full(len(self._arch), MISSING, np.int32)
        rows[self._columns.done] = np.arange(self.manifest.trained)
        return np.where(self._rows == MISSING, MISSING, rows[self._trained_row][self._rows])

    @cached_property
    def copied(self) -> NDArray[np.bool_]:
        """`(architectures, seeds)` whether a row is taken over from another architecture."""
        own: NDArray[np.bool_] = (self._rows != MISSING) & (self._source[self._rows] != MISSING)
        return own

    def predicted(self, arch: int, seed: int, split: str) -> NDArray[np.signedinteger[Any]]:
        """`(clips,)` the classes one training predicted after the last epoch.

        Raises:
            NotInTable: no such row, it diverged, or no such split.
        """
        self._row_of(arch, seed)
        classes = self.predictions(split)
        row = self.prediction_rows.item(arch, self._seed_at[seed])
        if row == MISSING:
            raise NotInTable(f"architecture {arch} diverged with seed {seed}: it predicts nothing")
        own: NDArray[np.signedinteger[Any]] = classes[row]
        return own

    def clips(self, split: str) -> Clips:
        """Ids and labels of the clips of a split, in the order of predictions.

        Raises:
            NotInTable: no such split.
        """
        known = self._details.clips
        if split not in known:
            raise NotInTable(f"no {split!r} clips: there are {listed(known)}")
        return Clips(*known[split], tuple(self.manifest.classes))

    def read_all(self) -> None:
        """Read, and so look through, everything that is else read when it is asked for.

        Raises:
            InputError: a file is damaged.
        """
        for column in self.curve_columns():
            self._curve(column)
        _ = self._details.predictions

    def check_seed(self, seed: int) -> int:
        """Which column of arrays `seed` has.

        Raises:
            NotInTable: the table has no such seed.
        """
        check_seed(self.name, self.seeds, seed)
        return self._seed_at[seed]

    def measure(self, name: str, epoch: Epoch) -> Floats:
        """`(architectures, seeds)` of one of the accuracies after an epoch."""
        if epoch in ("last", self.manifest.recipe_values["epochs"]):
            return self.array(f"final_{name}")
        if epoch == "best":
            return self.array(f"best_{name}")
        return self.curves(name)[:, :, self._epoch_at(epoch)]

    def to_pandas(self, level: str) -> Any:
        """A file of the table as a data frame: "trainings", "epochs", "architectures", "clips".

        Raises:
            NotInTable: no such level.
            InputError: the file is damaged.
        """
        import pandas as pd

        if level not in _LEVELS:
            raise NotInTable(f"no level {level!r}: there are {', '.join(_LEVELS)}")
        if level == "trainings":
            return _frame(self._columns.table)
        if level == "epochs":
            self._curve("train_loss")  # so all lines are of trainings and epochs that are there
            return _frame(self._details.curve_lines())
        path = files.checked_file(self.folder, self.manifest, _LEVELS[level])
        with reading(path):
            return pd.read_csv(path)

    def _row_of(self, arch: int, seed: int) -> int:
        row = self._rows.item(arch, self.check_seed(seed))
        if row == MISSING:
            known = listed(self.seeds_of(arch))
            raise NotInTable(
                f"table {self.name!r} has no row for architecture {arch} with seed {seed}: it has "
                f"seeds {known}"
            )
        return row

    def _described(
        self, arch: int, row: int, epoch: int
    ) -> tuple[str, int, str, str, int, int, int]:
        """What a row begins with."""
        name, key = self._names[self._name.item(row)], self._keys[self._key.item(row)]
        return self.name, arch, name, key, epoch, self._params.item(row), self._macs.item(row)

    def _measured(
        self, row: int, epoch: Epoch
    ) -> tuple[int, tuple[float, float, float], list[float]]:
        """The epoch, 1-based, `_COSTS` until then and `_MEASURES` after it."""
        last = self._lasts.item(row)
        seconds, latency, memory = self._costs[row].tolist()
        if epoch == "last" or epoch == last:
            return last, (seconds, latency, memory), self._final[row].tolist()
        if epoch == "best":
            best = self._best_epochs.item(row)
            after, values = (last if best == MISSING else best), self._best[row].tolist()
        else:
            at = self._epoch_at(epoch)
            after, values = int(epoch), [self._curve(name)[row, at].item() for name in _MEASURES]
            diverged = self._statuses[self._status.item(row)] == schema.DIVERGED
            if not diverged and all(map(math.isnan, values)):
                raise NotInTable(
                    f"table {self.name!r}: architecture {self._arch.item(row)} with seed "
                    f"{self._column('seed').item(row)} was not evaluated after epoch {epoch}: not "
                    "all were after the same ones"
                )
        return after, (seconds * after / last, latency, memory), values

    def _epoch_at(self, epoch: Epoch) -> int:
        if epoch not in self.epochs:
            raise NotInTable(
                f"table {self.name!r} has no epoch {epoch!r}: trainings were evaluated after "
                f"{listed(self.epochs)}; 'last' is the end, 'best' the best on validation"
            )
        return self.epochs.index(int(epoch))

    def _curve(self, column: str) -> Floats:
        """`(rows, epochs)` of a measure; copies have that of what they are copies of."""
        if column not in self._curves:
            if column in self.curve_columns():
                self._curves[column] = self._details.curve(column)[self._trained_row]
            elif column in _MEASURES:  # no such clips
                self._curves[column] = np.full((len(self._arch), len(self.epochs)), np.nan)
            else:
                known = ", ".join(self.curve_columns())
                raise NotInTable(f"nothing called {column!r} is known per epoch: {known}")
        return self._curves[column]

    def _column(self, name: str, missing: float | None = None) -> NDArray[Any]:
        return self._columns.column(name, missing)

    def _stacked(self, names: Any) -> Floats:
        return np.stack([self._column(name, np.nan) for name in names], axis=1)


def _frame(table: pa.Table) -> Any:
    """What `read_columns` read as pandas reads it: texts are no dictionaries."""
    kinds = [
        (field.name, field.type.value_type if pa.types.is_dictionary(field.type) else field.type)
        for field in table.schema
    ]
    return table.cast(pa.schema(kinds)).to_pandas()


_LEVELS = {
    "trainings": files.TABLE,
    "epochs": files.CURVES,
    "architectures": files.SUMMARY,
    "clips": files.CLIPS,
}

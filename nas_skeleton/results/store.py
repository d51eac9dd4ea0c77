"""The crash-safe store: every worker appends to a SQLite file of its own, readers see the union.

A row is committed whole, its curve and predictions with it, or not at all, whatever is killed.
How one file is written and read is `file`'s business; here is what many files are together.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nas_skeleton.errors import InputError
from nas_skeleton.results import file
from nas_skeleton.results.schema import COLUMNS, DONE, FAILED, PAUSED

_RANK = {DONE: 0, PAUSED: 2, FAILED: 3}  # which of two rows with one key is kept; others are 1
_DECIDING = ("key", "status", "epochs", "finished_at")
_NULLABLE = {"source_index", "best_epoch"}
_TEXT = pd.Series(["text"]).dtype  # "str" since pandas 3
FILE, ROW = "file", "row"  # where a row lies: name of the file, row id in it
_NO_CURVE = "[]"
_PAGE = 16_384  # rows that are read at once
_PREDICTION = np.dtype("<i2")

Training = tuple[dict[str, Any], str, dict[str, NDArray[np.int16]]]
"""A row's columns, its curve as JSON text, its predictions per split."""
Details = tuple[str, bytes, bytes]
"""A curve as JSON text, and the packed predictions on validation and test clips."""


class ResultWriter:
    """Appends rows to `folder`/NAME.sqlite; the file appears with the first row.

    No two writers may have one name: the worker that writes gives its own.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.path = folder / f"{name}{file.SUFFIX}"
        self._connection: sqlite3.Connection | None = None

    def append(
        self,
        row: dict[str, Any],
        curve: str = "[]",
        predictions: dict[str, NDArray[np.int16]] | None = None,
    ) -> None:
        """Write one row; when this returns, it is on the disk.

        Raises:
            InputError: the disk is full or read-only; rows written before stay.
            OSError: the same, where the system says it.
        """
        self.append_all([(row, curve, predictions or {})])

    def append_all(self, trainings: Iterable[Training]) -> None:
        """Write some rows in one go, all or none; see `append`."""
        rows = [(row, _packed(curve, predictions)) for row, curve, predictions in trainings]
        try:
            if self._connection is None:
                self._connection = file.open_for_writing(self.path)
            file.insert(self._connection, rows)
        except sqlite3.DatabaseError as error:
            self.close()  # what a failed sync left in memory is not to be trusted
            if isinstance(error, (sqlite3.IntegrityError, sqlite3.ProgrammingError)):
                raise
            raise InputError(
                f"{self.path}: cannot write results: {error}; nothing before is lost: see that the "
                "disk has room, can be written and nobody locks the file, then run the same "
                "command again"
            ) from None

    def close(self) -> None:
        """Let go of the file; another row opens it again."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class NewRows:
    """Rows of a folder of results as they come: each call of `read` gives those added since.

    Args:
        folder: where the workers write; it need not exist yet.
        columns: names of `schema.COLUMNS` to read.
    """

    def __init__(self, folder: Path, columns: Sequence[str]) -> None:
        self._folder = folder
        self._columns = list(columns)
        self._seen: dict[Path, _Seen] = {}

    def read(self) -> list[dict[str, Any]]:
        """Rows that were committed since the last call, over all files, each as a dictionary.

        The same training may come again, from another worker or because its row was replaced. What
        another computer commits is seen at once, but on a network file system a new file of its may
        be hidden for as long as folders are cached (up to a minute).

        Raises:
            InputError: a file is damaged or from another version.
        """
        return [row for path in _files(self._folder) for row in self._read(path)]

    def _read(self, path: Path) -> list[dict[str, Any]]:
        seen = self._seen.get(path, _Seen())
        try:
            now = file.state(path)
        except FileNotFoundError:  # moved away just now
            return []
        # A commit that is under way may end without a further change of the file, but not without
        # one of its journal.
        journal = file.journal(path)
        if (now, journal) == (seen.state, seen.journal):
            return []
        last = seen.last if now[0] == seen.state[0] else 0  # or another file of the same name
        found = file.read(
            path, lambda opened: opened.select(self._columns, "trainings.rowid > ?", [last])
        )
        self._seen[path] = _Seen(now, journal, found[-1][0] if found else last)
        return [dict(zip(self._columns, row[1:], strict=True)) for row in found or ()]


@dataclass(frozen=True)
class _Seen:
    """What is known of a file: how it and its journal looked when it was read, the last row."""

    state: tuple[int, ...] = (0,)
    journal: tuple[int, ...] = ()
    last: int = 0


def read_rows(
    folder: Path,
    columns: Sequence[str] | None = None,
    *,
    only: Mapping[str, Any] | None = None,
    every: bool = False,
    blobs: bool = False,
) -> pd.DataFrame:
    """All rows of all files in `folder`, one per training, sorted by architecture and seed.

    Of several rows with one key a finished one is kept before a paused one before a failed one,
    then the one that went further, then the one that finished first. A column that came to be after
    a file was written is empty in its rows.

    Args:
        folder: where workers write; it need not exist.
        columns: which of `schema.COLUMNS`, and of `FILE` and `ROW`, which say where a row lies;
            None for all of the former.
        only: leave out rows that have other values than these in these columns.
        every: keep all rows with one key.
        blobs: add the columns `curve` (JSON text) and `valid_predictions`, `test_predictions`
            (bytes, see `unpack_predictions`); for many rows `read_details` needs less memory.

    Raises:
        InputError: a file is damaged or from another version.
    """
    names = list(COLUMNS if columns is None else columns)
    needed = [*names, "arch_index", "seed", *((FILE, ROW) if blobs else ())]
    rows, repeated = _stored(folder, needed, only or {})
    if repeated and not every:  # seldom: what decides is not read otherwise
        rows, _ = _stored(folder, [*needed, *_DECIDING], only or {})
        rows = one_per_key(rows)
    rows = rows.sort_values(["arch_index", "seed"], kind="stable", ignore_index=True)
    if not blobs:
        return rows[names]
    details = [found for _, batch in read_details(folder, rows) for found in batch]
    return rows[names].assign(
        **{name: [found[i] for found in details] for i, name in enumerate(file.DETAILS)}
    )


def one_per_key(rows: pd.DataFrame) -> pd.DataFrame:
    """Of several rows with one key a finished one before a paused one before a failed one.

    Then the one that went further, then the earliest. The order of the others does not change.
    """
    order = rows["status"].map(lambda status: _RANK.get(status, 1))
    best = rows.assign(_order=order, _epochs=-rows["epochs"])
    best = best.sort_values(["_order", "_epochs", "finished_at"], kind="stable")
    return rows.loc[best.drop_duplicates("key").index.sort_values()]


def read_details(
    folder: Path, rows: pd.DataFrame, batch: int = 4096
) -> Iterator[tuple[pd.DataFrame, list[Details]]]:
    """`rows` in batches, in their order, with the curve and the packed predictions of each.

    Args:
        folder: where they were read.
        rows: of `read_rows`, with the columns `FILE` and `ROW`.
        batch: how many rows at a time.

    Raises:
        InputError: a file is damaged, or a row is no longer there.
    """
    for start in range(0, len(rows), batch):
        part = rows.iloc[start : start + batch]
        found: dict[tuple[str, int], Details] = {}
        for name, of_file in part.groupby(FILE, sort=False)[ROW]:
            for row, details in _details_of(folder / str(name), of_file.tolist()):
                found[str(name), row] = details
        try:
            yield part, [found[key] for key in zip(part[FILE], part[ROW], strict=True)]
        except KeyError as error:
            name, row = error.args[0]
            raise InputError(
                f"{folder / name}: training {row} is gone: somebody changed the file; try again"
            ) from None


def unpack_predictions(blob: bytes | None) -> NDArray[np.int16]:
    """Predicted class per clip from a stored blob; empty where the split has no clips."""
    return np.frombuffer(blob or b"", dtype=_PREDICTION)


def _packed(curve: str, predictions: Mapping[str, NDArray[np.int16]]) -> dict[str, bytes]:
    """What goes to the table of details; nothing for a training that has none."""
    details = {"curve": curve.encode()} if curve != _NO_CURVE else {}
    for split, classes in predictions.items():
        details[f"{split}_predictions"] = classes.astype(_PREDICTION).tobytes()
    return details


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"*{file.SUFFIX}"))


def _stored(
    folder: Path, names: Sequence[str], only: Mapping[str, Any]
) -> tuple[pd.DataFrame, bool]:
    """Columns of all rows, in the order of files and of writing; whether a key comes twice."""
    wanted = list(dict.fromkeys(names))
    read = ["key", *(name for name in wanted if name not in (FILE, ROW, "key"))]
    frames, waiting, origins = [], list[tuple[Any, ...]](), list[str]()
    keys, count = set[str](), 0

    def convert() -> None:
        columns = zip(*waiting, strict=True) if waiting else ((),) * (1 + len(read))
        named = {FILE: origins, **dict(zip((ROW, *read), columns, strict=True))}
        frames.append(pd.DataFrame({name: _column(name, named[name]) for name in wanted}))

    for path in _files(folder):
        for page in _pages(path, read, only):
            waiting += page
            origins += [path.name] * len(page)
            keys.update(row[1] for row in page)
            count += len(page)
            if len(waiting) >= _PAGE:
                convert()
                waiting, origins = [], []
    convert()
    return pd.concat(frames, ignore_index=True), len(keys) < count


def _pages(
    path: Path, names: Sequence[str], only: Mapping[str, Any]
) -> Iterator[list[tuple[Any, ...]]]:
    """The rows of a file in pages, each read at one moment: row id, then the columns `names`."""
    last = 0
    where = " AND ".join(["trainings.rowid > ?", *(f"{name} = ?" for name in only)])
    while True:
        values = [last, *only.values()]
        page = file.read(path, lambda opened: opened.select(names, where, values, _PAGE))  # noqa: B023
        if not page:
            return
        yield page
        if len(page) < _PAGE:
            return
        last = page[-1][0]


def _details_of(path: Path, rows: Sequence[int]) -> list[tuple[int, Details]]:
    marks = ", ".join("?" * len(rows))

    def query(opened: file.Opened) -> list[tuple[int, Details]]:
        unpack = opened.unpack
        return [
            (row, (unpack(curve).decode() or _NO_CURVE, unpack(valid), unpack(test)))
            for row, curve, valid, test in opened.select(
                file.DETAILS, f"trainings.rowid IN ({marks})", rows
            )
        ]

    return file.read(path, query) or []


def _column(name: str, values: Sequence[Any]) -> pd.Series[Any]:
    """A column, of one type whatever is missing in it; whole numbers become real where one is."""
    kind = COLUMNS.get(name)
    if name in _NULLABLE:
        return pd.Series(list(values), dtype="Int64")
    if kind == "REAL" or (kind == "INTEGER" and None in values):
        return pd.Series(np.array(values, dtype=np.float64))  # None becomes NaN
    if kind == "INTEGER" or name == ROW:
        return pd.Series(np.array(values, dtype=np.int64))
    return pd.Series(list(values), dtype=_TEXT)

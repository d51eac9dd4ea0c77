"""The crash-safe store: every worker appends to a SQLite file of its own, readers see the union.

A row is committed whole or not at all, whatever is killed. No file has two writers, so there is no
locking and nothing that a network file system could break.
"""

from __future__ import annotations

import os
import socket
import sqlite3
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nas_skeleton.errors import InputError
from nas_skeleton.results.schema import COLUMNS, DONE, FAILED, SCHEMA

_BLOBS = {"curve": "TEXT", "valid_predictions": "BLOB", "test_predictions": "BLOB"}
_RANK = {DONE: 0, FAILED: 2}  # which of two rows with one key is kept; others are between
_DTYPES = {  # whatever the data: a column of nothing but gaps is still one of numbers
    **{name: "float64" for name, kind in COLUMNS.items() if kind == "REAL"},
    **dict.fromkeys(("source_index", "best_epoch"), "Int64"),
}
BUSY_S = 60.0  # how long to wait for somebody who reads the file at this moment
_PREDICTION = np.dtype("<i2")


class ResultWriter:
    """Appends rows to a new file in `folder`; the file appears with the first row."""

    def __init__(self, folder: Path) -> None:
        name = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}.sqlite"
        self.path = folder / name
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
        """
        values: dict[str, Any] = {"curve": curve, **row}
        for split, classes in (predictions or {}).items():
            values[f"{split}_predictions"] = classes.astype(_PREDICTION).tobytes()
        names = ", ".join(values)
        marks = ", ".join("?" * len(values))
        try:
            with self._open() as connection:
                connection.execute(
                    f"INSERT OR REPLACE INTO trainings ({names}) VALUES ({marks})",
                    list(values.values()),
                )
        except sqlite3.OperationalError as error:
            raise InputError(
                f"{self.path}: cannot write results: {error}; nothing before is lost: see that the "
                "disk has room, can be written and nobody locks the file, then run the same "
                "command again"
            ) from None

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(self.path, timeout=BUSY_S)
            columns = ", ".join(f"{name} {kind}" for name, kind in {**COLUMNS, **_BLOBS}.items())
            with connection:
                connection.execute(f"CREATE TABLE trainings ({columns}, PRIMARY KEY (key))")
                connection.execute(f"PRAGMA user_version = {SCHEMA}")
            self._connection = connection
        return self._connection


def read_rows(folder: Path, *, blobs: bool = False) -> pd.DataFrame:
    """All rows of all files in `folder`, one per training, sorted by architecture and seed.

    Of several rows with one key a finished one is kept before a failed one. `blobs` adds the
    columns `curve` (JSON text) and `valid_predictions`, `test_predictions` (bytes, see
    `unpack_predictions`). A column that came to be after a file was written is empty in its rows.

    Raises:
        InputError: a file is damaged or from another version.
    """
    names = [*COLUMNS, *(_BLOBS if blobs else ())]
    frames = [frame for path in sorted(folder.glob("*.sqlite")) for frame in _read(path, names)]
    if not frames:
        return pd.DataFrame(columns=names).astype(_DTYPES)
    rows = pd.concat([frame.astype(_DTYPES) for frame in frames], ignore_index=True)
    order = rows["status"].map(lambda status: _RANK.get(status, 1))
    rows = rows.assign(_order=order).sort_values(["_order", "finished_at"], kind="stable")
    rows = rows.drop_duplicates("key").drop(columns="_order")
    return rows.sort_values(["arch_index", "seed"], kind="stable").reset_index(drop=True)


def _read(path: Path, names: Iterable[str]) -> list[pd.DataFrame]:
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True)
        try:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version == 0:  # killed between creating the file and its table
                return []
            if version != SCHEMA:
                raise InputError(
                    f"{path}: results of schema {version}, this version reads {SCHEMA}; use the "
                    "version of nas_skeleton that wrote them"
                )
            present = {name for _, name, *_ in connection.execute("PRAGMA table_info(trainings)")}
            columns = [name if name in present else f"NULL AS {name}" for name in names]
            return [pd.read_sql_query(f"SELECT {', '.join(columns)} FROM trainings", connection)]
        finally:
            connection.close()
    except (sqlite3.DatabaseError, pd.errors.DatabaseError) as error:
        raise InputError(
            f"{path}: damaged results file: {error}; move it away and run the search again"
        ) from None


def unpack_predictions(blob: bytes | None) -> NDArray[np.int16]:
    """Predicted class per clip from a stored blob; empty where the split has no clips."""
    return np.frombuffer(blob or b"", dtype=_PREDICTION)

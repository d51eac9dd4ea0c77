"""From a run's store to files other programs read: Parquet and CSV.

table.parquet, table.csv    one row per training, the columns of `schema`
curves.parquet              one row per training and evaluated epoch
predictions.parquet         per training the class predicted for every validation and test clip;
                            the clips' ids and true labels are in the file's metadata

Curves and predictions are never in memory as a whole.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow.json import ParseOptions, ReadOptions, read_json

from nas_skeleton.errors import InputError
from nas_skeleton.results import arrow, schema, store
from nas_skeleton.results.copies import with_copies_of_run
from nas_skeleton.results.run import Run
from nas_skeleton.spaces import SearchSpace

BATCH = 4096  # trainings whose curves and predictions are in memory together
_IDENTITY = ("key", "arch_index", "seed")
_ACCURACIES = [name for name in schema.ACCURACIES if name.startswith("final_")]


@dataclass(frozen=True)
class Collected:
    """What was merged into which files.

    Attributes:
        paths: the files written.
        sources: number of files of the store that rows came from.
        trainings: rows of the table that were trained.
        copies: rows of the table that were taken over from another architecture of their class.
        repeated: rows left out because their training is in the table already, from another worker
            or another attempt.
        differing: how many finished trainings were stored more than once with different accuracies:
            on machines of several types that may be, on one it should not.
    """

    paths: list[Path]
    sources: int
    trainings: int
    copies: int
    repeated: int
    differing: int


def collect(
    run: Run,
    space: SearchSpace,
    watch: Callable[[int], Callable[[], None]] = lambda _: lambda: None,
    further: Callable[[pd.DataFrame], pd.DataFrame] = lambda table: table,
) -> Collected:
    """Write the table, curves and predictions of `run` into its folder.

    All files are written and read back before the first one takes its place; each is replaced as a
    whole, so a reader never sees half of one. Copied rows appear in the table only.

    Args:
        run: the run; it may still be at work.
        space: its space, which knows the costs of copied rows.
        watch: called with a number of steps; what it returns is called after each.
        further: adds columns of numbers to the table, behind its own.

    Raises:
        InputError: the store is damaged, the space's card is no longer the run's, or what was
            written does not read back.
        OSError: the disk is full.
    """
    every = run.rows([*schema.COLUMNS, store.FILE, store.ROW], every=True)
    own = store.one_per_key(every) if every["key"].duplicated().any() else every
    table = with_copies_of_run(own, run, space)
    curves, predictions = curve_columns(run), prediction_columns(run)
    finished = own[own["status"] == schema.DONE]
    advance = watch(-(-len(own) // BATCH))
    folder = run.folder
    with (
        replacing(folder / "table.parquet") as table_path,
        replacing(folder / "table.csv") as csv_path,
        replacing(folder / "curves.parquet") as curves_path,
        replacing(folder / "predictions.parquet") as predictions_path,
    ):
        columns = further(table[list(schema.COLUMNS)])
        added = [(name, pa.float64()) for name in columns.columns[len(schema.COLUMNS) :]]
        kinds = pa.schema([*arrow.TABLE, *(pa.field(*column) for column in added)])
        pq.write_table(pa.Table.from_pandas(columns, kinds, preserve_index=False), table_path)
        columns.to_csv(csv_path, index=False)
        epochs = 0
        with (
            pq.ParquetWriter(curves_path, curves) as curve_file,
            pq.ParquetWriter(predictions_path, predictions) as prediction_file,
        ):
            for rows, details in store.read_details(run.results_folder, own, BATCH):
                of_curves = curves_of(rows, [curve for curve, *_ in details], curves)
                curve_file.write_table(of_curves)
                epochs += of_curves.num_rows
                prediction_file.write_table(predictions_of(rows, details, predictions))
                advance()
        _check(table_path, len(table), table["key"])
        _check(curves_path, epochs, None)
        _check(predictions_path, len(finished), finished["key"])
    return Collected(
        paths=[folder / name for name in FILES],
        sources=every[store.FILE].nunique(),
        trainings=len(own),
        copies=len(table) - len(own),
        repeated=sum(
            (rows["status"] != schema.PAUSED).sum() * sign for rows, sign in ((every, 1), (own, -1))
        ),
        differing=_differing(every),
    )


FILES = ("table.parquet", "table.csv", "curves.parquet", "predictions.parquet")


def curve_columns(run: Run) -> pa.Schema:
    """Columns of curves; a split without clips has none."""
    return arrow.curves({split for split, clips in run.data.splits.items() if clips.ids})


def curves_of(rows: pd.DataFrame, curves: Sequence[str], columns: pa.Schema) -> pa.Table:
    """The epochs of some trainings, one after the other."""
    measured = list(columns)[len(_IDENTITY) :]
    text = "\n".join(f'{{"curve": {curve}}}' for curve in curves).encode()
    parsed = read_json(  # several times as fast as Python's, digit by digit the same
        pa.py_buffer(text),
        ReadOptions(use_threads=False, block_size=max(2**20, 2 * max(map(len, curves)))),
        ParseOptions(
            explicit_schema=pa.schema({"curve": pa.list_(pa.struct(measured))}),
            unexpected_field_behavior="ignore",
        ),
    )
    curve = parsed.column("curve").combine_chunks()
    epochs = np.repeat(np.arange(len(rows)), pc.list_value_length(curve).to_numpy())
    identity = [pa.array(rows[name]).take(pa.array(epochs)) for name in _IDENTITY]
    return pa.table([*identity, *curve.flatten().flatten()], schema=columns)


def prediction_columns(run: Run) -> pa.Schema:
    """Columns of predictions; classes, clip ids and labels are in the metadata."""
    return pa.schema(
        [
            *(("key", pa.string()), ("arch_index", pa.int32()), ("seed", pa.int64())),
            *((split, pa.list_(pa.int16())) for split in schema.HELD_OUT),
        ],
        metadata={
            "classes": json.dumps(run.data.classes),
            **{
                f"{split}_clips": json.dumps(asdict(run.data.splits[split]))
                for split in schema.HELD_OUT
            },
        },
    )


def predictions_of(
    rows: pd.DataFrame, details: Sequence[store.Details], columns: pa.Schema
) -> pa.Table:
    """The predictions of the finished ones of some trainings."""
    done = (rows["status"] == schema.DONE).to_numpy()
    kept = [found for found, is_done in zip(details, done, strict=True) if is_done]
    lists = {}
    for number, split in enumerate(schema.HELD_OUT, start=1):
        arrays = [store.unpack_predictions(found[number]) for found in kept]  # type: ignore[arg-type]
        offsets = np.cumsum([0, *map(len, arrays)], dtype=np.int32)
        values = np.concatenate([np.empty(0, np.int16), *arrays])
        lists[split] = pa.ListArray.from_arrays(pa.array(offsets), pa.array(values))
    identity = {name: rows[name].to_numpy()[done] for name in _IDENTITY}
    return pa.table({**identity, **lists}, schema=columns)


def _differing(every: pd.DataFrame) -> int:
    done = every[every["status"] == schema.DONE]
    repeated = done[done["key"].duplicated(keep=False)]
    if repeated.empty:
        return 0
    return int((repeated.groupby("key")[_ACCURACIES].nunique() > 1).any(axis=1).sum())


def _check(path: Path, count: int, keys: pd.Series[Any] | None) -> None:
    """Nothing, if the file can be read back: so many rows, and these keys, none of them twice.

    Raises:
        InputError: it is not so.
    """
    try:
        found = pq.read_table(path, columns=["key"], read_dictionary=["key"]).column("key")
    except (OSError, pa.ArrowInvalid) as error:
        raise InputError(f"{path}: does not read back: {error}; is the disk sound?") from None
    if len(found) != count:
        raise InputError(f"{path}: {count} rows written, {len(found)} read back; collect again")
    if keys is not None and (found.to_pylist() != keys.tolist() or keys.duplicated().any()):
        raise InputError(f"{path}: the trainings read back are not those written; collect again")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A file beside `path` to write to, which takes its place if all goes well."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)

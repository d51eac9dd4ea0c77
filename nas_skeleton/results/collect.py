"""From a run's store to files other programs read: Parquet and CSV.

table.parquet, table.csv    one row per training, the columns of `schema`
curves.parquet              one row per training and evaluated epoch
predictions.parquet         per training the class predicted for every validation and test clip;
                            the clips' ids and true labels are in the file's metadata
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from nas_skeleton.results import schema, store
from nas_skeleton.results.run import Run

SPLITS = ("valid", "test")  # of predictions


def collect(run: Run, rows: pd.DataFrame) -> list[Path]:
    """Write `rows` of `run` (read with blobs) into its folder and return the files' paths.

    A file is replaced as a whole, so a reader never sees half of one. Copied rows appear in the
    table only.
    """
    table = rows[list(schema.COLUMNS)]
    own = rows[rows["status"] != schema.COPIED]
    done = own[own["status"] == schema.DONE]
    predictions = pa.table(
        {
            "key": pa.array(done["key"], pa.string()),
            "arch_index": pa.array(done["arch_index"], pa.int32()),
            "seed": pa.array(done["seed"], pa.int64()),
            **{
                split: pa.array(
                    [store.unpack_predictions(blob) for blob in done[f"{split}_predictions"]],
                    pa.list_(pa.int16()),
                )
                for split in SPLITS
            },
        }
    ).replace_schema_metadata(
        {
            "classes": json.dumps(run.data.classes),
            **{f"{split}_clips": json.dumps(asdict(run.data.splits[split])) for split in SPLITS},
        }
    )
    curves = pa.Table.from_pandas(_curves(own), preserve_index=False)
    folder = run.folder
    return [
        _replace(folder / "table.parquet", lambda path: table.to_parquet(path, index=False)),
        _replace(folder / "table.csv", lambda path: table.to_csv(path, index=False)),
        _replace(folder / "curves.parquet", lambda path: pq.write_table(curves, path)),
        _replace(folder / "predictions.parquet", lambda path: pq.write_table(predictions, path)),
    ]


def _curves(rows: pd.DataFrame) -> pd.DataFrame:
    records = [
        {"key": key, "arch_index": arch_index, "seed": seed, **epoch}
        for key, arch_index, seed, curve in zip(
            rows["key"], rows["arch_index"], rows["seed"], rows["curve"], strict=True
        )
        for epoch in json.loads(str(curve))
    ]
    return pd.DataFrame(records, columns=None if records else ["key", "arch_index", "seed"])


def _replace(path: Path, write: Callable[[Path], None]) -> Path:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path

"""Columns and types of the Parquet files that `collect` and `published.publish` write.

Apart from what writes them: whoever only reads needs no pandas.
"""

from __future__ import annotations

from collections.abc import Collection

import pyarrow as pa

from nas_skeleton.results import schema
from nas_skeleton.training.result import SPLITS

_ARROW = {"TEXT": pa.string(), "INTEGER": pa.int64(), "REAL": pa.float64()}
TABLE = pa.schema([(name, _ARROW[kind]) for name, kind in schema.COLUMNS.items()])


def curves(splits: Collection[str]) -> pa.Schema:
    """Columns of curves; only `splits`, which have clips, have accuracies."""
    accuracies = [
        f"{split}_{metric}" for split in SPLITS for metric in schema.METRICS if split in splits
    ]
    return pa.schema(
        [
            *(("key", pa.string()), ("arch_index", pa.int64()), ("seed", pa.int64())),
            *(("epoch", pa.int64()), ("learning_rate", pa.float64()), ("train_loss", pa.float64())),
            *((name, pa.float64()) for name in accuracies),
        ]
    )

"""Reading the files of a published table that nobody vouches for but itself: `MANIFEST.json`.

Every file is held against the manifest, every Parquet file against the columns, types, number of
rows and sizes that it should have, before a value is read; then values against what they may be. A
footer that lies about sizes can cost memory, and nothing else. So questions are answered without a
further look, and whatever is wrong is one line. Whether files agree with each other is `check`'s
business. No pandas here: it takes as long as all the rest.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from nas_skeleton.errors import InputError
from nas_skeleton.published import files
from nas_skeleton.published.bounds import is_plain, printable
from nas_skeleton.published.files import Manifest
from nas_skeleton.results import arrow, schema
from nas_skeleton.training.result import SPLITS

# What damaged files make of Arrow, NumPy, pandas and the readers of CSV, JSON and TOML.
_DAMAGE = (
    *(pa.ArrowException, csv.Error, ArithmeticError, AttributeError, LookupError, OSError),
    *(RecursionError, TypeError, ValueError),
)
# Bytes that a value may take, several times what one of a sound table does, and a column beside.
_PER_NUMBER, _PER_TEXT, _BESIDE = 32, 1024, 2**20
Clips = dict[str, tuple[tuple[str, ...], NDArray[np.int64]]]


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Whatever a damaged file raises while it is read is an `InputError` that names it."""
    try:
        yield
    except InputError as error:
        if str(error).isprintable():
            raise
        raise InputError(printable(str(error))) from None
    except _DAMAGE as error:
        reason = f"{type(error).__name__}: {printable(str(error))}"
        raise InputError(f"{path}: cannot be read ({reason}): fetch it again") from None


def require(holds: bool | np.bool, path: Path, what: str) -> None:
    """Nothing, if it holds; else an `InputError` that says what is wrong with a file."""
    if not holds:
        raise InputError(f"{path}: {what}: fetch it again, or publish it again from sound runs")


def open_parquet(
    folder: Path, manifest: Manifest, name: str, columns: pa.Schema, most: int, first: str = ""
) -> pq.ParquetFile:
    """The file `name` of the table in `folder`, its texts to be read as dictionaries.

    Args:
        folder: of the table.
        manifest: what it should be.
        name: of the file.
        columns: names and types it must have, in this order; further ones, of a later version, may
            follow.
        most: how many rows it may have.
        first: the last of the columns that every table has; an older file may lack those behind it.
            Empty: all are needed.

    Raises:
        InputError: the file is damaged, or another than that.
    """
    path = files.checked_file(folder, manifest, name)
    with reading(path):
        file = pq.ParquetFile(path)
        found = file.schema_arrow
        names = columns.names
        needed = names[: names.index(first) + 1] if first else names
        same = found.names[: len(needed)] == needed and len(set(found.names)) == len(found.names)
        require(same, path, "other columns")
        own = [column for column in names if column in found.names]
        for column in own:
            kind, wanted = found.field(column).type, columns.field(column).type
            require(kind == wanted, path, f"column {column} is of {kind!s:.60}, not {wanted}")
        rows = file.metadata.num_rows
        require(rows <= most, path, f"{rows:,} rows, where at most {most:,} can be")
        _check_sizes(path, file.metadata, {column: columns.field(column).type for column in own})
        texts = [column for column in own if pa.types.is_string(columns.field(column).type)]
        return pq.ParquetFile(path, metadata=file.metadata, read_dictionary=texts)


def _check_sizes(path: Path, footer: Any, kinds: dict[str, pa.DataType]) -> None:
    """No column takes more than its values can: a small file may hold large ones.

    Args:
        path: of the file.
        footer: its `FileMetaData`.
        kinds: type of each column that may be read.

    Raises:
        InputError: one does, or its groups have not the rows of the file.
    """
    sizes, values, rows = Counter[str](), Counter[str](), footer.num_rows
    groups = [footer.row_group(at) for at in range(footer.num_row_groups)]
    for chunk in (group.column(at) for group in groups for at in range(group.num_columns)):
        name = chunk.path_in_schema.partition(".")[0]
        sizes[name] += chunk.total_uncompressed_size
        values[name] += chunk.num_values
    require(sum(group.num_rows for group in groups) == rows, path, f"groups have not {rows:,} rows")
    for name, kind in kinds.items():
        most = rows * (kind.list_size if pa.types.is_fixed_size_list(kind) else 1)
        require(values[name] <= most, path, f"column {name} has more than {most:,} values")
        most = most * (_PER_TEXT if pa.types.is_string(kind) else _PER_NUMBER) + _BESIDE
        what = f"column {name} takes {sizes[name]:,} bytes, where at most {most:,} can be"
        require(sizes[name] <= most, path, what)


def read_columns(path: Path, file: pq.ParquetFile, names: list[str]) -> pa.Table:
    """Some columns of a file that `open_parquet` opened.

    Raises:
        InputError: it is damaged, or a text is too long, alone or with those of the other rows, or
            has several lines or signs that cannot be printed.
    """
    with reading(path):
        table = file.read(names, use_threads=False)
        for name, kind in zip(table.column_names, table.schema.types, strict=True):
            if pa.types.is_dictionary(kind):
                codes, known = texts_of(table[name])
                texts = [text or "" for text in known]
                what = f"a text in column {name} is too long, or cannot be printed"
                require(is_plain(texts), path, what)
                lengths = np.array([*map(len, texts), 0])[codes]  # that of code -1 is the last
                short = lengths.sum() <= len(table) * _PER_TEXT + _BESIDE
                require(short, path, f"the texts in column {name} are too long together")
        return table


def texts_of(column: pa.ChunkedArray) -> tuple[NDArray[np.int32], list[str]]:
    """Which of how many texts each row has; -1 where it has none."""
    joined = column.unify_dictionaries().combine_chunks()
    if isinstance(joined, pa.ChunkedArray):  # without chunks, in older versions of Arrow
        joined = pa.concat_arrays(joined.chunks)
    return numbers(pa.chunked_array([joined.indices]), -1), joined.dictionary.to_pylist()


def numbers(column: pa.ChunkedArray, missing: float | None = None) -> NDArray[Any]:
    """A column as an array, `missing` where it has no value.

    Arrow's own conversion would import pandas, which takes as long as reading the whole table.
    """
    values = column.combine_chunks()
    if isinstance(values, pa.ChunkedArray):  # without chunks, in older versions of Arrow
        values = pa.concat_arrays(values.chunks)
    here = slice(values.offset, values.offset + len(values))
    validity, content = values.buffers()
    found = np.frombuffer(content or b"", values.type.to_pandas_dtype())[here]
    if missing is None or not values.null_count:
        return found
    is_valid = np.unpackbits(np.frombuffer(validity, np.uint8), bitorder="little")[here]
    return np.where(is_valid, found, missing)


def whole(path: Path, table: pa.Table, name: str) -> NDArray[Any]:
    """A column of numbers that has a value in every row.

    Raises:
        InputError: it has not.
    """
    require(not table[name].null_count, path, f"a row without {name}")
    return numbers(table[name])


def matrix(path: Path, file: pq.ParquetFile, column: str) -> NDArray[np.signedinteger[Any]]:
    """`(rows, length)` of a column of lists of one length, read in parts.

    Lists take several times their size while they are read.

    Raises:
        InputError: the file is damaged, or a row or a place in it has no value.
    """
    kind = file.schema_arrow.field(column).type
    found = np.empty((file.metadata.num_rows, kind.list_size), kind.value_type.to_pandas_dtype())
    start = 0
    with reading(path):
        for batch in file.iter_batches(files.PART, columns=[column], use_threads=False):
            lists = batch.column(0)
            values = lists.flatten()
            require(not lists.null_count + values.null_count, path, f"a row without {column}")
            part = numbers(pa.chunked_array([values]))
            found[start : start + batch.num_rows] = part.reshape(-1, kind.list_size)
            start += batch.num_rows
    return found


def are_shares(values: NDArray[Any]) -> bool:
    """Whether all are in [0, 1], or not a number."""
    return not ((values < 0) | (values > 1)).any()


def read_clips(folder: Path, manifest: Manifest) -> Clips:
    """Ids and labels `(clips,)` of all splits that have clips, in the order of predictions.

    Raises:
        InputError: the file is damaged, or has other clips than the manifest says.
    """
    path = files.checked_file(folder, manifest, files.CLIPS)
    ids: dict[str, list[str]] = {split: [] for split in SPLITS}
    labels: dict[str, list[int]] = {split: [] for split in SPLITS}
    with reading(path), path.open(encoding="utf-8", newline="") as file:
        for line in csv.DictReader(file):
            split, label = line["split"], int(line["label"])
            require(split in ids, path, "clips of an unknown split")
            in_order = line["position"] == str(len(ids[split]))
            require(in_order, path, f"{split} clips in another order, or twice")
            named = 0 <= label < len(manifest.classes) and manifest.classes[label] == line["class"]
            require(named, path, "a label is not that of its class in the manifest")
            ids[split].append(line["id"])
            labels[split].append(label)
        for split, own in ids.items():
            count = manifest.clips[split]
            require(len(own) == count, path, f"not {count} {split} clips")
            once = len(set(own)) == count
            require(once, path, f"{split} clips in another order, or twice")
            require(is_plain(own), path, "an id that is too long, or cannot be printed")
    return {
        split: (tuple(own), np.array(labels[split], np.int64)) for split, own in ids.items() if own
    }


def curve_columns(manifest: Manifest) -> pa.Schema:
    """Columns of curves; a split without clips has no accuracies."""
    return arrow.curves({split for split, count in manifest.clips.items() if count})


def prediction_columns(manifest: Manifest, kind: pa.DataType) -> pa.Schema:
    """Columns of predictions with classes of `kind`; a split without clips has none."""
    return pa.schema(
        [
            *(("key", pa.string()), ("arch_index", pa.int64()), ("seed", pa.int64())),
            *(
                (split, pa.list_(kind, manifest.clips[split]))
                for split in schema.HELD_OUT
                if manifest.clips[split]
            ),
        ]
    )

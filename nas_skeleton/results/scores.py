"""Class scores of finished trainings, a file each: what late fusion needs beside the table.

A file is a NumPy archive with the arrays `valid` and `test`, float16 `(clips, classes)`: natural
logarithms of class probabilities, in the order of the clips in the run's `data.json`. Half
precision halves the files and may turn a near tie: accuracies from scores can differ from those in
the table by a clip or two.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas_skeleton.errors import InputError
from nas_skeleton.skeletons.readers.npzfile import read_arrays

_AROUND = 2**16  # bytes that a file of no scores may have


def write_scores(path: Path, scores: Mapping[str, NDArray[np.float16]]) -> None:
    """Write the scores of one training; when this returns, they are on the disk.

    Whoever reads `path` sees all of it or nothing.

    Raises:
        OSError: the disk is full or read-only.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("wb") as file:
            np.savez_compressed(file, **dict(scores))  # type: ignore[arg-type]
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def read_scores(
    path: Path, shapes: Mapping[str, tuple[int, int]]
) -> dict[str, NDArray[np.float64]]:
    """The scores that `write_scores` wrote.

    Args:
        path: the file.
        shapes: what each of `schema.HELD_OUT` must have, clips and classes; a split without clips
            is left out of the file.

    Raises:
        InputError: the file is missing, damaged, or not of these clips and classes.
    """
    wanted = {split: shape for split, shape in shapes.items() if shape[0]}
    most = 8 * sum(clips * classes for clips, classes in wanted.values()) + _AROUND
    try:
        with path.open("rb") as file:
            arrays = read_arrays(file.read(most + 1), most)
        scores = {name: _numbers(array) for name, array in arrays.items()}
    except FileNotFoundError:
        raise InputError(f"{path}: there are no scores") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None
    except InputError as error:
        reason = str(error).partition(";")[0]  # what follows is advice for files from the web
        raise InputError(f"{path}: damaged ({reason}); train again under another --run") from None
    found = {split: values.shape for split, values in scores.items()}
    if found != wanted or not all(np.isfinite(values).all() for values in scores.values()):
        raise InputError(f"{path}: scores {found} are not those of the run, {wanted}")
    return scores


def _numbers(array: NDArray[Any]) -> NDArray[np.float64]:
    if array.dtype.kind != "f":
        raise InputError("it holds something else than scores")
    with np.errstate(invalid="ignore"):  # a NaN of whatever kind is found by the caller
        return array.astype(np.float64)

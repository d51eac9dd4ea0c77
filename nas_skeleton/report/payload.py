"""The numbers of a study as a browser wants them: whole arrays, compressed, as text.

Accuracies travel as counts of right clips, so that they stay exact and small. What is the same for
all members of a functional class travels once, with the one that was trained.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nas_skeleton.report.study import TRAINING, Study
from nas_skeleton.results import schema
from nas_skeleton.spaces import Space
from nas_skeleton.spaces.cell import OPERATIONS
from nas_skeleton.spaces.liveness import Role, roles
from nas_skeleton.training.result import SPLITS

MISSING, DIVERGED = -1, -2  # instead of a training; -1 also instead of a count
_ALIGNED = 8  # bytes: a browser's arrays begin at multiples of their numbers' size
_ROLES = (Role.DEAD, Role.BIAS, Role.LIVE)

Array = NDArray[Any]


@dataclass(frozen=True)
class Packed:
    """Arrays in one text.

    Attributes:
        sections: name, kind ("i4" and so on), first byte and length of each.
        text: base64 of their bytes, compressed as by zlib.
    """

    sections: list[tuple[str, str, int, int]]
    text: str


def packed(arrays: Mapping[str, Array]) -> Packed:
    """One text of several arrays."""
    sections, parts, start = [], [], 0
    for name, array in arrays.items():
        content = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()
        sections.append((name, array.dtype.str[1:], start, array.size))
        padding = bytes(-len(content) % _ALIGNED)
        parts += [content, padding]
        start += len(content) + len(padding)
    return Packed(sections, base64.b64encode(zlib.compress(b"".join(parts), 9)).decode())


def table_arrays(study: Study) -> dict[str, Array]:
    """What the table, the scatter and the cells are drawn from; A architectures, T trainings.

    Per architecture: arch, params, macs, latency and time (means; NaN unknown), functional (a
    number per functional class), training (A x seeds: which, `MISSING` or `DIVERGED`), and of cells
    operations and roles, six digits each: edge 0 is the last. Per training: owner (which of the
    architectures was trained), valid and test (clips that were right).
    """
    rows = study.rows
    archs = np.unique(rows["arch_index"])
    by_arch = rows.groupby("arch_index")
    first, means = by_arch.first(), by_arch[["latency_ms", "train_time_s"]].mean()
    training, owner = _trainings(study, archs)
    done = study.rows[rows["status"] == schema.DONE]
    arrays: dict[str, Array] = {
        "arch": archs.astype(np.int32),
        "params": first["params"].to_numpy(np.float64),
        "macs": first["macs"].to_numpy(np.float64),
        "latency": means["latency_ms"].to_numpy(np.float32, na_value=np.nan),
        "time": means["train_time_s"].to_numpy(np.float32, na_value=np.nan),
        "functional": pd.factorize(first["functional_key"])[0].astype(np.int32),
        "training": training,
        "owner": owner,
    }
    for split in schema.HELD_OUT:
        arrays[split] = _counts(done[f"final_{split}_top1"], len(study.clips[split].ids))
    if isinstance(study.space, Space):
        cells = [study.space.cell(index) for index in archs.tolist()]
        arrays["operations"] = _digits([cell.operations for cell in cells], len(OPERATIONS))
        in_order = [[_ROLES.index(role) for role in roles(cell)] for cell in cells]
        arrays["roles"] = _digits(in_order, len(_ROLES))
    return arrays


def curve_arrays(study: Study) -> tuple[list[int], dict[str, Array]]:
    """The evaluated epochs, E, and per training and epoch (T x E) the loss and right clips.

    `MISSING` and NaN where a training was not evaluated.
    """
    done = _done(study)
    epochs = sorted(study.curves["epoch"].unique().tolist())
    row = done.get_indexer(pd.MultiIndex.from_frame(study.curves[list(TRAINING)]))
    known = row >= 0
    place = row[known], np.searchsorted(epochs, study.curves["epoch"])[known]
    shape = (len(done), len(epochs))
    loss = np.full(shape, np.nan, np.float32)
    loss[place] = study.curves["train_loss"][known]
    arrays: dict[str, Array] = {"loss": loss}
    for split in SPLITS:
        arrays[split] = np.full(shape, MISSING, np.int32)
        if f"{split}_top1" in study.curves:
            shares = study.curves[f"{split}_top1"][known]
            arrays[split][place] = _counts(shares, len(study.clips[split].ids))
    return epochs, arrays


def prediction_arrays(study: Study) -> dict[str, Array]:
    """Per split T x clips: how many classes the predicted one is behind the true one, 0 if right.

    So what is right compresses to nothing.
    """
    done, classes = _done(study), len(study.classes)
    row = pd.MultiIndex.from_frame(study.predicted).get_indexer(done)
    kind = np.uint8 if classes <= 256 else np.uint16
    return {
        split: ((found[row].astype(np.int32) - study.clips[split].labels) % classes).astype(kind)
        for split, found in study.predictions.items()
    }


def _done(study: Study) -> pd.MultiIndex:
    """The trainings in the order of arrays."""
    rows = study.rows
    return pd.MultiIndex.from_frame(rows.loc[rows["status"] == schema.DONE, list(TRAINING)])


def _trainings(study: Study, archs: Array) -> tuple[Array, Array]:
    """`(A, seeds)` which training an architecture has, and `(T,)` which architecture is its own."""
    rows, done = study.rows, _done(study)
    source = rows["source_index"].fillna(rows["arch_index"]).astype(np.int64)
    own = pd.MultiIndex.from_arrays([source, rows["seed"]])
    found = np.where(rows["status"] == schema.DIVERGED, DIVERGED, done.get_indexer(own))
    training = np.full((len(archs), len(study.seeds)), MISSING, np.int32)
    place = np.searchsorted(archs, rows["arch_index"]), np.searchsorted(study.seeds, rows["seed"])
    training[place] = found
    owner = np.searchsorted(archs, done.get_level_values("arch_index")).astype(np.int32)
    return training, owner


def _counts(shares: pd.Series[float], clips: int) -> Array:
    counts = np.rint(shares.to_numpy(np.float64, na_value=np.nan) * clips)
    return np.where(np.isnan(counts), MISSING, counts).astype(np.int32)


def _digits(numbers: Any, base: int) -> Array:
    """`(A, 6)` digits as one number each, the first digit the lowest."""
    powers = base ** np.arange(np.shape(numbers)[1])
    combined: Array = (np.asarray(numbers) @ powers).astype(np.uint16)
    return combined

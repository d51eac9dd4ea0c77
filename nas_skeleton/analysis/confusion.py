"""Which actions networks mistake for which: counts of predictions by true and predicted class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nas_skeleton.errors import InputError

Ints = NDArray[np.integer]


def confusion(labels: Ints, predicted: Ints, names: Sequence[str]) -> pd.DataFrame:
    """Share of the clips of each action (row) that were taken for each action (column).

    Args:
        labels: `(clips,)` true classes, from 0.
        predicted: `(clips,)` of one training or `(trainings, clips)` of several, which count alike.
        names: of the classes.

    Returns:
        Rows sum to 1; those of actions without clips are NaN.

    Raises:
        InputError: shapes do not fit, or a class has no name.
    """
    several = _checked(labels, predicted, len(names))
    classes = len(names)
    cells = np.broadcast_to(labels, several.shape).astype(np.int64) * classes + several
    counts = np.bincount(cells.ravel(), minlength=classes**2).reshape(classes, classes)
    clips = counts.sum(axis=1, keepdims=True).astype(np.float64)
    clips[clips == 0] = np.nan
    index, columns = pd.Index(names, name="action"), pd.Index(names, name="taken for")
    return pd.DataFrame(counts / clips, index=index, columns=columns)


def by_action(labels: Ints, predicted: Ints, names: Sequence[str]) -> pd.DataFrame:
    """How well each action is recognised, the worst first.

    Returns:
        By `action`: `clips`; `recognised`, the mean share over trainings, and `spread`, its
        standard deviation over trainings (NaN for one); `taken_for`, the action it is most often
        mistaken for, and `mistaken`, the share of clips. Of equal mistakes the first action stands,
        without any an empty text. Actions without clips are left out.
    """
    several = _checked(labels, predicted, len(names))
    shares = confusion(labels, predicted, names)
    rows = []
    for action, name in enumerate(names):
        own = labels == action
        if not own.any():
            continue
        hits = (several[:, own] == action).mean(axis=1)
        wrong = shares.to_numpy()[action].copy()
        wrong[action] = 0
        most = int(wrong.argmax())
        rows.append(
            {
                "action": name,
                "clips": int(own.sum()),
                "recognised": float(hits.mean()),
                "spread": float(hits.std(ddof=1)) if len(hits) > 1 else np.nan,
                "taken_for": names[most] if wrong[most] > 0 else "",
                "mistaken": float(wrong[most]),
            }
        )
    return pd.DataFrame(rows).sort_values("recognised", kind="stable", ignore_index=True)


def mistakes(shares: pd.DataFrame, top: int = 10) -> pd.DataFrame:
    """The pairs of actions most often mistaken for each other, of a `confusion`.

    Returns:
        `action`, `taken_for`, `share` of the clips of the action, and `back`, the share of the
        other one's clips that are taken for this one; the largest share first, none of zero.
    """
    matrix = shares.to_numpy(np.float64, copy=True)
    np.fill_diagonal(matrix, 0)
    matrix = np.nan_to_num(matrix)
    names = list(shares.index)
    order = np.argsort(-matrix, axis=None, kind="stable")[:top]
    rows = [
        (names[one], names[other], matrix[one, other], matrix[other, one])
        for one, other in zip(*np.unravel_index(order, matrix.shape), strict=True)
        if matrix[one, other] > 0
    ]
    return pd.DataFrame(rows, columns=["action", "taken_for", "share", "back"])


def _checked(labels: Ints, predicted: Ints, classes: int) -> Ints:
    several = np.atleast_2d(predicted)
    if labels.ndim != 1 or several.shape[1:] != labels.shape:
        raise InputError(
            f"predictions of shape {predicted.shape} for {labels.shape} labels: need (clips,) or "
            "(trainings, clips)"
        )
    largest = max(int(labels.max(initial=0)), int(several.max(initial=0)))
    if largest >= classes or min(labels.min(initial=0), several.min(initial=0)) < 0:
        raise InputError(f"class {largest} among labels or predictions: {classes} have names")
    return several

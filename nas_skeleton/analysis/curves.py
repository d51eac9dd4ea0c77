"""Learning curves of groups of classes, such as cells with a shortcut and cells without."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nas_skeleton.errors import InputError

Floats = NDArray[np.float64]

RESAMPLES = 1000


def group_curves(
    curves: Floats, groups: Sequence[object], epochs: Sequence[int], seed: int = 0
) -> pd.DataFrame:
    """The mean course of each group, with its interval and quartiles over classes.

    Args:
        curves: `(classes, seeds, epochs)` of an accuracy or a loss, one row per class; means over
            the seeds there are. NaN in any epoch of all seeds leaves a class out.
        groups: of each row; None leaves it out.
        epochs: after which, 1-based.
        seed: of the draws.

    Returns:
        By `group`, in order of their names, and `epoch`: `classes`, `mean` with its 95 % interval
        `low` to `high` (percentile bootstrap over classes; NaN for one class), and `quartile_1` and
        `quartile_3` of classes.

    Raises:
        InputError: shapes do not fit.
    """
    if curves.ndim != 3 or curves.shape[0] != len(groups) or curves.shape[2] != len(epochs):
        raise InputError(
            f"curves of shape {curves.shape}: need ({len(groups)} groups' rows, seeds, "
            f"{len(epochs)} epochs)"
        )
    finite = np.isfinite(curves)
    sums = np.where(finite, curves, 0).sum(axis=1)
    with np.errstate(invalid="ignore"):
        courses = sums / np.where(finite.any(axis=1), finite.sum(axis=1), np.nan)
    known = np.isfinite(courses).all(axis=1)
    codes, names = pd.factorize(pd.Series(list(groups), dtype="object"), sort=True)
    generator = np.random.default_rng(seed)
    parts = []
    for at, name in enumerate(names):
        own = courses[known & (codes == at)]
        if not len(own):
            continue
        low = high = np.full(len(epochs), np.nan)
        if len(own) > 1:
            drawn = generator.multinomial(len(own), np.full(len(own), 1 / len(own)), RESAMPLES)
            low, high = np.quantile(drawn @ own / len(own), (0.025, 0.975), axis=0)
        first, third = np.quantile(own, (0.25, 0.75), axis=0)
        parts.append(
            pd.DataFrame(
                {
                    "group": name,
                    "epoch": list(epochs),
                    "classes": len(own),
                    "mean": own.mean(axis=0),
                    "low": low,
                    "high": high,
                    "quartile_1": first,
                    "quartile_3": third,
                }
            )
        )
    if not parts:
        raise InputError("no class has a complete curve and a group")
    return pd.concat(parts, ignore_index=True)

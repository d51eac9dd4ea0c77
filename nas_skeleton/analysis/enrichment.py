"""Which patterns are more frequent among the best or the worst cells than among the others.

Classes are the units (`classes`), patterns are properties of the function (`motifs`, predicates of
`topology`), the best are so on validation clips, and tests are exact. A small p value says that a
pattern and the accuracy go together, not that the pattern makes the accuracy.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import pandas as pd
from pandas.api.types import is_bool_dtype

from nas_skeleton.analysis.top import holm
from nas_skeleton.errors import InputError

End = Literal["best", "worst"]


def extreme(valid: pd.Series, k: int, end: End) -> pd.Index:
    """The k classes with the best or worst validation accuracy, and all equal to the last one.

    On few clips many classes are equal; which of those comes first would be chance.

    Args:
        valid: validation accuracies, means over seeds, by `functional_key`; never test accuracies.
        k: at least one, fewer than there are classes.
        end: which.

    Raises:
        InputError: k is out of range, or an accuracy is missing.
    """
    if end not in get_args(End):
        raise InputError(f"end {end!r}: best or worst")
    if not isinstance(valid, pd.Series) or len(valid) < 2:
        raise InputError("validation accuracies: need a column of at least two classes")
    if not isinstance(k, int) or not 0 < k < len(valid):
        raise InputError(f"k = {k!r} of {len(valid)} classes: need 1 to {len(valid) - 1}")
    if valid.isna().any():
        raise InputError(f"{int(valid.isna().sum())} classes have no validation accuracy")
    badness = valid.round(12) * (-1 if end == "best" else 1)  # means of the same fractions
    last = badness.sort_values().iloc[k - 1]
    chosen: pd.Index = badness[badness <= last].index
    return chosen


def enrichment(patterns: pd.DataFrame, valid: pd.Series, k: int, end: End) -> pd.DataFrame:
    """Test every pattern: do the k best (or worst) classes have it more or less often than others?

    Args:
        patterns: truths, one row per `functional_key`, one column per pattern.
        valid: as in `extreme`; classes that lack one or the other are left out.
        k: as in `extreme`.
        end: "best" or "worst".

    Returns:
        One row per pattern, the least p first: `pattern`; `inside`, how many classes were chosen,
        and `with_inside`, how many of them have it; `outside` and `with_outside` likewise;
        `share_inside` and `share_outside`; `odds_ratio`, the conditional maximum likelihood
        estimate of Fisher's noncentral hypergeometric distribution, with its exact 95 % interval
        `low` to `high`; `p` of Fisher's exact test, two-sided; `p_holm` corrected for any error
        among all patterns of this table, `p_bh` such that of those up to q a share q is expected to
        be errors (Benjamini and Hochberg, Journal of the Royal Statistical Society B 57, 1995). A
        pattern that all have or none has is no question and left out.

    Raises:
        InputError: as in `extreme`, or no pattern is left.
    """
    if not all(is_bool_dtype(kind) for kind in patterns.dtypes):
        wrong = next(name for name in patterns if not is_bool_dtype(patterns[name]))
        raise InputError(f"pattern {wrong!r} holds no truths: give a pattern_table")
    if not isinstance(valid, pd.Series):
        raise InputError("validation accuracies: need a column of at least two classes")

    from scipy.stats import false_discovery_control, fisher_exact
    from scipy.stats.contingency import odds_ratio

    both = patterns.index.intersection(valid.index)
    valid = valid.loc[both]
    chosen = np.asarray(both.isin(extreme(valid, k, end)))
    there = patterns.loc[both].to_numpy(bool)
    inside, outside = int(chosen.sum()), int((~chosen).sum())
    rows = []
    for name, own in zip(patterns.columns, there.T, strict=True):
        a, b = int(own[chosen].sum()), int(own[~chosen].sum())
        if a + b in (0, len(both)):
            continue
        counts = np.array([[a, inside - a], [b, outside - b]])
        ratio = odds_ratio(counts, kind="conditional")
        bounds = ratio.confidence_interval(0.95)
        rows.append(
            {
                "pattern": name,
                "inside": inside,
                "with_inside": a,
                "outside": outside,
                "with_outside": b,
                "share_inside": a / inside,
                "share_outside": b / outside,
                "odds_ratio": float(ratio.statistic),
                "low": float(bounds.low),
                "high": float(bounds.high),
                "p": float(fisher_exact(counts).pvalue),
            }
        )
    if not rows:
        raise InputError("no pattern is had by some classes and not by others")
    frame = pd.DataFrame(rows)
    p = frame["p"].to_numpy(np.float64)
    frame["p_holm"], frame["p_bh"] = holm(p), false_discovery_control(p, method="bh")
    return frame.sort_values("p", kind="stable", ignore_index=True)

"""How much of the differences between classes traits explain: regression, analysis of variance.

Classes are the units (`classes`): copies of a training never count as further evidence. What one
trait is worth is the business of `effects`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nas_skeleton.analysis.classes import check_accuracy
from nas_skeleton.analysis.effects import keys_of
from nas_skeleton.errors import InputError

Floats = NDArray[np.float64]

FOLDS = 10


def variance_explained(
    classes: pd.DataFrame,
    accuracy: pd.DataFrame,
    groups: Mapping[str, Sequence[str]],
    order: int = 1,
    seed: int = 0,
) -> pd.DataFrame:
    """How much of the accuracy of classes it was not fitted to each group of columns explains.

    Least squares on the columns, names as one column per level, in ten folds of classes; R2 is one
    minus the squared errors on held-out classes over those of the mean of the classes fitted to.
    It can be negative.

    Args:
        classes: one row per `functional_key`, its index.
        accuracy: a row per `functional_key`, a column per seed; means over seeds are explained.
        groups: name -> columns of `classes`.
        order: 2 adds products of all pairs of columns within what is fitted.
        seed: of the division into folds.

    Returns:
        By group, and "all" with all of them: `columns` fitted, `alone`, R2 of the group, and
        `unique`, R2 of all groups less that of all others. `frame.attrs["ceiling"]` is the
        reliability of the means over seeds, the R2 of knowing all; None with one seed.

    Raises:
        InputError: no such column, or fewer classes than folds have both.
    """
    from nas_skeleton.results.intraclass import reliability_of

    check_accuracy(accuracy)
    for group, columns in groups.items():
        if missing := [name for name in columns if name not in classes]:
            raise InputError(f"group {group!r}: no column {missing[0]!r}")
    both = classes.index.intersection(accuracy.index)
    if len(both) < 2 * FOLDS:
        raise InputError(f"{len(both)} classes have traits and accuracies: need {2 * FOLDS}")
    values = accuracy.loc[both].to_numpy(np.float64)
    folds = np.random.default_rng(seed).permutation(len(both)) % FOLDS

    def of(chosen: Sequence[str]) -> tuple[float, int]:
        columns = list(dict.fromkeys(name for group in chosen for name in groups[group]))
        fitted = design(classes.loc[both, columns], order)
        return held_out_r2(fitted, values.mean(axis=1), folds), fitted.shape[1]

    whole, size = of(list(groups))
    rows = []
    for group in groups:
        alone, number = of([group])
        others = [name for name in groups if name != group]
        rows.append((group, number, alone, whole - of(others)[0] if others else whole))
    rows.append(("all", size, whole, whole))
    frame = pd.DataFrame(rows, columns=["group", "columns", "alone", "unique"])
    reliability = reliability_of(values)
    frame.attrs["ceiling"] = reliability.mean if reliability else None
    return frame


def design(columns: pd.DataFrame, order: int = 1) -> Floats:
    """Columns as numbers with mean 0 and spread 1, names as one column per level; with products.

    Constant columns are left out.
    """
    names = columns.select_dtypes(include=["category", "object", "str"]).columns
    numbers = pd.get_dummies(columns, columns=list(names)).to_numpy(np.float64)
    numbers = _scaled(numbers)
    if order < 2:
        return numbers
    first, second = np.triu_indices(numbers.shape[1], 1)
    return _scaled(np.hstack([numbers, numbers[:, first] * numbers[:, second]]))


def held_out_r2(fitted: Floats, values: Floats, folds: NDArray[np.int64]) -> float:
    """R2 of least squares over rows it was not fitted to.

    Args:
        fitted: `(rows, columns)`; columns may depend on each other.
        values: `(rows,)`.
        folds: `(rows,)`, which rows are held out together.
    """
    errors = baseline = 0.0
    for fold in np.unique(folds):
        out = folds == fold
        mean = values[~out].mean()
        middle = fitted[~out].mean(axis=0)
        weights = np.linalg.lstsq(fitted[~out] - middle, values[~out] - mean)[0]
        errors += float(((values[out] - mean - (fitted[out] - middle) @ weights) ** 2).sum())
        baseline += float(((values[out] - mean) ** 2).sum())
    return 1 - errors / baseline


@dataclass(frozen=True)
class Anova:
    """A linear model of accuracies, tested term by term.

    Attributes:
        terms: by term `df`; `share` of the sum of squares that it adds to all others that do not
            contain it (type II); `F` and `p` of Wald's test with errors clustered by class, NaN for
            terms that others contain: their test would be of the effect at one level of these.
        r2: share of the variance that the model fits, not held out.
        rows, classes: how many were fitted.
    """

    terms: pd.DataFrame
    r2: float
    rows: int
    classes: int


def anova(table: pd.DataFrame, accuracy: pd.DataFrame, formula: str) -> Anova:
    """Test factors and their interactions, such as `"C(edge_03) * C(edge_13) + shortcut"`.

    Args:
        table: one row per cell, with the columns of the formula and `functional_key`, as column or
            index. Rows of one class have one accuracy: errors are clustered by class, so they do
            not count as several.
        accuracy: a row per `functional_key`, a column per seed; means over seeds are explained.
        formula: the right side, in the language of statsmodels.

    Raises:
        InputError: statsmodels is missing, or it cannot make sense of the formula.
    """
    try:
        from statsmodels.formula.api import ols
        from statsmodels.stats.anova import anova_lm
    except ImportError as error:
        raise InputError(
            "anova needs statsmodels: python -m pip install 'nas-skeleton[notebooks]'"
        ) from error
    check_accuracy(accuracy)
    keys = keys_of(table, ())
    chosen = keys.isin(accuracy.index).to_numpy()
    rows = table[chosen].reset_index(drop=True)
    codes, classes = pd.factorize(keys[chosen])
    rows["accuracy_"] = accuracy.mean(axis=1).loc[classes].to_numpy()[codes]
    try:
        model = ols(f"accuracy_ ~ {formula}", rows)
    except Exception as error:  # of its parser, of several kinds
        raise InputError(f"formula {formula!r}: {' '.join(str(error).split())[:200]}") from error
    fitted = model.fit()
    sums = anova_lm(fitted, typ=2)
    robust = model.fit(cov_type="cluster", cov_kwds={"groups": codes}, use_t=True)
    wald = robust.wald_test_terms(skip_single=False, scalar=True).table
    terms = pd.DataFrame({"df": sums["df"].astype(int), "share": sums["sum_sq"]})
    terms["share"] /= float(((rows["accuracy_"] - rows["accuracy_"].mean()) ** 2).sum())
    terms["F"], terms["p"] = wald["statistic"], wald["pvalue"]
    parts = {term: set(str(term).split(":")) for term in terms.index}
    inner = [any(own < other for other in parts.values()) for own in parts.values()]
    terms.loc[inner, ["F", "p"]] = np.nan
    terms.index.name = "term"
    return Anova(terms, float(fitted.rsquared), len(rows), len(classes))


def _scaled(numbers: Floats) -> Floats:
    spread = numbers.std(axis=0)
    varies = spread > 1e-9
    scaled: Floats = (numbers[:, varies] - numbers[:, varies].mean(axis=0)) / spread[varies]
    return scaled

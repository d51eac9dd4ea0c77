"""What a trait of a cell is worth: mean accuracies, their differences, and how much they explain.

Classes are the units throughout (`classes`): intervals come from drawing classes and seeds anew, so
copies of a training never count as further evidence. Effects are of cells as they were drawn up in
the space; a trait that comes with others (a 3x3 convolution with more weights) is not told from
them by a mean. Which patterns the best have is the business of `enrichment`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nas_skeleton.errors import InputError

Floats = NDArray[np.float64]

RESAMPLES = 1000
FOLDS = 10
_BATCH = 100  # of resamples in memory


def marginal_means(
    table: pd.DataFrame, accuracy: pd.DataFrame, factors: Sequence[str], seed: int = 0
) -> pd.DataFrame:
    """Mean accuracy of the cells with each level of each factor, and how far that is from all.

    Every row of `table` counts once in a mean, so that over all 15,625 drawn cells operations of
    one edge stand before the same background of the other edges; over `topology.class_table` every
    class counts once. The interval is the same for both: the percentile bootstrap that draws
    classes, with all their rows, and seeds, for all classes alike (the pigeonhole bootstrap of two
    crossed samples: Owen, Annals of Applied Statistics 1, 2007). With one seed it says nothing
    about the luck of other seeds beyond what that adds to the differences of classes.

    Args:
        table: one row per cell, with the factors and `functional_key`, as column or index.
        accuracy: a row per `functional_key`, a column per seed, in [0, 1], no NaN.
        factors: columns of names, truths or small numbers, such as `topology.EDGE_COLUMNS` or
            `topology.PREDICATES`.
        seed: of the draws.

    Returns:
        Of every factor and level, in their order: `factor`, `level`, `classes` with such cells,
        `cells`; `mean` with its 95 % interval `low` to `high`; `effect`, the mean less that of the
        cells with another level, with `effect_low` and `effect_high`. Rows whose class has no
        accuracy are left out. A level that all cells have or none has no effect: NaN; one of a
        single class has no interval, and with a handful of classes it is too narrow.

    Raises:
        InputError: no such column, or no class has an accuracy.
    """
    keys = _keys(table, factors)
    rows = table[keys.isin(accuracy.index).to_numpy()]
    if rows.empty:
        raise InputError("no row of the table is of a class with an accuracy")
    codes, classes = pd.factorize(_keys(rows, factors))
    values = accuracy.loc[classes].to_numpy(np.float64)
    names, columns = [], []
    for factor in factors:
        levels = pd.Categorical(rows[factor])
        for at, level in enumerate(levels.categories):
            names.append((factor, level))
            columns.append(np.bincount(codes[levels.codes == at], minlength=len(classes)))
    # How many rows of each class have each level: all that a mean of drawn classes needs.
    counts = np.column_stack(columns).astype(np.float64)
    total = np.bincount(codes, minlength=len(classes)).astype(np.float64)
    once = np.ones((1, len(classes)))
    mean, effect = _means(once, values.mean(axis=1, keepdims=True).T, counts, total)
    means, effects = _drawn(values, counts, total, np.random.default_rng(seed))
    frame = pd.DataFrame(names, columns=["factor", "level"])
    frame["classes"] = (counts > 0).sum(axis=0)
    frame["cells"] = counts.sum(axis=0).astype(int)
    frame["mean"] = mean[0]
    frame["low"], frame["high"] = _interval(means)
    frame["effect"] = effect[0]
    frame["effect_low"], frame["effect_high"] = _interval(effects)
    frame.loc[frame["classes"] < 2, ["low", "high", "effect_low", "effect_high"]] = np.nan
    return frame


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
        terms: by term `df`, the share of the sum of squares that it adds to all others (type II)
            `share`, `F` and `p` of Wald's test with errors clustered by class.
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
    keys = _keys(table, ())
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
    terms.index.name = "term"
    return Anova(terms, float(fitted.rsquared), len(rows), len(classes))


def _keys(table: pd.DataFrame, factors: Sequence[str]) -> pd.Series:
    """The class of each row."""
    if missing := [name for name in factors if name not in table]:
        raise InputError(f"the table has no column {missing[0]!r}")
    if "functional_key" in table:
        return table["functional_key"]
    if table.index.name != "functional_key":
        raise InputError("the table has no functional_key, neither as column nor as index")
    return table.index.to_series()


def _means(drawn: Floats, values: Floats, counts: Floats, total: Floats) -> tuple[Floats, Floats]:
    """Means of levels and their effects, `(resamples, levels)`.

    Args:
        drawn: `(resamples, classes)`, how often each class was.
        values: `(resamples, classes)` accuracies.
        counts: `(classes, levels)` rows.
        total: `(classes,)` rows.
    """
    rows, sums = drawn @ counts, (drawn * values) @ counts
    other_rows = (drawn @ total)[:, None] - rows
    other_sums = ((drawn * values) @ total)[:, None] - sums
    with np.errstate(divide="ignore", invalid="ignore"):  # a level may not be drawn at all
        mean = np.where(rows > 0, sums / rows, np.nan)
        others = np.where(other_rows > 0, other_sums / other_rows, np.nan)
    return mean, mean - others


def _drawn(
    values: Floats, counts: Floats, total: Floats, generator: np.random.Generator
) -> tuple[Floats, Floats]:
    classes, seeds = values.shape
    found = []
    for _ in range(RESAMPLES // _BATCH):
        drawn = generator.multinomial(classes, np.full(classes, 1 / classes), size=_BATCH)
        weights = generator.multinomial(seeds, np.full(seeds, 1 / seeds), size=_BATCH) / seeds
        found.append(_means(drawn.astype(np.float64), weights @ values.T, counts, total))
    means, effects = zip(*found, strict=True)
    return np.concatenate(means), np.concatenate(effects)


def _interval(drawn: Floats) -> tuple[Floats, Floats]:
    """95 % of the resamples that have a value, by column; NaN where none has."""
    bounds = np.full((2, drawn.shape[1]), np.nan)
    for at, column in enumerate(drawn.T):
        if len(known := column[np.isfinite(column)]):
            bounds[:, at] = np.quantile(known, (0.025, 0.975))
    return bounds[0], bounds[1]


def _scaled(numbers: Floats) -> Floats:
    spread = numbers.std(axis=0)
    varies = spread > 1e-9
    scaled: Floats = (numbers[:, varies] - numbers[:, varies].mean(axis=0)) / spread[varies]
    return scaled
